"""The task of feedback: its numbers, that both sides are asked alike, and all that a run leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae
from itae.app.compose import compose
from itae.app.experiment import run
from itae.base.errors import UserError
from itae.images.datasets import DigitsConditions
from itae.measure.intervals import mean_interval
from itae.search.users import User
from itae.tasks.feedback import Feedback
from itae.tasks.feedback.found import added
from itae.tasks.feedback.methods import RULES

SMALL = ("task=feedback", "tracker=none", "dataset.limit=100", "backbone=digits_vit_artifacts", "layers=all",
         "detector.side=high", "attenuator=scale", "runtime.diagnostics=false", "runtime.report=false",
         "task.queries=30")  # fmt: skip
FEW = ("task.rules=[none,kernel]",)
METRICS = ("map_at_r", "r_at_1", "r_at_10", "p_at_10", "gain", "gain_per_judged", "harm_rate", "zero_positive")


def result_of(folder):
    return json.loads(Path(folder, "result.json").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Return the folder of one run that several tests look at: two sizes of a page, two rounds, wrong clicks."""
    top = tmp_path_factory.mktemp("one")
    words = (
        *SMALL,
        "runtime.report=true",
        "task.judged=[4,8]",
        "task.rounds=2",
        "user.noise=0.1",
        f"paths.cache={top / 'cache'}",
    )
    return run(compose(list(words)), top / "run").folder


@pytest.fixture
def ran(itae_):
    """Return a function that runs the task and returns its result, and what it printed."""

    def with_words(*words):
        status, out, err = itae_(*SMALL, *FEW, "hydra.run.dir=run", *words)
        assert (status, err) == (0, ""), err
        return result_of("run"), out

    return with_words


@dataclass(frozen=True)
class Odd(User):
    """A user of somebody's own."""

    def wanted(self, query, rows, wish):
        """Return odd digits for an odd query, and even ones else."""
        odd = np.logical_or.reduce([rows.labelled(digit) for digit in "13579"])
        return odd == (query.labels[0] in "13579")


@dataclass(frozen=True)
class Counting(User):
    """A user who returns positions in place of true or false."""

    def wanted(self, query, rows, wish):
        """Return a place."""
        return np.array([3])


@pytest.mark.slow
def test_the_metrics_are_those_of_the_runs_own_rule(one):
    result = result_of(one)
    table = pd.read_csv(one / "feedback.csv")
    own = table[(table["rule"] == "nearest") & (table["judged"] == 4) & (table["round"] == 2)].set_index("side")
    for side in ("baseline", "edited"):
        assert set(result[side]) == set(METRICS)
        for name in METRICS[:-1]:
            assert result[side][name]["mean"] == pytest.approx(own.loc[side, name], abs=1e-6)
            assert result[side][name]["per_seed"] == [result[side][name]["mean"]]
        assert result[side]["gain"]["mean"] == pytest.approx(
            result[side]["map_at_r"]["mean"] - own.loc[side, "none_map_at_r"], abs=1e-6
        )
        assert result[side]["gain_per_judged"]["mean"] == pytest.approx(result[side]["gain"]["mean"] / 8)
    for name, change in result["delta"].items():
        assert change["mean"] == pytest.approx(result["edited"][name]["mean"] - result["baseline"][name]["mean"])
        assert change["interval"][0] <= change["mean"] <= change["interval"][1]
    assert set(result["delta"]) == set(METRICS)
    assert result["shown"]["headline"] == "map_at_r"
    assert result["feedback"]["searches"] == 30
    assert itae.load_run(one).scores.loc["map_at_r", "edited"] == result["edited"]["map_at_r"]["mean"]


