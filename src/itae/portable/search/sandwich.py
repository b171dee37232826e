"""One step of training of a supernet: the sandwich rule, with distillation in place (Yu, Huang 2019, arXiv 1903.05134).

Of one batch learn the largest network, the smallest, and some that are drawn. All learn from the sharp pictures; all
but the largest also from what the largest makes of the blurred ones. Operators have no largest and smallest, so those
of all of them are drawn at each step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.checks import above_0, number, whole

if TYPE_CHECKING:
    import torch

    from itae.portable.nets.spec import Spec
    from itae.portable.search.space import Space

    Call = Callable[[Spec], torch.Tensor]
    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Sandwich:
    """How a supernet learns from a batch.

    Parameters
    ----------
    drawn
        Networks a step beside the largest and the smallest. Default 2.
    distil
        How much of the loss of all but the largest is against what the largest makes, in [0, 1]; the rest is against
        the sharp pictures. Default 0: at first the largest is no teacher.
    seed
        Of what is drawn. Default 0.
    steps
        Of the supernet's training, at least 1; null (default): as many as one network's, ``train.steps``.
    lr
        Its highest learning rate, above 0; null: one network's, ``train.lr``. Default .0005: at .001 what one network
        learned did harm to others.

    Raises
    ------
    UserError
        When a value isn't one of those.
    """

    drawn: int = 2
    distil: float = 0.0
    seed: int = 0
    steps: int | None = None
    lr: float | None = 5e-4

    def __post_init__(self) -> None:
        """Check every value."""
        whole("supernet.drawn", self.drawn, low=0, high=64)
        number("supernet.distil", self.distil, low=0, high=1)
        whole("supernet.seed", self.seed, low=0, high=2**63 - 1)
        whole("supernet.steps", self.steps, low=1, high=100_000_000, optional=True)
        if self.lr is not None:
            above_0("supernet.lr", self.lr, high=1)

    def key(self) -> dict[str, Any]:
        """Return what of it weights depend on beside the settings of training, which have steps and rate."""
        return {"drawn": self.drawn, "distil": self.distil, "seed": self.seed}

    def specs(self, space: Space, step: int) -> list[Spec]:
        """Return the networks that learn at a step, the largest first: of that step alone, whatever was before."""
        generator = np.random.default_rng((self.seed, step))
        ends = [space.varied(each, generator) for each in (space.largest, space.smallest)]
        return ends + [space.sample(generator) for _ in range(self.drawn)]

    def backward(self, space: Space, step: int, call: Call, sharp: torch.Tensor, loss: Loss) -> float:
        """Add the gradients of a batch to those of the supernet's weights, and return the loss of the largest network.

        Parameters
        ----------
        space
            Of the supernet.
        step
            Number of the step, from 0.
        call
            output = call(spec): what a network makes of the batch's blurred pictures, [B, 3, H, W] in 0..1.
        sharp
            What it should make, [B, 3, H, W].
        loss
            value = loss(output, wanted).
        """
        specs = self.specs(space, step)
        told, teacher = 0.0, sharp
        for at, spec in enumerate(specs):
            output = call(spec)
            value = loss(output, sharp)
            if at == 0:
                told, teacher = float(value.detach()), output.detach()
            else:
                value = (1 - self.distil) * value + self.distil * loss(output, teacher)
            (value / len(specs)).backward()
        return told
