"""What each image adds to a score, kept of any task: by it an edit is held against its random control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from itae.base.errors import UserError
from itae.look.view import load_run
from itae.results.clusterings import CLUSTERINGS
from itae.results.image_values import IMAGE_VALUES, read_image_values

WORDS = (
    *(
        "task._target_=toy_task.OfEach",
        "~task.knn",
        "~task.temperature",
        "~task.words",
        "dataset.limit=30",
        "tracker=none",
    ),
    *("backbone=digits_vit_artifacts", "detector.rule=quantile", "detector.quantile=0.1", "layers=all"),
)


@pytest.mark.slow
def test_any_tasks_edit_is_held_against_random_patches_image_by_image(itae_):
    status, _, err = itae_("-m", *WORDS, "control=none,random", "hydra.sweep.dir=sweep")
    assert status == 0, err
    edit, random = (read_image_values(load_run(f"sweep/{i}")).values["width"][0] for i in (0, 1))
    status, out, err = itae_("collect", "sweep")
    assert status == 0, err
    row = pd.read_csv("sweep/results.csv").iloc[0]
    ends = ttest_rel(edit, random).confidence_interval()
    told = [row[f"against_random.width.{end}"] for end in ("low", "high")]
    np.testing.assert_allclose(told, [ends.low, ends.high])
    assert row["against_random.width.mean"] == pytest.approx((edit - random).mean())
    assert row["against_random.over"] == "images"
    assert "against as many random patches" in out


def test_values_of_another_run_or_damaged_ones_are_not_believed(itae_):
    assert itae_(*WORDS, "hydra.run.dir=one")[0] == 0
    assert itae_(*WORDS, "layers=last", "hydra.run.dir=two")[0] == 0
    file = Path("one") / IMAGE_VALUES
    whole = file.read_bytes()
    file.write_bytes((Path("two") / IMAGE_VALUES).read_bytes())
    with pytest.raises(UserError, match="is of another run"):
        read_image_values(load_run("one"))
    file.write_bytes(whole[:100])
    with pytest.raises(UserError, match="can't be read"):
        read_image_values(load_run("one"))
    file.unlink()
    with pytest.raises(UserError, match="run it again"):
        read_image_values(load_run("one"))


def test_clusterings_that_another_task_left_in_the_folder_are_not_asked(itae_):
    assert itae_("dataset.limit=30", "tracker=none", "clusterer.seeds=2", "hydra.run.dir=one")[0] == 0
    assert (Path("one") / CLUSTERINGS).exists()
    assert itae_(*WORDS, "hydra.run.dir=one")[0] == 0
    run = load_run("one")
    assert read_image_values(run).values["width"].mean() == pytest.approx(run.result["edited"]["width"]["mean"])


def test_a_run_in_the_folder_of_another_leaves_none_of_its_values(itae_):
    assert itae_(*WORDS, "hydra.run.dir=one")[0] == 0
    assert itae_(*WORDS, "hydra.run.dir=one", "task._target_=toy_task.Width")[0] == 0
    assert not (Path("one") / IMAGE_VALUES).exists()
