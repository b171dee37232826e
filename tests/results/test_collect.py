"""``itae collect``: the table, what is drawn of it, and the best row."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from itae.base.errors import UserError
from itae.look.sweep_figures import LINES, draw_sweep
from itae.results.find import find_results
from itae.results.rows import comparable, is_control, labels, measured, science, tried
from itae.results.shown import shown_of
from itae.results.table import read_table

CLUSTERING = shown_of({})
NUMBERS = {"threshold": None, "quantile": 0.02, "k": 5.0, "ratio": 2.0}


def spread(mean, std=0.01):
    return {"mean": mean, "std": std, "per_seed": [mean - std, mean + std]}


def result(layers="last", rule="mad", strength=1.0, acc=0.6, common=0.3, base=0.5, **more):
    """Return a result as a run writes it, less what nobody collects."""
    numbers = NUMBERS | {name: more.pop(name) for name in NUMBERS if name in more}
    model, seed, labelled = more.pop("model", "vit_a"), more.pop("seed", 0), more.pop("labelled", True)
    scores = (base, acc) if labelled else (None, None)
    sides = [
        {"n": 60, "k": 10, "seeds": [1, 2], "device": "cpu", "inertia": spread(inertia, 2.0),
         "silhouette": spread(0.4), "silhouette_common": silhouette, "iterations": [3, 4],
         "lowest_inertia": {"seed": 1, "inertia": inertia}} | ({"acc": spread(score)} if labelled else {})
        for score, inertia, silhouette in zip(scores, (100.0, 90.0 + common), (0.25, common), strict=True)
    ]  # fmt: skip
    return {
        "status": "ok", "error": None, "selection": "fixed",
        "settings": {
            "layers": layers, "seed": seed, "selection": "fixed", "paths": {"cache": "c"}, "runtime": {"device": "cpu"},
            "backbone": {"_target_": "itae.backbone.Backbone", "model_name": model, "image_size": 224},
            "detector": {"_target_": "itae.detect.VectorNorm", "rule": rule, "vector": "value"} | numbers,
            "attenuator": {"_target_": "itae.attenuate.Scale", "strength": strength},
            "tracker": {"tags": []},
        },
        "baseline": sides[0], "edited": sides[1], "delta": {"acc": spread(acc - base)} if labelled else None,
        "artifact_rate": {"10": 0.02, "11": more.pop("rate", 0.04)}, "bimodality": 0.6,
        "images": {"n": 60, "classes": 10 if labelled else None},
        "timing": {"extract_s": 1.5, "images_per_s": None, "peak_rss_mb": 500.0},
    } | more  # fmt: skip


def write(folder, *results):
    for i, one in enumerate(results):
        (folder / str(i)).mkdir(parents=True)
        (folder / str(i) / "result.json").write_text(one if isinstance(one, str) else json.dumps(one))
    return folder


def table_of(folder):
    return read_table(find_results([folder]), folder)[0]


@pytest.fixture
def grid(tmp_path):
    """Return the folder of a sweep: three sets of blocks, two thresholds, two strengths."""
    rows = [
        result(layers, k=k, strength=a, acc=0.5 + 0.1 * i * a - k / 100, rate=0.01 * k, common=0.2 + 0.01 * i)
        for i, layers in enumerate(("last", "all", [8, 9, -1])) for k in (3.0, 5.0) for a in (0.5, 1.0)
    ]  # fmt: skip
    return write(tmp_path / "sweep", *rows)


@pytest.fixture
def drawn(monkeypatch):
    """Gather what is drawn with error bars and what as a horizontal line."""
    bars, lines, pictures = [], [], []
    errorbar, axhline, imshow = Axes.errorbar, Axes.axhline, Axes.imshow

    def bar(self, x, y, err, **kw):
        bars.append((kw["label"], list(x), list(y), list(err)))
        return errorbar(self, x, y, err, **kw)

    monkeypatch.setattr(Axes, "errorbar", bar)
    monkeypatch.setattr(Axes, "axhline", lambda self, y, **kw: lines.append(y) or axhline(self, y, **kw))
    monkeypatch.setattr(Axes, "imshow", lambda self, v, **kw: pictures.append(v) or imshow(self, v, **kw))
    return bars, lines, pictures


def test_a_row_has_all_settings_and_metrics(grid):
    table = table_of(grid)
    assert len(table) == 12
    row = table.iloc[10]
    assert (row["folder"], row["status"], row["selection"]) == ("10", "ok", "fixed"), "2 comes before 10"
    assert row["layers"] == "[8,9,-1]"
    assert (row["detector.k"], row["detector.rule"], row["tracker.tags"]) == (5, "mad", "[]")
    assert (row["edited.acc.mean"], row["edited.acc.std"]) == (pytest.approx(0.55), 0.01)
    assert row["delta.acc.mean"] == pytest.approx(0.05)
    assert row["delta.silhouette_common"] == pytest.approx(0.22 - 0.25)
    assert row["artifact_rate"] == pytest.approx((0.02 + 0.05) / 2)
    assert (row["bimodality"], row["images"], row["timing.extract_s"]) == (0.6, 60, 1.5)
    assert not [name for name in table if "per_seed" in name]
    assert list(table.columns[:4]) == ["folder", "status", "error", "selection"]


def test_columns_and_types_do_not_depend_on_the_runs_order(tmp_path):
    runs = [result(layers=[1]), result(threshold=3, rule="absolute"), {"status": "failed", "error": "no"}]
    first, second = table_of(write(tmp_path / "a", *runs)), table_of(write(tmp_path / "b", *runs[::-1]))
    assert list(first.columns) == list(second.columns)
    assert (first.dtypes == second.dtypes).all()
    assert first["detector.threshold"].dtype == first["edited.acc.mean"].dtype == "float64"
    assert (first["seed"].dtype, first["layers"].dtype) == ("Int64", "string")


def test_what_can_not_be_read_is_told_and_what_failed_is_a_row(tmp_path, itae_):
    whole = result()
    broken = ["", "{", "[]", "null", '{"status": "ok"}', json.dumps(whole | {"edited": 3}), "[" * 100_000,
              json.dumps(whole | {"artifact_rate": {"3": "much"}}), json.dumps({"settings": {}})]  # fmt: skip
    failed = {"status": "failed", "error": "no room \ud800", "settings": {"layers": 10**30, "selection": "proxy"}}
    folder = write(tmp_path / "runs", whole, failed, {"status": "running", "error": "it has not ended"}, *broken)
    (folder / "latin").mkdir()
    (folder / "latin" / "result.json").write_bytes(b'{"status": "\xff"}')
    status, out, err = itae_("collect", str(folder))
    assert (status, err) == (0, "")
    assert f"{len(broken) + 1} result.json files could not be read and are left out" in out
    assert "1 ok, 1 failed, 1 running" in out
    table = pd.read_parquet(folder / "results.parquet")
    assert list(table["status"]) == ["ok", "failed", "running"]
    assert list(table["error"][1:]) == ["no room ?", "it has not ended"]
    assert list(table["selection"][:2]) == ["fixed", "proxy"]
    assert table["edited.acc.mean"].isna().tolist() == [False, True, True]
    assert len(pd.read_csv(folder / "results.csv")) == 3


def test_each_run_once_and_nothing_of_the_tracker(grid, tmp_path):
    (grid / "0" / "wandb" / "latest").mkdir(parents=True)
    (grid / "0" / "wandb" / "latest" / "result.json").write_text("{}")
    (tmp_path / "link").symlink_to(grid / "3")
    paths = [grid, grid / "3", grid / "3" / "result.json", tmp_path / "link", grid / ".." / "sweep"]
    assert len(find_results(paths)) == 12


def test_words_name_what_varies_and_is_read(tmp_path):
    rows = [result(quantile=q, rule=rule, k=k, layers="all") for rule, q, k in
            [("mad", 0.1, 3.0), ("mad", 0.2, 4.0), ("quantile", 0.1, 4.0)]]  # fmt: skip
    table = table_of(write(tmp_path / "rules", *rows))
    assert list(labels(science(table))) == ["k=3", "k=4", "quantile=0.1"]
    assert list(labels(science(table.head(1)))) == [""]
    fitted = table_of(write(tmp_path / "fitted", *rows[:2], result(rule="bimodal", layers="last")))
    assert list(labels(science(fitted))) == ["k=3, layers=all", "k=4, layers=all", "layers=last, rule=bimodal"]
    frame = measured(table, "acc")
    assert list(frame["_rule"]) == ["k", "k", "quantile"]
    assert list(frame["_number"]) == [3, 4, 0.1]
    twice = table_of(write(tmp_path / "twice", rows[0], rows[0] | {"selection": "proxy"}))
    assert len(measured(twice, "acc")) == 1


def test_a_number_of_standard_deviations_is_the_threshold_of_its_rule(tmp_path):
    rows = [result(rule="std") for _ in range(2)]
    for stds, one in zip((3.0, 4.0), rows, strict=True):
        one["settings"]["detector"] |= {"_target_": "itae.detect.SingularDefect", "stds": stds}
    frame = measured(table_of(write(tmp_path, *rows)), "acc")
    assert list(frame["_rule"]) == ["stds", "stds"]
    assert list(frame["_number"]) == [3.0, 4.0]


def told_apart(folder, *changes):
    """Return how many settings there are, of runs that differ in some groups."""
    rows = [result() for _ in changes]
    for one, groups in zip(rows, changes, strict=True):
        for group, values in groups.items():
            old = one["settings"].get(group)
            one["settings"][group] = old | values if isinstance(old, dict) else values
    return tried(science(table_of(write(folder, *rows))))


def control(name, **options):
    return {"control": {"_target_": f"itae.controls.{name}"} | options}


def test_what_a_control_replaces_tells_no_settings_apart(tmp_path):
    mean = control("RegisterMean", calibration_images=256)
    scale, fade = ({"attenuator": {"_target_": f"itae.attenuate.{name}"}} for name in ("Scale", "Fade"))
    assert told_apart(tmp_path / "a", mean, mean | {"layers": "all"}, mean | fade, mean | {"detector": {"k": 3.0}}) == 1
    assert told_apart(tmp_path / "b", mean, mean | {"layers": "none"}) == 2
    assert told_apart(tmp_path / "c", mean, control("RegisterMean", calibration_images=99)) == 2
    assert told_apart(tmp_path / "d", scale, fade) == 2
    for i, name in enumerate(("MeanValue", "Shuffle")):
        half = {"attenuator": fade["attenuator"] | {"strength": 0.5}}
        assert told_apart(tmp_path / f"e{i}", control(name) | scale, control(name) | fade) == 1
        assert told_apart(tmp_path / f"f{i}", control(name) | scale, control(name) | half) == 2


def test_values_of_other_images_are_of_some_images_whatever_the_rule(tmp_path):
    draws = [{"detector": {"calibration_seed": seed}} for seed in (0, 1)]
    assert told_apart(tmp_path / "a", *draws) == 1, "a rule that fits nothing"
    assert told_apart(tmp_path / "b", *(control("Shuffle") | one for one in draws)) == 2


@pytest.mark.parametrize(
    ("views", "flip", "count"), [(2, True, 1), (1, True, 1), (1, False, 1), (3, True, 2), (2, False, 2)]
)
def test_how_far_views_are_moved_counts_where_some_are(tmp_path, views, flip, count):
    edits = [{"edit": {"_target_": "itae.augment.Augment", "views": views, "flip": flip, "shift": s}} for s in (4, 8)]
    assert told_apart(tmp_path, *edits, {"edit": {"_target_": "itae.edit.Attention"}}) == count + 1


def test_figures_show_the_numbers_of_the_table(grid, tmp_path, drawn):
    bars, lines, pictures = drawn
    made, left_out = draw_sweep(table_of(grid), "acc", tmp_path / "figures", CLUSTERING)
    assert [path.stem for path in made] == ["metric_threshold", "metric_strength", "metric_layers",
                                           "delta_layers_threshold", "delta_artifact_rate"]  # fmt: skip
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.with_suffix(".svg").is_file() for path in made)
    assert left_out == []
    threshold = {label: rest for label, *rest in bars[:6]}
    x, y, std = threshold["strength=1, layers=all"]
    assert (x, y, std) == ([3, 5], pytest.approx([0.57, 0.55]), [0.01, 0.01])
    sets = {label: rest for label, *rest in bars[12:16]}
    x, y, _ = sets["k=3, strength=1"]
    assert np.round(x).tolist() == [0, 1, 2]
    assert y == pytest.approx([0.47, 0.67, 0.57]), "last, the list, all"
    assert lines[:3] == [0.5, 0.5, 0.5], "the untouched backbone, once in each figure"
    assert lines[3] == 0
    assert pictures[1] == pytest.approx(np.array([[-0.03, -0.05], [0.17, 0.15], [0.07, 0.05]]))
    shown = np.concatenate([y for _, _, y, _ in bars[16:]])
    assert sorted(shown) == pytest.approx(sorted(table_of(grid)["delta.acc.mean"]))


def test_only_what_varies_is_drawn_and_old_figures_go(grid, tmp_path):
    draw_sweep(table_of(grid), "acc", tmp_path, CLUSTERING)
    made, _ = draw_sweep(table_of(write(tmp_path / "b", result(k=3.0), result(k=4.0))), "acc", tmp_path, CLUSTERING)
    assert [path.stem for path in made] == ["metric_threshold"]
    assert {path.stem for path in tmp_path.glob("*.*g")} == {"metric_threshold"}
    assert draw_sweep(table_of(write(tmp_path / "c", result())), "acc", tmp_path, CLUSTERING) == ([], [])


def test_more_lines_than_colours_are_told(tmp_path, drawn):
    rows = [result(k=float(k), layers=[i]) for i in range(LINES + 3) for k in (1, 2)]
    _, left_out = draw_sweep(table_of(write(tmp_path, *rows)), "acc", tmp_path, CLUSTERING)
    assert "metric_threshold: 3 more combinations of settings are only in the table" in left_out
    assert len({label for label, x, *_ in drawn[0] if x == [1, 2]}) == LINES


def test_two_backbones_have_a_panel_each(tmp_path, drawn):
    rows = [result(k=float(k), model=model, base=base, rate=k / 50)
            for model, base in (("a", 0.4), ("b", 0.5)) for k in (1, 2)]  # fmt: skip
    draw_sweep(table_of(write(tmp_path, *rows)), "acc", tmp_path, CLUSTERING)
    assert drawn[1][:2] == [0.4, 0.5], "and each its own untouched one"
    deltas = [y for _, _, y, _ in drawn[0]]
    assert np.concatenate(deltas[2:]) == pytest.approx([0.2, 0.2, 0.1, 0.1]), "one never among the other's points"
    assert len(deltas) == 4


def test_detectors_and_attenuators_go_by_their_names(tmp_path, itae_):
    """A residual norm has no `vector`: that mustn't leave it without a word."""
    other = result(layers="all", quantile=0.1, rule="quantile", acc=0.9)
    del other["settings"]["detector"]["vector"]
    other["settings"]["detector"]["_target_"] = "itae.detect.ResidualNorm"
    third = result(layers="all", quantile=0.1, rule="quantile")
    third["settings"]["attenuator"]["_target_"] = "itae.attenuate.MeanValue"
    rows = [result(layers="all", quantile=0.1, rule="quantile"), other, third]
    folder = write(tmp_path / "runs", *rows)
    assert list(labels(science(table_of(folder)))) == [
        "value_norm, scale", "residual_norm, scale", "value_norm, mean_value"
    ]  # fmt: skip
    assert "best       residual_norm, scale in 1: acc=0.9000, of 3" in itae_("collect", str(folder), "--best", "acc")[1]