@pytest.mark.slow
def test_the_tables_hold_all_rules_sizes_rounds_and_searches(one):
    table, queries = pd.read_csv(one / "feedback.csv"), pd.read_csv(one / "queries.csv", dtype={"wish": str})
    rules = {*RULES, "nearest, random images judged", "nearest, nobody judges, all shown are yes",
             "mean of all that is wanted (a ceiling)"}  # fmt: skip
    assert set(table["rule"]) == set(queries["rule"]) == rules
    assert len(table) == 3 * len(rules) * 2 * 2
    assert len(queries) == 2 * len(rules) * 2 * 2 * 30
    keys = ["side", "rule", "judged", "round"]
    means = queries.groupby(keys)[["map_at_r", "r_at_1", "none_map_at_r"]].mean()
    harmed = queries.dropna(subset="map_at_r").assign(harm=lambda t: t["map_at_r"] < t["none_map_at_r"] - 1e-9)
    sides = table[table["side"] != "delta"].set_index(keys)
    for name in means:
        pd.testing.assert_series_equal(sides[name].sort_index(), means[name].sort_index(), atol=2e-6)
    pd.testing.assert_series_equal(
        sides["harm_rate"].sort_index(), harmed.groupby(keys)["harm"].mean().sort_index(), check_names=False, atol=1e-6
    )
    assert (queries["judged_so_far"] == queries["judged"] * queries["round"]).all()
    assert (queries["found"] <= queries[["judged_so_far", "wanted"]].min(axis=1)).all()
    none = table[table["rule"] == "none"]
    assert (none["gain"] == 0).all()
    assert (none["harm_rate"] == 0).all()
    assert queries.groupby(["id", "rule", "judged", "round"])["wanted"].nunique().eq(1).all(), (
        "both sides want the same"
    )
    first = queries[(queries["round"] == 1) & (queries["side"] == "baseline") & queries["rule"].isin(list(RULES))]
    assert first.groupby(["id", "judged"])["found"].nunique().eq(1).all(), "every rule has the same first page"


def test_what_each_search_adds_is_kept_with_its_group(one):
    with np.load(one / "image_values.npz") as kept:
        values = {name.removeprefix("value."): kept[name] for name in kept.files if name.startswith("value.")}
        groups = kept["groups"]
    result = result_of(one)
    assert set(values) == set(METRICS)
    assert len(groups) == 30
    for name, each in values.items():
        assert each.shape == (1, 30)
        assert each.mean() == pytest.approx(result["edited"][name]["mean"])


@pytest.mark.figures
def test_the_page_shows_all_of_it(one, itae_):
    assert {path.name for path in (one / "figures").glob("*.png")} >= {"rules.png", "judging.png"}
    status, _, err = itae_("report", str(one))
    assert status == 0, err
    page = (one / "report.html").read_text()
    for word in ("Rules, 4 images judged in each of 2 rounds", "Rules, 8 images judged", "MAP@R of the residual",
                 "nearest, by how much of the first page is wanted", "simulated", "a ceiling"):  # fmt: skip
        assert word in page


@pytest.mark.slow
def test_a_run_says_who_judged_and_what_was_found(ran):
    result, out = ran("task.judged=5", "feedback=kernel", "feedback.temperature=0.05")
    assert result["feedback"]["rule"] == "kernel temperature 0.05"
    assert {one["rule"] for one in result["feedback"]["rules"]["baseline"]} >= {
        "kernel temperature 0.05",
        "kernel",
        "none",
    }
    for word in ("user=category (simulated)", "nobody was asked", "30 of 100 images are searched with", "feedback.csv"):
        assert word in " ".join(out.split())
    zero = result["feedback"]["zero_positive"]["baseline"][0]
    assert zero["share"] == result["baseline"]["zero_positive"]["mean"] == zero["searches"] / 30


@pytest.mark.slow
def test_an_edit_that_changes_nothing_is_simulated_once(ran, monkeypatch):
    import itae.tasks.feedback.task as module

    calls, simulate = [], module.simulate
    monkeypatch.setattr(module, "simulate", lambda *args: calls.append(args) or simulate(*args))
    result, _ = ran("layers=none")
    assert len(calls) == 1
    assert result["baseline"] == result["edited"]
    assert all(change["mean"] == 0 for change in result["delta"].values())
    ran()
    assert len(calls) == 3
    assert calls[1][2] is calls[2][2], "both sides have the same searches"


