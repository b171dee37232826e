"""A network is trained once: the same network, pairs and settings have the same weights, to the bit, and they are kept.

A training that was killed goes on from its last checkpoint to the same weights. The last ones are kept, as their
running mean: the learning rate has come to 0 by then, and to choose the best of a curve would choose by luck on few
validation photographs, whose PSNR would then be too good to be true.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.lock import this_process
from itae.portable.data.pairs import Splits
from itae.portable.devices.device import Net
from itae.portable.train.going import Advance, go, gone_on, once
from itae.portable.train.kept import WEIGHTS, Place, key_of
from itae.portable.train.options import Train

if TYPE_CHECKING:
    from itae.portable.train.state import State

log = logging.getLogger(__name__)

_FALLEN = 0.1  # dB of validation PSNR by which a curve may end below its best before that is told


@dataclass(frozen=True)
class Trained:
    """A network's weights, and how they were come by.

    Parameters
    ----------
    weights
        The .safetensors file, in the cache: ``dataclasses.replace(net, weights=str(path))`` is the network with them.
    curve
        A dict for each validation: `step`; `seconds`, CPU seconds of the process so far, of the steps alone; `loss`,
        mean since the one before; `validation_psnr`, mean over pairs, of the running mean of the weights, in float32.
        The first is of step 0, without a loss.
    facts
        Plain values: `key`, `sha256` of the weights, `options` as they were resolved, `taught`, `blurred_psnr` of the
        validation pairs, `best_psnr` of the curve, `cpu_s` of the steps and `by` whom.
    """

    weights: Path
    curve: list[dict[str, Any]]
    facts: dict[str, Any]


def trained(
    net: Net,
    splits: Splits,
    options: Train,
    cache: Path,
    advance: Advance | None = None,
    teacher: Net | None = None,
) -> Trained:
    """Return a network's weights, trained on pairs unless they are in the cache.

    Parameters
    ----------
    net
        What it begins with: drawn weights, or those of its file.
    splits
        It learns from `train`; `validation` is looked at for the curve, and `test` isn't.
    options
        How.
    cache
        Folder of the cache (paths.cache).
    advance
        Is told how many steps were just done; of those done before at once. None (default): a bar is shown.
    teacher
        A trained network that it is to resemble, too: `options.teacher_weight` says how much. Default None.

    Raises
    ------
    UserError
        When crops don't fit the network or the pictures, the loss is no number any more, or the disk is in trouble.
    """
    check(net, options, splits, teacher)
    place = Place(cache, key_of(net, splits, options, teacher))

    def train(advance: Advance) -> None:
        _train(net, splits, options, place, advance, teacher)

    about = once(place, net.name, f"Training {net.name}", options.steps, advance, train)
    return Trained(place.folder / WEIGHTS, about["curve"], about["facts"])


def check(net: Net, options: Train, splits: Splits, teacher: Net | None = None) -> None:
    """Raise a `UserError` where a network, the pairs and the settings don't fit each other; nothing is computed."""
    options.check()
    for each in (net, teacher):
        if each is not None:
            options.fits(each.multiple, each.name, splits)


def _train(net: Net, splits: Splits, options: Train, place: Place, advance: Advance, teacher: Net | None) -> None:
    from itae.portable.train.start import begun, laid_out
    from itae.portable.train.state import State
    from itae.portable.train.steps import step, torch_for

    def validate(state: State) -> None:
        _validate(state, splits, net)

    with torch_for(options):
        state = gone_on(lambda: State(begun(net, options), options), place.checkpoint, net.name)
        master = None if teacher is None else laid_out(teacher.build(), options)
        advance(state.step)
        if not state.curve:
            validate(state)
        go(state, place.checkpoint, advance, lambda state: step(state, splits.train, master), validate)
        place.keep(state.kept(), state.curve, _facts(state, splits, place, taught=teacher is not None))


def _validate(state: State, splits: Splits, net: Net) -> None:
    from itae.portable.train.steps import validation_psnr

    loss = sum(state.losses) / len(state.losses) if state.losses else None
    found = validation_psnr(state, splits.validation, net.multiple)
    state.curve.append({"step": state.step, "seconds": state.cpu_s, "loss": loss, "validation_psnr": found})
    state.losses = []


def _facts(state: State, splits: Splits, place: Place, taught: bool) -> dict[str, Any]:
    import numpy as np

    from itae.portable.train.quality import psnr

    best, last = max(each["validation_psnr"] for each in state.curve), state.curve[-1]["validation_psnr"]
    if best - last > _FALLEN:
        log.warning(
            "The network ends at %.2f dB on validation photographs, and was at %.2f before: it learns its pictures by "
            "heart, so take fewer steps (train.steps) or more photographs.", last, best,
        )  # fmt: skip
    return {
        "key": place.key,
        "options": state.options.key(taught),
        "taught": taught,
        "blurred_psnr": float(np.mean(psnr(splits.validation.blurred, splits.validation))),
        "best_psnr": best,
        "cpu_s": state.cpu_s,
        "by": this_process(),
    }