def test_no_run_goes_by_its_clusterer_alone(tmp_path):
    """An edit that reads no detector keeps a word of its own beside that of its clusterer."""
    rows = [result(layers="all"), result(layers="all", acc=0.8), result(layers="all", acc=0.7)]
    rows[1]["settings"]["edit"] = {"_target_": "itae.augment.Augment", "views": 2}
    rows[2]["settings"]["clusterer"] = {"_target_": "itae.cluster.Hdbscan"}
    for one in rows[:2]:
        one["settings"]["clusterer"] = {"_target_": "itae.cluster.KMeans"}
    told = list(labels(science(table_of(write(tmp_path, *rows)))))
    assert ["augment" in one for one in told] == [False, True, False]
    assert ["hdbscan" in one for one in told] == [False, False, True]


def test_a_class_goes_by_its_public_name_where_a_result_has_that_of_its_file(tmp_path):
    groups = {"detector": "Nothing", "control": "NoControl", "edit": "Attention"}
    rows = []
    for strength, (detect, controls, edit) in enumerate(
        [("detect", "controls", "edit"), ("edits.detect", "edits.controls", "edits.edit")], 1
    ):
        one = result(strength=float(strength), acc=0.5 + strength / 10)
        for group, module in zip(groups, (detect, controls, edit), strict=True):
            one["settings"][group] = {"_target_": f"itae.{module}.{groups[group]}"}
        rows.append(one)
    table = table_of(write(tmp_path, *rows))
    assert not is_control(table).any()
    assert {group: set(table[f"{group}._target_"]) for group in groups} == {
        "detector": {"itae.detect.Nothing"}, "control": {"itae.controls.NoControl"}, "edit": {"itae.edit.Attention"},
    }  # fmt: skip
    assert list(labels(science(table))) == ["strength=1", "strength=2"]


