"""Voters: known answers by hand, ties, several labels, and what the order of rows or the company must not change."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from by_hand import base, slow_nearest, some_base
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from itae.app.compose import conf_dir
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.knowledge.answers import class_means
from itae.knowledge.answers.class_means import cosines
from itae.knowledge.answers.vote import Auto, ClassMean, Distance, Plurality, Rank, Softmax, told
from itae.knowledge.near.neighbours import Excluded
from itae.knowledge.records.similarity import similarities, unit

VOTERS = (Plurality(3), Softmax(3, 0.2), Rank(3), Distance(3), ClassMean())


def on_a_circle(*degrees):
    return [[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees]


def scores(ballot, snapshot, q=0):
    codes, shares = ballot.labels(q)
    return {snapshot.label_names[c]: s for c, s in zip(codes.tolist(), shares.tolist(), strict=True)}


# A query at 0 degrees; rows at 10, 20, 30 and 40, of similarity .984808, .939693, .866025 and .766044.
QUERY = np.array([[1.0, 0.0]])
ROWS = on_a_circle(10, 20, 30, 40)
BY_HAND = {
    "one voice each": (Plurality(3), "abba", {"b": 2 / 3, "a": 1 / 3}),
    "all four, a tie: the nearest row decides": (Plurality(4), "abba", {"a": 1 / 2, "b": 1 / 2}),
    "the tie again, nearest the other way": (Plurality(4), "baab", {"b": 1 / 2, "a": 1 / 2}),
    "k over the rows": (Plurality(9), "abbb", {"b": 3 / 4, "a": 1 / 4}),
    # 1, exp(-.045115 / .1), exp(-.118783 / .1) = .636895, .304882: 1.941777 in all
    "softmax at .1": (Softmax(3, 0.1), "abb", {"a": 0.514992, "b": 0.485008}),
    # 1, .955888, .888001
    "softmax at 1: all voices alike": (Softmax(3, 1.0), "abb", {"b": 0.648369, "a": 0.351631}),
    # 1/2, 1/3, 1/4, 1/5: 30/77, 20/77, 15/77, 12/77
    "rank": (Rank(4), "abba", {"a": 42 / 77, "b": 35 / 77}),
    # 1/.015193, 1/.060308, 1/.133976 = 65.8198, 16.5815, 7.4640
    "distance": (Distance(3), "abb", {"a": 0.732427, "b": 0.267573}),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_known_answers(case):
    voter, labels, want = BY_HAND[case]
    snapshot = base(ROWS[: len(labels)], list(labels))
    ballot = voter.ballot(snapshot, QUERY)
    found = scores(ballot, snapshot)
    assert list(found) == list(want), "best first"
    assert found == pytest.approx(want, abs=2e-6)
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-12)
    assert math.fsum(ballot.shares_QK[0]) == pytest.approx(1, abs=1e-12)
    assert snapshot.label_names[ballot.winners[0]] == next(iter(want))


def test_class_means_by_hand():
    """Rows at 20 and 40 of one class, their mean at 30; one at -20 of another; cosines .866025 and .939693."""
    snapshot = base(on_a_circle(20, 40, -20), ["a", "a", "b"])
    ballot = ClassMean(0.1).ballot(snapshot, QUERY)
    weight = math.exp((0.866025 - 0.939693) / 0.1)
    assert scores(ballot, snapshot) == pytest.approx({"b": 1 / (1 + weight), "a": weight / (1 + weight)}, abs=1e-9)
    assert ballot.positions_QK.shape == (1, 0), "no row votes by itself"
    assert str(cosines(snapshot, unit(on_a_circle(120.00001)))[0, 0]) == "0.0", "not -0"


def test_several_labels_share_a_rows_voice():
    snapshot = base(ROWS[:3], [("a", "b"), "b", ("a", "b", "c")])
    assert scores(Plurality(3).ballot(snapshot, QUERY), snapshot) == pytest.approx(
        {"b": (1 / 2 + 1 + 1 / 3) / 3, "a": (1 / 2 + 1 / 3) / 3, "c": 1 / 9}
    )
    both = base(ROWS[:1], [("z", "y")])
    assert list(scores(Plurality(1).ballot(both, QUERY), both)) == ["y", "z"], "of one row: by name"
    assert list(scores(ClassMean().ballot(both, QUERY), both)) == ["y", "z"]


def test_a_tie_of_thirds_is_a_tie():
    """1/3 + 1/3 + 1/3 is less than 1 in floating point, and the row of three thirds is nearest."""
    snapshot = base(on_a_circle(1, 2, 3, 4), [("a", "x", "y"), ("a", "x", "z"), ("a", "y", "z"), "b"])
    found = scores(Plurality(4).ballot(snapshot, QUERY), snapshot)
    assert list(found)[:2] == ["a", "b"]
    assert list(scores(Plurality(4).ballot(snapshot, np.array(on_a_circle(5))), snapshot))[:2] == ["b", "a"]


def test_a_tie_that_floating_point_would_break_is_a_tie():
    """Six halves of a tenth are .3, three tenths are .30000000000000004: b's row is nearest."""
    labels = [*[("b", f"x{i}") for i in range(6)], "a", "a", "a", "y"]
    snapshot = base(on_a_circle(*range(1, 11)), labels)
    assert 0.1 + 0.1 + 0.1 != 0.3
    assert list(scores(Plurality(10).ballot(snapshot, QUERY), snapshot))[:2] == ["b", "a"]


