"""Bases and rows for tests of them."""

from __future__ import annotations

import hashlib

import numpy as np

from itae.knowledge.rows import Rows

SPACE = {"model": "toy", "pool": "cls"}


def made(ids, labels=None, width=6, seed=0, source="web", **more):
    """Return rows: the image of an id is the id itself, its vector is drawn by that."""
    vectors = np.stack([vector(each, width, seed) for each in ids]) if len(ids) else np.zeros((0, width), np.float32)
    digests = np.array([list(image(each, seed)) for each in ids], np.uint8).reshape(-1, 32)
    labels = [[each.split("/")[0]] for each in ids] if labels is None else labels
    return Rows(list(ids), vectors, labels, source, digests, **more)


def picture(each, seed=0):
    return f"{seed} {each}".encode()


def image(each, seed=0):
    return hashlib.sha256(picture(each, seed)).digest()


def vector(each, width=6, seed=0):
    draw = np.random.default_rng(int.from_bytes(image(each, seed)[:8], "little"))
    return draw.standard_normal(width)


def content(snapshot):
    """Return all that is in a snapshot, by id, but times."""
    extra = [name for name in snapshot.table.column_names if name != "time"]
    return {
        snapshot.ids[i]: (
            int(snapshot.numbers_M[i]),
            tuple(sorted(snapshot.labels_of(i))),
            snapshot.vectors_ME[i].tobytes(),
            snapshot.digests_M32[i].tobytes(),
            tuple((name, value) for name in extra if (value := snapshot.column(name, i)) is not None),
        )
        for i in snapshot.live.tolist()
    }