def test_seeds_are_repeats_and_no_settings(tmp_path, itae_, drawn):
    scores = {1.0: (0.9, 0.1), 2.0: (0.6, 0.62)}  # the highest single score is of the setting that is worse
    rows = [result(k=k, seed=seed, acc=acc, rate=k / 50) for k, pair in scores.items() for seed, acc in enumerate(pair)]
    folder = write(tmp_path / "runs", *rows)
    frame = measured(table_of(folder), "acc")
    assert list(frame["_value"]) == pytest.approx([0.5, 0.61])
    assert list(frame["_value_std"]) == pytest.approx([np.hypot(0.01, 0.4), np.hypot(0.01, 0.01)])
    status, out, _ = itae_("collect", str(folder), "--best", "acc")
    assert status == 0
    assert "of 2 settings tried" in out
    assert "best       k=2 in 2:" in out
    assert [list(y) for _, _, y, _ in drawn[0]] == [pytest.approx([0.5, 0.61]), pytest.approx([0.0, 0.11])]


def test_lines_that_are_shown_go_from_the_worst_to_the_best(tmp_path, drawn):
    rows = [result(k=float(k), layers=[i], acc=i / 40) for i in range(3 * LINES) for k in (1, 2)]
    draw_sweep(table_of(write(tmp_path, *rows)), "acc", tmp_path, CLUSTERING)
    shown = [y[0] for _, x, y, _ in drawn[0] if x == [1, 2]]
    assert len(shown) == LINES
    assert (shown[0], shown[-1]) == (0.0, pytest.approx((3 * LINES - 1) / 40))


