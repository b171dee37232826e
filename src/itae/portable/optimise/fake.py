"""A net that computes as if it were in eight bits, so that training can get used to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from itae.portable.devices.device import Cost, Net

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True, eq=False)
class FakeQuantised:
    """A net whose convolutions round what they are given and their weights; its weights have the net's own names.

    Parameters
    ----------
    net
        The one in float.
    calibration
        Pictures, float32 [1, 3, H, W], by which the ranges of what comes in are found; they stay as they are.
    """

    net: Net
    calibration: Sequence[np.ndarray] = field(repr=False)

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.net.name

    @property
    def multiple(self) -> int:
        """Height and width have to be multiples of it."""
        return self.net.multiple

    def settings(self) -> Mapping[str, Any]:
        """Return what it is built from: the net's settings, and the sha256 of the pictures."""
        digest = hashlib.sha256()
        for picture in self.calibration:
            digest.update(picture.tobytes())
        return {"class": "FakeQuantised", "net": dict(self.net.settings()), "calibration": digest.hexdigest()}

    def build(self) -> nn.Module:
        """Return the module in eval mode on the CPU."""
        from itae.portable.optimise.fake_module import quantise

        return quantise(self.net.build(), self.calibration)

    def cost(self, height: int, width: int) -> Cost:
        """Return what the net costs."""
        return self.net.cost(height, width)
