"""A memory and its queries: which are asked, and which rows each must not find."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from itae.knowledge.answers.vote import Plurality
from itae.tasks.asked import asked_of
from itae.tasks.memory import Said


def entry(vectors, bytes_of):
    digests = np.array([[ord(one)] * 32 for one in bytes_of], np.uint8)
    vectors = np.array(vectors, np.float32)
    return SimpleNamespace(ids=[f"{i}" for i in range(len(vectors))], vectors=vectors, digests=digests,
                           path=SimpleNamespace(name="x"))  # fmt: skip


def test_a_querys_own_bytes_and_group_are_out_of_a_gallery():
    """Images 0 and 1 are in both; 0 is a row itself, and of the group of row 2; nobody holds 3."""
    rows = (
        entry([[1, 0], [0, 1], [1, 0.1], [0, 1.1]], "abcd"),
        Said([("x",), ("y",), ("x",), ("z",)], ["g", None, "g", None]),
    )
    queries = (
        entry([[1, 0], [0, 1], [1, 0], [1, 0], [1, 1]], "abefh"),
        Said([("x",), ("y",), ("x",), (), ("unknown",)], [None, None, "g", None, None]),
    )
    every = asked_of(rows, queries)
    assert (every.ids, every.truth_Q[-1]) == (["0", "1", "2", "4"], 3), "of a class that no row has"
    asked = every.of_known_classes()
    assert (asked.own, asked.ids) == (False, ["0", "1", "2"]), "those without a label that a row has are not asked"
    assert [asked.memory.label_names[code] for code in asked.truth_Q] == ["x", "y", "x"]
    codes_M, codes_Q = asked.excluded
    out = [np.flatnonzero(codes_M == code).tolist() for code in codes_Q]
    assert out == [[0, 2], [1], [0, 2]], "what is joined by bytes or by name, through others too"
    told = Plurality(1).ballot(asked.memory, asked.queries_QE, excluded=asked.out_for(np.arange(3))).winners
    assert asked.memory.label_names[told[1]] == "z"


def test_rows_are_asked_without_themselves_and_those_without_a_label_are_not():
    rows = entry([[1, 0], [0, 1], [1, 1], [1, 1]], "abcc"), Said([("x",), (), ("y",), ("y",)], [None] * 4)
    asked = asked_of(rows, None)
    assert (asked.own, asked.ids) == (True, ["0", "2", "3"])
    codes_M, codes_Q = asked.excluded
    assert [np.flatnonzero(codes_M == code).tolist() for code in codes_Q] == [[0], [2, 3], [2, 3]]


def test_nothing_is_out_where_a_gallery_shares_nothing():
    rows, queries = entry([[1, 0], [0, 1]], "ab"), entry([[1, 1]], "c")
    asked = asked_of((rows, Said([("x",), ("y",)], [None] * 2)), (queries, Said([("x",)], [None])))
    assert asked.out_for(np.arange(1)) is None
