"""What a page tells of the photographs of a run over devices: how many, whose they are, and what blurred them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itae.look.page.portable_part import facts_told, linked, of

_MADE = {"source": "from", "blur": "blur", "noise": "noise", "pairs": "pairs", "seed": "seed"}
_UNKNOWN = "not made here: the pairs were read as they are"


def data_part(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page tells of a run's data, as plain values.

    Parameters
    ----------
    facts
        As `itae.portable.data.pairs.Splits` has them; each of them may be missing.

    Returns
    -------
    dict
        ``splits``: name, photographs, pairs and psnr of each. ``made``: pairs of a name and words. ``credits``: split,
        name, pairs, sha256 and credit of each photograph, the credit in pieces, as `linked` returns them.
    """
    photographs = facts.get("photographs") or {}
    return {
        "splits": [_split(name, found, of(facts, "blurred_psnr", name)) for name, found in photographs.items()],
        "made": [(told, _told(facts[name])) for name, told in _MADE.items() if name in facts],
        "credits": [
            {"split": split, "name": one.get("name", ""), "pairs": one.get("pairs"), "sha256": one.get("sha256"),
             "credit": linked(str(one.get("credit") or ""))}
            for split, found in photographs.items() for one in found
        ],
    }  # fmt: skip


def _split(name: str, found: Any, psnr: float | None) -> dict[str, Any]:
    pairs = sum(one.get("pairs") or 0 for one in found)
    return {
        "name": name,
        "photographs": len(found),
        "pairs": pairs or "",
        "psnr": "" if psnr is None else f"{psnr:.2f}",
    }


def _told(value: Any) -> str:
    """Return a part of the data in words: of what is made of a class its short name, and its options."""
    if value is None:
        return _UNKNOWN
    if not isinstance(value, Mapping):
        return str(value)
    options = facts_told({name: one for name, one in value.items() if name != "class"})
    short = str(value.get("class", "")).rpartition(".")[2]
    return " with ".join(filter(None, (short, options)))
