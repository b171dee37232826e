"""Edits of all tasks of a memory against random patches: what each keeps of its images, and one table of all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itae.look.view import load_run
from itae.results.image_values import read_image_values

WORDS = (
    *("backbone=digits_vit_artifacts", "layers=all", "detector.rule=mad", "detector.k=5", "detector.side=high"),
    *("attenuator=scale", "dataset.limit=60", "voter=rank", "voter.k=3", "tracker=none", "runtime.report=false"),
)
TASKS = ("knn", "incremental", "editing")
SCORES = {"knn": "top_1", "incremental": "final", "editing": "repaired"}


@pytest.mark.slow  # six jobs of three tasks
def test_each_task_keeps_what_images_add_and_one_table_holds_all_edits_against_random(itae_):
    words = ("-m", *WORDS, f"task={','.join(TASKS)}", "control=none,random", "hydra.sweep.dir=sweep")
    status, _, err = itae_(*words)
    assert status == 0, err
    for i, task in enumerate(TASKS):
        run = load_run(f"sweep/{2 * i}")
        assert run.result["kind"] == task
        kept = read_image_values(run)
        for name, values in kept.values.items():
            np.testing.assert_allclose(values.mean(axis=1), run.result["edited"][name]["per_seed"], atol=1e-12)
        assert {"knn": {"top_1", "balanced_accuracy"}, "incremental": {"final", "forgetting", "class_mean_final"},
                "editing": {"repaired", "recovery_k1", "precision_at_wrong"}}[task] <= set(kept.values)  # fmt: skip
    status, out, err = itae_("collect", "sweep")
    assert status == 0, err
    table = pd.read_csv("sweep/results.csv")
    for task, score in SCORES.items():
        row = table[(table["kind"] == task) & (table["control._target_"] == "itae.controls.NoControl")].iloc[0]
        assert row["against_random.over"].startswith("images")
        low, mean, high = (row[f"against_random.{score}.{end}"] for end in ("low", "mean", "high"))
        assert low < mean < high
        assert f"delta {score} against as many random patches" in out
        ranked = out.partition(f"{task}, not ranked, 2 of 2 rows")[2].partition("\u2514")[0]
        assert f"{row[f'edited.{score}.mean']:.4f}" in ranked, "each task's rows have its own headline"
