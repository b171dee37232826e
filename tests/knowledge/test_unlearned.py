"""A base that has been through anything answers as one that was right from the start, to the last bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
from bases import base, made
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.vote import Auto, ClassMean, Distance, Plurality, Rank, Softmax
from itae.knowledge.answers.why import why
from itae.knowledge.curate.duplicates import duplicates
from itae.knowledge.curate.outliers import outliers
from itae.knowledge.curate.suspects import suspects

VOTERS = (Auto(), Plurality(3), Softmax(10, 0.07), Rank(10), Distance(10), ClassMean())
NAMES = [f"{label}/{i}" for label in ("cat", "dog", "eel") for i in range(6)]
LABELS: tuple[list[str], ...] = (["cat"], ["dog"], ["eel"], [], ["cat", "dog"], ["new"])


def changed(kb, draw):
    """Make one edit of any kind."""
    there = sorted(kb.snapshot().position)
    some = draw.sample(there, min(draw.randint(1, 4), len(there)))
    verb = draw.choice(["add", "replace", "delete", "correct", "undo"])
    try:
        if verb in ("add", "replace") or not there:
            ids = draw.sample(NAMES, draw.randint(1, 6))
            rows = made(ids, [draw.choice(LABELS) for _ in ids], groups=[draw.choice([None, "g1", "g2"]) for _ in ids])
            kb.commit(kb.add(rows, replace=True))
        elif verb == "undo":
            kb.commit(kb.undo(draw.randint(1, kb.snapshot().version)))
        else:
            kb.commit(kb.delete(ids=some) if verb == "delete" else kb.correct(some, [draw.choice("xyz")]))
    except UserError:
        pass  # a later edit touched the same rows


def right_from_the_start(snapshot, draw):
    """Return the snapshot of a new base that was given the same rows, in any order."""
    order = draw.sample(snapshot.live.tolist(), len(snapshot))
    ids, labels = [snapshot.ids[i] for i in order], [list(snapshot.labels_of(i)) for i in order]
    new = base("memory", None)
    new.commit(new.add(made(ids, labels, groups=[snapshot.column("group", i) for i in order])))
    return new.snapshot()


def told(answers):
    """Return all of some answers, floats by their bits."""
    return repr([(a.label, a.p.hex(), a.known, list(a.scores.items()), a.neighbours, a.notes) for a in answers])


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_a_base_of_many_edits_answers_as_one_that_was_right_from_the_start(seed, edits):
    draw, kb = random.Random(seed), base("memory", None)
    kb.commit(kb.add(made(NAMES[::2])))
    for _ in range(edits):
        changed(kb, draw)
    snapshot = kb.snapshot()
    if not len(snapshot.voters):
        return
    fresh = right_from_the_start(snapshot, draw)
    queries = np.random.default_rng(seed).normal(size=(5, 6))
    digests = [None, None, None, *(snapshot.digests_M32[i].tobytes() for i in snapshot.live[:2].tolist())]
    digests += [None] * (5 - len(digests))
    for voter in VOTERS:
        a, b = (classify(one, queries, digests, voter) for one in (snapshot, fresh))
        assert told(a) == told(b)
    for a, b in zip(suspects(snapshot, None), suspects(fresh, None), strict=True):
        assert (snapshot.ids[a.position], a.suggested) == (fresh.ids[b.position], b.suggested)
        assert a.score == pytest.approx(b.score, abs=1e-12)
    for work in (lambda one: duplicates(one, 0.5), lambda one: [*outliers(one)[0], *outliers(one)[1]]):
        assert [one.plain(snapshot) for one in work(snapshot)] == [one.plain(fresh) for one in work(fresh)]
    a, b = (why(one, queries[0], voter=Rank(5)).plain() for one in (snapshot, fresh))
    for one in (a, b):
        for row in [*one["neighbours"], *(one["turn"] or {"rows": []})["rows"]]:
            del row["time"]
    del a["version"], a["root"], b["version"], b["root"]
    assert a == b


def test_the_edits_one_by_one():
    """Deleted equals never added, and corrected equals added right, by hand."""
    wrong = base("memory", None)
    wrong.commit(
        wrong.add(made(["cat/1", "cat/2", "dog/1", "dog/2", "eel/1"], [["cat"], ["dog"], ["dog"], ["dog"], ["eel"]]))
    )
    wrong.commit(wrong.correct(["cat/2"], ["cat"]))
    wrong.commit(wrong.delete(label="eel"))
    right = base("memory", None)
    right.commit(right.add(made(["dog/2", "cat/2", "cat/1", "dog/1"])))
    queries = np.random.default_rng(0).normal(size=(20, 6))
    for voter in VOTERS:
        a, b = (classify(kb.snapshot(), queries, voter=voter) for kb in (wrong, right))
        assert told(a) == told(b)
        assert "eel" not in told(a)
