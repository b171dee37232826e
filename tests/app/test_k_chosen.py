"""k chosen without labels, from the command line to page, table and tracker: one number for all that is compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae
from itae.measure.agreement import agreement
from itae.measure.cluster.choose_k import choose_k
from itae.tasks.clustering import choice as module
from itae.track.tracking import Log

pytest.importorskip("faiss")

SMALL = ("dataset.limit=80", "clusterer.seeds=2", "clusterer.restarts=1", "backbone=digits_vit_artifacts",
         "detector.side=high", "attenuator=scale", "layers=all")  # fmt: skip
FEW = "clusterer.candidates=[2,4,8]"


@pytest.fixture
def chosen(monkeypatch):
    """Return a list of what k was chosen among, each time that it was."""
    asked = []

    def counting(vectors, candidates, seed):
        asked.append((candidates, seed))
        return choose_k(vectors, candidates, seed)

    monkeypatch.setattr(module, "choose_k", counting)
    return asked


def pictures(folder):
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir()
    for i, pixels in enumerate(load_digits().images[:40]):
        Image.fromarray((pixels * 15.9).astype("uint8")).resize((32, 32)).save(folder / f"{i:02d}.png")


def test_a_folder_without_labels_gets_a_k(itae_, tmp_path):
    pictures(tmp_path / "photos")
    words = (*SMALL[1:], "dataset=imagefolder", "dataset.root=photos", "tracker=none", "hydra.run.dir=run")
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    run = itae.load_run("run")
    choice = run.result["choice"]
    direct = choose_k(run.baseline.vectors, tuple(choice["candidates"]), 0).plain()
    assert choice == pytest.approx(json.loads(json.dumps(direct)))
    assert choice["candidates"] == [2, 3, 4, 5, 6, 7, 8]
    assert run.result["selection"] == "proxy"
    assert run.result["baseline"]["k"] == run.result["edited"]["k"] == choice["k"]
    assert len(set(run.read_assignments().edited.tolist())) == choice["k"]
    assert f"40 images, k={choice['k']}, chosen without labels" in out
    assert "of 7 candidates from 2 to 8 the one of least coding length, by k-means of 40 untouched embeddings" in out
    assert Path("run/figures/k.png").is_file()
    itae_("report", "run")
    page = Path("run/report.html").read_text()
    assert "chosen without labels" in page
    assert "Above, the coding length by the number of clusters" in page, "the curve, with its caption"
    assert run.result["delta"] is None
    assert "effective rank" in out
    assert "class separation" not in out
    assert "separation" not in run.result["edited"]


@pytest.mark.slow
def test_all_jobs_of_a_sweep_choose_once_and_have_one_k(itae_, chosen):
    words = ("attenuator.strength=0.5,1", "clusterer=kmeans,spherical_kmeans", "clusterer.k=auto", FEW)
    status, _, err = itae_("-m", *SMALL, *words, "tracker=none", "hydra.sweep.dir=sweep")
    assert (status, err) == (0, "")
    assert chosen == [((2, 4, 8), 0)], "once for four jobs"
    table = itae.load_runs("sweep")
    assert len(table) == 4
    assert table["edited.k"].nunique() == table["baseline.k"].nunique() == 1
    assert set(table["selection"]) == {"proxy"}
    assert set(table["clusterer.k"]) == {"auto"}
    assert set(table["clusterer.candidates"]) == {"[2,4,8]"}
    found = [json.loads(Path(f"sweep/{i}/result.json").read_text())["choice"] for i in range(4)]
    assert found[0] == found[1] == found[2] == found[3]


def test_null_is_the_number_of_classes_and_nothing_is_chosen(itae_, chosen):
    assert itae_(*SMALL, "tracker=none", "hydra.run.dir=run")[0] == 0
    result = itae.load_run("run").result
    assert chosen == []
    assert "choice" not in result
    assert (result["selection"], result["baseline"]["k"]) == ("fixed", 10)


@pytest.mark.parametrize("said", ["dev_labels", "oracle"])
def test_what_has_seen_labels_is_not_hidden(itae_, said):
    itae_(*SMALL, "clusterer.k=auto", FEW, f"selection={said}", "tracker=none", "hydra.run.dir=run")
    assert itae.load_run("run").result["selection"] == said


@pytest.mark.slow
def test_another_seed_or_another_list_is_another_choice(itae_, chosen):
    words = ("seed=0,1", "clusterer.k=auto", "clusterer.candidates=[2,4,8],[3]")
    itae_("-m", *SMALL, *words, "tracker=none", "hydra.sweep.dir=sweep")
    assert sorted(chosen) == [((2, 4, 8), 0), ((2, 4, 8), 1), ((3,), 0), ((3,), 1)]
    assert itae.load_run("sweep/1").result["edited"]["k"] == 3
    assert "k.png" not in {path.name for path in Path("sweep/1/figures").iterdir()}, "no curve of one candidate"


def test_the_ends_of_the_candidates_are_told_of(itae_):
    _, out, _ = itae_(*SMALL, "clusterer.k=auto", "clusterer.candidates=[2,3]", "tracker=none", "hydra.run.dir=run")
    k = itae.load_run("run").result["choice"]["k"]
    assert f"k={k} is the {'smallest' if k == 2 else 'largest'} candidate" in out


def test_agreement_and_spaces_are_in_result_table_tracker_and_csv(itae_, monkeypatch):
    logged = []
    monkeypatch.setattr(Log, "metrics", lambda _, values: logged.append(values))
    status, out, _ = itae_(*SMALL, "clusterer.k=auto", FEW, "hydra.run.dir=run")
    assert status == 0
    run = itae.load_run("run")
    clusters, found = run.read_assignments(), run.result["agreement"]
    direct = agreement(clusters.baseline, clusters.edited)
    assert {name: found[name]["chosen"] for name in direct} == pytest.approx(direct)
    assert 0 < found["ari"]["chosen"] < 1, "or a mix-up of the sides would not be seen"
    assert len(found["ari"]["per_seed"]) == 2
    assert f"ARI {direct['ari']:.4f}, NMI {direct['nmi']:.4f}; mean over 2 seeds" in out
    delta, sides = run.result["delta"], [run.result[side] for side in ("baseline", "edited")]
    for name in ("separation", "effective_rank"):
        change = sides[1][name]["mean"] - sides[0][name]["mean"]
        assert delta[name]["mean"] == pytest.approx(change)
    low, high = delta["separation"]["interval"]
    assert 0 < low < delta["separation"]["mean"] < high, "the edit undoes planted artifacts"
    assert delta["effective_rank"]["interval"] is None
    assert f"class separation {sides[0]['separation']['mean']:.4f} to {sides[1]['separation']['mean']:.4f}" in out
    (values,) = logged
    assert values["agreement"]["ari"]["chosen"] == pytest.approx(direct["ari"])
    assert values["choice"]["k"] == run.result["choice"]["k"]
    assert values["edited"]["effective_rank"]["mean"] == sides[1]["effective_rank"]["mean"]
    with Path("run/assignments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, own, side in (("baseline", clusters.baseline, run.baseline), ("edited", clusters.edited, run.edited)):
        vectors = side.vectors.astype(float)
        for row, vector, cluster in zip(rows, vectors, own, strict=True):
            far = np.linalg.norm(vector - vectors[own == cluster].mean(axis=0))
            assert float(row[f"{name}_distance"]) == pytest.approx(far, rel=1e-4)


@pytest.mark.slow
def test_collect_holds_clusterers_against_each_other(itae_):
    words = ("clusterer=kmeans,spherical_kmeans", "layers=all,none", "tracker=none", "hydra.sweep.dir=sweep")
    itae_("-m", *SMALL[:-1], *words)
    status, out, _ = itae_("collect", "sweep")
    assert status == 0
    assert "agreement  of 4 runs' clusters of the same images" in out
    found = pd.read_csv("sweep/agreement.csv")
    assert found["folder"].astype(str).tolist() == found.columns[2:].tolist()
    runs = [itae.load_run(f"sweep/{name}").read_assignments().edited for name in found["folder"]]
    expected = [[agreement(one, other)["ari"] for other in runs] for one in runs]
    np.testing.assert_allclose(found.iloc[:, 2:], expected, atol=1e-6)
    assert np.ptp(found.iloc[:, 2:].to_numpy()) > 0.05
    itae_("report", "sweep")
    page = Path("sweep/report.html").read_text()
    assert "Do the clusterers agree?" in page
    assert f"<td>{expected[0][1]:.3f}</td>" in page
    itae_("collect", "sweep/0", "sweep/1", "--out", "sweep")
    one = itae.load_run("sweep/0").settings["clusterer"] == itae.load_run("sweep/1").settings["clusterer"]
    assert Path("sweep/agreement.csv").exists() != one, "of one clusterer there is none, nor is an old one left"
