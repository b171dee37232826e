"""Clusterers beside k-means go through a whole run; and where all is noise, everything holds that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae

SMALL = ("tracker=none", "dataset.limit=120", "backbone=digits_vit_artifacts", "detector.side=high", "attenuator=scale")


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (("clusterer=agglomerative", "clusterer.neighbours=10"), {"components", "last_merge", "next_merge"}),
        (("clusterer=agglomerative", "clusterer.distance=40"), {"clusters", "last_merge"}),
        (("clusterer=spectral", "clusterer.seeds=2"), {"components", "lowest_spectral_inertia"}),
        (("clusterer=gmm", "clusterer.seeds=2", "clusterer.restarts=2"), {"converged", "highest_log_likelihood"}),
    ],
    ids=["agglomerative", "distance", "spectral", "gmm"],
)
def test_a_run(itae_, words, own):
    status, out, err = itae_(*words, *SMALL, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    result = itae.load_run("run").result
    for side in ("baseline", "edited"):
        found = result[side]
        assert own <= found.keys()
        assert len(found["acc"]["per_seed"]) == (2 if "clusterer.seeds=2" in words else 1)
        assert found["k"] == (None if "clusterer.distance=40" in words else 10)
        assert "noise_share" not in found
    assert result["delta"].keys() >= {"acc", "nmi"}
    assert ("±" in out.replace("mean ± std", "")) == ("clusterer.seeds=2" in words)
    told = re.search(r"Agglomerative finds the number of clusters on each side by itself: (\d+) baseline, (\d+)", out)
    assert bool(told) == ("clusterer.distance=40" in words)


def test_noise_is_told_beside_acc(itae_):
    status, out, err = itae_("clusterer=hdbscan", "clusterer.min_cluster_size=5", *SMALL, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    found = itae.load_run("run")
    side, clusters = found.result["edited"], found.read_assignments().edited
    assert side["noise_share"]["mean"] == (clusters == -1).mean() > 0
    assert side["acc"]["mean"] == pytest.approx(side["acc_clustered"]["mean"] * (clusters >= 0).mean())
    for title in ("ACC of clustered images", "share of images in no cluster", "clusters"):
        assert title in out
    count = found.result["baseline"]["clusters"]["mean"]
    assert f"Hdbscan finds the number of clusters on each side by itself: {count:g} baseline" in out
    assert re.search(rf"│ clusters +│ +{count:g} │ +\d+ │", out), "a count has no decimals"
    assert itae_("collect", "run")[0] == 0
    table = pd.read_parquet("run/results.parquet")
    assert table["edited.noise_share.mean"][0] == side["noise_share"]["mean"]
    assert table["edited.acc_clustered.mean"][0] == side["acc_clustered"]["mean"]


@pytest.mark.figures
@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "none"])
def test_all_noise_goes_through_scores_figures_and_page(itae_, labelled):
    """Figures and the page are drawn."""
    more = SMALL
    if not labelled:
        from PIL import Image
        from sklearn.datasets import load_digits

        Path("photos").mkdir()
        for i, pixels in enumerate(load_digits().images[:120]):
            Image.fromarray((pixels * 15.9).astype("uint8")).resize((32, 32)).save(f"photos/{i:03d}.png")
        more = ("tracker=none", "dataset=imagefolder", "dataset.root=photos", "runtime.links=true")
    status, out, err = itae_("clusterer=hdbscan", "clusterer.min_cluster_size=61", *more, "hydra.run.dir=run")
    assert (status, "Traceback" in err) == (0, False)
    assert err.count("HDBSCAN found no cluster of 61 images or more among 120: all are noise") == err.count("WARNING")
    assert "Hdbscan found no cluster (baseline and edited): all images are noise" in out
    found = itae.load_run("run")
    assert (found.read_assignments().edited == -1).all()
    side = found.result["edited"]
    assert (side["noise_share"]["mean"], side["clusters"]["mean"], side["silhouette"]["mean"]) == (1, 0, None)
    if labelled:
        assert (side["acc"]["mean"], side["acc_clustered"]["mean"]) == (0, None)
        assert found.result["delta"]["acc"]["mean"] == 0
    else:
        assert len(list(Path("run/clusters/noise").iterdir())) == 120
    page = Path("run/report.html").read_text()
    data = json.loads(re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.S)[1])
    clusters = data["gallery"]["after"]["clusters"]
    assert [(one["number"], one["size"]) for one in clusters] == [(-1, 120)]
    assert list(Path("run/figures").glob("*.png"))


@pytest.mark.slow
def test_noise_on_one_side_alone_has_a_delta(itae_):
    """All digits are embedded."""
    words = ("experiment=demo", "clusterer=hdbscan", "clusterer.min_cluster_size=165", "tracker=none")
    status, out, _ = itae_(*words, "hydra.run.dir=run")
    assert status == 0
    result = itae.load_run("run").result
    assert result["baseline"]["noise_share"]["mean"] == 1
    assert result["edited"]["noise_share"]["mean"] < 0.5
    assert np.isfinite(result["delta"]["acc"]["mean"])
    assert "Hdbscan found no cluster (baseline)" in out


def test_what_clusters_directions_has_distances_of_directions(itae_):
    words = ("clusterer=turtle", "clusterer.steps=5", "clusterer.seeds=1", *SMALL, "hydra.run.dir=run")
    assert itae_(*words)[0] == 0
    found = itae.load_run("run")
    assert found.result["parts"][0]["spherical"] is True
    told, vectors = found.read_assignments(), found.edited.vectors.astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for vector, cluster, far in zip(vectors, told.edited, told.distances[1], strict=True):
        mean = vectors[told.edited == cluster].mean(axis=0)
        assert far == pytest.approx(np.linalg.norm(vector - mean / np.linalg.norm(mean)), rel=1e-4)
