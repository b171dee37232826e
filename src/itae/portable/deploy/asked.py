"""What is asked for: a network, pictures to learn from and to judge by, how it is trained and optimised, devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    Raises
    ------
    UserError
        Where sizes don't fit each other.
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

    def __post_init__(self) -> None:
        """Check sizes."""
        self.train.check()
        if self.pairs.size != self.measure.size:
            raise UserError(
                f"pairs.size={self.pairs.size} must be measure.size={self.measure.size}: a network is judged as it is "
                "timed; set measure.size alone."
            )
        self.train.halves(self.net.multiple, self.net.name)
        if self.train.crop > self.pairs.train_size:
            raise UserError(
                f"train.crop={self.train.crop} is larger than pairs.train_size={self.pairs.train_size}; lower one, or "
                "raise the other."
            )