def test_every_kind_of_rule_has_a_map(tmp_path, drawn):
    rows = [result(layers, rule=rule, strength=a, **{name: value})
            for rule, name, values in (("mad", "k", (3.0, 5.0)), ("quantile", "quantile", (0.1, 0.2, 0.3)))
            for value in values for layers in ("last", "all") for a in (0.2, 0.4, 0.6, 0.8, 1.0)]  # fmt: skip
    _, left_out = draw_sweep(table_of(write(tmp_path, *rows)), "acc", tmp_path, CLUSTERING)
    assert [picture.shape for picture in drawn[2]] == [(2, 2), (2, 3)] * 3
    assert any("delta_layers_threshold: 4 more" in line for line in left_out)


def test_shares_that_are_all_but_equal_are_not_drawn(tmp_path):
    rows = [result(k=float(k), rate=0.04 + k * 1e-6) for k in (1, 2)]
    made, _ = draw_sweep(table_of(write(tmp_path, *rows)), "acc", tmp_path, CLUSTERING)
    assert [path.stem for path in made] == ["metric_threshold"]


def test_without_labels_the_metric_is_inertia_and_the_delta_a_comparable_one(tmp_path, itae_, drawn):
    rows = [result(layers, k=float(k), labelled=False, common=0.3 + k / 100, rate=k / 50)
            for k in (1, 2) for layers in ("last", "all")]  # fmt: skip
    status, out, _ = itae_("collect", str(write(tmp_path / "runs", *rows)))
    assert status == 0
    assert drawn[0][0][2] == pytest.approx([90.31, 90.32])
    assert drawn[2][0] == pytest.approx(np.array([[0.06, 0.07]] * 2))
    assert "best by silhouette" in out
    assert "acc" not in out


