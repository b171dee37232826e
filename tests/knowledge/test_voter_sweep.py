"""Who wins by many voters and k from one search, against a ballot for each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import base, some_base
from hypothesis import given, settings
from hypothesis import strategies as st

import itae.knowledge.answers.sweep
from itae.knowledge.answers.choose import balanced_accuracy, choose
from itae.knowledge.answers.sweep import winners
from itae.knowledge.answers.vote import Auto, ClassMean, Distance, Plurality, Rank, Softmax, Voter, told
from itae.knowledge.near.held_out import held_out
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest

KINDS = (Plurality(), Softmax(temperature=1e-5), Softmax(), Softmax(temperature=1.0), Rank(), Distance())
MEANS = (ClassMean(), ClassMean(1e-5), ClassMean(1e12))  # at the last, shares of unlike classes are equal to 1e-12


def of_each(ks, kinds=KINDS):
    return [replace(kind, k=k) for kind in kinds for k in ks]


def by_rows(snapshot, options, positions_QK, similarities_QK):
    """Return the winners of voters that see neighbours alone."""
    return winners(snapshot, options, np.ones((len(positions_QK), 2)), positions_QK, similarities_QK)


def by_ballots(snapshot, options, positions_QK, similarities_QK):
    """Return the winners as the slow way has them: all votes counted anew for each voter."""
    return [option.count(snapshot, positions_QK, similarities_QK).winners.tolist() for option in options]


@pytest.fixture
def asked(monkeypatch):
    """Return a list of how many queries each ballot was of."""
    queries, count = [], Voter.count

    def counted(self, snapshot, positions_QK, similarities_QK):
        queries.append(len(positions_QK))
        return count(self, snapshot, positions_QK, similarities_QK)

    monkeypatch.setattr(Voter, "count", counted)
    return queries


@settings(max_examples=100)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 20),
    st.lists(st.integers(1, 45), min_size=1, max_size=5),
    st.booleans(),
)
def test_winners_are_those_of_the_ballots(seed, n, q, ks, some):
    """Rows of equal vectors, of several labels and of none, some queries without a neighbour, in blocks of a few.

    Class means among them, in whatever place.
    """
    draw = np.random.default_rng(seed)
    snapshot = some_base(draw, n)
    excluded = Excluded(snapshot.groups_M, draw.integers(-1, 6, q))
    rows = snapshot.voters[draw.random(len(snapshot.voters)) < 0.8] if some else None
    queries = snapshot.vectors_ME[draw.integers(0, n, q)]
    found = nearest(snapshot, queries, max(ks), rows, excluded)
    options = of_each(ks)
    want = [*by_ballots(snapshot, options, *found), *(
        mean.ballot(snapshot, queries, rows, excluded).winners.tolist() for mean in MEANS
    )]  # fmt: skip
    order = draw.permutation(len(want)).tolist()
    asked = [(*options, *MEANS)[o] for o in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(itae.knowledge.answers.sweep, "_VOICES", 3 * max(ks))
        won = winners(snapshot, asked, queries, *found, rows, excluded)
    assert won.tolist() == [want[o] for o in order]


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 60))
def test_neighbours_on_a_coarse_grid_tie_as_on_the_ballots(seed, names, most):
    """Similarities of a tenth each, up to five labels a row: fractions add up to ties, in some order or other."""
    draw = np.random.default_rng(seed)
    words = [f"{i}" for i in range(names)]
    labels = [tuple(draw.choice(words, draw.integers(1, min(names, 5) + 1), replace=False)) for _ in range(30)]
    snapshot = base(np.ones((30, 2)), labels, order=draw.permutation(words).tolist())
    positions = draw.integers(0, 30, (12, most))
    similar = -np.sort(-draw.integers(-10, 11, (12, most)) / 10, axis=1)
    missing = np.arange(most) >= draw.integers(0, 2 * most + 1, (12, 1))
    found = np.where(missing, MISSING, positions), np.where(missing, -np.inf, similar)
    options = of_each(draw.integers(1, most + 3, 4).tolist(), (*KINDS, Softmax(temperature=0.1 / np.log(2))))
    assert by_rows(snapshot, options, *found).tolist() == by_ballots(snapshot, options, *found)


def test_a_tie_that_floating_point_would_break_is_a_tie():
    """Three of a and six halves of b, then a third for each, then one more of b: the nearest row decides ties."""
    labels = ["a", "a", "a", *[("b", f"x{i}") for i in range(6)], ("a", "b", "y"), "b"]
    snapshot, similar = base(np.ones((11, 2)), labels), np.linspace(1, 0.9, 11)[None]
    options = [Plurality(k) for k in (3, 9, 10, 11)]
    for order, want in (
        ([*range(11)], "aaab"),
        ([*range(3, 9), *range(3), 9, 10], "bbbb"),
        ([9, *range(9), 10], "aaab"),
    ):
        won = by_rows(snapshot, options, np.array([order]), similar)
        assert "".join(snapshot.label_names[code] for code in won[:, 0]) == want


def test_ballots_are_asked_where_two_labels_are_close_and_nowhere_else(asked):
    snapshot = base(np.ones((5, 2)), ["b", "a", "a", "b", "a"])
    positions, similar = np.tile(np.arange(5), (3, 1)), np.tile(np.linspace(1, 0.6, 5), (3, 1))
    assert by_rows(snapshot, of_each([1, 3, 5], (Plurality(), Rank())), positions, similar).tolist() == [
        [1] * 3, [0] * 3, [0] * 3, [1] * 3, [0] * 3, [0] * 3
    ]  # fmt: skip
    almost = np.array([[1, 1 - 2e-6]])
    assert by_rows(snapshot, [Softmax(2, 1.0), Distance(2)], positions[:1, :2], almost).tolist() == [[1], [1]]
    assert asked == []
    assert by_rows(snapshot, [Plurality(4), Plurality(2)], positions, similar).tolist() == [[1] * 3, [1] * 3]
    assert asked == [3, 3]


def test_what_is_not_there_has_no_label():
    none = np.zeros((2, 0))
    snapshot = base(np.ones((2, 2)), [None, "a"])
    assert by_rows(snapshot, of_each([1, 5]), none.astype(np.int64), none).tolist() == [[-1, -1]] * 12
    rows, similar = np.array([[0, 1], [0, MISSING], [MISSING] * 2]), np.array([[1, 1], [1, -np.inf], [-np.inf] * 2])
    assert by_rows(snapshot, of_each([1, 2]), rows, similar).tolist() == [[-1, -1, -1], [0, -1, -1]] * 6
    assert by_rows(snapshot, [], np.zeros((2, 1), np.int64), np.ones((2, 1))).shape == (0, 2)
    unlabelled = base(np.ones((1, 2)), [None])
    found = np.array([[0], [MISSING]]), np.array([[1], [-np.inf]])
    assert by_rows(unlabelled, [Rank(1), ClassMean()], *found).tolist() == [[-1, -1]] * 2
    nothing = np.ones((0, 2)), np.zeros((0, 1), np.int64), np.ones((0, 1))
    assert winners(snapshot, [Rank(1), ClassMean()], *nothing).shape == (2, 0)


@pytest.mark.parametrize("given", [Auto(), Auto(k=7), Softmax(temperature=None)])
def test_the_choice_on_the_digits_is_that_of_the_ballots(given, digits_of_several_labels):
    snapshot = digits_of_several_labels
    choice, options = choose(snapshot, given), given.options()
    found = held_out(snapshot, max(getattr(option, "k", 1) for option in options), voters=True)
    groups = Excluded(snapshot.groups_M, snapshot.groups_M[found.rows])
    won = [
        option.count(snapshot, found.positions_RK, found.similarities_RK)
        if isinstance(option, Voter)
        else option.ballot(snapshot, snapshot.vectors_ME[found.rows], excluded=groups)
        for option in options
    ]
    scores = [balanced_accuracy(snapshot, found.rows, ballot.winners) for ballot in won]
    assert choice.tried == tuple(zip(map(told, options), scores, strict=True))


@pytest.fixture(scope="module")
def digits_of_several_labels():
    """Return every third picture of digits; of the even ones some have two labels, and some of all have none."""
    from sklearn.datasets import load_digits

    pixels, truth = (each[::3] for each in load_digits(return_X_y=True))
    labels = [(f"{a}", "even") if a % 2 == 0 and i % 5 == 0 else f"{a}" for i, a in enumerate(truth.tolist())]
    return base(pixels, [None if i % 7 == 0 else label for i, label in enumerate(labels)])


def test_the_choice_on_the_digits_is_what_it_was():
    """As full ballots chose it, before the sweep."""
    from sklearn.datasets import load_digits

    pixels, truth = load_digits(return_X_y=True)
    choice = choose(base(pixels, [str(label) for label in truth]), Auto())
    assert choice.voter == Softmax(5, 0.02)
    assert choice.note.endswith("chosen by leave-one-group-out inside the base (balanced accuracy 0.989)")
    assert sum(score for _, score in choice.tried) == pytest.approx(41.834659996159864, abs=1e-12)
