"""What a search says in sentences, each with its numbers: what fronts have in common, and what portability costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FEWEST = 3
"""Networks of a front below which nothing is said of what they have in common."""
COMMON = 0.75
"""A value is common on a front where at least this share of its networks have it."""
_NOTHING = 0.005  # of an area, below which nobody loses
CHANCE = 0.05
"""And only if so many of networks drawn from the space have it with at most this probability."""


def guidelines(found: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return what the summary of a search says, in sentences.

    Parameters
    ----------
    found
        What `itae.portable.search.summary.summary` returned.
    choices
        The values of each option of the space; each is had by an equal share of its networks.

    Returns
    -------
    list of dict
        ``kind`` (``gain``, ``portable``, ``regret``, ``front`` or ``disagree``), ``text``, one sentence, and ``about``:
        the device, if it is of one.
    """
    said: list[tuple[str, str, str | None]] = []
    said += [("gain", text, device) for device, text in _gains(found)]
    said += [("portable", text, None) for text in _portable(found)]
    said += [("regret", text, None) for text in _regrets(found)]
    said += [("disagree", text, None) for text in _disagree(found, choices)]
    said += [("front", text, device) for device, text in _fronts(found, choices)]
    return [{"kind": kind, "text": text, "about": about} for kind, text, about in said]


def _gains(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say by how much each front beats the networks made by hand, and where nothing can be said."""
    for device, of in found["devices"].items():
        gain, ahead = of["hypervolume"]["gain"], of["hand_made_ahead"]
        if gain["value"] is None:
            yield device, f"On {device} the networks made by hand have no area at all to be compared with."
            continue
        text = f"On {device} the front of the search has {gain['value']:+z.0%} area over that of those made by hand"
        if gain["low"] is not None:
            sure = "" if gain["low"] > 0 or gain["high"] < 0 else ", which may be nothing"
            text += f" ({gain['low']:+z.0%} to {gain['high']:+z.0%} over photographs{sure})"
        yield device, f"{text}{f'; ahead of it stay {_listed(ahead)}' if ahead else ''}."


def _portable(found: Mapping[str, Any]) -> Iterator[str]:
    """Say what one set of networks for all devices costs."""
    one = found["portable"]
    shares = {each["on"]: each["share"] for each in one["regret"] if each["share"] is not None}
    if len(shares) < 2:
        return
    worst = max(shares, key=lambda name: shares[name])
    nets = f"{_listed(one['nets'])} for all {len(shares)} devices"
    yield f"One set, {nets}, loses at most {_percent(shares[worst])} of a device's own area, on {worst}."


def _regrets(found: Mapping[str, Any]) -> Iterator[str]:
    """Say which device's best costs most on another, and which least."""
    pairs = [each for each in found["regret"] if each["best_of"] != each["on"] and each["share"] is not None]
    if not pairs:
        return
    pairs.sort(key=lambda each: each["share"])
    if pairs[-1]["share"] < _NOTHING:
        yield "What is best on one device loses next to nothing on any other."
        return
    yield f"Most is lost by running on {pairs[-1]['on']} what is best on {pairs[-1]['best_of']}: {_lost(pairs[-1])}."
    if len(pairs) > 1:
        yield f"Least by running on {pairs[0]['on']} what is best on {pairs[0]['best_of']}: {_lost(pairs[0])}."


def _fronts(found: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, str]]:
    """Say what networks of a front have in common, that few of the space have."""
    for device in found["devices"]:
        parts = [f"{count} of {n} have {option}: {value} ({_percent(1 / len(choices[option]))} of the space)"
                 for option, value, count, n in _common(found, device, choices)]  # fmt: skip
        if parts:
            yield device, f"On the front of {device} {_listed(parts)}."


def _disagree(found: Mapping[str, Any], choices: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Say of which option different values are common on different devices."""
    by_option: dict[str, dict[Any, list[str]]] = {}
    for device in found["devices"]:
        for option, value, _, _ in _common(found, device, choices):
            by_option.setdefault(option, {}).setdefault(value, []).append(device)
    for option, values in by_option.items():
        if len(values) > 1:
            parts = [f"{value} on {_listed(devices)}" for value, devices in values.items()]
            yield f"Fronts differ in {option}: mostly {_listed(parts)}."


def _common(
    found: Mapping[str, Any], device: str, choices: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, Any, int, int]]:
    """Give option, value, how many networks of a front have it, and how many there are."""
    specs = [found["nets"][name]["spec"] for name in found["devices"][device]["front"]]
    if len(specs) < FEWEST:
        return
    for option, values in choices.items():
        ((value, count),) = Counter(spec[option] for spec in specs).most_common(1)
        if count >= COMMON * len(specs) and _chance(count, len(specs), 1 / len(values)) <= CHANCE:
            yield option, value, count, len(specs)


def _chance(count: int, n: int, share: float) -> float:
    """Return the probability that at least so many of n networks have what this share of all has."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(count, n + 1))


def _lost(each: Mapping[str, Any]) -> str:
    times = each["times"]
    longer = "" if times is None else f", and {times:.2f} times as long at equal PSNR"
    return f"{_percent(each['share'])} of the area{longer}"


def _percent(share: float) -> str:
    return f"{0.0 if abs(share) < _NOTHING else share:.0%}"


def _listed(names: Sequence[Any]) -> str:
    told = [str(name) for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