@pytest.mark.slow
def test_the_best_row_is_chosen_without_labels_unless_asked(grid, itae_):
    status, out, _ = itae_("collect", str(grid))
    assert "silhouette=0.4000, of 12 settings tried" in out
    assert "own embedding space" in out
    status, out, _ = itae_("collect", str(grid), "--best", "silhouette_common")
    assert status == 0
    assert "silhouette_common=0.2200, of 12 settings tried" in out
    assert "no setting is better than the baseline, the untouched backbone" in out
    assert "oracle" not in out
    table = pd.read_parquet(grid / "results.parquet")
    assert list(table.index[table["selection"] == "proxy"]) == [table["edited.silhouette_common"].idxmax()]
    assert set(table["selection"]) == {"fixed", "proxy"}, "the best of twelve was not fixed beforehand"
    for best in ("acc", "delta.acc"):
        status, out, _ = itae_("collect", str(grid), "--best", best)
        assert "oracle: chosen with labels" in out
        table = pd.read_parquet(grid / "results.parquet")
        assert list(table.index[table["selection"] == "oracle"]) == [table["edited.acc.mean"].idxmax()]
    assert json.loads((grid / "9" / "result.json").read_text())["selection"] == "fixed"
    _, out, _ = itae_("collect", str(grid), "--best", "inertia")
    assert "inertia=90.2000" in out, "the lowest"
    assert "rows do not compare well" in out


