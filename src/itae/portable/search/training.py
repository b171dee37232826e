"""A supernet is trained once: the same space, pairs and settings have the same weights, to the bit, and they are kept.

It learns as one network does (`itae.portable.train`), by the same crops, loss, rate and running mean, and is kept where
those are. What differs is who learns from a batch: the networks of a sandwich.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.lock import this_process
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.search.judge import by_supernet
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.train.going import Advance, go, gone_on, once
from itae.portable.train.kept import WEIGHTS, Place
from itae.portable.train.options import Train

if TYPE_CHECKING:
    import torch

    from itae.portable.search.supernet import Supernet
    from itae.portable.train.state import State

METHOD = 2
"""How a supernet is made and learns; a mend that makes other weights raises it."""


@dataclass(frozen=True, eq=False)
class TrainedSupernet:
    """A supernet, and how its weights were come by.

    Parameters
    ----------
    supernet
        It, in eval mode.
    weights
        Their .safetensors file, in the cache.
    curve
        A dict for each validation: `step`; `seconds`, CPU seconds of the process so far, of the steps alone; `loss` of
        the largest network, mean since the one before; `validation_psnr`, its PSNR on few pairs, and `smallest_psnr`.
    facts
        Plain values: `key`, `sha256` of the weights, `space`, `sandwich`, `options`, `networks`, `parameters`, `cpu_s`
        of the steps and `by` whom.
    """

    supernet: Supernet
    weights: Path
    curve: list[dict[str, Any]]
    facts: dict[str, Any]


def trained_supernet(
    space: Space,
    splits: Splits,
    options: Train,
    sandwich: Sandwich,
    cache: Path,
    advance: Advance | None = None,
) -> TrainedSupernet:
    """Return a supernet, trained on pairs unless its weights are in the cache.

    Parameters
    ----------
    space
        Its networks.
    splits
        It learns from `train`; `validation` is looked at for the curve, and `test` isn't.
    options
        How; `teacher_weight` does nothing, since `sandwich` says how it is distilled.
    sandwich
        Which networks learn from a batch, and how many steps if not as many as `options` has.
    cache
        Folder of the cache (paths.cache).
    advance
        Is told how many steps were just done; of those done before at once. None (default): a bar is shown.

    Raises
    ------
    UserError
        When crops don't fit the networks or the pictures, the loss is no number any more, or the disk is in trouble.
    """
    options = replace(options, steps=sandwich.steps or options.steps, lr=sandwich.lr or options.lr)
    check(space, options, splits)
    place = Place(cache, _key(space, splits, options, sandwich))

    def train(advance: Advance) -> None:
        _train(space, splits, options, sandwich, place, advance)

    bar = f"Training {len(space):,} networks at once"
    about = once(place, "the supernet", bar, options.steps, advance, train)
    weights = place.folder / WEIGHTS
    return TrainedSupernet(_read(space, weights), weights, about["curve"], about["facts"])


def check(space: Space, options: Train, splits: Splits) -> None:
    """Raise a `UserError` where a space, the pairs and the settings don't fit each other; nothing is computed."""
    options.check()
    options.fits(space.multiple, "a network of the space", splits)


def _train(
    space: Space,
    splits: Splits,
    options: Train,
    sandwich: Sandwich,
    place: Place,
    advance: Advance,
) -> None:
    from itae.portable.train.state import State
    from itae.portable.train.steps import torch_for

    with torch_for(options):
        state = gone_on(lambda: State(_drawn(space, options), options), place.checkpoint, "the supernet")
        advance(state.step)
        go(
            *(state, place.checkpoint, advance),
            lambda state: _step(state, splits.train, space, sandwich),
            lambda state: _validate(state, splits.validation, space),
        )
        facts = {
            "key": place.key, "space": space.settings(), "sandwich": sandwich.key(),
            "options": options.key(taught=False), "networks": len(space),
            "parameters": sum(each.numel() for each in state.named.values()),
            "cpu_s": state.cpu_s, "by": this_process(),
        }  # fmt: skip
        place.keep(state.kept(), state.curve, facts)


def _step(state: State, pairs: Pairs, space: Space, sandwich: Sandwich) -> None:
    """Learn from one batch; the loss that is told is that of the largest network."""
    import torch

    from itae.portable.search.supernet import Supernet
    from itae.portable.train.losses import loss_of
    from itae.portable.train.steps import learn

    options, supernet = state.options, state.module
    assert isinstance(supernet, Supernet)

    def loss(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return loss_of(output, wanted, options.eps, options.fft)

    def backward(blurred: torch.Tensor, sharp: torch.Tensor) -> float:
        def call(spec: Any) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                return supernet(blurred, spec).float()

        return sandwich.backward(space, state.step, call, sharp, loss)

    learn(state, pairs, backward, "supernet.lr", "the supernet's loss")


def _drawn(space: Space, options: Train) -> torch.nn.Module:
    from itae.portable.search.settled import settle
    from itae.portable.search.supernet import Supernet
    from itae.portable.train.start import laid_out

    supernet = Supernet(space, options.seed)
    settle(supernet, options.seed)
    return laid_out(supernet, options).train()


def _read(space: Space, weights: Path) -> Supernet:
    from safetensors.torch import load_file

    from itae.portable.search.supernet import Supernet

    supernet = Supernet(space, 0)
    supernet.load_state_dict(load_file(weights))
    return supernet.eval()


def _validate(state: State, pairs: Pairs, space: Space) -> None:
    from itae.portable.search.supernet import Supernet

    supernet = Supernet(space, 0)
    supernet.load_state_dict(state.kept())
    judge = by_supernet(supernet.eval(), pairs)
    state.curve.append(
        {
            "step": state.step, "seconds": state.cpu_s, "loss": sum(state.losses) / len(state.losses),
            "validation_psnr": judge(space.largest), "smallest_psnr": judge(space.smallest),
        }
    )  # fmt: skip
    state.losses = []


def _key(space: Space, splits: Splits, options: Train, sandwich: Sandwich) -> str:
    """Return a hash of all that the weights depend on."""
    from itae.portable.train import kept

    depends = {
        "method": [kept.METHOD, METHOD], "space": space.settings(), "sandwich": sandwich.key(),
        "pairs": splits.key, "options": options.key(taught=False),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
