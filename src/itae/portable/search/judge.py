"""How well a candidate restores, quickly; and whether the supernet puts networks in the order that training them does.

A search calls a judge, psnr = judge(spec), and doesn't ask how it knows. There are two: `by_supernet`, for which a
candidate costs one forward over a few pictures, and `by_training`, which trains each by itself for a short while. The
second is for where the first can't be believed, which `rank_check` tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.portable.data.pairs import Pairs
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.search.options import FEWEST_CHECKED
from itae.portable.train.quality import psnr, restored

if TYPE_CHECKING:
    import torch

    from itae.portable.search.space import Space
    from itae.portable.search.supernet import Supernet

Judge = Callable[[Spec], float]
"""psnr = judge(spec), in dB, on validation pairs."""
ENOUGH = 0.8
"""Spearman's correlation from which on the supernet's order is believed."""
_BATCH = 16
_Z95 = 1.959963984540054


def few(pairs: Pairs, most: int) -> Pairs:
    """Return at most so many pairs, as many of each photograph as can be, always the same ones."""
    turns: dict[str, int] = {}
    order = []
    for at, photograph in enumerate(pairs.photographs):
        turns[photograph] = turns.get(photograph, 0) + 1
        order.append((turns[photograph], at))
    chosen = sorted(at for _, at in sorted(order)[:most])
    return Pairs(
        pairs.blurred[chosen], pairs.sharp[chosen], tuple(pairs.photographs[at] for at in chosen),
        pairs.blur_px[chosen], None if pairs.psfs is None else pairs.psfs[chosen],
    )  # fmt: skip


def by_supernet(supernet: Supernet, pairs: Pairs, most: int = 48) -> Judge:
    """Return the judge that runs a sub-net over at most so many pairs (`few`), which are to be of validation."""
    chosen = few(pairs, most)
    return lambda spec: _mean_psnr(lambda blurred: supernet(blurred, spec), chosen, spec.multiple)


def by_training(train: Callable[[UNet], Path], pairs: Pairs, most: int = 48, seed: int = 0) -> Judge:
    """Return the judge that trains a network by itself.

    Parameters
    ----------
    train
        weights = train(net): trains it, and returns the file of its weights.
    pairs, most
        As `by_supernet` has them.
    seed
        That weights are drawn from at first.
    """
    chosen = few(pairs, most)

    def judge(spec: Spec) -> float:
        net = UNet(**Spec.architecture(spec), seed=seed, name="candidate")
        module = replace(net, weights=str(train(net))).build()
        return _mean_psnr(module, chosen, spec.multiple)

    return judge


@dataclass(frozen=True)
class Ranks:
    """Networks in the order of two judges."""

    specs: tuple[Spec, ...]
    by_supernet: tuple[float, ...]
    """PSNR of each, in dB: by the supernet, or by whoever else is held against training."""
    by_training: tuple[float, ...]
    """PSNR of each, trained by itself."""
    spearman: float
    """Their rank correlation; nan where a judge tells no two apart."""
    low: float
    high: float
    """Its 95 % interval."""

    @property
    def holds(self) -> bool:
        """Whether a search by the supernet finds what training would find."""
        return self.spearman >= ENOUGH

    def told(self) -> str:
        """Return what was found, and what to do about it, in words."""
        found = (
            f"The supernet ranks {len(self.specs)} networks as training each by itself does with Spearman's "
            f"{self.spearman:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"
        )
        if self.holds:
            return f"{found}, and {ENOUGH:g} is enough to search by it."
        return (
            f"{found}, less than {ENOUGH:g}: what is found by it may not be the best. Train it for longer "
            "(supernet.steps), or search by short trainings of each candidate (search.judge=training)."
        )

    def facts(self, ours: str = "by_supernet") -> dict[str, Any]:
        """Return it as plain values; `ours` is what the first judge is called there."""
        rows = zip(self.specs, self.by_supernet, self.by_training, strict=True)
        return {
            "spearman": self.spearman, "low": self.low, "high": self.high, "enough": ENOUGH, "holds": self.holds,
            "nets": [
                {"spec": Spec.architecture(spec), ours: first, "by_training": second}
                for spec, first, second in rows
            ],
        }  # fmt: skip


def picked(space: Space, n: int, seed: int) -> tuple[Spec, ...]:
    """Return so many networks of a space, no two the same, drawn as a search draws its first; fewer if it has fewer."""
    generator = np.random.default_rng(seed)
    found: dict[Spec, None] = {}
    while len(found) < min(n, len(space)):
        found[space.sample(generator)] = None
    return tuple(found)


def rank_check(specs: Sequence[Spec], ours: Judge, theirs: Judge, advance: Callable[[], None] | None = None) -> Ranks:
    """Return how alike two judges rank networks.

    Parameters
    ----------
    specs
        At least `FEWEST_CHECKED`.
    ours, theirs
        `by_supernet` and `by_training`.
    advance
        Called after each network.
    """
    if len(specs) < FEWEST_CHECKED:
        raise ValueError(
            f"{len(specs)} networks have no interval of a rank correlation; give at least {FEWEST_CHECKED}"
        )
    pairs = []
    for spec in specs:
        pairs.append((ours(spec), theirs(spec)))
        if advance is not None:
            advance()
    first, second = (tuple(each) for each in zip(*pairs, strict=True))
    return Ranks(tuple(specs), first, second, *spearman(first, second))


def _mean_psnr(module: Callable[[torch.Tensor], torch.Tensor], pairs: Pairs, multiple: int) -> float:
    import torch

    def call(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pictures)).numpy()

    return float(np.mean(psnr(restored(call, pairs, _BATCH, multiple), pairs)))


def spearman(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Return Spearman's rank correlation and its 95 % interval.

    By Fisher's z with the variance (1 + r^2 / 2) / (n - 3) of Bonett and Wright (2000, Psychometrika 65).
    """
    from scipy import stats

    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan, -1.0, 1.0
    r = float(stats.spearmanr(a, b).statistic)
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r)))
    far = _Z95 * math.sqrt((1 + r**2 / 2) / (len(a) - 3))
    return r, min(r, math.tanh(z - far)), max(r, math.tanh(z + far))
