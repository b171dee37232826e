"""Pictures of embeddings and clusters: the numbers in them, against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.look.embedding_figures import POINTS, class_shares, cluster_figure, embedding_figure, project
from itae.measure.scores import scores


def plain_pca(x):
    off = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(off, full_matrices=False)
    return u[:, :2] * s[:2], s**2 / (s**2).sum()


def test_both_sides_are_on_the_components_of_both_together():
    draw = np.random.default_rng(0)
    baseline = (draw.normal(size=(60, 8)) * [9, 5, 1, 1, 1, 1, 1, 1]).astype(np.float32)
    edited = baseline + draw.normal(size=(60, 8)).astype(np.float32)
    names = [f"class {i % 3}" for i in range(60)]
    figure = embedding_figure(baseline, edited, names, "class")
    want, shares = plain_pca(np.concatenate([baseline, edited]))
    for ax, part in zip(figure.axes, (want[:60], want[60:]), strict=True):
        shown = [np.asarray(group.get_offsets()) for group in ax.collections]
        assert [len(some) for some in shown] == [20, 20, 20]
        for i, some in enumerate(shown):
            np.testing.assert_allclose(np.abs(some), np.abs(part[i::3]), rtol=1e-3, atol=1e-3)  # signs are free
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert f"{100 * shares[0]:.0f} % of the variance" in figure.axes[0].get_xlabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 0", "class 1", "class 2"]


@pytest.mark.slow
def test_umap_shows_the_groups_of_both_sides_on_the_same_axes():
    pytest.importorskip("umap")
    draw = np.random.default_rng(0)
    centres = np.eye(3).repeat(20, axis=0)
    baseline, edited = (np.hstack([centres + draw.normal(scale=0.02, size=(60, 3))] * 4) for _ in range(2))
    before, after, names = project(baseline, edited, "umap")
    assert before.shape == after.shape == (60, 2)
    assert "UMAP" in names[0]
    groups = np.arange(60) // 20
    centre = np.stack([before[groups == i].mean(axis=0) for i in range(3)])
    near = np.linalg.norm(after[:, None] - centre, axis=2).argmin(axis=1)
    assert np.array_equal(near, groups), "the same group is in the same place on both sides"
    again = project(baseline, edited, "umap")
    assert np.array_equal(again[0], before), "seeded"


def test_of_many_images_some_are_drawn_and_that_is_said():
    vectors = np.random.default_rng(0).normal(size=(2 * POINTS + 1, 3)).astype(np.float32)
    figure = embedding_figure(vectors, vectors, [str(i % 30) for i in range(len(vectors))], "cluster")
    assert sum(len(group.get_offsets()) for group in figure.axes[0].collections) == POINTS
    assert figure.get_suptitle() == "2,000 of 4,001 images"
    assert not figure.legends, "30 names are too many"
    pairs = zip(figure.axes[0].collections, figure.axes[1].collections, strict=True)
    assert all(np.array_equal(a.get_offsets(), b.get_offsets()) for a, b in pairs), "an edit that moves nothing"


@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 60), classes=st.integers(1, 6), k=st.integers(1, 8), seed=st.integers(0, 999))
def test_shares_are_those_of_the_classes_and_their_diagonal_is_the_accuracy(n, classes, k, seed):
    draw = np.random.default_rng(seed)
    labels, clusters = draw.integers(0, classes, n), draw.integers(0, k, n)
    shares = class_shares(labels, clusters)
    present, counts = np.unique(labels, return_counts=True)
    assert shares.shape == (len(present), len(np.unique(clusters)))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    renamed = class_shares(labels, draw.permutation(k)[clusters])
    matched = min(shares.shape)
    if len(present) <= shares.shape[1]:  # then every class has its cluster
        assert (np.diag(shares) * counts).sum() / n == pytest.approx(scores(labels, clusters)["acc"])
        assert (np.diag(renamed)[:matched] * counts).sum() == pytest.approx((np.diag(shares) * counts).sum())
    for row, label in zip(shares, present, strict=True):
        want = sorted((clusters[labels == label] == cluster).mean() for cluster in np.unique(clusters))
        np.testing.assert_allclose(sorted(row), want)


def test_noise_stands_apart_in_the_last_column():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    clusters = np.array([4, 4, -1, -1, -1, -1, 2])
    want = [[2 / 3, 0, 1 / 3], [0, 1 / 4, 3 / 4]]
    np.testing.assert_allclose(class_shares(labels, clusters), want)  # noise is matched with no class
    np.testing.assert_allclose(class_shares(labels, np.full(7, -1)), [[1], [1]])
    untouched, edited = cluster_figure(labels, ["ant", "bee"], labels, clusters).axes[:2]
    assert [text.get_text() for text in edited.get_xticklabels()] == ["noise"]
    assert not untouched.get_xticklabels()


def test_noise_is_grey_and_below_the_clusters():
    vectors = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    names = ["noise", "0", "1"] * 10
    first, *others = embedding_figure(vectors, vectors, names, "cluster").axes[0].collections
    assert first.get_label() == "noise"
    assert len(set(first.get_facecolor()[0][:3])) == 1, "grey"
    assert [one.get_label() for one in others] == ["0", "1"]
    classes = embedding_figure(vectors, vectors, names, "class").axes[0].collections
    assert [one.get_label() for one in classes] == ["noise", "0", "1"], "a class of that name is a class"


def test_classes_are_named_and_both_sides_drawn():
    labels = np.array([0, 0, 1, 1, 3, 3])
    figure = cluster_figure(labels, ["ant", "bee", "none", "a name that is far too long"], labels, labels[::-1] * 0)
    untouched, edited = figure.axes[:2]
    assert np.array_equal(untouched.images[0].get_array(), np.eye(3))
    assert edited.images[0].get_array().shape == (3, 1)
    ticks = [text.get_text() for text in untouched.get_yticklabels()]
    assert ticks == ["ant", "bee", "a name that is far …"]
