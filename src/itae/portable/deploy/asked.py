"""What is asked for: a network, pictures to learn from and to judge by, how it is trained and optimised, devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itae.base.construct import named
from itae.base.errors import UserError
from itae.portable.cells.asked import Measuring
from itae.portable.data.wanted import Wanted
from itae.portable.devices.device import Net
from itae.portable.train.options import Train


@dataclass(frozen=True)
class Learning(Measuring):
    """What each study asks for that trains networks and runs them; what isn't told here is `Measuring`'s.

    Parameters
    ----------
    source, blur, noise, pairs
        As `itae.portable.data.frozen.frozen` takes them; pairs to judge by are as large as pictures that are timed.
    train
        How a network is trained.
    """

    source: Any
    blur: Any
    noise: Any
    pairs: Wanted
    train: Train

    def judged_as_timed(self) -> None:
        """Raise a `UserError` where pictures to judge by and those that are timed are of different sizes."""
        if self.pairs.size != self.measure.size:
            raise UserError(
                f"pairs.size={self.pairs.size} must be measure.size={self.measure.size}: a network is judged as it is "
                "timed; set measure.size alone."
            )

    def fits(self, train: Train, nets: Sequence[tuple[str, int]]) -> None:
        """Raise a `UserError` where a training fits not the machine, the pairs or nets (name and multiple of each)."""
        train.check()
        for name, multiple in nets:
            train.halves(multiple, name)
        if train.crop > self.pairs.train_size:
            raise UserError(
                f"train.crop={train.crop} is larger than pairs.train_size={self.pairs.train_size}; lower one, or "
                "raise the other."
            )


@dataclass(frozen=True)
class Deploy(Learning):
    """All that is asked for; what isn't told here is `Learning`'s.

    Parameters
    ----------
    net
        As it begins.
    steps
        Optimisations by name, in their order.
    teacher
        A trained network that `net` is to resemble, too; None (default) for none.

    Raises
    ------
    UserError
        Where sizes don't fit each other, or a step doesn't fit the network and the devices.
    """

    net: Net
    steps: Mapping[str, Any]
    teacher: Net | None = None

    def __post_init__(self) -> None:
        """Check sizes and steps."""
        self.judged_as_timed()
        nets = [(net.name, net.multiple) for net in (self.net, self.teacher) if net is not None]
        self.fits(self.train, nets)
        for name, step in self.steps.items():
            step.check(self.net, tuple(self.devices.values()))
            if (tune := getattr(step, "tune", None)) is not None:
                if not hasattr(tune, "halves"):  # a plain value: a node's class was checked when it was made
                    raise UserError(
                        f"steps.{name}.tune={tune!r} is no training; leave it out, and set its options, as in "
                        f"steps.{name}.tune.steps=200."
                    )
                with named(f"steps.{name}.tune", "train"):
                    self.fits(tune, nets)
