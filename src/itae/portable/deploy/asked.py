"""What is asked for: a network, pictures to learn from and to judge by, how it is trained and optimised, devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.base.construct import named
from itae.base.errors import UserError
from itae.portable.data.wanted import Wanted
from itae.portable.devices.device import Device, Net
from itae.portable.train.options import Train


@dataclass(frozen=True)
class Deploy:
    """All that is asked for.

    Parameters
    ----------
    net
        As it begins.
    source, blur, noise, pairs
        As `itae.portable.data.frozen.frozen` takes them; pairs to judge by are as large as pictures that are timed.
    train
        How it is trained.
    steps
        Optimisations by name, in their order.
    devices
        By name.
    left_out
        Why each other device of the config is not run on.
    measure
        An `itae.clock.Measure`.
    cache
        Where pairs, weights and exports are kept.
    seed
        Of photographs and blur.
    teacher
        A trained network that `net` is to resemble, too; None (default) for none.

    Raises
    ------
    UserError
        Where sizes don't fit each other, or a step doesn't fit the network and the devices.
    """

    net: Net
    source: Any
    blur: Any
    noise: Any
    pairs: Wanted
    train: Train
    steps: Mapping[str, Any]
    devices: Mapping[str, Device]
    left_out: Mapping[str, str]
    measure: Any
    cache: Path
    seed: int
    teacher: Net | None = None

    def __post_init__(self) -> None:
        """Check sizes and steps."""
        if self.pairs.size != self.measure.size:
            raise UserError(
                f"pairs.size={self.pairs.size} must be measure.size={self.measure.size}: a network is judged as it is "
                "timed; set measure.size alone."
            )
        self._fits(self.train)
        for name, step in self.steps.items():
            step.check(self.net, tuple(self.devices.values()))
            if (tune := getattr(step, "tune", None)) is not None:
                with named(f"steps.{name}.tune", "train"):
                    self._fits(tune)

    def _fits(self, train: Train) -> None:
        """Raise a `UserError` where a training doesn't fit this machine, the networks or the pairs."""
        train.check()
        for net in (self.net, self.teacher):
            if net is not None:
                train.halves(net.multiple, net.name)
        if train.crop > self.pairs.train_size:
            raise UserError(
                f"train.crop={train.crop} is larger than pairs.train_size={self.pairs.train_size}; lower one, or "
                "raise the other."
            )
