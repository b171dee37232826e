"""Criteria without labels, held against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew
from sklearn.metrics import silhouette_score

from itae.embed.diagnostics.collect import bimodality
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES, histograms
from itae.measure.silhouette import SAMPLE, Space


def silhouettes(vectors, clusterings):
    space = Space(vectors)
    return [space.silhouette(one) for one in clusterings]


@pytest.fixture
def points():
    random = np.random.default_rng(0)
    return (random.normal(size=(300, 16)) + 40).astype(np.float32), random


def test_silhouettes_are_those_of_scikit_learn(points):
    vectors, random = points
    halves = (vectors[:, 0] > 40).astype(int)
    alone = np.where(np.arange(300) == 7, 9, halves)
    clusterings = [halves, alone, random.integers(12, size=300), 5 * halves + 2]
    expected = [silhouette_score(vectors, one) for one in clusterings]
    assert silhouettes(vectors, clusterings) == pytest.approx(expected, abs=1e-6)
    vectors[100:200] = vectors[0]
    expected = [silhouette_score(vectors.astype(np.float64), one) for one in clusterings]
    assert silhouettes(vectors, clusterings) == pytest.approx(expected, abs=1e-5), "equal points"


def test_no_silhouette_where_there_is_none(points):
    vectors, _ = points
    assert silhouettes(vectors, [np.zeros(300, int), np.arange(300)]) == [None, None]
    assert silhouettes(np.ones((4, 2), np.float32), [np.array([0, 0, 1, 1])]) == [0]


@settings(max_examples=40)
@given(st.integers(1, 25), st.integers(0, 10**6))
def test_noise_is_not_there(n, seed):
    draw = np.random.default_rng(seed)
    vectors, clusters = draw.normal(size=(n, 3)).astype(np.float32), draw.integers(-1, 3, n)
    want = reference.silhouette(vectors.astype(np.float64), clusters.tolist())
    found = Space(vectors).silhouette(clusters)
    assert found == (None if want is None else pytest.approx(want, abs=1e-9))


def test_of_many_images_the_same_few_are_drawn():
    random = np.random.default_rng(1)
    labels = random.integers(3, size=3 * SAMPLE)
    vectors = (random.normal(size=(3, 4))[labels] + random.normal(size=(len(labels), 4))).astype(np.float32)
    first, second = silhouettes(vectors, [labels]), silhouettes(vectors, [labels, labels[::-1]])
    assert first == second[:1]
    assert first[0] == pytest.approx(silhouette_score(vectors, labels), abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_bimodality_of_the_histogram_is_that_of_the_samples_to_a_percent(share):
    random = np.random.default_rng(2)
    samples = np.where(random.random(100_000) < share, random.normal(30, 1, 100_000), random.normal(8, 1, 100_000))
    counts = histograms(torch.from_numpy(samples), torch.zeros(len(samples), dtype=torch.bool))
    found = bimodality(counts[0].numpy(), SIGNAL_EDGES)
    assert found == pytest.approx((skew(samples) ** 2 + 1) / kurtosis(samples, fisher=False), rel=0.01)
    assert (found > 5 / 9) == (share > 0)


def test_bimodality_of_one_value_or_none_is_unknown():
    counts = np.zeros(len(SIGNAL_EDGES) - 1, np.int64)
    assert bimodality(counts, SIGNAL_EDGES) is None
    counts[5] = 7
    assert bimodality(counts, SIGNAL_EDGES) is None
    counts[900] = 7
    assert bimodality(counts, SIGNAL_EDGES) == pytest.approx(1)
