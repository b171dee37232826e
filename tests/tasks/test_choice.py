"""What is said and drawn of the number of clusters, where it was chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from itae.measure.cluster.choose_k import Choice
from itae.tasks.clustering.choice import choice_figure, notes, told, tracked

CHOICE = Choice(5, 3, (2, 3, 5, 8), (9.0, 8.0, 7.0, 7.5), (0.1, 0.4, 0.2, 0.3), 60, 90, 6)
ONE = Choice(1, None, (1,), (9.0,), (None,), 90, 90, 6)


def test_it_is_told_and_tracked():
    (line,) = told(CHOICE)
    assert line[1].startswith("5, of 4 candidates from 2 to 8 the one of least coding length")
    assert "k-means of 60 of 90 untouched embeddings" in line[1]
    assert line[1].endswith("by silhouette k=3")
    assert told(ONE)[0][1].startswith("1, of one candidate the one of least")
    assert told(ONE)[0][1].endswith("by silhouette none")
    kept = {"k": 5, "second_opinion": 3, "coding_length": 7.0, "silhouette": 0.2}
    assert tracked(CHOICE) == {"choice": kept}
    assert (told(None), tracked(None), notes(None)) == ([], {}, [])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (CHOICE, ["disagree: k=5 by coding length, which was taken, and k=3 by silhouette"]),
        (replace(CHOICE, second_opinion=5), []),
        (replace(CHOICE, k=8, second_opinion=8), ["k=8 is the largest candidate"]),
        (replace(CHOICE, k=2, second_opinion=2), ["k=2 is the smallest candidate"]),
        (replace(CHOICE, k=1, candidates=(1, 2, 5, 8), second_opinion=None), ["all images are one cluster"]),
        (ONE, ["all images are one cluster"]),
        (replace(ONE, k=4, candidates=(4,)), []),
    ],
)
def test_what_to_know_before_believing_it(choice, said):
    found = notes(choice)
    assert len(found) == len(said)
    for note, words in zip(found, said, strict=True):
        assert words in note


def test_each_criterion_has_its_curve_and_a_ring_at_its_own_best():
    figure = choice_figure(CHOICE)
    for ax, values, best, label in zip(
        figure.axes, (CHOICE.coding_length, CHOICE.silhouette), ((5, 7.0), (3, 0.4)), ("k=5, taken", "k=3"), strict=True
    ):
        curve, ring = ax.lines
        assert tuple(curve.get_xdata()) == CHOICE.candidates
        assert tuple(curve.get_ydata()) == values
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == best
        assert ring.get_label() == label
    assert choice_figure(ONE) is None
    bare = choice_figure(replace(CHOICE, k=1, candidates=(1, 2, 5, 90), silhouette=(None,) * 4, second_opinion=None))
    assert len(bare.axes[1].lines) == 0, "no silhouette, no curve"
    assert bare.axes[0].get_xscale() == "log"
