"""What somebody's own task, clusterer or rule may return, and the sentence for what it may not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from itae.base.errors import UserError
from itae.edits.detect import Detector, VectorNorm
from itae.edits.site import Site
from itae.measure.kmeans import KMeans
from itae.results.shown import Metric, Shown
from itae.tasks.cluster_and_score import cluster_and_score
from itae.tasks.task import Outcome

SHOWN = Shown("width", None, ("width",), {"width": Metric("width")})
SIDE = {"width": {"mean": np.float32(0.5), "std": None, "per_seed": np.array([0.5])}}


def test_numbers_of_numpy_are_plain_ones():
    delta = {"width": {"mean": np.float64(0), "std": None, "interval": (np.float32(-1), 1)}}
    outcome = Outcome(SIDE, SIDE, delta, SHOWN, facts=[("a", "b")])
    assert json.loads(json.dumps(outcome.baseline)) == {"width": {"mean": 0.5, "std": None, "per_seed": [0.5]}}
    assert outcome.delta == {"width": {"mean": 0.0, "std": None, "interval": [-1.0, 1]}}


@pytest.mark.parametrize(
    ("sides", "delta", "words"),
    [
        ((SIDE, {}), None, "edited lacks 'width'"),
        (({"width": {"mean": float("nan")}}, SIDE), None, "baseline can't be written as JSON"),
        (({"width": object()}, SIDE), None, "baseline can't be written as JSON"),
        ((SIDE, SIDE), {"width": {"mean": 1, "std": None, "interval": 0.3}}, r"delta of 'width'.*\[low, high\]"),
        ((SIDE, SIDE), {"width": 1.0}, "delta of 'width' must be a mapping"),
    ],
)
def test_what_readers_could_not_read_is_a_sentence(sides, delta, words):
    with pytest.raises(UserError, match=words):
        Outcome(*sides, delta, SHOWN)


def test_a_clusterer_returns_partitions():
    class Bare(KMeans):
        def fit(self, vectors_NE, k, seed, device="auto"):
            return np.zeros(len(vectors_NE), int)

    with pytest.raises(UserError, match=r"Bare\.fit returned a ndarray; it must be .*Partition"):
        cluster_and_score(np.eye(6, dtype=np.float32), None, 2, Bare(seeds=1), 0, "cpu")


@pytest.fixture
def site():
    q, k, v = (torch.rand(2, 3, 9, 4) for _ in range(3))
    return Site(q, k, v, torch.rand(2, 9, 12), 1, 0, 0.5, [bytes(32)] * 2)


@pytest.mark.parametrize(
    "shape", [(2, 1, 9), (2, 8), (1, 1, 8), (2, 2, 8)], ids=["prefix", "no heads", "batch", "heads"]
)
def test_a_signal_has_a_value_for_each_patch(site, shape):
    class Own(Detector):
        def signal(self, site):
            return torch.rand(shape)

    with pytest.raises(UserError, match=r"Own\.signal returned .*\(2, 1, 8\) or \(2, 3, 8\), without the 1 prefix"):
        Own()(site)


@pytest.mark.parametrize("cut", [lambda s: s.mean(dim=-1), lambda s: s, lambda s: s.mean().view(1)])
def test_a_cut_has_a_threshold_for_each_image(site, cut):
    class Own(VectorNorm):
        def cut(self, signal):
            return cut(signal)

    with pytest.raises(UserError, match=r"Own\.cut returned .*it must be \(2, 1, 1\)"):
        Own()(site)
    with pytest.raises(UserError, match="a cut of its own, which a fitted threshold never asks"):
        Own(rule="bimodal")