def test_a_gallery_is_searched_by_images_of_another_split(ran):
    words = ("dataset.split=test", "dataset.limit=40", "task.gallery={split: train, limit: 90}")
    result, _ = ran(*words)
    assert list(result["embeddings"]) == ["baseline", "edited", "baseline.gallery", "edited.gallery"]
    assert result["feedback"]["collection"] == 90
    assert result["feedback"]["queries"]["could_be"] == 40
    queries = pd.read_csv("run/queries.csv")
    assert set(queries["id"]) <= set(Path("run", result["embeddings"]["baseline"], "ids.txt").read_text().split())


@pytest.mark.slow
def test_the_bytes_of_a_query_are_out_of_a_gallery_too(ran):
    own, _ = ran("task.gallery={limit: 100}", "task.queries=10")
    alone, _ = ran("task.queries=10")
    assert own["baseline"] == alone["baseline"], "the bytes of a query are never shown to it"


@pytest.mark.parametrize(("group", "wanted"), [(None, 25), ("glyph", 23)])
def test_groups_labels_and_attributes_of_files(ran, group, wanted):
    """The file's glyph counts, of which two are in the other ward."""
    ids = sorted(DigitsConditions(limit=60).open().ids)
    lines = [f"{one},{'EW'[i % 2]},g{i // 4}\n" for i, one in enumerate(ids)]
    Path("about.csv").write_text("id,ward,glyph\n" + "".join(lines))
    Path("labels.csv").write_text("id,label\n" + "".join(f"{one},all\n" for one in ids[:50]))
    words = ("dataset=digits_conditions", "dataset.limit=60", "task.attributes=about.csv", "task.labels=labels.csv",
             "user=conditioned", "user.attribute=ward", "task.queries=null")  # fmt: skip
    result, _ = ran(*words, f"task.group={group or 'null'}")
    found = pd.read_csv("run/queries.csv").drop_duplicates("id").set_index("id")["wanted"]
    assert len(found) == 50
    assert (found[:48] == wanted).all()
    assert "10 have nothing to be searched for" in json.dumps(result["notes"])


@pytest.mark.slow
def test_several_labels_are_meant_one_after_the_other(ran):
    pairs = ("dataset=digit_pairs", "dataset.limit=null", "dataset.count=200", "user=one_label", "task.queries=10")
    result, _ = ran(*pairs, "user.means=each")
    assert 10 < result["feedback"]["searches"] <= 20
    with np.load("run/image_values.npz") as kept:
        assert kept["groups"].max() == 9, "both searches of an image are drawn together"
    left, _ = ran(*pairs, "user.means=left")
    wishes = pd.read_csv("run/queries.csv", dtype=str).drop_duplicates("id")
    assert left["feedback"]["searches"] == 10
    assert set(wishes["wish"]) <= set("0123456789")


def test_a_user_of_ones_own_goes_through(itae_, tmp_path):
    (tmp_path / "conf/user").mkdir(parents=True)
    (tmp_path / "conf/user/mine.yaml").write_text(f"_target_: {__name__}.Odd\nnoise: 0.0\n")
    status, out, err = itae_("--config-dir", "conf", *SMALL, *FEW, "user=mine", "hydra.run.dir=run")
    assert status == 0, err
    assert "user=odd (simulated)" in out
    assert pd.read_csv("run/queries.csv")["wanted"].min() > 30


def test_what_ones_own_user_gives_wrongly_is_told(itae_):
    words = (f"user._target_={__name__}.Counting", "hydra.run.dir=run")
    status, _, err = itae_(*SMALL, *FEW, *words)
    assert status == 2
    assert "user=counting wants int64 of shape (1,) of 100 images" in err


