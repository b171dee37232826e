"""How much clusterings agree, and how far images lie from the middle of their cluster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.measure.agreement import agreement, between
from itae.measure.centroids import centroids, distances
from itae.measure.cluster.clustered import Clustered


def by_pairs(one, other):
    """ARI by its definition: pairs that are together in both, over what chance and what perfection give."""
    pairs = [(i, j) for i in range(len(one)) for j in range(i)]
    first, second = ([side[i] == side[j] for i, j in pairs] for side in (one, other))
    both, expected = sum(map(all, zip(first, second, strict=True))), sum(first) * sum(second) / len(pairs)
    most = (sum(first) + sum(second)) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


@settings(max_examples=40)
@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 2**31))
def test_ari_is_that_of_pairs_and_numbers_say_nothing(n, k, seed):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(-1, k, n), rng.integers(-1, k, n)
    found = agreement(one, other)
    assert found["ari"] == pytest.approx(by_pairs(one, other), abs=1e-9)
    assert found == pytest.approx(agreement(other, one))
    assert agreement(one, 5 - one) == pytest.approx({"ari": 1, "nmi": 1}), "the same under other numbers"
    assert found["nmi"] <= 1 + 1e-9


def test_sides_are_held_against_each_other_seed_by_seed():
    rng = np.random.default_rng(0)
    seeds = rng.integers(3, size=(2, 4, 60)).astype(np.int8)
    before, after = (Clustered({}, side[i], side) for i, side in enumerate(seeds))
    found = between(before, after)
    assert found["ari"]["chosen"] == agreement(seeds[0][0], seeds[1][1])["ari"]
    assert found["nmi"]["per_seed"] == [agreement(a, b)["nmi"] for a, b in zip(*seeds, strict=True)]
    assert found["ari"]["mean"] == pytest.approx(np.mean(found["ari"]["per_seed"]))
    alone = between(Clustered({}, seeds[0][0]), Clustered({}, seeds[1][0]))
    assert alone["ari"]["std"] is None
    assert alone["ari"]["per_seed"] == [alone["ari"]["chosen"]]


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 4), st.booleans(), st.integers(0, 2**31))
def test_distances_are_those_to_the_mean_of_the_own_cluster(n, k, spherical, seed):
    rng = np.random.default_rng(seed)
    vectors, own = rng.normal(size=(n, 3)).astype(np.float32) + 1, rng.integers(-1, k, n)
    found = distances(vectors, own, spherical)
    for i in range(n):
        rows = vectors.astype(float)
        if spherical:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        middle = rows[own == own[i]].mean(axis=0)
        if spherical:
            middle /= np.linalg.norm(middle)
        expected = np.nan if own[i] < 0 else np.linalg.norm(rows[i] - middle)
        assert found[i] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    present, means = centroids(vectors, own, spherical)
    assert present.tolist() == sorted(set(own[own >= 0].tolist()))
    assert means.shape == (len(present), 3)
