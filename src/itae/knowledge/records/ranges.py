"""Numbers of rows as ranges, ``(first, last)``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Range = tuple[int, int]


def ranges(numbers: Iterable[int] | np.ndarray) -> tuple[Range, ...]:
    """Return whole numbers as ranges ``(first, last)``, ascending."""
    found = np.unique(np.asarray(list(numbers) if not isinstance(numbers, np.ndarray) else numbers, np.int64))
    if not len(found):
        return ()
    breaks = np.flatnonzero(np.diff(found) > 1)
    firsts, lasts = found[np.r_[0, breaks + 1]], found[np.r_[breaks, len(found) - 1]]
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def within(numbers: np.ndarray, held: Sequence[Range]) -> np.ndarray:
    """Return which whole numbers lie in one of some ranges, which ascend and don't overlap."""
    if not held:
        return np.zeros(len(numbers), bool)
    firsts, lasts = np.array(held, np.int64).T
    place = np.searchsorted(firsts, numbers, side="right") - 1
    return (place >= 0) & (numbers <= lasts[np.maximum(place, 0)])


def merged(*some: Sequence[Range]) -> tuple[Range, ...]:
    """Return the ranges that hold what any of some hold."""
    found: list[list[int]] = []
    for first, last in sorted(each for part in some for each in part):
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return tuple((first, last) for first, last in found)