def test_rows_without_a_label_never_vote():
    snapshot = base(ROWS, [None, None, "b", "a"])
    ballot = Plurality(1).ballot(snapshot, QUERY)
    assert ballot.positions_QK.tolist() == [[2]]


def test_a_query_of_which_every_voter_is_out_gets_no_label():
    snapshot = base(ROWS[:2], ["a", "b"], groups=[0, 0])
    for voter in VOTERS:
        ballot = voter.ballot(snapshot, np.repeat(QUERY, 2, 0), excluded=Excluded(snapshot.groups_M, np.array([0, 7])))
        assert ballot.winners[0] == -1
        assert not len(ballot.labels(0)[0])
        assert ballot.winners[1] >= 0


def slow_scores(snapshot, voter, query, allowed):
    """Return {label: share} by loops over all rows."""
    if isinstance(voter, ClassMean):
        sums = {}
        for i in allowed:
            for name in snapshot.labels_of(i):
                part = np.rint(snapshot.vectors_ME[i].astype(np.float64) * (2.0**40 / len(snapshot.labels_of(i))))
                sums[name] = sums.get(name, 0) + part
        cosine = {n: round(float(s @ query / np.sqrt((s @ s) * (query @ query))), 6) for n, s in sums.items()}
        weights = {name: math.exp(c / voter.temperature) for name, c in cosine.items()}
        return {name: w / math.fsum(weights.values()) for name, w in weights.items()}
    found = slow_nearest(snapshot, query, voter.k, allowed)
    by = {
        Plurality: lambda rank, s: 1,
        Softmax: lambda rank, s: math.exp(s / voter.temperature),
        Rank: lambda rank, s: 1 / (rank + 2),
        Distance: lambda rank, s: 1 / (1 - s + 1e-6),
    }[type(voter)]
    weights = [by(rank, s) for rank, (_, s) in enumerate(found)]
    votes = {}
    for (i, _), weight in zip(found, weights, strict=True):
        for name in snapshot.labels_of(i):
            votes[name] = votes.get(name, 0) + weight / math.fsum(weights) / len(snapshot.labels_of(i))
    return votes


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([*VOTERS, Softmax(25, 0.2), Rank(25), Distance(25)]),
)
def test_votes_are_the_slow_ones_and_alone_as_in_a_batch(seed, n, q, voter):
    draw = np.random.default_rng(seed)
    snapshot, queries = some_base(draw, n), unit(draw.normal(size=(q, 3)))
    codes = draw.integers(-1, 6, q)
    ballot = voter.ballot(snapshot, queries, excluded=Excluded(snapshot.groups_M, codes))
    for i in range(q):
        allowed = [j for j in snapshot.voters.tolist() if snapshot.groups_M[j] != codes[i]]
        found, want = scores(ballot, snapshot, i), slow_scores(snapshot, voter, queries[i].astype(np.float64), allowed)
        assert found == pytest.approx(want, abs=1e-9)
        assert [round(share, 9) for share in found.values()] == sorted(
            (round(s, 9) for s in want.values()), reverse=True
        )
        alone = voter.ballot(snapshot, queries[i : i + 1], excluded=Excluded(snapshot.groups_M, codes[i : i + 1]))
        assert scores(alone, snapshot) == found, "to the last bit"
        assert list(scores(alone, snapshot)) == list(found)


