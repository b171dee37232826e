"""Versions of bases for tests of search."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from itae.knowledge.records.rows import Rows, filed
from itae.knowledge.records.snapshot import after, empty


def snapshot_of(vectors_NE, ids=None, digests=None, labels=None):
    """Return a base in memory."""
    n = len(vectors_NE)
    ids = [f"{i:06d}" for i in range(n)] if ids is None else ids
    digests = np.zeros((n, 32), np.uint8) if digests is None else digests
    rows = Rows(ids, np.asarray(vectors_NE), [()] * n if labels is None else labels, "memory", digests, [None] * n)
    rows = filed(rows, 0, datetime(1970, 1, 1, tzinfo=UTC), {})
    return after(empty({}, ""), np.zeros(0, np.int64), {}, rows, 1, "root")
