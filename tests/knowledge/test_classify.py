"""Answers: what is chosen inside a base, what is known, what is unusual, and mistakes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from by_hand import base, slow_cosine
from hypothesis import given, settings
from hypothesis import strategies as st

import itae.knowledge.near.held_out
from itae.base.errors import UserError
from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.vote import Auto, ClassMean, Plurality, Rank, Softmax, told
from itae.knowledge.near.held_out import draw, held_out, sample_size


def sha(word):
    return hashlib.sha256(word.encode()).digest()


def blobs(seed=0, n=120, classes=4, width=6, spread=0.4):
    drawn = np.random.default_rng(seed)
    centres, at = drawn.normal(size=(classes, width)), drawn.integers(0, classes, n)
    return centres[at] + spread * drawn.normal(size=(n, width)), [f"class {i}" for i in at]


def slow_p(snapshot, query, allowed):
    """Return p by loops over all live rows."""
    own = []
    for i in snapshot.live.tolist():
        others = [j for j in snapshot.live.tolist() if snapshot.groups_M[j] != snapshot.groups_M[i]]
        own.append(max((slow_cosine(snapshot.vectors_ME[i], snapshot.vectors_ME[j]) for j in others), default=-2))
    mine = max((slow_cosine(query, snapshot.vectors_ME[j]) for j in allowed), default=-2)
    return (1 + sum(one <= mine for one in own)) / (1 + len(own))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 30), st.booleans())
def test_p_is_the_slow_one(seed, n, voting):
    drawn = np.random.default_rng(seed)
    vectors = drawn.integers(-2, 3, (n, 3)) + 0.25
    labels = ["a", *(["b"] if voting else drawn.choice(["b", None], 1).tolist()) * (n - 1)]
    snapshot = base(vectors, labels, groups=drawn.integers(0, 5, n))
    queries = drawn.normal(size=(4, 3))
    digests = [None, snapshot.digests_M32[0].tobytes(), sha("elsewhere"), None]
    for hold in (False, True):
        answers = classify(snapshot, queries, digests, Rank(3), hold_out_groups=hold)
        for q, answer in enumerate(answers):
            out = {0} if q == 1 else set()
            if hold and q == 1:
                out = set(np.flatnonzero(snapshot.groups_M == snapshot.groups_M[0]).tolist())
            query = queries[q] / np.sqrt(queries[q] @ queries[q])
            assert answer.p == slow_p(snapshot, query, [i for i in snapshot.live.tolist() if i not in out])


def test_what_is_near_is_usual_and_what_is_far_is_not():
    vectors, labels = blobs()
    snapshot = base(vectors, labels)
    near, far = classify(snapshot, np.stack([vectors[0], -vectors.sum(axis=0)]), abstain=0.05)
    assert near.p > 0.5
    assert near.label == labels[0]
    assert far.p == 1 / 121
    assert far.label is None
    assert "too unusual" in far.notes[-1]
    assert far.scores
    assert classify(snapshot, -vectors.sum(axis=0)[None])[0].label is not None, "without --abstain it gets one"


def test_a_threshold_that_no_p_can_be_under_is_told():
    snapshot = base(np.eye(4), ["a", "a", "b", "b"])
    note = "--abstain 0.2 leaves out no label: with 4 rows to compare with no p is below 0.2"
    for abstain, notes in ((0.2, 1), (0.21, 0), (0, 0)):
        assert sum("no p is below" in each for each in _ask(snapshot, abstain).notes) == notes
    assert note in _ask(snapshot, 0.2).notes


def _ask(snapshot, abstain):
    return classify(snapshot, -np.ones((1, 4)), voter=Plurality(1), abstain=abstain)[0]


def test_one_group_has_no_distances_and_nothing_is_unusual():
    snapshot = base(np.eye(3), ["a", "b", "b"], groups=[4, 4, 4])
    assert classify(snapshot, -np.ones((1, 3)), voter=Plurality(1))[0].p == 1


def test_a_query_whose_bytes_are_known_is_told_and_does_not_vote_for_itself():
    same = sha("picture")
    snapshot = base(
        [[1, 0], [1, 0], [1, 0.1], [0, 1]],
        ["wrong", ("other", "wrong"), "right", "right"],
        digests=[same, same, sha("second"), sha("third")],
        groups=[0, 0, 0, 1],
    )
    answer, fresh = classify(snapshot, np.array([[1, 0], [1, 0]]), [same, sha("new")], Plurality(1))
    assert answer.known == [{"id": "row0000", "label": "wrong"}, {"id": "row0001", "label": ["other", "wrong"]}]
    assert answer.label == "right"
    assert [row["id"] for row in answer.neighbours] == ["row0002"], "its group votes"
    assert fresh.known == []
    assert fresh.label == "wrong"
    (held,) = classify(snapshot, np.array([[1, 0]]), [same], Plurality(1), hold_out_groups=True)
    assert [row["id"] for row in held.neighbours] == ["row0003"], "in an evaluation it doesn't"
    gone = base([[1, 0], [0, 1]], ["a", "b"], digests=[same, sha("x")], dead=[0])
    assert classify(gone, np.array([[1, 0]]), [same], Plurality(1))[0].known == [], "unlearned"


def test_several_queries_of_the_same_bytes():
    same = sha("picture")
    snapshot = base([[1, 0], [0, 1]], ["a", "b"], digests=[same, sha("x")])
    answers = classify(snapshot, np.array([[1, 0.0]] * 3), [same, sha("x"), same], Plurality(1))
    assert [answer.label for answer in answers] == ["b", "a", "b"]
    only = base([[1, 0]], ["a"], digests=[same])
    (answer,) = classify(only, np.array([[1, 0.0]]), [same])
    assert (answer.label, answer.scores, answer.neighbours) == (None, {}, [])
    assert "no row may vote" in answer.notes[-1]


def test_an_answer_says_all_and_is_the_same_alone():
    vectors, labels = blobs()
    snapshot = base(vectors, labels)
    queries = np.random.default_rng(1).normal(size=(40, 6))
    together = classify(snapshot, queries)
    for q in (0, 17, 39):
        assert classify(base(vectors, labels), queries[q : q + 1]) == [together[q]]
    answer = together[0]
    assert answer.version == 1
    assert answer.root == snapshot.root
    assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-12)
    assert sum(row["share"] for row in answer.neighbours) == pytest.approx(1, abs=1e-12)
    assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
    assert answer.label == next(iter(answer.scores))
    assert "leave-one-group-out" in answer.notes[0]
    assert answer.plain().keys() == vars(answer).keys()


def test_k_over_the_rows_is_all_rows_and_said():
    snapshot = base(np.eye(3), list("abc"))
    answer = classify(snapshot, np.array([[3, 2, 1]]), voter=Plurality(200))[0]
    assert len(answer.neighbours) == 3
    assert answer.notes == ("k 200 is over the 3 rows that have a label: all of them vote",)


@pytest.mark.parametrize(
    ("labels", "options", "told"),
    [
        ([], {}, "empty"),
        ([None, None], {}, "None of the 2 rows"),
        (["a", None], {"voter": "rank"}, r"'rank' is no voter: give one of itae\.vote"),
        (["a", None], {"voter": Rank}, r"Rank.* is no voter"),
        (["a", None], {"abstain": 1.5}, r"--abstain=1\.5 must be a number in \[0, 1\]"),
    ],
)
def test_mistakes_are_told(labels, options, told):
    snapshot = base(np.eye(2)[: len(labels)], labels)
    with pytest.raises(UserError, match=told):
        classify(snapshot, np.ones((1, 2)), **options)
    with pytest.raises(UserError, match="zeros"):
        classify(base(np.eye(2), ["a", "b"]), np.zeros((1, 2)))


def slow_balanced(snapshot, voter, rows):
    """Return the balanced accuracy of leave-one-group-out, a vote for each row by itself."""
    right, whole = {}, {}
    for i in rows:
        others = np.array([j for j in snapshot.voters if snapshot.groups_M[j] != snapshot.groups_M[i]], np.int64)
        won = voter.ballot(snapshot, snapshot.vectors_ME[i : i + 1], rows=others).winners[0] if len(others) else -1
        labels = snapshot.labels_of(i)
        for label in labels:
            whole[label] = whole.get(label, 0) + 1 / len(labels)
            named = won >= 0 and snapshot.label_names[won] in labels
            right[label] = right.get(label, 0) + named / len(labels)
    return np.mean([right[label] / whole[label] for label in whole])


def test_what_is_chosen_is_best_by_the_slow_way():
    vectors, labels = blobs(3, 60, spread=0.9)
    labels[5], labels[6], labels[7] = None, ("class 0", "class 1"), ("class 2", "class 3")
    snapshot = base(vectors, labels, groups=np.arange(60) // 2)
    options = Auto().options()
    slow = [slow_balanced(snapshot, voter, snapshot.voters) for voter in options]
    choice = choose(snapshot, Auto())
    assert [score for _, score in choice.tried] == pytest.approx(slow, abs=1e-12)
    ranked = sorted(range(len(options)), key=lambda i: (-round(slow[i], 9), getattr(options[i], "k", 1e9), i))
    assert choice.voter == options[ranked[0]]
    assert told(choice.voter) in choice.note


def test_groups_are_held_out_of_the_choice():
    """Twins of one group name each other rightly at k 1; held out, they can't, and a larger k is better."""
    drawn = np.random.default_rng(0)
    vectors = np.repeat(drawn.normal(size=(150, 3)), 2, axis=0)
    labels = np.repeat([f"{int(v[0] > 0) ^ int(drawn.random() < 0.3)}" for v in vectors[::2]], 2).tolist()
    assert getattr(choose(base(vectors, labels), Plurality()).voter, "k", 0) == 1
    assert choose(base(vectors, labels, groups=np.arange(300) // 2), Plurality()).voter.k > 1


def test_where_no_row_may_be_asked_nothing_is_said_to_be_chosen():
    for snapshot in (base(np.eye(3)[:1], ["x"]), base(np.eye(3), ["x", "y", "y"], groups=[4, 4, 4])):
        found = choose(snapshot, Auto())
        assert found.voter == Plurality(1)
        assert found.note == "plurality, k 1: not chosen, as no labelled row has another that is not of its group"


def test_what_a_voter_has_of_itself_was_not_given():
    snapshot = base(np.eye(4), ["x", "x", "y", "y"])
    assert choose(snapshot, Softmax(2, temperature=None)).note.startswith("softmax, k 2 as given, temperature 0.02: ")
    assert "temperature 0.07: chosen" in choose(snapshot, Softmax()).note
    assert "temperature 0.5 as given: chosen" in choose(snapshot, Softmax(temperature=0.5)).note


def test_equally_good_ones_go_by_k_then_in_order():
    """Two blobs, well apart: everything is right."""
    vectors = np.concatenate([np.eye(4)[:1] + 0.01 * np.eye(4), np.eye(4)[3:] + 0.01 * np.eye(4)])
    snapshot = base(vectors, ["a"] * 4 + ["b"] * 4)
    assert choose(snapshot, Auto()).voter == Plurality(1)
    assert choose(snapshot, Auto(k=3)).voter == Plurality(3)
    assert choose(snapshot, Auto(temperature=0.5)).voter == Softmax(1, 0.5)
    assert choose(snapshot, Softmax(temperature=None)).voter == Softmax(1, 0.02)
    assert choose(snapshot, ClassMean()).note == "", "nothing to choose"


def test_a_choice_is_made_once(monkeypatch):
    vectors, labels = blobs()
    snapshot = base(vectors, labels)
    first = choose(snapshot, Auto())
    monkeypatch.setattr(itae.knowledge.near.held_out, "nearest", None)
    assert choose(snapshot, Auto()) is first
    assert choose(snapshot, Rank()).voter.k, "the search that was made serves any k up to its own"
    assert classify(snapshot, vectors[:2])[0].p > 0


def test_a_draw_is_fixed_by_the_images_and_said(monkeypatch):
    vectors, labels = blobs(n=90)
    snapshot = base(vectors, labels)
    drawn = draw(snapshot, snapshot.live, 30)
    assert len(set(drawn.tolist())) == 30
    backwards = base(vectors[::-1], labels[::-1], ids=snapshot.ids[::-1])
    assert {backwards.ids[i] for i in draw(backwards, backwards.live, 30)} == {snapshot.ids[i] for i in drawn}
    gone = base(vectors, labels, dead=drawn[:1])
    assert set(drawn[1:].tolist()) < set(draw(gone, gone.live, 30).tolist()), "the others stay"
    assert abs(drawn.mean() - 44.5) < 15, "no end of the base"
    no_images = base(vectors, labels, digests=[bytes(32)] * 90)
    assert abs(draw(no_images, no_images.live, 30).mean() - 44.5) < 15, "rows without an image go by their ids"
    monkeypatch.setattr(itae.knowledge.near.held_out, "MOST", 30)
    answer = classify(snapshot, vectors[:1])[0]
    assert "30 of 90 rows, a fixed draw" in answer.notes[0]
    assert answer.notes[1] == "p is against 30 of 90 rows, a fixed draw"
    assert held_out(snapshot, 3, voters=True).rows.tolist() == drawn.tolist()


def test_of_a_large_base_fewer_are_drawn():
    assert sample_size(50_000, 384) == 5000
    assert sample_size(1_281_167, 768) == 1117
    assert sample_size(10**9, 768) == 500
    assert sample_size(20, 768) == 20
