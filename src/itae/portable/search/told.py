"""What a search came to, as plain values: the result, and the files beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itae.portable.data.pairs import Splits
from itae.portable.deploy.crops import best_of, shown
from itae.portable.deploy.pairs import between, notes_of, quality_told
from itae.portable.nets.spec import Spec
from itae.portable.optimise.deployed import deployed
from itae.portable.search.asked import Searching
from itae.portable.search.candidates import Found
from itae.portable.search.converted import Conversion
from itae.portable.search.front_file import write_front
from itae.portable.search.fronts import by_photograph
from itae.portable.search.guidelines import guidelines
from itae.portable.search.learned import Judging, Learned
from itae.portable.search.measured import Times
from itae.portable.search.summary import Known, summary
from itae.portable.train.lengths import by_length
from itae.portable.train.quality import floor, quality

CANDIDATES = "candidates.jsonl"
_ALIKE = "Networks of a front are alike, so what they have in common is a hint, and no proof."


@dataclass(frozen=True)
class Done:
    """All that the stages of a search came to."""

    asked: Searching
    splits: Splits
    times: Times
    judging: Judging
    found: Found
    by_hand: Learned
    searched: Learned
    conversion: Conversion
    known: Sequence[Known]
    timed: Mapping[str, Any]
    notes: tuple[str, ...]


def result_of(done: Done, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """Return what ``result.json`` has, but for how long it took; write front, networks and pictures beside it.

    Raises
    ------
    UserError
        If no device has networks of both sides, or the disk is in trouble.
    """
    splits, timed = done.splits, done.timed
    validation, blurred = floor(splits.validation), floor(splits.test)
    found = summary(
        done.known,
        [one.name for one in done.conversion.devices],
        by_photograph(validation.psnr_each, validation.photographs)[1],
        by_photograph(blurred.psnr_each, blurred.photographs)[1],
        done.asked.search.portable,
        _errors(done, told),
    )
    trained = done.by_hand.facts() | done.searched.facts()
    shared = done.judging.supernet
    result: dict[str, Any] = {
        **timed,
        "data": dict(splits.facts),
        "training": {"options": done.asked.train.key(taught=False), "nets": trained,
                     "cpu_s": sum(one["cpu_s"] for one in trained.values())},
        "supernet": None if shared is None else {"curve": shared.curve, "facts": shared.facts},
        "ranks": None if done.judging.ranks is None else done.judging.ranks.facts(),
        "short_ranks": None if done.judging.short is None else done.judging.short.facts("by_short_training"),
        "candidates": _counted(done),
        "search": found,
        **_quality(done, found, told, folder),
        "guidelines": guidelines(found, done.asked.space.choices()),
        "notes": _notes(done),
    }  # fmt: skip
    result = _as_json(result)
    _write(done, result, folder)
    return result


def _errors(done: Done, told: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return how each predictor errs on networks held out, and on those that were measured after it was fitted."""
    found: dict[str, dict[str, Any]] = {}
    for name, predictor in done.times.predictors.items():
        there = [(Spec(**net.spec), net.on[name]) for net in done.known if name in net.on]
        later = predictor.afterwards(
            [spec for spec, _ in there], [cell.ms if cell.steady else math.nan for _, cell in there]
        )
        found[name] = predictor.held_out.plain() | {"afterwards": None if later is None else later.plain()}
        if later is not None:
            told(f"{'predictor':10} {later.sentence(name, 'measured afterwards')}")
    return found


def _as_json(value: Any) -> Any:
    """Return plain values as JSON has them: None for what is no number, as a correlation of equal values."""
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _counted(done: Done) -> dict[str, Any]:
    found = done.found
    failed = [why for one in found.candidates for why in one.why.values()]
    return {
        "judged": len(found.candidates), "trials": found.trials, "repeated": found.repeated,
        "hopeless": found.hopeless, "seconds": found.seconds, "read": found.read, "judge": done.judging.by,
        "failed": len(failed), "why": failed[0] if failed else None, "file": CANDIDATES,
    }  # fmt: skip


def _notes(done: Done) -> list[str]:
    photographs = {split: len(set(pairs.photographs)) for split, pairs in done.splits.items()}
    chosen_on = (
        f"Fronts and the portable set were chosen on photographs of validation ({photographs['validation']}), and are "
        f"told of others ({photographs['test']}), which were looked at once, at the end."
    )
    lost = [f"It could not be trained: {why}" for of in (done.by_hand, done.searched) for why in of.why.values()]
    count = len(done.by_hand.nets) + len(done.searched.nets)
    if idle := [*done.by_hand.idle(), *done.searched.idle()]:
        lost.append(
            f"{len(idle)} of {count} networks restore photographs of validation no better than doing nothing does "
            f"({', '.join(idle[:5])}{', ...' if len(idle) > 5 else ''}); take more steps (train.steps)."
        )
    own = (*done.times.notes, *done.judging.notes, *done.notes, *lost)
    return [*notes_of(done.splits), chosen_on, *own, _ALIKE, *done.timed["notes"]]


def _quality(done: Done, found: Mapping[str, Any], told: Callable[[str], None], folder: Path) -> dict[str, Any]:
    """Return between what quality lies, and what a network of the portable set restores, with pictures of it.

    It is the one that was best on photographs of validation. Floor and ceiling are told now, and no earlier,
    since they are of the test photographs.
    """
    blurred, wiener = between(done.splits, told)
    came_to = {name: done.searched.trained[name].curve[-1]["validation_psnr"] for name in found["portable"]["nets"]}
    pictured = max(came_to, key=lambda name: came_to[name])
    state = done.conversion.state(done.searched.nets[pictured])
    there = deployed(state, done.splits.test, done.conversion.threads)
    best, lengths = best_of(there), []
    if best is not None and best.outputs is not None:
        lengths = by_length(quality(best.outputs, done.splits.test), blurred, done.splits.test)
    return {
        "quality": {"blurred": quality_told(blurred),
                    "wiener": None if wiener is None else quality_told(wiener, blurred),
                    "by_length": [asdict(each) for each in lengths]},
        "pictures": shown(done.splits.test, there, folder),
        "pictured": pictured,
    }  # fmt: skip


def _write(done: Done, result: Mapping[str, Any], folder: Path) -> None:
    about = {name: result[name] for name in ("statistic", "threads", "clock", "data", "training", "ranks", "notes")}
    about["pairs"] = done.splits.key
    weights = {name: Path(net.weights) for name, net in done.searched.nets.items() if net.weights}
    write_front(folder, result["search"], done.known, done.asked.size, result["devices"], about, weights)
