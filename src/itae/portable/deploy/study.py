"""The study: pairs, training, optimisations, conversion; what is left of the quality on each device, and its time."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from itae.base.memory import peak_rss_mb
from itae.portable.cells.asked import Asked, Row
from itae.portable.cells.timed import timed
from itae.portable.data.pairs import Splits
from itae.portable.deploy.asked import Deploy
from itae.portable.deploy.crops import shown
from itae.portable.deploy.pairs import between, notes_of, pairs_of, quality_told
from itae.portable.optimise.deployed import Deployed, deployed
from itae.portable.optimise.post_training import calibrated, fitted
from itae.portable.optimise.state import State
from itae.portable.train.lengths import by_length
from itae.portable.train.loop import trained
from itae.portable.train.quality import Quality, quality, restored

WEIGHTS = "net.safetensors"
_SOME = 0.05  # dB above the blurred input that a training has to end at, or that is told


def deploy(asked: Deploy, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """Return what ``result.json`` has of the study, done by the one job that measures on this machine.

    Parameters
    ----------
    asked
        What is asked for.
    folder
        Of the run: weights and pictures go there.
    told
        Takes what is to be known at once, a line each.

    Raises
    ------
    UserError
        If there are too few photographs, the training fails, or no device runs the network.
    """
    began = time.perf_counter()
    splits = pairs_of(asked)
    blurred, wiener = between(splits, told)
    made = time.perf_counter()
    ours, curve, training = _trained(asked, splits)
    learned = time.perf_counter()
    state = _optimised(asked, ours, splits, told)
    found = deployed(state, splits.test, asked.measure.threads)
    judged = time.perf_counter()
    by_torch = _by_torch(state, splits)
    notes = [*_learned(curve, training), *notes_of(splits)]
    result: dict[str, Any] = {
        "net": state.description() | {"weights": _kept(state, folder)},
        "teacher": None if asked.teacher is None else {"name": asked.teacher.name, **asked.teacher.settings()},
        "data": dict(splits.facts),
        "training": {"curve": curve, **training},
        "quality": {
            "blurred": quality_told(blurred), "torch": quality_told(by_torch, blurred),
            "wiener": None if wiener is None else quality_told(wiener, blurred),
            "by_length": [asdict(each) for each in by_length(by_torch, blurred, splits.test)],
        },
        "pictures": shown(splits.test, found, folder),
    }  # fmt: skip
    result |= _timed(asked, state, found, told, notes)
    for one in found:
        result["devices"][one.device] |= {"quality": _deployed(one)}
    result["timing"] |= {"pairs_s": made - began, "train_s": learned - made, "judge_s": judged - learned,
                         "total_s": time.perf_counter() - began, "peak_rss_mb": peak_rss_mb()}  # fmt: skip
    return result


def _learned(curve: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> list[str]:
    """Return a note if the network ended no better on photographs of validation than doing nothing."""
    last, nothing = curve[-1]["validation_psnr"], training["blurred_psnr"]
    if last > nothing + _SOME:
        return []
    mend = "take more steps (train.steps) or another rate (train.lr)"
    if training["best_psnr"] > last + _SOME:
        mend = f"it was at {training['best_psnr']:.2f} before, so take a lower rate (train.lr) or more photographs"
    return [
        f"The training ends at {last:.2f} dB on photographs of validation, and the blurred input has {nothing:.2f}: "
        f"the network has learned next to nothing; {mend}."
    ]


def _trained(asked: Deploy, splits: Splits) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    """Return the network with its weights, the curve, and facts; one that has weights is trained on from them."""
    done = trained(asked.net, splits, asked.train, asked.cache, teacher=asked.teacher)
    return replace(asked.net, weights=str(done.weights)), done.curve, done.facts  # type: ignore[type-var]


def _optimised(asked: Deploy, net: Any, splits: Splits, told: Callable[[str], None]) -> State:
    state = State(
        net, splits, asked.cache, tuple(asked.devices.values()), advance=lambda line: told(f"{'doing':10} {line}")
    )
    for step in asked.steps.values():
        state = step.apply(state)
    return calibrated(state)


def _by_torch(state: State, splits: Splits) -> Quality:
    import numpy as np
    import torch

    module = state.net.build()

    def call(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pictures)).numpy()

    return quality(restored(call, splits.test, multiple=state.net.multiple), splits.test)


def _timed(
    asked: Deploy, state: State, found: tuple[Deployed, ...], told: Callable[[str], None], notes: list[str]
) -> dict[str, Any]:
    """Return the times of devices that are worth it: of what is refused nobody needs to know how quick it is."""
    refused = {one.device: one.why or "refused" for one in found if one.verdict == "refused"}
    for why in refused.values():
        told(f"{'refused':10} {why}")
    kept = {name: device for name, device in asked.devices.items() if name not in refused}
    facts = {name: dict(device.facts()) | {"budget_db": device.budget_db} for name, device in asked.devices.items()}
    if not kept:
        return {"rows": [], "devices": facts, "not_run": dict(asked.left_out) | refused, "notes": notes, "timing": {}}
    row = Row(state.net.name, state.net.name, state.net)
    cells = Asked(kept, asked.left_out, asked.measure, asked.cache, asked.seed, [row], _calibration(asked, state))
    result = timed(cells, told, notes)
    return result | {"devices": facts, "not_run": result["not_run"] | refused}


def _calibration(asked: Deploy, state: State) -> list[Any]:
    """Return what `deployed` calibrates on, too: a network is timed as it was judged, by the same export."""
    side = -(-asked.measure.size // state.net.multiple) * state.net.multiple
    return [fitted(picture, side, side) for picture in state.calibration]


def _kept(state: State, folder: Path) -> dict[str, Any]:
    """Copy the weights into the run's folder, and return what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(state.net.weights)  # type: ignore[attr-defined]
    shutil.copyfile(source, folder / WEIGHTS)
    return {"file": WEIGHTS, "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()}


def _deployed(one: Deployed) -> dict[str, Any]:
    means = {name: getattr(one, name) for name in ("psnr", "ssim", "gain_db", "drop_db")}
    return {"verdict": one.verdict, "why": one.why, "parity_db": one.parity_db, "budget_db": one.budget_db,
            **{name: None if mean is None else asdict(mean) for name, mean in means.items()}}  # fmt: skip
