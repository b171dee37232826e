"""What somebody's own task, clusterer or rule may return, and the sentence for what it may not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from itae.base.errors import UserError
from itae.edits.attenuate import Floor
from itae.edits.detect import Detector, VectorNorm
from itae.edits.edit import Edit
from itae.edits.site import Site
from itae.measure.cluster.clustered import Partition
from itae.measure.cluster.kmeans import KMeans
from itae.results.shown import Metric, Shown
from itae.tasks.clustering.cluster_and_score import cluster_and_score
from itae.tasks.task import Outcome

SHOWN = Shown("width", None, ("width",), {"width": Metric("width")})
SIDE = {"width": {"mean": np.float32(0.5), "std": None, "per_seed": np.array([0.5])}}


def test_numbers_of_numpy_are_plain_ones():
    delta = {"width": {"mean": np.float64(0), "std": None, "interval": (np.float32(-1), 1)}}
    outcome = Outcome(SIDE, SIDE, delta, SHOWN, details=[("a", "b")])
    assert json.loads(json.dumps(outcome.baseline)) == {"width": {"mean": 0.5, "std": None, "per_seed": [0.5]}}
    assert outcome.delta == {"width": {"mean": 0.0, "std": None, "interval": [-1.0, 1]}}


@pytest.mark.parametrize(
    ("sides", "delta", "words"),
    [
        ((SIDE, {}), None, "edited lacks 'width'"),
        (({"width": {"mean": float("nan")}}, SIDE), None, "baseline can't be written as JSON"),
        (({"width": object()}, SIDE), None, "baseline can't be written as JSON"),
        ((SIDE, SIDE), {"width": {"mean": 1, "std": None, "interval": 0.3}}, r"delta of 'width'.*\[low, high\]"),
        (
            (SIDE, SIDE),
            {"width": {"mean": 1, "std": None, "interval": [False, True]}},
            r"delta of 'width'.*\[low, high\]",
        ),
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

    edit = Edit(Own(), Floor(), (0,))
    with pytest.raises(UserError, match=r"Own flags .*\(2, 1 or 3, 8\), without the 1 prefix"):
        edit.flag(site)


@pytest.mark.parametrize("cut", [lambda s: s.mean(dim=-1), lambda s: s, lambda s: s.mean().view(1)])
def test_a_cut_has_a_threshold_for_each_image(site, cut):
    class Own(VectorNorm):
        def cut(self, signal):
            return cut(signal)

    with pytest.raises(UserError, match=r"Own\.cut returned .*it must be \(2, 1, 1\)"):
        Own()(site)
    with pytest.raises(UserError, match="a cut of its own, which a fitted threshold never asks"):
        Own(rule="bimodal")


@pytest.mark.parametrize("name", ["k=3", "../up", "signal", "far near"])
def test_a_figure_is_called_by_a_name_of_its_own(name):
    with pytest.raises(UserError, match=r"figure .* must be called by letters"):
        Outcome(SIDE, SIDE, None, SHOWN, figures={name: ("", lambda: None)})


def test_details_are_pairs_of_texts():
    with pytest.raises(UserError, match="pairs of texts"):
        Outcome(SIDE, SIDE, None, SHOWN, details=[("a", "b", "c")])


def test_all_noise_on_one_side_stays_noise():
    class Nothing(KMeans):
        noise = True

        def fit(self, vectors_NE, k, seed, device="auto"):
            return Partition([-1] * len(vectors_NE))

    found = cluster_and_score(np.eye(6, dtype=np.float32), np.arange(6) % 2, 2, Nothing(seeds=2), 0, "cpu")
    assert found.per_seed.min() == found.per_seed.max() == found.assignments.max() == -1
    assert found.metrics["acc"]["mean"] == 0


@pytest.mark.parametrize("name", ["<script>", "[/b]", "a.b", "recall[macro]", "a b", ""])
def test_a_metric_has_a_name_that_means_nothing_elsewhere(name):
    with pytest.raises(UserError, match="letters, digits, _ and - alone"):
        Metric(name)