def test_each_backbone_has_a_best_row(tmp_path, itae_):
    rows = [result(k=float(k), model=model, common=k / 10) for model in "ab" for k in (1, 2)]
    _, out, _ = itae_("collect", str(write(tmp_path / "runs", *rows)), "--best", "acc")
    table = pd.read_parquet(tmp_path / "runs" / "results.parquet")
    assert (table["selection"] == "oracle").sum() == 2
    assert "across them nothing compares" in out


def test_each_clusterer_has_a_best_row(tmp_path, itae_):
    rows = [result(k=float(k), common=k) for k in (1, 2, 1, 2)]
    for i, one in enumerate(rows):
        one["settings"]["clusterer"] = {"_target_": "itae.cluster." + ("KMeans", "SphericalKMeans")[i // 2]}
    _, out, _ = itae_("collect", str(write(tmp_path / "runs", *rows)), "--best", "inertia")
    assert out.count("best       ") == 2
    assert "spherical_kmeans" in out


def test_a_file_that_is_no_result_costs_no_table(tmp_path, itae_):
    (tmp_path / "results.csv").write_text("mine")
    (tmp_path / "thing.json").write_text('{"a": 1}')
    status, out, err = itae_("collect", str(tmp_path / "thing.json"))
    assert (status, out) == (2, "")
    assert "No result.json of 1 found can be read" in err
    assert (tmp_path / "results.csv").read_text() == "mine"


def test_runs_without_the_criterion_have_no_best_row(tmp_path, itae_):
    old = result()
    for side in ("baseline", "edited"):
        del old[side]["silhouette"]
    _, out, _ = itae_("collect", str(write(tmp_path / "runs", old)))
    assert "no run has silhouette, so none is called best" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["RUNS/none"], "there is no such file or folder"),
        (["."], "No result.json was found under ."),
        (["RUNS", "--best", "silhouet"], "Did you mean 'silhouette'?"),
        (["RUNS", "--metric", "delta.acc"], "--metric=delta.acc is not a metric of these runs; they have acc"),
        (["RUNS", "--out", "RUNS/0/result.json"], "can't be written"),
        (["FAILED", "--best", "acc"], "no run here has ended well"),
        ([], "PATH"),
    ],
)
def test_a_mistake_is_one_sentence(words, told, tmp_path, itae_):
    runs = write(tmp_path / "elsewhere" / "runs", result(), result(k=3.0))
    failed = write(tmp_path / "elsewhere" / "failed", {"status": "failed", "error": "no"})
    Path("empty").mkdir()
    words = [word.replace("RUNS", str(runs)).replace("FAILED", str(failed)) for word in words]
    words = ["empty" if word == "." else word for word in words]
    status, out, err = itae_("collect", *words)
    assert (status, out) == (2, "")
    assert err.startswith("itae: ")
    assert err.count("\n") == 1
    assert told.replace("under .", "under empty") in err


def test_runs_that_all_failed_are_a_table_and_no_figure(tmp_path, itae_):
    folder = write(tmp_path / "runs", {"status": "failed", "error": "no"}, {"status": "running", "error": "yet"})
    status, out, _ = itae_("collect", str(folder), "--out", str(tmp_path / "out"))
    assert status == 0
    assert "figures    none: no run has ended well" in out
    assert len(pd.read_parquet(tmp_path / "out" / "results.parquet")) == 2


def test_figures_that_there_are_none_of_are_told_why(tmp_path, itae_):
    """Two backbones are two values of a setting, and no figure is drawn across them."""
    folder = write(tmp_path / "runs", result(), result(model="vit_b"))
    assert "none of these tells apart runs that compare" in itae_("collect", str(folder))[1]


