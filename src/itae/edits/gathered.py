"""What an edit takes from calibration images beside thresholds: arrays, which a space tells by their digest.

They are gathered without labels before a pass, and kept (`itae.embed.kept`): too many numbers for a key, and a row
depends on each of them.

Letters: n images that were looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.device import on_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gathered:
    """Arrays that were gathered of calibration images.

    Parameters
    ----------
    arrays
        By name; what they are, their edit knows.
    images
        Of how many images, n.
    values
        How many values there are for each edited block, where that may be none.
    """

    arrays: Mapping[str, np.ndarray]
    images: int
    values: Mapping[int, int] | None = None

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of all arrays: names, shapes and bytes."""
        return digest_of(self.arrays.items())

    def summary(self) -> dict[str, Any]:
        """Return what an entry says of it, as plain values."""
        told = None if self.values is None else {str(layer): count for layer, count in self.values.items()}
        return {"digest": self.digest, "images": self.images, "values": told}


def digest_of(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Return the sha256 (hex) of named arrays, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda pair: pair[0]):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode("ascii"))
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


class There:
    """An array of the host that is copied to a device once, for all batches."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._copies: dict[torch.device, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copies here: who gets this in another process makes their own."""
        return {"array": self.array, "_copies": {}}

    def on(self, device: torch.device) -> Tensor:
        """Return it as a tensor of `device`."""
        from torch import from_numpy

        if device not in self._copies:
            self._copies[device] = on_device(from_numpy(self.array), device)
        return self._copies[device]
