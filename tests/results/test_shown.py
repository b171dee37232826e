"""What results say of their own metrics, and that whoever reads them goes by that and by no name."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spreads import SAID, spread_result, write_results

from itae.base.errors import UserError
from itae.results.find import find_results
from itae.results.report import print_report, score_rows
from itae.results.rows import choose, comparable, labels, measured, metric_names, ranked, science
from itae.results.shown import Metric, Shown, merged, shown_of
from itae.results.table import read_table

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["width", "higher", "own"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(SAID)), inner),
    max_leaves=8,
)
BEFORE = Path(__file__).parents[1] / "data" / "before_rooms" / "runs"


def table_of(folder):
    return read_table(find_results([folder]), folder)


# --- what a result says


@given(JSON)
def test_whatever_a_file_says_is_understood_or_one_sentence(plain):
    understood_or_told(plain)


@given(st.sampled_from(list(SAID)), JSON)
def test_so_is_what_was_changed_in_one_place(name, value):
    understood_or_told(SAID | {name: value})


@given(st.sampled_from(["title", "better", "labels", "space"]), JSON)
def test_so_is_a_metric(name, value):
    metric = SAID["metrics"]["tone"] | {name: value}
    understood_or_told(SAID | {"metrics": SAID["metrics"] | {"tone": metric}})


def understood_or_told(plain):
    try:
        shown = Shown.of(plain)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert Shown.of(json.loads(json.dumps(shown.plain()))) == shown
    assert {shown.headline, *shown.table} <= shown.metrics.keys()
    assert all(metric.name == name for name, metric in shown.metrics.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"headline": "girth"}, "'girth' is not among the metrics"),
        ({"table": ["width", "girth"]}, "'girth' is not among"),
        ({"criterion": "tone"}, "'tone' has seen labels"),
        ({"metrics": {"width.mean": {}}}, "digits, _ and - alone"),
        ({"metrics": {"width": {"better": "up"}}}, "better='up'"),
        ({"over": 3}, "over must be a line of text"),
        ({"about": "5\nbins"}, "about must be a line of text"),
    ],
)
def test_a_mistake_of_a_task_is_named(change, told):
    with pytest.raises(UserError, match=told):
        Shown.of(SAID | change)


def test_a_metric_nobody_tells_of_is_taken_to_have_seen_labels():
    shown = Shown.of(SAID)
    assert shown.metric("girth").labels
    assert not shown.metric("width").labels
    assert not shown.metric("bimodality").labels, "it is the edit's"
    delta = shown.metric("delta.width")
    assert (delta.title, delta.better, delta.labels) == ("delta of Width", "lower", False)


@pytest.mark.parametrize("run", ["pictures", "sweep/0", "registers"])
def test_an_old_result_says_what_clustering_does(run):
    result = json.loads((BEFORE / run / "result.json").read_text())
    shown = shown_of(result)
    assert (shown.headline, shown.criterion, shown.about) == ("acc", "silhouette", f"k={result['baseline']['k']}")
    assert shown.table == ("acc", "nmi", "ari", "ami", "knn")
    assert shown.over == f"{len(result['baseline']['seeds'])} seeds"
    assert [name for name in shown.metrics if shown.metrics[name].better == "lower"] == ["inertia"]
    assert [name for name in shown.metrics if not shown.metrics[name].labels] == [
        "inertia", "silhouette", "silhouette_common", "effective_rank"
    ]  # fmt: skip
    unlabelled = shown_of(result | {"delta": None})
    assert (unlabelled.headline, unlabelled.table) == ("inertia", ("inertia", "silhouette"))


def test_what_many_say_does_not_depend_on_their_order():
    one, old = Shown.of(SAID), shown_of({})
    other = Shown.of(SAID | {"metrics": SAID["metrics"] | {"width": {"better": "higher", "labels": True}},
                             "criterion": "reach", "over": "7 folds"})  # fmt: skip
    every = merged([one, other, old])
    assert every == merged([old, other, one, one])
    assert (
        every.metrics["width"] == Metric("width", "Width", None, True, "own") or every.metrics["width"].better is None
    )
    assert every.metrics["width"].labels
    assert every.over == "draws or folds"
    assert every.metrics["inertia"].better == "lower"
    with pytest.raises(UserError, match="neither higher nor lower"):
        every.metrics["width"].sign  # noqa: B018


# --- the console


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("delta", [True, False])
def test_the_table_of_a_run_has_its_own_metrics(delta, draws, capsys, tmp_path):
    result = spread_result(width=2.0, tone=0.75, delta=delta, draws=draws)
    print_report(result, tmp_path)
    out = capsys.readouterr().out
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
            for cells in (line.split("\u2502") for line in out.splitlines()) if len(cells) > 2}  # fmt: skip
    std = " ± 0.0200" if draws == 3 else ""
    assert rows["Width"][:2] == [f"3.0000{std}", f"2.0000{std}"]
    assert rows["Tone"][:2] == [f"0.5000{std}", f"0.7500{std}"]
    assert rows["Width"][2:] == ([f"-1.0000{std}", "-1.5000 to -0.5000"] if delta else [])
    out = " ".join(out.split())  # a title is folded to the table's width
    assert ("over 3 draws" in out, "95 %" in out) == (draws == 3, delta)
    assert "d (60 images, 5 bins), vit_a, cls, fp32" in out
    for line in ("widest of all images: 17", "note Read with care.", "(all cached), spread 2.00 s"):
        assert line in out
    for word in ("ACC", "inertia", "seed", "k=", "cluster"):
        assert word not in out


def test_a_title_is_text_and_no_markup(capsys, tmp_path):
    result = spread_result()
    result["shown"] = SAID | {"about": "[/nothing]", "metrics": SAID["metrics"] | {"tone": {"title": "[red]Tone"}}}
    print_report(result, tmp_path)
    out = capsys.readouterr().out
    assert "[red]Tone" in out
    assert "[/nothing]" in out


def test_a_metric_may_be_a_number_or_words():
    result = spread_result(delta=False)
    result["edited"] |= {"width": 7, "tone": "warm"}
    result["baseline"]["tone"] = None
    assert [(row["baseline"], row["edited"]) for row in score_rows(result)] == [
        ("3.0000 ± 0.0200", "7.0000"), ("", "warm")
    ]  # fmt: skip


# --- many runs


def test_a_lower_value_is_better_where_the_task_says_so(tmp_path):
    table, damaged, shown = table_of(write_results(tmp_path, *(spread_result(w, k=w) for w in (2.5, 1.5, 4.0))))
    assert not damaged
    assert choose(table, "width", shown) == [1]
    assert list(ranked(table, "width", shown).index) == [1, 0, 2]
    assert list(ranked(table, "delta.width", shown).index) == [1, 0, 2]
    assert list(table["selection"]) == ["fixed", "proxy", "fixed"]
    assert choose(table, "tone", shown) == [0]
    assert table.loc[0, "selection"] == "oracle"


def test_the_table_has_the_metrics_of_the_task_in_its_order(tmp_path):
    table, _, shown = table_of(write_results(tmp_path, spread_result()))
    metrics = [name for name in table if name.startswith("edited.")]
    assert metrics == ["edited.width.mean", "edited.width.std", "edited.reach", "edited.tone.mean", "edited.tone.std"]
    assert table.loc[0, "delta.reach"] == pytest.approx(-0.5), "it is of one space, so the task needn't give it"
    assert metric_names(table, shown) == ["width", "reach", "tone", "delta.width", "delta.reach", "delta.tone"]
    assert (table.loc[0, "kind"], table.loc[0, "delta.width.low"]) == ("spread", -1.0 - 0.5)
    assert list(measured(table, "width")["_delta"]) == [-1.0]


def test_rows_of_two_tasks_do_not_compare(tmp_path):
    """Not even by a metric of one name."""
    old = json.loads((BEFORE / "sweep/0/result.json").read_text())
    settings = old["settings"] | {"task": {"_target_": "somebody.Spread", "bins": 5}}
    new = [spread_result(width, k=width, settings=settings) for width in (2.0, 1.0)]
    for result in new:
        result["edited"]["acc"] = {"mean": 0.99, "std": None, "per_seed": [0.99]}
    table, damaged, shown = table_of(write_results(tmp_path, old, *new))
    assert not damaged
    assert list(table["kind"]) == ["clustering", "spread", "spread"]
    assert [list(group) for group in comparable(science(table))] == [[0], [1, 2]]
    assert choose(table, "acc", shown) == [0, 1]
    assert {"edited.acc.mean", "edited.inertia.mean", "edited.width.mean"} <= set(table)
    assert table["edited.inertia.mean"].notna().tolist() == [True, False, False]


def test_two_tasks_of_one_kind_do_not_compare(tmp_path):
    """As a subclass of clustering that keeps its kind."""
    old, *new = (json.loads((BEFORE / "sweep/0/result.json").read_text()) for _ in range(4))
    old["settings"].pop("task", None)
    for result, target in zip(new, ("itae.tasks.clustering.Clustering", "mine.Strict", "mine.Strict"), strict=True):
        result["settings"] = result["settings"] | {"task": {"_target_": target}}
    new[-1]["settings"]["layers"] = "all"
    table, _, shown = table_of(write_results(tmp_path, old, *new))
    rows = science(table)
    assert [list(group) for group in comparable(rows)] == [[0, 1], [2, 3]], "one without a task is of clustering"
    assert set(labels(rows)[2:]) == {f"layers={one}, task=mine.Strict" for one in table["layers"][2:]}
    assert len(measured(table, "acc")) == 3
    assert len(choose(table, "acc", shown)) == 2
    assert "task._target_" not in science(table.iloc[2:]), "where there is one task, its kind says it"


def test_other_settings_of_a_task_do_not_compare(tmp_path):
    table, _, shown = table_of(write_results(tmp_path, spread_result(2.0, bins=5), spread_result(1.0, bins=6)))
    assert choose(table, "width", shown) == [0, 1]


def test_collect_goes_by_what_the_task_says(tmp_path, itae_, monkeypatch):
    widths = {(3.0, "last"): 2.0, (5.0, "last"): 1.0, (3.0, "all"): 2.5, (5.0, "all"): 4.0}
    rows = [spread_result(width, 0.6 + k / 100, k=k, layers=layers) for (k, layers), width in widths.items()]
    folder = write_results(tmp_path / "runs", *rows)
    status, out, err = itae_("collect", str(folder))
    assert (status, err) == (0, "")
    assert "best by width, 4 of 4 rows" in out
    assert "best       k=5, layers=last in 1: width=1.0000, of 4 settings tried" in out
    assert "oracle" not in out
    assert "width is measured in each edit's own embedding space" in out
    assert {path.stem for path in (folder / "figures").glob("*.png")} >= {"metric_threshold", "metric_layers"}
    assert pd.read_parquet(folder / "results.parquet")["selection"].tolist() == ["fixed", "proxy", "fixed", "fixed"]
    monkeypatch.setattr("itae.app.collect.draw_sweep", lambda *_: ([], []))
    _, out, _ = itae_("collect", str(folder), "--best", "tone")
    assert "k=5, layers=last in 1: tone=0.6500, of 4 settings tried (oracle" in out
    _, out, _ = itae_("collect", str(folder), "--best", "reach")
    assert "reach is measured in the space of the baseline" in out
    assert "no setting is better" not in out
    status, _, err = itae_("collect", str(folder), "--best", "widht")
    assert (status, "Did you mean 'width'?" in err) == (2, True)
    for word in ("acc", "inertia", "silhouette"):
        assert word not in out


def test_collect_of_runs_without_a_criterion_calls_none_best(tmp_path, itae_):
    said = SAID | {"criterion": None}
    runs = [spread_result(width, k=width) | {"shown": said} for width in (5.0, 2.0)]
    folder = write_results(tmp_path / "runs", *runs)
    status, out, _ = itae_("collect", str(folder))
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    first, second = rows
    assert first == ["k=5", "5.0000", "+2.0000", "5.00 %", "fixed", "0"], "in their order, though the other is better"
    assert second == ["k=2", "2.0000", "-1.0000", "2.00 %", "fixed", "1"]
    assert "not ranked, 2 of 2 rows" in out
    assert "choose by one with --best: width, reach, tone, delta.width, delta.reach, delta.tone\n" in out
    assert "settings tried" not in out


def test_collect_of_two_tasks_has_a_best_of_one_and_tells_of_the_rest(tmp_path, itae_):
    old = json.loads((BEFORE / "sweep/0/result.json").read_text())
    folder = write_results(tmp_path / "runs", old, *(spread_result(width, k=width) for width in (2.0, 1.0)))
    status, out, err = itae_("collect", str(folder), "--best", "width")
    assert (status, err) == (0, "")
    assert out.count("best       ") == 1
    assert "1 runs have no width and are not ranked" in out


def test_what_a_stranger_says_of_his_metrics_costs_his_row_alone(tmp_path):
    bad = [spread_result(shown={"metrics": 3}), spread_result(shown=SAID | {"headline": None}), spread_result(kind=3),
           spread_result(shown=SAID | {"table": "width"})]  # fmt: skip
    table, damaged, _ = table_of(write_results(tmp_path, spread_result(), *bad))
    assert (len(table), len(damaged)) == (1, 4)
