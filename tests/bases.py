"""Bases and rows for tests of them."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.base import create, in_memory
from itae.knowledge.records.rows import Rows

os.environ.setdefault("LANCE_LOG", "error")  # before a test imports it
SPACE = {"model": "toy", "pool": "cls"}
WORDS = {"backbone": "toy"}
STORES = ("memory", "lance")


def base(store, folder, images="refer"):
    """Return an empty base."""
    return in_memory(SPACE, WORDS, images) if store == "memory" else create(folder / "kb", SPACE, WORDS, images)


def made(ids, labels=None, width=6, seed=0, source="web", **more):
    """Return rows: the image of an id is its name, its vector is drawn by that, its label what stands before the /."""
    vectors = np.array([vector(each, width, seed) for each in ids]).reshape(-1, width)
    digests = np.array([list(image(each, seed)) for each in ids], np.uint8).reshape(-1, 32)
    labels = [[each.split("/")[0]] for each in ids] if labels is None else labels
    return Rows(list(ids), vectors, labels, source, digests, **more)


def picture(each, seed=0):
    return f"{seed} {each}".encode()


def image(each, seed=0):
    return hashlib.sha256(picture(each, seed)).digest()


def vector(each, width=6, seed=0):
    return np.random.default_rng(list(image(each, seed))).standard_normal(width)


def content(snapshot, numbers=True):
    """Return all that is in a snapshot, by id, but times."""
    extra = [name for name in snapshot.table.column_names if name != "time"]
    return {
        snapshot.ids[i]: (
            int(snapshot.numbers_M[i]) if numbers else None,
            tuple(sorted(snapshot.labels_of(i))),
            snapshot.vectors_ME[i].tobytes(),
            snapshot.digests_M32[i].tobytes(),
            tuple((name, value) for name in extra if (value := snapshot.column(name, i)) is not None),
        )
        for i in snapshot.live.tolist()
    }


def step(kb, only=None):
    """Make the next edit of a base, which follows from its version and its rows alone; of `only` one verb, or any."""
    one = kb.snapshot()
    version, there = one.version, sorted(one.position)
    draw = random.Random(version)
    verb = only or draw.choice(["add"] * 4 + ["correct"] * 3 + ["delete"] * 2 + ["undo", "restore", "purge"])
    verb = ["purge", "add", "delete"][version % 3] if only == "purge" else verb
    some = draw.sample(there, min(3, len(there)))
    ways = {
        "correct": lambda: kb.correct(some, [f"label {version}"]),
        "delete": lambda: kb.delete(ids=some),
        "undo": lambda: kb.undo(version),
        "restore": lambda: kb.restore(version - 1),
    }
    try:
        if verb == "purge":
            kb.purge()
        if verb == "purge" or kb.commit(ways[verb]()):
            return
    except (UserError, KeyError):  # nothing to undo or to purge, or it is to add
        pass
    kb.commit(kb.add(made([f"a{version}-{i}" for i in range(3)])))
