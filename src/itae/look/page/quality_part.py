"""What pages tell of how good pictures are: means with their intervals, the floor and the ceiling, lengths of blurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MARKS = (
    ("blurred", "blurred input", "the floor: doing nothing"),
    ("wiener", "Wiener, told the PSF", "called ceiling, and no bound: a filter that knows the blur"),
    ("torch", "torch, not converted", "what conversion is held against"),
)


def with_interval(found: Mapping[str, Any] | None, places: str) -> tuple[str, str]:
    """Return a number and its interval in words, each empty where there is none.

    Parameters
    ----------
    found
        With ``mean`` or ``value``, ``low`` and ``high``.
    places
        How they are told, as `format` takes it.
    """
    found = found or {}
    value, low, high = found.get("mean", found.get("value")), found.get("low"), found.get("high")
    if value is None:
        return "", ""
    between = "" if low is None or high is None else f"{number(low, places)} to {number(high, places)}"
    return number(value, places), between


def number(value: float | None, places: str) -> str:
    """Return a number with so many places, without a minus before nothing; empty where there is none."""
    if value is None:
        return ""
    told = format(value, places)
    told = told if told.strip("+-0.%") else format(0.0, places)
    return f"{told[:-1]} %" if told.endswith("%") else told


def marks(quality: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return what others are held against, as far as it is there: its name, what it is, and its quality."""
    return [(name, about, quality[key]) for key, name, about in _MARKS if quality.get(key)]


def lengths_told(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return quality by the length of the blur as rows of a table."""
    return [
        {"length": f"{one['low']:.1f} to {one['high']:.1f}", "pairs": one.get("pairs", ""),
         "psnr": with_interval(one.get("psnr"), ".2f"), "gain": with_interval(one.get("gain"), "+.2f")}
        for one in parts
    ]  # fmt: skip
