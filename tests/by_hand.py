"""Snapshots made by hand, and the slow twins of what answers: loops, float64, and no library."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pyarrow as pa

from itae.knowledge.records.snapshot import NONE, SEVERAL, Snapshot


def base(vectors, labels, ids=None, groups=None, digests=None, sources=None, dead=(), order=None, places=None):
    """Return a snapshot of these rows; a label is a word, None or a tuple of words, `order` that of the names."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    vectors = (vectors / lengths).astype(np.float32)
    n = len(labels)
    ids = [f"row{i:04d}" for i in range(n)] if ids is None else list(ids)
    words = [label if isinstance(label, tuple) else () if label is None else (label,) for label in labels]
    names = tuple(order or sorted({name for some in words for name in some}))
    codes = [tuple(sorted(names.index(name) for name in some)) for some in words]
    single = [NONE if not some else some[0] if len(some) == 1 else SEVERAL for some in codes]
    if digests is None:
        digests = [hashlib.sha256(name.encode()).digest() for name in ids]
    digests_M32 = np.frombuffer(b"".join(digests), np.uint8).reshape(n, 32)
    alive = np.ones(n, bool)
    alive[list(dead)] = False
    table = pa.table(
        {
            "group": pa.nulls(n, pa.string()),
            "place": pa.array(places or [None] * n, pa.string()),
            "source": pa.array(sources or ["here"] * n, pa.string()),
            "time": pa.nulls(n, pa.timestamp("us", "UTC")),
        }
    )
    return Snapshot(
        space={"model": "toy"},
        version=1,
        root=hashlib.sha256(repr((ids, labels, vectors.tobytes(), dead)).encode()).hexdigest(),
        vectors_ME=vectors,
        ids=ids,
        alive_M=alive,
        labels_M=np.array(single, np.int32).reshape(n),
        label_names=names,
        several={i: some for i, some in enumerate(codes) if len(some) > 1},
        groups_M=np.arange(n) if groups is None else np.asarray(groups, np.int64),
        digests_M32=digests_M32,
        table=table,
    )


def some_base(draw, n, groups=6, dead=0.2):
    """Return `n` rows that a generator draws: of the same vectors, near ones, none to three labels each, some dead."""
    kinds = draw.normal(size=(max(1, n // 2), 3))
    words = ["a", "b", "c", None, ("a", "b"), ("a", "b", "c")]
    return base(
        kinds[draw.integers(0, len(kinds), n)] + draw.choice([0, 0.1], (n, 1)) * draw.normal(size=(n, 3)),
        [words[i] for i in draw.integers(0, len(words), n)],
        ids=draw.permutation([f"{i:03d}" for i in range(n)]),
        groups=draw.integers(0, groups, n),
        dead=np.flatnonzero(draw.random(n) < dead),
        order=draw.permutation(["a", "b", "c", "nobody's"]).tolist(),
    )


def blobs(n, classes, seed=0, spread=0.4):
    """Return a snapshot of points around a centre for each class, as many in each."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    points = draw.normal(size=(classes, 6))[labels] + spread * draw.normal(size=(n, 6))
    return base(points, [f"class {label}" for label in labels.tolist()])


def slow_cosine(a, b):
    """Return the cosine of two float32 vectors, rounded to 1e-6, by exact sums."""
    a, b = (list(map(float, one)) for one in (a, b))
    dot, long = math.fsum(x * y for x, y in zip(a, b, strict=True)), math.fsum(x * x for x in a) ** 0.5
    long *= math.fsum(x * x for x in b) ** 0.5
    return round(max(-1.0, min(1.0, dot / long)), 6)


def slow_nearest(snapshot, query, k, allowed):
    """Return (position, similarity) of the `k` nearest of the allowed rows, by a sort of all."""
    found = [(-slow_cosine(snapshot.vectors_ME[i], query), snapshot.ids[i], i) for i in allowed]
    return [(i, -similar) for similar, _, i in sorted(found)[:k]]
