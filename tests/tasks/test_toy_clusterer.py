"""A clusterer with noise, no k and no seeds goes through all that k-means does, and so does one of two spaces."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_clusterer import Chains, Two

import itae
from itae.base.errors import UserError
from itae.measure.cluster.clustered import Objective, Partition
from itae.results.clusterings import read_clusterings
from itae.results.shown import shown_of
from itae.tasks.clustering.cluster_and_score import cluster_and_score, spaces

SMALL = ("tracker=none", "dataset.limit=80", "backbone=digits_vit_artifacts", "detector.side=high", "attenuator=scale")


@pytest.fixture
def toy(itae_, tmp_path):
    """Return a function that runs ``itae`` with a toy for a clusterer, by a yaml in a folder of configs."""
    (tmp_path / "conf" / "clusterer").mkdir(parents=True)
    for name, options in {"Chains": "step: 0.02\nleast: 2\n", "Two": ""}.items():
        file = tmp_path / "conf" / "clusterer" / f"{name.lower()}.yaml"
        file.write_text(f"_target_: toy_clusterer.{name}\n{options}")

    def run(*words, clusterer="chains"):
        flags = [word for word in words if word.startswith("-")]
        return itae_("--config-dir", "conf", *flags, f"clusterer={clusterer}", *words[len(flags) :])

    return run


def digits_in(folder, count=40):
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir()
    for i, pixels in enumerate(load_digits().images[:count]):
        Image.fromarray((pixels * 15.9).astype("uint8")).resize((32, 32)).save(folder / f"{i:02d}.png")


def test_a_labelled_run_tells_noise_from_clusters(toy):
    status, out, err = toy(*SMALL, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    found = itae.load_run("run")
    clusters = found.read_assignments()
    for name, side, of in (
        ("baseline", found.result["baseline"], clusters.baseline),
        ("edited", found.result["edited"], clusters.edited),
    ):
        assert (side["k"], side["seeds"]) == (None, []), name
        share = side["noise_share"]["mean"]
        assert share == (of == -1).mean()
        assert 0 < share < 1, "the test needs some of each"
        assert side["clusters"] == {"mean": of.max() + 1, "std": None, "per_seed": [of.max() + 1]}
        assert side["acc"]["mean"] == pytest.approx(side["acc_clustered"]["mean"] * (1 - share))
        assert side["linked"]["mean"] == side["highest_linked"]["linked"] == (of >= 0).sum()
        assert side["steps"] == [80 * 79 / 2]
        assert not {"inertia", "lowest_inertia", "empty_clusters"} & side.keys()
    kept = read_clusterings(found)
    np.testing.assert_array_equal(kept.assignments, [clusters.edited])
    delta = found.result["delta"]
    assert {"acc", "acc_clustered", "knn"} < delta.keys()
    assert (
        delta["acc_clustered"]["interval"][0] <= delta["acc_clustered"]["mean"] <= delta["acc_clustered"]["interval"][1]
    )
    assert "in no cluster" in out
    assert "±" not in out.replace("mean ± std", ""), "one value has no spread"
    assert "inertia" not in out
    assert out.startswith("digits (80 images, k found by the clusterer)")
    told = found.result["shown"]["metrics"]
    assert {"acc_clustered", "noise_share", "clusters"} < told.keys()
    assert told["linked"] == {"title": "linked", "better": "higher", "labels": False, "space": "own"}
    assert "acc_clustered" not in shown_of({}).metrics, "k-means leaves nothing out"
    assert "seed" not in out


@pytest.mark.figures
@pytest.mark.slow
def test_a_folder_without_labels_has_its_noise_apart(toy):
    """All figures and the page are drawn, which takes most of the time."""
    digits_in(Path("photos"))
    status, out, err = toy("dataset=imagefolder", "dataset.root=photos", "runtime.links=true", "hydra.run.dir=run",
                           "clusterer.step=0.02", *SMALL[:1])  # fmt: skip
    assert (status, err) == (0, "")
    found = itae.load_run("run")
    clusters = found.read_assignments()
    assert clusters.labels is None
    assert found.result["delta"] is None
    count = (clusters.edited == -1).sum()
    assert 0 < count < 40
    assert len(list(Path("run/clusters/noise").iterdir())) == count
    assert len(list(Path("run/clusters").glob("*/*"))) == 40
    assert found.result["edited"]["silhouette"]["mean"] is not None
    page = Path("run/report.html").read_text()
    data = json.loads(re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.S)[1])
    after = data["gallery"]["after"]["clusters"]
    noise = next(one for one in after if one["number"] == -1)
    assert (noise["size"], noise["central"], noise["doubtful"]) == (count, [], [])
    assert sum(one["size"] for one in after) == 40
    assert {"embeddings.png", "signal.png"} <= {path.name for path in Path("run/figures").glob("*.png")}
    assert "linked" in out


@pytest.mark.slow
def test_a_sweep_its_table_its_page_and_a_search(toy, itae_):
    """A page is written thrice."""
    status, out, err = toy("-m", *SMALL, "clusterer.step=0.01,0.03", "hydra.sweep.dir=sweep")
    assert (status, err) == (0, "")
    assert "2 jobs, 2 of them run now" in out
    assert itae_("collect", "sweep", "--best", "linked")[0] == 0
    table = pd.read_parquet("sweep/results.parquet")
    assert (table["edited.noise_share.mean"] > 0).all()
    assert table["edited.acc_clustered.mean"].notna().all()
    best = table["edited.linked.mean"].idxmax()
    status, out, _ = itae_("collect", "sweep", "--best", "linked", "--json")
    assert itae_("report", "sweep", "--out", "all.html")[0] == 0
    assert Path("all.html").stat().st_size > 10_000
    assert table.loc[best, "clusterer.step"] == 0.03


@pytest.mark.slow
def test_a_search_learns_from_the_results_which_way_its_objective_is_better(toy):
    """Seven runs."""
    words = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.metric=linked", "hydra.sweeper.batch=2", *SMALL,
             "clusterer.step=interval(0.01,0.05)", "hydra.sweep.dir=study")  # fmt: skip
    status, _, err = toy(*words, "hydra.sweeper.n_trials=4")
    assert (status, err) == (0, "")
    results = [json.loads(path.read_text()) for path in sorted(Path("study").glob("*/result.json"))]
    assert len({result["settings"]["clusterer"]["step"] for result in results}) == 4, "none is drawn twice"
    told = json.loads(Path("study/best.json").read_text())
    assert told["value"] == max(result["edited"]["linked"]["mean"] for result in results)
    assert told["selection"] == "oracle", "nobody knew before the first run that it needs no labels"
    assert toy(*words, "hydra.sweeper.n_trials=5")[0] == 0
    assert len(list(Path("study").glob("*/result.json"))) == 5
    status, _, err = toy(*words, "hydra.sweeper.n_trials=6", "hydra.sweeper.direction=minimize")
    assert status == 2
    assert "searches by another direction (maximize, not minimize)" in err
    status, _, err = toy(*words, "hydra.sweeper.metric=links", "hydra.sweep.dir=other")
    assert status == 2
    assert "hydra.sweeper.metric='links' is not in the results" in err or "no result says which way" in err


def test_a_clusterer_of_both_spaces_gets_them(toy):
    status, out, err = toy(*SMALL, "hydra.run.dir=run", clusterer="two")
    assert (status, err) == (0, "")
    found = itae.load_run("run")
    apart = float(np.abs(found.baseline.vectors - found.edited.vectors).max())
    assert found.result["baseline"]["apart"] == [0.0, 0.0], "on the untouched side both are one"
    assert found.result["edited"]["apart"] == [apart, apart]
    assert apart > 0
    score = (found.baseline.vectors + found.edited.vectors)[:, 0]
    np.testing.assert_array_equal(found.read_assignments().edited, score > np.median(score))
    assert len(found.result["edited"]["acc"]["per_seed"]) == 2
    assert not any(key.startswith(("lowest", "highest")) for key in found.result["edited"]), "it has no objective"
    assert "2 seeds" in out


@pytest.mark.parametrize("k", ["auto", 0, 2.0, True])
def test_a_number_of_clusters_is_one(toy, monkeypatch, k):
    """Before long work: somebody's own class may hand on a k=auto that it can't choose."""
    monkeypatch.setattr(Two, "check", lambda *_: k)
    status, out, err = toy(*SMALL, clusterer="two")
    assert (status, out) == (2, "")
    assert f"Two.check returned {k!r}; it must return a whole number of clusters, or None" in err


def test_spaces_are_handed_over_in_their_order():
    untouched, own = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
    assert spaces(Chains(), untouched, own) is own
    assert [one.mean() for one in spaces(Two(), untouched, own)] == [0, 1]

    class Three(Two):
        spaces = "all"

    with pytest.raises(UserError, match=r"Three.spaces='all' is not one of own, both"):
        spaces(Three(), untouched, own)


class Returns(Two):
    """A clusterer that returns what it is told to."""

    spaces = "own"

    def __init__(self, *parts, noise=False):
        self.parts, self.noise = parts, noise

    def fit(self, vectors, k, seed, device):
        return self.parts[seed % len(self.parts)]


ONES = np.ones(6, int)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([Partition(np.array([0, 0, 1, 1, 1, -1]))], "Returns left points out (-1) and doesn't say that it may"),
        ([Partition(ONES[:4])], "Returns returned 4 assignments of 6 embeddings"),
        ([Partition(ONES, Objective("acc", 1.0))], "Returns calls a number of its own 'acc'"),
        ([Partition(ONES, info={"k": 3})], "Returns calls a number of its own 'k'"),
        ([Partition(ONES), Partition(ONES, info={"x": 3})], "other numbers, or another objective"),
        ([Partition(ONES, Objective("a", 1.0)), Partition(ONES, Objective("a", 1.0, "higher"))], "another objective"),
    ],
)
def test_what_a_clusterer_must_not_return_is_a_sentence(parts, told):
    with pytest.raises(UserError) as error:
        cluster_and_score(np.eye(6, dtype=np.float32), None, None, Returns(*parts), 0, "cpu")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Partition(np.array([0, -2])), "0 and up, or -1 for noise"),
        (lambda: Partition(np.array([0.0, 1.0])), "type float64"),
        (lambda: Partition(np.array([], int)), "shape (0,)"),
        (lambda: Objective("loss", float("nan")), "The clusterer's loss is nan"),
        (lambda: Objective("loss", 1.0, "up"), "'up' is not one of lower, higher"),
    ],
)
def test_a_partition_is_checked_where_it_is_made(make, told):
    with pytest.raises(UserError) as error:
        make()
    assert told in str(error.value)


def test_the_best_is_chosen_in_the_direction_of_the_objective():
    parts = [
        Partition(np.array([i, 0, 1, 1, 1, 1]), Objective("o", value, "higher")) for i, value in enumerate((1.0, 3.0))
    ]
    found = cluster_and_score(np.eye(6, dtype=np.float32), None, None, Returns(*parts), 0, "cpu")
    assert found.assignments[0] == 1
    assert found.metrics["highest_o"]["seed"] == 1
    assert found.metrics["o"]["per_seed"] == [1.0, 3.0]


@pytest.mark.parametrize("most", [1, 126, 127, 128, 254, 255, 256, 40_000])
def test_many_clusters_and_noise_fit_into_what_is_kept(most):
    """255 clusters in a byte would make noise cluster 255."""
    clusters = np.full(6, most)
    clusters[0] = -1
    found = cluster_and_score(
        np.eye(6, dtype=np.float32), None, None, Returns(Partition(clusters), noise=True), 0, "cpu"
    )
    np.testing.assert_array_equal(found.per_seed, [clusters, clusters])
    assert found.per_seed.itemsize <= (1 if most < 128 else 2 if most < 2**15 else 4)
