"""The modality gap: what all texts have in common is taken out of one, and then a text counts beside image marks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itae.search.judged import Judged
from itae.search.rule import Near
from itae.search.rules import Rocchio
from itae.search.text import bridged, gap
from itae.search.text.bridge import USUAL


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_known_answers():
    mean_E = np.array([0.6, 0.0, 0.0])
    np.testing.assert_allclose(bridged(np.array([0.6, 0.8, 0.0]), mean_E), [0, 1, 0])
    np.testing.assert_allclose(bridged(np.array([1.0, 0.0, 0.0]), mean_E), [1, 0, 0])
    np.testing.assert_allclose(bridged(mean_E, mean_E), mean_E, rtol=1e-6, err_msg="nothing is special about it")
    assert bridged(np.array([0.6, 0.8, 0.0]), mean_E).dtype == np.float32
    assert gap(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(2**0.5)
    assert gap(mean_E, mean_E) == 0


@given(st.integers(0, 2**31), st.floats(0, 5))
def test_a_common_shift_of_all_texts_changes_nothing(seed, length):
    """Whatever all texts share, a text among them is told by what it does not."""
    rng = np.random.default_rng(seed)
    texts_TE, shift_E = rng.normal(size=(9, 6)), rng.normal(size=6) * length
    plain, moved = (bridged(some[0], some.mean(axis=0)) for some in (texts_TE, texts_TE + shift_E))
    np.testing.assert_allclose(plain, moved, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(moved), 1, rtol=1e-6)


def test_with_a_gap_marks_and_words_count_together_only_once_it_is_taken_out():
    """Images of two kinds in two colours: the words say the kind, the mark says the colour."""
    rng = np.random.default_rng(0)
    kind, colour = np.repeat([1, -1], 200), np.tile([1, -1], 200)
    image_NE = np.concatenate([np.stack([kind, colour], 1) * 0.4, rng.normal(size=(400, 6)) * 0.15], axis=1)
    image_NE[:, 2] += rng.normal(size=400) * 0.3  # of which images have more or less, and all texts a lot
    image_NE = unit(image_NE)
    texts_TE = np.zeros((2, 8))
    texts_TE[:, 0], texts_TE[:, 2] = (0.3, -0.3), 2
    texts_TE = unit(texts_TE)
    right = (kind > 0) & (colour > 0)
    found = []
    for query_E in (texts_TE[0], bridged(texts_TE[0], texts_TE.mean(axis=0))):
        yes = np.flatnonzero(colour > 0)[[0, -1]]  # one of each kind
        judged = Judged(query_E, image_NE[yes], image_NE[:0], True, np.array([-1, *yes]))
        scores = Rocchio().scores(Near(judged.vectors @ image_NE.T, 2, True))
        found.append(right[np.argsort(-scores)[:50]].mean())
    assert found[1] > 0.95
    assert found[0] < 0.75, "there is no gap that does harm, so this shows nothing"


def test_usual_texts_are_many_and_each_one_once():
    assert len(USUAL) >= 50
    assert len(set(USUAL)) == len(USUAL)
