"""Words as a query: by themselves for what is shown first, and brought among images for when some are judged.

Shapes: E width of the space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itae.knowledge.records.snapshot import Snapshot
from itae.search.judged import Query
from itae.search.text.bridge import bridged
from itae.search.text.encoder import TextEncoder

_UNIT = 2.0**40  # of numbers that are summed as whole ones, so that no order of rows changes a mean
_ROWS = 4096  # at a time
_MEAN = "mean vector"  # a memo of a snapshot


def text_queries(encoder: TextEncoder, texts: Sequence[str], snapshot: Snapshot, judging: bool) -> list[Query]:
    """Return a query for each text.

    Parameters
    ----------
    encoder
        The text tower of the base's space.
    texts
        What is looked for.
    snapshot
        The version that is searched, whose mean image the gap leads to.
    judging
        Whether images are, or will be, judged: else there is nothing to stand among.

    Raises
    ------
    UserError
        For a text that is empty, or none of whose words the tower knows.
    """
    vectors_TE = encoder.encode(texts)
    if not judging or not len(snapshot):
        return [Query(vector_E, is_text=True) for vector_E in vectors_TE]
    means = encoder.mean_E, mean_of(snapshot)
    return [Query(vector_E, is_text=True, among_images_E=bridged(vector_E, *means)) for vector_E in vectors_TE]


def mean_of(snapshot: Snapshot) -> np.ndarray:
    """Return the mean of the live rows' vectors, float64 [E], to the last bit whatever their order."""
    if _MEAN not in snapshot.memo:
        total_E = np.zeros(snapshot.vectors_ME.shape[1], np.int64)
        for start in range(0, len(snapshot.live), _ROWS):
            some = np.asarray(snapshot.vectors_ME[snapshot.live[start : start + _ROWS]], np.float64)
            total_E += np.rint(some * _UNIT).astype(np.int64).sum(axis=0)
        snapshot.memo[_MEAN] = total_E / (_UNIT * len(snapshot))
    return snapshot.memo[_MEAN]
