"""How many clusters there are, without labels: the coding length against its twin, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.measure.cluster import choose_k as module
from itae.measure.cluster.choose_k import choose_k, coding_length, reduced
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.numbered import ladder
from itae.measure.silhouette import Space

pytest.importorskip("faiss")


def unit(points):
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def subspaces(count, dimensions, each, rng, off=0.0):
    """Points of `count` orthogonal subspaces, about the origin, or `off` from it so that k-means can tell them."""
    points = np.zeros((count * each, count * dimensions))
    for i in range(count):
        own = slice(i * dimensions, (i + 1) * dimensions)
        points[i * each : (i + 1) * each, own] = rng.normal(size=(each, dimensions)) + off
    return unit(points), np.repeat(np.arange(count), each)


@settings(max_examples=30)
@given(st.integers(2, 25), st.integers(1, 8), st.integers(1, 5), st.floats(0.01, 1), st.integers(0, 2**31))
def test_the_coding_length_is_that_of_the_slow_one(n, width, clusters, epsilon, seed):
    rng = np.random.default_rng(seed)
    points, own = unit(rng.normal(size=(n, width))), rng.integers(clusters, size=n)
    assert coding_length(points, own, epsilon) == pytest.approx(reference.coding_length(points, own, epsilon), rel=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_neither_names_of_clusters_nor_a_turn_matter(seed):
    rng = np.random.default_rng(seed)
    points, own = unit(rng.normal(size=(40, 5))).astype(float), rng.integers(4, size=40)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    length = coding_length(points, own)
    assert coding_length(points, rng.permutation(4)[own]) == pytest.approx(length)
    assert coding_length(points @ turn, own) == pytest.approx(length)


@pytest.mark.parametrize(("count", "dimensions"), [(2, 3), (3, 2), (5, 3)])
def test_of_orthogonal_subspaces_the_least_is_one_cluster_each(count, dimensions):
    """K1: subspaces joined, or torn in two at random or along an axis, take longer."""
    rng = np.random.default_rng(0)
    points, own = subspaces(count, dimensions, 150, rng)
    least = coding_length(points, own)
    joined = np.where(own == 1, 0, own)
    halves = 2 * own + rng.integers(2, size=len(own))
    signs = 2 * own + (points[np.arange(len(own)), own * dimensions] > 0)
    for other in (joined, halves, signs, np.zeros_like(own)):
        assert least < coding_length(points, other)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_subspaces_that_k_means_can_tell_are_counted(count):
    points, _ = subspaces(count, 3, 120, np.random.default_rng(1), off=1.5)
    found = choose_k(points, range(1, 10), 0)
    assert (found.k, found.second_opinion) == (count, count)


@pytest.mark.parametrize("off", [0.0, 3.0])
@pytest.mark.parametrize(("n", "width"), [(300, 8), (600, 32)])
def test_one_blob_is_one_cluster(n, width, off):
    """K2, about the origin and away from it."""
    points = np.random.default_rng(0).normal(size=(n, width)) + off / np.sqrt(width)
    found = choose_k(points.astype(np.float32), [1, 2, 3, 4, 6], 0)
    assert found.k == 1
    assert found.silhouette[0] is None
    assert found.second_opinion in (2, 3, 4, 6), "which a silhouette can't say"


@pytest.mark.parametrize("seed", range(3))
def test_blobs_are_counted(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 9))
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0][:count]
    points = centres[np.repeat(np.arange(count), 60)] + 0.04 * rng.normal(size=(count * 60, 16))
    found = choose_k(points.astype(np.float32), ladder(len(points)), 0)
    assert (found.k, found.second_opinion) == (count, count)


def test_what_is_told_are_the_numbers_of_the_clusterings():
    points = np.random.default_rng(3).normal(size=(90, 6)).astype(np.float32)
    found = choose_k(points, [2, 5, 9], 4)
    rows = reduced(unit(points))
    for k, length in zip(found.candidates, found.coding_length, strict=True):
        own = KMeans(restarts=5, iterations=50).fit(rows, k, 4, "cpu").assignments
        assert length == pytest.approx(reference.coding_length(rows, own, 0.1) / 90, rel=1e-6)
        assert found.silhouette[found.candidates.index(k)] == Space(points).silhouette(own), "in the embeddings"
    assert found.k == found.candidates[int(np.argmin(found.coding_length))]
    assert (found.images, found.of) == (90, 90)
    assert found == choose_k(points, [2, 5, 9], 4), "the same again"
    assert found.plain()["coding_length"] == list(found.coding_length)


def test_of_many_points_a_draw_is_clustered(monkeypatch):
    points = np.random.default_rng(3).normal(size=(400, 6)).astype(np.float32)
    monkeypatch.setattr(module, "SAMPLE", 50)
    found = choose_k(points, [2, 3], 4)
    assert (found.images, found.of) == (50, 400)
    assert found == choose_k(points, [2, 3], 4)
    assert found.coding_length != choose_k(points, [2, 3], 5).coding_length, "the seed draws"
    assert choose_k(points, [2, 20], 4).images == 200, "ten a cluster"


def test_directions_that_hold_the_points_are_kept():
    """Of rows in three directions and a mean apart from them four are kept, and all products with them."""
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    rows = unit(5 * frame[0] + rng.normal(size=(200, 3)) @ frame[1:4])
    kept = reduced(rows)
    assert kept.shape == (200, 4)
    np.testing.assert_allclose(kept @ kept.T, rows @ rows.T, atol=1e-5)
    wide = np.random.default_rng(1).normal(size=(400, 300))
    assert reduced(unit(wide)).shape == (400, 128)


def test_the_sign_that_a_library_gives_a_direction_means_nothing(monkeypatch):
    rows = unit(np.random.default_rng(1).normal(size=(60, 12)))
    found, eigh = reduced(rows), np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: (eigh(matrix)[0], -eigh(matrix)[1]))
    np.testing.assert_array_equal(reduced(rows), found)


def test_it_is_chosen_on_the_cpu(monkeypatch):
    """So that it comes out the same on every machine."""
    seen, fit = [], KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda self, *given: seen.append(given[3]) or fit(self, *given))
    choose_k(np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32), [2, 3], 0)
    assert seen == ["cpu", "cpu"]


@pytest.mark.parametrize("row", [np.nan, np.inf, 0.0])
def test_rows_without_a_direction_are_refused(row):
    points = np.ones((20, 3), np.float32)
    points[4] = row
    with pytest.raises(UserError, match=r"1 of 20 embeddings .* \(rows 4\)"):
        choose_k(points, [2, 3], 0)


@settings(max_examples=50)
@given(st.integers(1, 10**6))
def test_the_ladder_is_bounded_by_the_points(n):
    found = ladder(n)
    assert list(found) == sorted(set(found))
    assert 1 <= found[0] <= found[-1] <= min(n, 200)
    assert found[0] == 2 or n == 1
    assert len(found) <= 31