def slow_cosines(snapshot, queries, rows, excluded):
    """Return the cosines of queries and class means pair by pair, each mean summed up anew."""
    found = np.full((len(queries), len(snapshot.label_names)), -np.inf)
    for q, query in enumerate(queries):
        out = excluded.codes_M == excluded.codes_Q[q] if excluded else np.zeros(len(snapshot.alive_M), bool)
        sums = {}
        for i in [i for i in rows.tolist() if not out[i]]:
            for name in snapshot.labels_of(i):
                part = np.rint(snapshot.vectors_ME[i].astype(np.float64) * (2.0**40 / len(snapshot.labels_of(i))))
                sums[name] = sums.get(name, 0) + part
        for name, mean in sums.items():
            alone = similarities(mean[None], query[None], np.zeros((1, 1), np.int64))[0, 0] if mean.any() else 0.0
            found[q, snapshot.label_names.index(name)] = alone
    return found


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 9), st.integers(1, 6), st.booleans(), st.booleans())
def test_cosines_to_class_means_are_those_of_each_pair_by_itself(seed, n, q, groups, some, close):
    """To the last bit: groups of any size, opposite rows whose mean is nothing, classes that lose all their rows.

    In blocks of a few; and nearly every cosine taken for one that is close to half of 1e-6.
    """
    draw = np.random.default_rng(seed)
    snapshot = some_base(draw, n, groups)
    snapshot.vectors_ME[draw.random(n) < 0.5] *= -1
    snapshot.vectors_ME[n // 2 :] = -snapshot.vectors_ME[: n - n // 2]
    queries = unit(np.concatenate([draw.normal(size=(q, 3)), snapshot.vectors_ME]))
    excluded = Excluded(snapshot.groups_M, np.concatenate([draw.integers(-1, groups + 1, q), snapshot.groups_M]))
    rows = snapshot.voters[draw.random(len(snapshot.voters)) < 0.8] if some else snapshot.voters
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_means, "_NUMBERS", 16)
        patch.setattr(class_means, "_ROWS", 5)
        if close:
            patch.setattr(class_means, "_ROUNDING", 0.49e-6 / 7)
        for one in (excluded, None):
            found = cosines(snapshot, queries, rows if some else None, one)
            assert found.tolist() == slow_cosines(snapshot, queries, rows, one).tolist()
            assert not np.signbit(found[found == 0]).any()


def of_cosine(target, width):
    """Return a float32 vector of about length 1 whose cosine with the first axis is `target`, to 1e-20 or so."""
    first = np.float32(target)
    left, vector = (Fraction(float(first)) / target) ** 2 - Fraction(float(first)) ** 2, [first]
    while len(vector) < width:
        vector.append(np.float32(math.sqrt(left)))
        while Fraction(float(vector[-1])) ** 2 > left:
            vector[-1] = np.nextafter(vector[-1], np.float32(0))
        left -= Fraction(float(vector[-1])) ** 2
    return np.array(vector)


@pytest.mark.parametrize("by", [-4, 4])
def test_cosines_at_half_of_a_millionth_are_rounded_as_alone(by, monkeypatch):
    """In a product they may come out some bits off, which rounds them to the other side."""
    targets = [Fraction(2 * i + 1, 2 * 10**6) for i in range(200_000, 900_000, 7001)]
    queries = np.stack([of_cosine(target, 6) for target in targets])
    assert (unit(queries) == queries).all()
    exact = queries[:, 0].astype(np.float64) / np.sqrt((queries.astype(np.float64) ** 2).sum(axis=1))
    assert np.abs(exact - [float(target) for target in targets]).max() < 4e-16
    axes = np.eye(6)
    snapshot = base([axes[0], axes[0], axes[1], -axes[0]], ["a", "b", "b", "c"], groups=[0, 1, 7, 3])
    excluded = Excluded(snapshot.groups_M, np.where(np.arange(len(queries)) % 2, 7, -1))
    directions = class_means._directions
    monkeypatch.setattr(class_means, "_directions", lambda vectors: directions(vectors) * (1 + by * 2.0**-52))
    found = cosines(snapshot, queries, excluded=excluded)
    assert found.tolist() == slow_cosines(snapshot, queries, snapshot.voters, excluded).tolist()


def test_few_cosines_are_computed_by_themselves(monkeypatch):
    """Of 200,000 none should be, and ten may."""
    draw, alone = np.random.default_rng(5), []
    monkeypatch.setattr(class_means, "similarities", lambda *pair: alone.append(pair) or similarities(*pair))
    snapshot = base(draw.normal(size=(1000, 64)), draw.choice([f"{i}" for i in range(200)], 1000).tolist())
    itself = Excluded(snapshot.groups_M, snapshot.groups_M)
    assert np.isfinite(cosines(snapshot, snapshot.vectors_ME, excluded=itself)).sum() > 190_000
    assert len(alone) <= 10


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([*VOTERS, Softmax(50, 0.02), Rank(50)]))
def test_what_is_deleted_was_never_there_and_the_order_of_rows_is_nothing(seed, n, voter):
    """The same bits of scores: a base of which rows are dead, one that never had them, and one in another order."""
    draw = np.random.default_rng(seed)
    snapshot, queries = some_base(draw, n), draw.normal(size=(5, 3))
    if not len(snapshot.voters):
        return
    keep = draw.permutation(snapshot.live)
    labels = [snapshot.labels_of(i) for i in keep]
    never = base(
        snapshot.vectors_ME[keep],
        [some if len(some) > 1 else some[0] if some else None for some in labels],
        ids=[snapshot.ids[i] for i in keep],
    )
    object.__setattr__(never, "vectors_ME", np.ascontiguousarray(snapshot.vectors_ME[keep]))
    a, b = voter.ballot(snapshot, queries), voter.ballot(never, queries)
    for q in range(len(queries)):
        assert list(scores(a, snapshot, q).items()) == list(scores(b, never, q).items()), "to the last bit, in order"
    assert [snapshot.ids[i] for i in a.positions_QK.ravel()] == [never.ids[i] for i in b.positions_QK.ravel()]


