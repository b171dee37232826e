"""Arrays as bytes: those of shards put together, and the files that hold them."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np


class Gathered:
    """What the shards hold beside vectors, put together as they pass by."""

    def __init__(self) -> None:
        self.dim = 0  # the width of the vectors, once there are some
        self._rows: dict[str, list[np.ndarray]] = {}
        self._sums: dict[str, np.ndarray] = {}

    def take(self, dim: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Take what a shard holds beside its vectors, which are `dim` wide."""
        first = self.dim == 0
        self.dim = self.dim or dim
        assert first or arrays.keys() == {*self._rows, *self._sums}, "every shard holds the same arrays"
        assert dim == self.dim > 0, "every shard has the same width"
        for name, array in arrays.items():
            if name.startswith(("row.", "some.")):
                self._rows.setdefault(name, []).append(array)
            else:
                # A histogram of uint16 must not wrap, nor a float32 sum lose its small terms.
                wide = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
                self._sums[name] = wide if first else self._sums[name] + wide

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""
        found = {name: np.concatenate(parts) for name, parts in self._rows.items()} | self._sums
        named = {name.partition(".")[2]: array for name, array in found.items()}
        assert len(named) == len(found), "two arrays have one name"
        return named


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of an npz, which depend on the arrays alone: sorted, C order, dated 1980 by numpy."""
    buffer = io.BytesIO()
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    assert all(array.dtype.kind in "biufU" for array in ordered.values()), "numbers and text only, no objects"
    np.savez(buffer, **ordered)  # type: ignore[arg-type]
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Return the bytes of an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npy_header(n: int, dim: int) -> bytes:
    """Return what stands before the numbers in an npy file of float32 [n, dim]."""
    buffer = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()
