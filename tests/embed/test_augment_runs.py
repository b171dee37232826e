"""Test-time augmentation from the command line: a run, its table, a sweep beside an edit of attention, a base."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from itae import load_run
from itae.app.compose import compose, plain_config
from itae.base.runtime import Runtime
from itae.knowledge.exchange.recipe import encoder_of, recipe_of
from itae.results import rows as collect_rows
from itae.results.find import find_results
from itae.results.table import read_table
from itae.store.store import Store

SMALL = ("tracker=none", "dataset.limit=60", "clusterer.seeds=2")


@pytest.mark.slow
@pytest.mark.figures
def test_a_run_says_what_it_costs_and_shows_that_nothing_was_flagged(itae_, tmp_path):
    status, out, err = itae_(*SMALL, "edit=augment", "edit.views=3", "edit.shift=2", "detector.rule=bimodal")
    assert status == 0, err
    assert "Augment(3 views: the image, moved by 2 pixels, mirrored)" in out
    assert "3 forward passes an image" in out
    assert "was flagged" not in out
    assert "artifacts  " not in out
    (folder,) = tmp_path.glob("outputs/runs/*")
    run = load_run(folder)
    assert run.result["passes"] == 3
    assert run.result["artifact_rate"] == {}
    assert run.result["layers"] == []
    assert run.result["fits"] == {}, "no threshold is fitted for what reads none"
    assert (folder / "report.html").is_file()
    far = np.abs(run.baseline.vectors - run.edited.vectors).max(axis=1)
    assert (far > 0.01).all()
    status, out, err = itae_(*SMALL, "edit=augment", "edit.views=1")
    assert status == 0, err
    assert "No edit" in out


def test_rows_are_the_mean_of_the_models_own_forwards(itae_, tmp_path):
    status, _, err = itae_(*SMALL, "edit=augment", "edit.views=4", "runtime.batch_size=16", "layers=[0]")
    assert status == 0, err
    (folder,) = tmp_path.glob("outputs/runs/*")
    run = load_run(folder)
    from itae.app.job import open_job
    from itae.app.settings import Settings
    from itae.images.batches import batches
    from itae.images.transform import normalise

    source = open_job(Settings.of(plain_config(compose([*SMALL])))).source
    model = source.backbone.build(source.facts, torch.device("cpu"))
    raw = next(batches(source.images, source.transform, 0, 60, 60)).transpose(0, 3, 1, 2)  # [n, 3, S, S]
    moved = np.pad(raw, ((0, 0), (0, 0), (0, 0), (4, 0)), mode="edge")[..., : raw.shape[-1]]
    total = 0
    for view in (raw, raw[..., ::-1], moved, moved[..., ::-1]):
        pixels = normalise(torch.from_numpy(np.ascontiguousarray(view.transpose(0, 2, 3, 1))), source.transform)
        with torch.inference_mode():
            total = total + model.forward_features(pixels)[:, 0].double().numpy() / 4
    np.testing.assert_allclose(run.edited.vectors, total, atol=1e-5)


def test_control_goes_with_attention_alone(itae_):
    status, _, err = itae_(*SMALL, "edit=augment", "control=random")
    assert status == 2
    assert "control=random goes with edit=attention, and edit=augment reads no detector" in " ".join(err.split())


def test_a_view_out_of_which_the_picture_is_moved_is_refused_before_any_pass(itae_, images_seen):
    status, _, err = itae_(*SMALL, "edit=augment", "edit.shift=32", "edit.views=3")
    assert status == 2
    assert "edit.shift=32: the model takes 32 x 32 pixels" in " ".join(err.split())
    assert "use 31 at most" in " ".join(err.split())
    assert not images_seen
    status, _, err = itae_(*SMALL, "edit=augment", "edit.shift=32", "edit.views=2", "runtime.report=false")
    assert status == 0, "its views are not moved"


@pytest.mark.figures
@pytest.mark.slow
def test_a_sweep_holds_it_against_an_edit_of_attention(itae_, tmp_path):
    words = ("edit=attention,augment,augment_10", "detector.rule=quantile,mad", *SMALL)
    status, out, err = itae_("-m", *words)
    assert status == 0, err
    assert "passes: of an image" in out
    table, damaged, _ = read_table(find_results([tmp_path / "outputs" / "sweeps"]), tmp_path)
    assert not damaged
    assert sorted(table["passes"].dropna().tolist()) == [1, 1, 2, 2, 10, 10]
    rows = collect_rows.science(table)
    ours = rows[rows["edit"] == "augment"]
    assert len(ours[collect_rows.settings_of(ours)].drop_duplicates()) == 2, "detectors are no setting of theirs"
    entries = {json.loads(file.read_text())["digest"] for file in tmp_path.glob("cache/*/*/[0-9a-f]*/meta.json")}
    assert len(entries) == 1 + 2 + 2
    status, _, err = itae_("collect", "outputs/sweeps")
    assert status == 0, err
    (page,) = tmp_path.glob("outputs/sweeps/*/report.html")
    assert '"passes"' in page.read_text()


def test_a_knowledge_base_can_be_of_such_a_space(tmp_path):
    plain = {**plain_config(compose(["edit=augment", "edit.views=3"])), "resize": "squash", "decode": "full"}
    cpu = Runtime("cpu", batch_size=4, num_workers=0)
    recipe, encoder = recipe_of(plain, True, Store(tmp_path), cpu)
    assert encoder.space["edit"]["augment"]["views"] == [[0, 0, False], [0, 0, True], [0, 4, False]]
    assert encoder_of(json.loads(json.dumps(recipe)), Store(tmp_path), cpu).space == encoder.space