def test_what_is_corrected_was_added_right():
    draw = np.random.default_rng(3)
    vectors, labels = draw.normal(size=(40, 5)), draw.choice(["a", "b", "c"], 40).tolist()
    wrong = base(vectors, ["z", *labels[1:]], order=["z", "a", "b", "c"])
    codes = wrong.labels_M.copy()
    codes[0] = wrong.label_names.index(labels[0])
    right = base(vectors, labels)
    object.__setattr__(wrong, "labels_M", codes)
    for voter in VOTERS:
        a, b = (voter.ballot(one, draw.normal(size=(9, 5)) * 0 + vectors[:9]) for one in (wrong, right))
        for q in range(9):
            assert list(scores(a, wrong, q).items()) == list(scores(b, right, q).items())


def test_a_class_that_is_unlearned_is_never_named_and_others_stay_unless_it_was_a_neighbour():
    draw = np.random.default_rng(4)
    vectors, labels = draw.normal(size=(200, 4)), draw.choice(["a", "b", "c", "d"], 200).tolist()
    whole = base(vectors, labels)
    gone = base(vectors, labels, dead=[i for i, label in enumerate(labels) if label == "c"])
    queries = draw.normal(size=(60, 4))
    for voter in (Plurality(5), Softmax(5), Rank(5), Distance(5)):
        before, after = voter.ballot(whole, queries), voter.ballot(gone, queries)
        untouched = 0
        for q in range(60):
            assert "c" not in scores(after, gone, q)
            if not any(labels[i] == "c" for i in before.positions_QK[q]):
                untouched += 1
                assert list(scores(after, gone, q).items()) == list(scores(before, whole, q).items())
        assert untouched
    assert "c" not in scores(ClassMean().ballot(gone, queries), gone)


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        ("auto", {"k": 7}, Auto(k=7)),
        ("plurality", {"k": 7}, Plurality(7)),
        ("softmax", {"k": 7}, Softmax(7, 0.07)),
        ("rank", {"k": 7}, Rank(7)),
        ("distance", {"k": 7}, Distance(7)),
        ("class_mean", {}, ClassMean()),
    ],
)
def test_a_yaml_names_each(name, options, want):
    node = OmegaConf.to_container(OmegaConf.load(conf_dir() / "voter" / f"{name}.yaml"))
    assert node.keys() - {"_target_"} == vars(want).keys(), "all options, with a comment each"
    assert construct("voter", node | options) == want


def test_what_is_given_is_kept():
    assert Rank(7).options() == [Rank(7)]
    assert [voter.k for voter in Rank().options()] == [1, 5, 10, 20, 50, 100, 200]
    assert len(Softmax(temperature=None).options()) == 21
    assert {told(voter) for voter in Auto(k=7).options()} == {
        "plurality, k 7", "rank, k 7", "distance, k 7",
        "softmax, k 7, temperature 0.02", "softmax, k 7, temperature 0.07", "softmax, k 7, temperature 0.2",
    }  # fmt: skip
    assert [told(voter) for voter in Auto(temperature=0.5).options()[-1:]] == ["class_mean, temperature 0.5"]
    assert len(Auto().options()) == 7 + 21 + 7 + 7 + 1


@pytest.mark.parametrize("make", [Plurality, Softmax, Rank, Distance, Auto])
@pytest.mark.parametrize("k", [0, -1, 2.5, True, "5"])
def test_a_wrong_k_is_told(make, k):
    with pytest.raises(UserError, match=r"voter\.k"):
        make(k=k)


@pytest.mark.parametrize("make", [Softmax, ClassMean, Auto])
@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "1"])
def test_a_wrong_temperature_is_told(make, temperature):
    with pytest.raises(UserError, match=r"voter\.temperature"):
        make(temperature=temperature)


def test_a_temperature_that_is_tiny_is_the_nearest_row():
    snapshot = base(ROWS, list("abba"))
    assert scores(Softmax(4, 1e-5).ballot(snapshot, QUERY), snapshot) == {"a": 1, "b": 0}
