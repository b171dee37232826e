"""How a network is trained: the settings of ``train``, each one checked before anything is read or computed.

There is no budget in seconds: what was reached in a time can't be reached again on another day, and what was reached in
a number of steps can.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itae.base.checks import above_0, number, one_of, true_or_false, whole
from itae.base.errors import UserError
from itae.base.threads import cpu_count
from itae.portable.devices.processor import emulated

if TYPE_CHECKING:
    from itae.portable.data.pairs import Splits

PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Train:
    """Settings of a training.

    Parameters
    ----------
    steps
        Batches that the network learns from. Default 2000.
    crop
        Height and width of what is cut from the pictures, in pixels; a multiple of the network's, and no larger than
        the pictures. Default 64.
    batch
        Crops a step. Default 16.
    lr
        Highest learning rate of Adam (betas .9 and .99). Default .001; at .004 with 16 channels, and at .002 with 32,
        U-Nets without `clip` ended at no correction at all.
    warmup
        Share of the steps over which the rate grows to that, at first; then it falls to 0 along a cosine. In [0, 1);
        default .02.
    eps
        Of the Charbonnier loss, mean of sqrt(error^2 + eps^2), in units of pictures in 0..1: about where it turns from
        a squared error to an absolute one. Default .001.
    fft
        Weight of the absolute error of the crops' Fourier transforms, added to that; 0 does without. Default .1.
    ema
        Decay of the running mean of the weights a step, which is what is kept; in [0, 1), and 0 keeps the last weights.
        It is lower over the first steps. Default .999.
    clip
        Length to which longer gradients are cut, so that one odd batch breaks nothing; null: none are. Default 1.
    teacher_weight
        With a teacher, the share of the loss against the teacher's output; the rest is against the sharp picture.
        In (0, 1]; default .5. Without one it does nothing.
    precision
        What is multiplied in: ``fp32``; ``bf16``, by autocast, weights and sums in float32 as ever; ``auto`` (default),
        bf16 where the processor has instructions for it, else fp32.
    channels_last
        Whether channels lie next to each other in memory. Default true: it was faster in both precisions on what was
        measured. For a network that can't be run so, false.
    every
        Steps between two validations, each of which saves a checkpoint; null (default) makes ten of a training.
    threads
        Of torch. The same number of threads makes the same weights, to the bit. Default 1.
    seed
        Of crops, flips, turns and their order. Default 0.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    steps: int = 2000
    crop: int = 64
    batch: int = 16
    lr: float = 1e-3
    warmup: float = 0.02
    eps: float = 1e-3
    fft: float = 0.1
    ema: float = 0.999
    clip: float | None = 1.0
    teacher_weight: float = 0.5
    precision: str = "auto"
    channels_last: bool = True
    every: int | None = None
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        whole("train.steps", self.steps, low=1, high=100_000_000)
        whole("train.crop", self.crop, low=8, high=4096)
        whole("train.batch", self.batch, low=1, high=4096)
        above_0("train.lr", self.lr, high=1)
        for name, value in (("warmup", self.warmup), ("ema", self.ema)):
            number(f"train.{name}", value, 0, 1)
            if value == 1:
                raise UserError(f"train.{name}={value!r} must be a number of at least 0 and below 1.")
        above_0("train.eps", self.eps, high=1)
        number("train.fft", self.fft, 0)
        if self.clip is not None:
            above_0("train.clip", self.clip)
        above_0("train.teacher_weight", self.teacher_weight, high=1)
        one_of("train.precision", self.precision, PRECISIONS)
        true_or_false("train.channels_last", self.channels_last)
        whole("train.every", self.every, low=1, optional=True)
        whole("train.threads", self.threads, low=1)
        whole("train.seed", self.seed, low=0, high=2**63 - 1)

    def check(self) -> None:
        """Raise a `UserError` for what this machine can't do."""
        if self.threads > (most := cpu_count()):
            raise UserError(
                f"train.threads={self.threads} are more than the CPUs for this process; it must be at most {most}."
            )

    def fits(self, multiple: int, name: str, splits: Splits) -> None:
        """Raise a `UserError` where crops don't fit a network, whose pictures are multiples, or the pictures."""
        self.halves(multiple, name)
        if self.crop > (most := min(splits.train.sharp.shape[-2:])):
            raise UserError(f"train.crop={self.crop} is larger than the pictures; it must be at most {most}.")

    def halves(self, multiple: int, name: str) -> None:
        """Raise a `UserError` where crops aren't multiples of what a network takes."""
        if self.crop % multiple:
            fits = -(-self.crop // multiple) * multiple
            raise UserError(
                f"train.crop={self.crop} must be a multiple of {multiple}, for {name} halves pictures; take {fits}."
            )

    @property
    def bf16(self) -> bool:
        """Whether bfloat16 is multiplied, on this machine."""
        return self.precision == "bf16" or (self.precision == "auto" and not emulated("bf16"))

    @property
    def validated(self) -> int:
        """Steps between two validations."""
        return self.every or -(-self.steps // 10)

    def key(self, taught: bool) -> dict[str, Any]:
        """Return what of it the weights depend on, as plain values; `taught` says whether there is a teacher.

        How often they are validated is among them: it is what the curve that is kept beside them has.
        """
        values = dataclasses.asdict(self) | {
            "precision": "bf16" if self.bf16 else "fp32",
            "every": self.validated,
        }
        if not taught:
            del values["teacher_weight"]
        return values
