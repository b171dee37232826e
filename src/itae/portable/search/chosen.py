"""Which candidates are worth converting and measuring: those by which predicted fronts have their area."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itae.portable.search.fronts import Reference, hypervolume, ranks


def chosen(quality_N: np.ndarray, ms_DN: np.ndarray, references: Sequence[Reference], most: int) -> list[int]:
    """Return at most so many networks, the one that matters most first.

    Those on the fronts of devices come first, each time the one that adds most area to those chosen before, as a share
    of the device's whole area, summed over devices: so it is spread along fronts, and over devices. (Such a sum has
    diminishing returns, and so what is chosen has at least 1 - 1/e of what any other choice of as many has; Nemhauser
    et al. 1978.) Places that are left are filled from the fronts behind the first, in the same way, since judge and
    predictor err.

    Parameters
    ----------
    quality_N
        Judged; NaN where it could not be.
    ms_DN
        Predicted; NaN where it could not be.
    references
        Of each device. A device on which nothing has an area takes no part.
    most
        Networks.
    """
    taken: list[int] = []
    ms_DN = np.asarray(ms_DN, float)
    rank_DN = np.array([ranks(quality_N, ms_N) for ms_N in ms_DN])
    for rank in range(int(rank_DN.max(initial=-1)) + 1):
        on_DN = rank_DN == rank
        layer = [int(i) for i in np.flatnonzero(on_DN.any(0)) if int(i) not in taken]
        taken += _greedy(quality_N, np.where(on_DN, ms_DN, np.nan), references, layer, most - len(taken))
    return taken


def _greedy(
    quality_N: np.ndarray, ms_DN: np.ndarray, references: Sequence[Reference], layer: list[int], most: int
) -> list[int]:
    def area(device: int, nets: list[int]) -> float:
        return hypervolume(quality_N[nets], ms_DN[device, nets], references[device])

    whole = {i: total for i in range(len(references)) if (total := area(i, layer)) > 0}
    taken: list[int] = []
    while len(taken) < most and (left := [i for i in layer if i not in taken]):
        # What is there already is the same for all of them.
        adds = [sum(area(device, [*taken, i]) / total for device, total in whole.items()) for i in left]
        before = sum(area(device, taken) / total for device, total in whole.items()) if taken else 0.0
        best = int(np.argmax(adds))
        if adds[best] - before <= 1e-12:
            break
        taken.append(left[best])
    return taken
