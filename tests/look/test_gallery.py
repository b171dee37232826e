"""What a gallery picks, against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.look.page.gallery import came_from_elsewhere, neighbours, picks, placement_of, shown
from itae.measure.cluster.kmeans import KMeans


def some(n, k, seed, width=4):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, width)).astype(np.float32), draw.integers(0, k, n)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 50), k=st.integers(1, 6), seed=st.integers(0, 999))
def test_distance_and_margin_are_those_of_a_plain_loop(n, k, seed):
    vectors, clusters = some(n, k, seed)
    clusters -= seed % 2  # half the time cluster 0 is noise
    centroids = {c: vectors[clusters == c].astype(np.float64).mean(axis=0) for c in np.unique(clusters) if c >= 0}
    fit = placement_of(vectors, clusters)
    for i in range(n):
        if clusters[i] < 0:
            assert np.isnan([fit.distance[i], fit.margin[i]]).all()
            continue
        far = {c: np.linalg.norm(vectors[i] - centre) for c, centre in centroids.items()}
        own = far.pop(clusters[i])
        assert fit.distance[i] == pytest.approx(own, rel=1e-5, abs=1e-6)
        want = 1 - own / min(far.values()) if far else 1
        assert fit.margin[i] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_a_spherical_clusterer_is_met_on_its_sphere():
    """A tight and a diffuse cluster: with plain means the short centroid of the diffuse one would look nearer."""
    draw = np.random.default_rng(0)
    axes = np.eye(8)
    vectors = np.concatenate([axes[0] + 0.05 * draw.normal(size=(200, 8)), axes[1] + 0.6 * draw.normal(size=(200, 8))])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = KMeans(spherical=True, restarts=3).fit(vectors, 2, 0, "cpu")
    fit = placement_of(vectors, found.assignments, spherical=True)
    want = np.linalg.norm(vectors - found.centroids[found.assignments], axis=1)
    np.testing.assert_allclose(fit.distance, want, atol=1e-3)
    assert (fit.margin >= -1e-3).all(), "no other centroid is nearer"
    assert (placement_of(vectors, found.assignments).margin < -1e-3).any(), "and without it some were"


def test_picks_are_the_nearest_the_least_sure_and_the_most_moved():
    vectors = np.array([[0, 0], [1, 0], [-1, 0], [4, 0], [10, 0], [11, 0], [12, 0]], np.float32)
    clusters = np.array([5, 5, 5, 5, 2, 2, 2])
    moved = np.array([0, 0.1, 0.3, 0.2, 0, 0, 0])
    found = picks(clusters, placement_of(vectors, clusters), moved, 2)
    assert list(found) == [2, 5]
    assert found[5] == {"central": [1, 0], "doubtful": [3, 2], "moved": [2, 3]}
    assert found[2] == {"central": [5], "doubtful": [4], "moved": []}, "half of three; none moved"
    alone = picks(np.zeros(7, int), placement_of(vectors, np.zeros(7, int)), moved, 2)
    assert alone[0]["doubtful"] == [], "with one cluster there is no doubt"


def test_of_noise_only_the_moved_are_picked():
    vectors = np.array([[0, 0], [1, 0], [-1, 0], [4, 0], [10, 0], [11, 0], [12, 0]], np.float32)
    clusters = np.array([0, 0, 0, -1, -1, -1, -1])
    moved = np.array([0, 0.1, 0.3, 0.2, 0, 0.4, 0])
    found = picks(clusters, placement_of(vectors, clusters), moved, 2)
    assert found[-1] == {"central": [], "doubtful": [], "moved": [5, 3]}
    assert found[0]["doubtful"] == [], "noise is no other cluster to be near to"
    noise = np.full(7, -1)
    assert picks(noise, placement_of(vectors, noise), moved, 1) == {-1: {"central": [], "doubtful": [], "moved": [5]}}


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), seed=st.integers(0, 999))
def test_noise_is_matched_with_noise_alone(n, seed):
    draw = np.random.default_rng(seed)
    before, after = draw.integers(-1, 3, n), draw.integers(-1, 3, n)
    left = came_from_elsewhere(before, after)
    noise = (before < 0) | (after < 0)
    assert np.array_equal(left[noise], (before != after)[noise]), "in no cluster on both sides, or left"
    inside = ~noise
    if inside.any():  # and the rest are matched as if there were none
        assert (left[inside]).sum() == came_from_elsewhere(before[inside], after[inside]).sum()


def test_equal_images_are_no_error():
    fit = placement_of(np.ones((6, 3), np.float32), np.array([0, 0, 1, 1, 2, 2]))
    assert np.array_equal(fit.distance, np.zeros(6))
    assert np.array_equal(fit.margin, np.zeros(6)), "every centroid is as near"


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 60), k=st.integers(1, 6), seed=st.integers(0, 999))
def test_renamed_clusters_are_the_same_clusters(n, k, seed):
    draw = np.random.default_rng(seed)
    clusters = draw.integers(0, k, n)
    renamed = draw.permutation(k)[clusters]
    assert not came_from_elsewhere(clusters, renamed).any()
    one = renamed.copy()
    one[0] = k  # the first image alone in a new cluster
    left = came_from_elsewhere(clusters, one)
    assert not left[1:].any() or (clusters == clusters[0]).sum() <= 2


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 40), count=st.integers(1, 9), seed=st.integers(0, 999))
def test_neighbours_are_the_largest_cosines(n, count, seed):
    vectors, _ = some(n, 1, seed)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    found = neighbours(vectors, count)
    assert found.shape == (n, min(count, n - 1))
    for i, row in enumerate(found):
        others = np.delete(np.arange(n), i)
        want = others[np.argsort(-cosine[i, others], kind="stable")][:count]
        np.testing.assert_allclose(cosine[i, row], cosine[i, want], atol=1e-6)
        assert i not in row


@settings(max_examples=100)
@given(n=st.integers(1, 300), most=st.integers(2, 120), seed=st.integers(0, 99))
def test_what_is_shown_is_within_its_room_and_spread_over_all(n, most, seed):
    must = np.random.default_rng(seed).integers(0, n, 50).tolist()
    rows, even = shown(n, must, most)
    assert len(rows) == len(even) == len(set(rows.tolist())) <= most
    assert np.array_equal(rows, np.sort(rows))
    if n <= most:
        assert len(rows) == n
        assert even.all()
        return
    assert set(list(dict.fromkeys(must))[: most // 2]) <= set(rows.tolist())
    spread = rows[even]
    assert {0, n - 1} <= set(spread.tolist()) or len(spread) == 1
    assert np.ptp(np.diff(spread)) <= 1 if len(spread) > 2 else True


def test_without_faiss_a_page_has_no_neighbours_and_says_why(monkeypatch, caplog):
    def missing():
        raise UserError("there is no faiss")

    monkeypatch.setattr("itae.measure.knn.load_faiss", missing)
    assert neighbours(some(5, 1, 0)[0]).shape == (5, 0)
    assert "there is no faiss" in caplog.text
