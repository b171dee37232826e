"""Pairs of a blurred and a sharp picture, and the three splits of a study: what training, choice and judging share.

What is wrong here is a mistake of who made them, not of a user, so it is a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of one split.

    Letters: N pairs, H, W height and width of all of them, K side of a PSF (odd).

    Parameters
    ----------
    blurred, sharp
        Uint8 [N, 3, H, W], sRGB.
    photographs
        Of each pair, the photograph or scene that it is of: intervals are over these.
    blur_px
        Float32 [N], the length of the blur's path in pixels; nan where nobody knows.
    psfs
        Float32 [N, K, K], each non-negative with sum 1, by which the sharp picture was convolved in linear light; None
        where pairs weren't made by one PSF each.

    Raises
    ------
    ValueError
        When shapes, types or numbers aren't those.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    photographs: tuple[str, ...]
    blur_px: np.ndarray
    psfs: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check every array."""
        shape, n = self.blurred.shape, len(self.photographs)
        for name in ("blurred", "sharp"):
            array = getattr(self, name)
            if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] != 3 or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}; both are uint8 [N, 3, H, W] of one shape")
        if not n or shape[0] != n:
            raise ValueError(f"{shape[0]} pairs of {n} photographs; there is one of each pair, and a pair at least")
        if self.blur_px.dtype != np.float32 or self.blur_px.shape != (n,) or (self.blur_px < 0).any():
            raise ValueError(f"blur_px is {self.blur_px.dtype} {self.blur_px.shape}; it is float32 [{n}], none below 0")
        if self.psfs is not None:
            _check_psfs(self.psfs, n)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.photographs)


def _check_psfs(psfs_NKK: np.ndarray, n: int) -> None:
    shape = psfs_NKK.shape
    if psfs_NKK.dtype != np.float32 or psfs_NKK.ndim != 3 or shape[0] != n or shape[1] != shape[2] or not shape[1] % 2:
        raise ValueError(f"psfs is {psfs_NKK.dtype} {shape}; it is float32 [{n}, K, K] with an odd K")
    if not (psfs_NKK >= 0).all() or not np.allclose(psfs_NKK.sum((1, 2), dtype=np.float64), 1, atol=1e-4):
        raise ValueError("a PSF of psfs is negative somewhere, or its sum isn't 1")


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits of a study. No photograph is in two of them.

    Parameters
    ----------
    train, validation, test
        Nets learn from the first, are chosen by the second, and are judged by the third once, at the end.
    facts
        Plain values: the source, names, sha256 and credit of photographs by split, blur, noise, seed.
    key
        Sha256 of contents and settings, in hex.

    Raises
    ------
    ValueError
        When a photograph is in two splits.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    facts: Mapping[str, Any]
    key: str

    def __post_init__(self) -> None:
        """Check that splits share no photograph."""
        seen: dict[str, str] = {}
        for split, pairs in self.items():
            for photograph in set(pairs.photographs):
                if seen.setdefault(photograph, split) != split:
                    raise ValueError(f"{photograph!r} is in {seen[photograph]} and in {split}")

    def items(self) -> tuple[tuple[str, Pairs], ...]:
        """Return the splits by name: train, validation, test."""
        return ("train", self.train), ("validation", self.validation), ("test", self.test)
