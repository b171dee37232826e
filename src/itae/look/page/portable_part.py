"""What the pages of all runs of ``itae portable`` tell alike: how it was started, guidelines, devices and machine.

A result may be a stranger's, of another version, or lack a part: what isn't there is left out, all that is there is
told as text, and what isn't shaped as such a result raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from itae.look.page.run_part import commands

_COUNTERS = ("clock_s", "busy_s", "stolen_s", "own_s")
"""Of the machine's load, what means something only as a difference; that is ``others_cpus``."""
_CLOCK = {
    "ended": "ended because cells were steady, or time was up",
    "others_cpus": "CPUs that other programs used meanwhile",
    "machine cpus_allowed": "CPUs that this program may use",
    "before load_1_5_15": "load before, over 1, 5 and 15 minutes",
    "after load_1_5_15": "load after, over 1, 5 and 15 minutes",
    "before frequency_mhz": "frequency before, MHz",
    "after frequency_mhz": "frequency after, MHz",
    "before temperature_c": "temperature before, °C",
    "after temperature_c": "temperature after, °C",
    "machine frequency_max_mhz": "highest frequency of the machine, MHz",
}
"""What isn't plain by its name."""
_STAGES = {
    "pairs_s": "blurring photographs", "predictor_s": "measuring networks to predict others from",
    "learn_s": "training the supernet and networks made by hand", "candidates_s": "judging candidates",
    "train_s": "training", "judge_s": "converting and judging", "convert_s": "converting, judging and timing",
    "last_export_s": "of that exports", "last_measure_s": "of that timing", "export_s": "exports",
    "measure_s": "timing", "front_s": "fronts and their files", "total_s": "all", "peak_rss_mb": "most memory",
}  # fmt: skip
"""Of the times of a run, in their order; others come before the last two."""
_ADDRESS = re.compile(r"https?://[^\s()<>\"']+[^\s()<>\"'.,;]")
_APART = ("budget_db", "quality")
"""Of a device's facts, what the page tells elsewhere."""


def again(started: Mapping[str, Any]) -> str:
    """Return what a shell runs it again with."""
    words = started.get("overrides")
    if words is None or "cwd" not in started:
        return "# started from Python, with the settings below"
    return commands(started["cwd"], words, started.get("config_dir"), ["portable"])


def of(values: Any, *names: str) -> Any:
    """Return what lies under names in mappings of mappings; None where one of them isn't there."""
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def grouped(found: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return guidelines by their kind, in the order of `kinds`, under its titles; kinds unknown here come last."""
    order = [*kinds, *dict.fromkeys(one["kind"] for one in found if one["kind"] not in kinds)]
    titled = [(kinds.get(kind, kind), [str(one["text"]) for one in found if one["kind"] == kind]) for kind in order]
    return [(title, texts) for title, texts in titled if texts]


def facts_told(about: Mapping[str, Any]) -> str:
    """Return what is known of a device, or the options of anything, as words."""
    told = {name: value for name, value in about.items() if name not in _APART and not _says_nothing(value)}
    return ", ".join(name if value is True else f"{name}: {word(value)}" for name, value in told.items())


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", [])


def word(value: Any) -> str:
    """Return a plain value as words, a number by four digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {word(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return " ".join(map(word, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock_told(clock: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the machine and of the measuring, name by name."""
    flat: list[tuple[str, str]] = []
    for name, value in clock.items():
        inside = value.items() if isinstance(value, Mapping) else ((None, value),)
        for one, told in inside:
            if told is not None and one not in _COUNTERS:
                key = " ".join(filter(None, (name, one)))
                flat.append((_CLOCK.get(key, key.replace("_", " ")), word(told)))
    return flat


def stages(timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how long each stage took, and the most memory, name by name."""
    last = ("total_s", "peak_rss_mb")
    order = [*_STAGES, *(name for name in timing if name not in _STAGES)]
    there = [name for name in sorted(order, key=last.__contains__) if timing.get(name) is not None]
    told = {name: _STAGES.get(name, name.removesuffix("_s").replace("_", " ")) for name in there}
    units = {name: "MB" if name.endswith("_mb") else "s" if name.endswith("_s") else "" for name in there}
    return [(told[name], f"{timing[name]:,.{units[name] == 's':d}f} {units[name]}".rstrip()) for name in there]


def threads_told(count: int) -> str:
    """Return on how many threads a device ran."""
    return "one thread" if count == 1 else f"{count} threads"


def db(value: float | None) -> str:
    """Return a parity in dB; at the most that is counted it is the same picture."""
    return "" if value is None else f"{value:.0f}" if value < 199.5 else "same"


def machine_part(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page tells of devices and of the machine."""
    not_run = result.get("not_run") or {}
    return {
        "facts": [(name, facts_told(about)) for name, about in (result.get("devices") or {}).items()],
        "not_run": [one for one in not_run.items() if one[1] != "not asked for"],
        "not_asked": [name for name, why in not_run.items() if why == "not asked for"],
        "clock": clock_told(result.get("clock") or {}),
        "stages": stages(result.get("timing") or {}),
        "notes": list(result.get("notes") or ()),
    }


def linked(text: str) -> list[tuple[str, str | None]]:
    """Return a text in pieces, each with the address that it is, if it is one of the web: no other is made a link."""
    pieces, at = [], 0
    for found in _ADDRESS.finditer(text):
        pieces += [(text[at : found.start()], None), (found[0], found[0])]
        at = found.end()
    return [piece for piece in [*pieces, (text[at:], None)] if piece[0]]