@pytest.mark.slow  # four jobs
def test_an_edit_is_held_against_random_patches_search_by_search(itae_):
    words = (*SMALL, *FEW, "control=none,random", "attenuator.strength=0.5,1", "hydra.sweep.dir=sweep")
    assert itae_("-m", *words)[0] == 0
    status, out, err = itae_("collect", "sweep")
    assert status == 0, err
    table = pd.read_csv("sweep/results.csv")
    edits = table[table["control._target_"].str.endswith("NoControl")]
    assert (edits["against_random.over"] == "images").all()
    assert edits["against_random.map_at_r.low"].notna().all()
    assert "against as many random patches" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "jobs", "words"),
    [("digits", 1, ()), ("pairs", 1, ()), ("conditions", 3, ("dataset.limit=200",))],
)  # fmt: skip
def test_the_overlays_run(itae_, name, jobs, words):
    more = ("tracker=none", "runtime.diagnostics=false", "dataset.limit=120", "task.queries=10", *words)
    status, _, err = itae_(f"experiment=feedback_{name}", *more, "hydra.sweep.dir=top", "hydra.run.dir=top/0")
    assert status == 0, err
    for i in range(jobs):
        result = result_of(f"top/{i}")
        assert result["feedback"]["judged"] == [10, 30]
        assert len({one["rule"] for one in result["feedback"]["rules"]["edited"]}) == len(RULES) + 3


@pytest.mark.parametrize(
    ("option", "value"),
    [("judged", 0), ("judged", []), ("judged", [10, 10]), ("judged", 1.5), ("rounds", 6), ("rounds", 0), ("queries", 0),
     ("rules", "none"), ("rules", ["nearst"]), ("gallery", "train"), ("labels", 3), ("attributes", ["x"])],
)  # fmt: skip
def test_settings_out_of_range_are_told(option, value):
    with pytest.raises(UserError, match=rf"task\.{option}="):
        Feedback(**{option: value})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("task.judged=50", "task.rounds=2"), "is 100 images, and the collection has 100: nothing is left"),
        (("user=conditioned", "user.attribute=vendor"), "user.attribute=vendor is no attribute of these images"),
        (("user=one_label",), "none of these images has more than one"),
        (("task.labels=alone.csv",), "can be searched with by user=category, as no other image is what"),
        (("task.labels=none.csv",), "can be searched with by user=category, as none of them has a label"),
        (("task.attributes=twice.csv",), "task.attributes=twice.csv has two lines of 'all/00000'"),
        (("task.group=no.csv",), "task.group=no.csv"),
        (("voter.k=3",), "voter"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_told_before_any_work(itae_, words, told):
    Path("alone.csv").write_text("id,label\nall/00000,x\n")
    Path("none.csv").write_text("id,label\n")
    Path("twice.csv").write_text("id,ward\nall/00000,x\nall/00000,y\n")
    status, _, err = itae_(*SMALL, *FEW, *words, "hydra.run.dir=run")
    assert status == 2
    assert told in err
    assert not Path("run/result.json").exists() or result_of("run")["status"] != "ok"


def test_what_another_run_left_is_removed(tmp_path):
    for name in ("feedback.csv", "queries.csv", "mine.csv"):
        (tmp_path / name).touch()
    Feedback().clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_a_mean_over_some_searches_is_open_as_that_of_their_number():
    """What the others add is nothing: the interval is nearly that of Student over those that have a value."""
    values = np.random.default_rng(0).random(400)
    values[:200] = np.nan
    each = added(values)
    assert each.mean() == pytest.approx(np.nanmean(values))
    low, high = mean_interval(each)
    alone = mean_interval(values[200:])
    assert (high - low) == pytest.approx(alone[1] - alone[0], rel=0.02)
    assert added(np.full(3, np.nan)) is None
