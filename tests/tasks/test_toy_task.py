"""A task with none of clustering's names goes everywhere, and nobody knows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae

TASK = ("task._target_=toy_task.Width", "~task.knn", "~task.temperature", "~task.words")
SMALL = (*TASK, "dataset.limit=30", "backbone=digits_vit_artifacts", "detector.rule=quantile", "detector.quantile=0.1")
CLUSTERING = ("acc", "nmi", "inertia", "silhouette", "k-means", "seeds")


def result_of(folder):
    return json.loads(Path(folder, "result.json").read_text())


def test_a_run_has_a_table_a_result_and_files_and_no_word_of_clustering(itae_):
    status, out, err = itae_(*SMALL, "tracker=none", "hydra.run.dir=run")
    assert (status, err) == (0, "")
    result = result_of("run")
    assert (result["status"], result["kind"]) == ("ok", "width")
    far = np.load("run/far.npy")
    assert result["edited"]["width"]["mean"] == pytest.approx(far.mean())
    assert result["artifact_rate"]["5"] > 0, "what is known of the edit is the same for every task"
    assert "Width" in out
    assert "widest" in out
    assert not [word for word in CLUSTERING if word in out.lower()]
    told = {name: result[name] for name in ("baseline", "edited", "delta", "shown", "details", "parts", "notes")}
    assert not [word for word in CLUSTERING if word in json.dumps(told).lower()]
    assert not Path("run/assignments.csv").exists()
    assert itae.load_run("run").scores.loc["width", "edited"] == pytest.approx(far.mean())


@pytest.mark.figures
@pytest.mark.slow
def test_its_page_has_its_scores_and_parts_and_the_edits_figures(itae_):
    assert itae_(*SMALL, "tracker=none", "hydra.run.dir=run")[0] == 0
    page = Path("run/report.html").read_text()
    for words in ("Width", "Farthest", "widest"):
        assert words in page
    assert {Path(name).stem for name in result_of("run")["figures"]} >= {"signal", "norms", "layers", "artifacts"}


@pytest.mark.slow
def test_a_sweep_shares_its_pass_and_is_collected_by_its_own_metric(itae_, images_seen):
    words = ("-m", *SMALL, "tracker=none", "attenuator.strength=0.5,1", "hydra.sweep.dir=sweep")
    status, out, err = itae_(*words)
    assert status == 0, err
    assert images_seen == [(30, 3)], "one pass"
    assert "Width" in out
    status, out, err = itae_("collect", "sweep")
    assert status == 0, err
    table = pd.read_csv("sweep/results.csv")
    narrowest = table.loc[table["edited.width.mean"].idxmin()]
    best = next(line for line in out.splitlines() if line.startswith("best       "))
    assert f"strength={narrowest['attenuator.strength']:g}" in best, "lower is better, it says of itself"
    assert f"width={narrowest['edited.width.mean']:.4f}" in best
    assert itae_(*words)[0] == 0
    assert len(images_seen) == 1, "both jobs are done"


@pytest.mark.slow
def test_optuna_searches_by_its_metric(itae_):
    pytest.importorskip("optuna")
    status, _, err = itae_(
        "-m", *SMALL, "tracker=none", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.metric=width",
        "hydra.sweeper.direction=minimize", "attenuator.strength=interval(0.1,1)", "hydra.sweep.dir=study",
    )  # fmt: skip
    assert status == 0, err
    best = json.loads(Path("study/best.json").read_text())
    assert best["metric"] == "width"
    assert best["value"] == min(result_of(f"study/{i}")["edited"]["width"]["mean"] for i in (0, 1))


def test_several_sources_are_several_passes_and_all_are_told(itae_, images_seen):
    words = [word.replace("Width", "Queries") for word in SMALL]
    status, _, err = itae_(*words, "tracker=none", "hydra.run.dir=run")
    assert status == 0, err
    embeddings = result_of("run")["embeddings"]
    assert list(embeddings) == ["baseline", "edited", "baseline.gallery", "edited.gallery"]
    assert sorted(images_seen) == [(10, 2), (30, 2)], "one pass a source; ten of twenty are among the thirty"
    rows = {name: len(np.load(Path("run", folder, "vectors.npy"))) for name, folder in embeddings.items()}
    assert rows == {"baseline": 30, "edited": 30, "baseline.gallery": 20, "edited.gallery": 20}


@pytest.mark.slow
def test_jobs_of_several_sources_share_the_passes_of_each(itae_, images_seen):
    words = [word.replace("Width", "Queries") for word in SMALL]
    status, _, err = itae_("-m", *words, "tracker=none", "attenuator.strength=0.5,1", "hydra.sweep.dir=sweep")
    assert status == 0, err
    assert sorted(images_seen) == [(10, 3), (30, 3)], "ten of twenty are among the thirty"


@pytest.mark.slow
def test_wandb_gets_its_metric(itae_, monkeypatch):
    from wandb_files import items, records

    monkeypatch.setenv("WANDB_MODE", "offline")
    assert itae_(*SMALL, "hydra.run.dir=run")[0] == 0
    (path,) = Path("run/wandb").glob("offline-run-*/run-*.wandb")
    logged = {}
    for record in records(path):
        logged |= items(record.history.item)
    assert logged["edited/width/mean"] == pytest.approx(result_of("run")["edited"]["width"]["mean"])