@pytest.mark.slow
def test_a_real_sweep_is_collected(itae_):
    words = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "detector.rule=quantile", "tracker=none")
    assert itae_("-m", "layers=last,last2", "detector.quantile=0.05,0.1", *words, "hydra.sweep.dir=s")[0] == 0
    status, out, err = itae_("collect", "s")
    assert (status, err) == (0, "")
    table = pd.read_parquet("s/results.parquet")
    pd.testing.assert_frame_equal(pd.read_csv("s/results.csv")[table.columns[-9:]], table[table.columns[-9:]])
    one = json.loads(Path("s/2/result.json").read_text())
    row = table[table["folder"] == "2"].iloc[0]
    assert row["edited.acc.mean"] == one["edited"]["acc"]["mean"]
    assert row["edited.silhouette_common"] == one["edited"]["silhouette_common"]
    assert row["bimodality"] == one["bimodality"]
    assert len(list(Path("s/figures").glob("*.png"))) >= 3
    assert "4 settings tried" in out


def test_neighbours_are_counted_as_labels_and_other_votes_do_not_compare(tmp_path, itae_):
    rows = [result(k=k) for k in (1.0, 2.0) for _ in range(2)]
    for i, row in enumerate(rows):
        row["settings"]["task"] = {"knn": 10 + 10 * (i % 2), "temperature": 0.07}
        row["edited"]["knn"] = {"mean": 0.9 + i / 100, "std": None, "per_seed": [0.9 + i / 100], "k": 10}
    old = result(k=3.0)  # of before there was a vote
    folder = write(tmp_path / "runs", *rows, old)
    _, out, _ = itae_("collect", str(folder), "--best", "knn")
    table = pd.read_parquet(folder / "results.parquet")
    assert list(table.index[table["selection"] == "oracle"]) == [2, 3]
    assert out.count("oracle: chosen with labels") == 2
    assert "k=2, knn=10 in 2: knn=0.9200" in out
    assert "k=2, knn=20 in 3: knn=0.9300" in out
    alike = write(tmp_path / "alike", *rows[::2], old)
    _, out, _ = itae_("collect", str(alike), "--best", "acc")
    assert "of 3 settings tried" in out
    assert "across them nothing compares" not in out


def test_torch_is_not_imported():
    code = (
        "import sys, itae.app.collect; sys.exit(bool({'torch', 'sklearn', 'matplotlib', 'hydra'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rule_of_ones_own_may_read_any_number(tmp_path):
    """Only of our own rules is it known which numbers they don't read; three values are three settings."""
    own = [result(ratio=ratio, acc=0.5 + ratio / 10) for ratio in (1.05, 1.5, 3.0)]
    ours = [result(ratio=ratio) for ratio in (1.05, 3.0)]
    for one in own:
        one["settings"]["detector"]["_target_"] = "my_rules.Ratio"
    for name, results, expected in (("own", own, 3), ("ours", ours, 1)):
        for i, one in enumerate(results):
            (tmp_path / name / str(i)).mkdir(parents=True)
            (tmp_path / name / str(i) / "result.json").write_text(json.dumps(one))
        table = read_table(find_results([tmp_path / name]), tmp_path)[0]
        assert len(science(table).drop_duplicates()) == expected


def test_runs_from_before_there_was_a_choice_of_decoding_compare_with_those_of_now(tmp_path):
    rows = [result(k=k) for k in (3.0, 4.0, 5.0)]
    for one, more in zip(rows, ({}, {"decode": "full"}, {"decode": "reduced"}), strict=True):
        one["settings"]["dataset"] = {"root": "photos"} | more
    assert [list(index) for index in comparable(science(table_of(write(tmp_path, *rows))))] == [[0, 1], [2]]


def test_runs_that_failed_before_they_had_settings_are_told_by_what_they_have(tmp_path):
    rows = ({"status": "failed", "error": "no", "settings": {"seed": seed}} for seed in (0, 1))
    assert list(labels(science(table_of(write(tmp_path, *rows))))) == ["seed=0", "seed=1"]


def test_a_folder_that_may_not_be_read_is_no_folder_without_runs(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", refuse)
        with pytest.raises(UserError, match=r"can't be read .Permission denied.: see that this user may read it"):
            find_results([tmp_path])
