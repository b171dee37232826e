"""What is asked for when networks are timed on devices: both, and the clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.portable.devices.device import Device, Net

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Row:
    """One network of a study.

    Parameters
    ----------
    name
        What it is called on the command line and in files.
    told
        What it is called in tables.
    net
        The network.
    """

    name: str
    told: str
    net: Net


@dataclass(frozen=True)
class Measuring:
    """What each study asks for that runs networks on devices.

    Parameters
    ----------
    devices
        By name.
    left_out
        Why each other device of the config is not run on.
    measure
        An `itae.clock.Measure`.
    cache
        Where exports are kept, and pairs and weights of what learns.
    seed
        Of all that is drawn.
    """

    devices: Mapping[str, Device]
    left_out: Mapping[str, str]
    measure: Any
    cache: Path
    seed: int


@dataclass(frozen=True)
class Asked(Measuring):
    """All that is asked for where networks are timed; what isn't told here is `Measuring`'s.

    Parameters
    ----------
    rows
        The base, against which the others' times are told, first.
    calibration
        Pictures, float32 [1, 3, H, W] in 0..1, that quantised exports are calibrated on; none (default): some are made.
    """

    rows: Sequence[Row]
    calibration: Sequence[np.ndarray] = ()

    def size(self) -> tuple[tuple[int, int], str | None]:
        """Return height and width of the pictures, and, if they were enlarged to fit the networks, a note of it."""
        asked = self.measure.size
        multiple = math.lcm(*(row.net.multiple for row in self.rows))
        side = multiple * math.ceil(asked / multiple)
        if side == asked:
            return (side, side), None
        told = (
            f"measure.size={asked}: pictures are padded to {side} x {side}, since these networks need heights and "
            f"widths that are multiples of {multiple}."
        )
        return (side, side), told
