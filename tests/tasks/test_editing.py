"""The task of editing: its numbers, that both sides have the same wrong labels, and all that a run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import itae
from itae.app.compose import compose
from itae.app.experiment import run
from itae.base.errors import UserError
from itae.images.datasets import Digits
from itae.measure.intervals import mean_interval
from itae.tasks.editing import Editing

SMALL = ("task=editing", "tracker=none", "dataset.limit=120", "backbone=digits_vit_artifacts", "detector.side=high",
         "attenuator=scale", "task.draws=2", "runtime.diagnostics=false")  # fmt: skip
RANK = ("voter=rank", "voter.k=5")
CORRUPTIONS, REPAIRS = ("uniform", "pair", "cluster", "boundary"), ("suspicion", "blame", "random", "source")


def result_of(folder):
    return json.loads(Path(folder, "result.json").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Return the folder of one run that several tests look at."""
    top = tmp_path_factory.mktemp("one")
    return run(compose([*SMALL, "corruption=uniform", *RANK, f"paths.cache={top / 'cache'}"]), top / "run").folder


def test_what_another_run_left_is_removed(tmp_path):
    for name in ("curve.csv", "ranking.csv", "mine.csv"):
        (tmp_path / name).touch()
    Editing().clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


@pytest.fixture
def ran(itae_):
    """Return a function that runs the task and returns its result, and what it printed."""

    def with_words(*words):
        status, out, err = itae_(*SMALL, *RANK, "dataset.limit=60", "hydra.run.dir=run", *words)
        assert (status, err) == (0, ""), err
        return result_of("run"), out

    return with_words


def test_a_run_says_what_was_wrong_and_what_mending_brought_back(ran):
    result, out = ran("backbone=digits_vit", "corruption=uniform", "dataset.limit=120")
    for side in ("baseline", "edited"):
        told = result[side]
        for name in ("clean", "noisy", "repaired"):
            assert len(told[name]["per_seed"]) == 2
        for at in range(2):
            clean, noisy, repaired = (told[name]["per_seed"][at] for name in ("clean", "noisy", "repaired"))
            assert clean > noisy
            assert told["recovery"]["per_seed"][at] == pytest.approx((repaired - noisy) / (clean - noisy))
        assert told["recovery"]["mean"] == pytest.approx(np.mean(told["recovery"]["per_seed"]))
        assert told["precision_at_wrong"]["mean"] > 0.5, "uniform noise is easily found"
        assert told["auroc"]["mean"] > 0.8
    assert result["editing"]["rows"] == result["editing"]["queries"] == 120
    assert result["editing"]["wrong"] == [24, 24]
    assert result["editing"]["voters"] == ["rank, k 5"] * 2
    for word in ("accuracy, wrong labels", "recovery at n", "wrong among first n", "24 of 120 rows (uniform)"):
        assert word in out
    assert itae.load_run("run").scores.loc["recovery", "edited"] == result["edited"]["recovery"]["mean"]


def test_the_delta_is_paired_draw_by_draw_with_an_interval_over_images(one):
    result = result_of(one)
    for name, change in result["delta"].items():
        before, after = (np.array(result[side][name]["per_seed"]) for side in ("baseline", "edited"))
        assert change["per_seed"] == pytest.approx((after - before).tolist())
        if name.startswith("changed_per_edit"):
            assert change["interval"] is None
        else:
            low, high = change["interval"]
            assert low <= change["mean"] <= high
    assert {"clean", "recovery", "locality", "precision_at_wrong", "auroc", "repaired_k1"} <= set(result["delta"])


def test_the_files_hold_the_curves_and_the_ranking(one):
    result = result_of(one)
    curves = pd.read_csv(one / "curve.csv")
    assert set(curves["repair"]) == {"suspicion", "blame", "random"}
    assert set(curves["voter"]) == {"chosen", "k 1"}
    ends = curves[curves["share"] == 1]
    assert len(ends) == 2 * 3 * 2
    assert (ends["recovery"] == 1).all(), "all is mended"
    assert (ends["locality"] == 0).all()
    starts = curves[curves["share"] == 0]
    assert (starts["recovery"] == 0).all()
    for side in ("baseline", "edited"):
        here = curves[(curves["side"] == side) & (curves["repair"] == "suspicion") & (curves["voter"] == "chosen")]
        assert here["recovery"].tolist() == pytest.approx(result["editing"]["repair_curve"][side]["recovery"], abs=1e-5)
        assert here["accuracy"].iloc[0] == pytest.approx(result[side]["noisy"]["mean"], abs=1e-5)
        assert here["accuracy"].iloc[-1] == pytest.approx(result[side]["clean"]["mean"], abs=1e-5)
    ranking = pd.read_csv(one / "ranking.csv", dtype={"label": str, "given": str})
    assert len(ranking) == 120
    assert ((ranking["label"] != ranking["given"]) == ranking["wrong"].astype(bool)).all()
    assert ranking["wrong"].sum() == 24
    assert ranking["rank_baseline"].tolist() == list(range(1, 121))
    assert sorted(ranking["rank_edited"]) == list(range(1, 121))
    assert ranking["score_baseline"].is_monotonic_decreasing
    first = ranking["wrong"].iloc[:24].mean()
    assert first == pytest.approx(result["baseline"]["precision_at_wrong"]["per_seed"][0])


@pytest.mark.slow  # sixteen jobs
def test_every_corruption_goes_with_every_repair(itae_):
    kinds = [(corruption, repair) for corruption in CORRUPTIONS for repair in REPAIRS]
    words = (f"corruption={','.join(CORRUPTIONS)}", f"repair={','.join(REPAIRS)}", *RANK)
    status, _, err = itae_("-m", *SMALL, *words, "dataset.limit=60", "hydra.sweep.dir=sweep")
    assert status == 0, err
    for i, (_, repair) in enumerate(kinds):
        result = result_of(f"sweep/{i}")
        assert result["editing"]["wrong"] == [12, 12]
        assert ("Sources are planted" in json.dumps(result["notes"])) == (repair == "source")


def test_both_sides_have_the_same_wrong_labels_and_the_voter_of_the_untouched_one(ran, monkeypatch):
    import itae.tasks.editing.task as module

    seen, chosen, side_of, draws_of = [], [], module.side_of, module.draws_of
    monkeypatch.setattr(module, "side_of", lambda *args: seen.append(args) or side_of(*args))
    monkeypatch.setattr(module, "draws_of", lambda *args: chosen.append(args) or draws_of(*args))
    result, _ = ran("corruption=cluster", "corruption.size=5", "voter=auto", "voter.k=null")
    assert result["edited"] != result["baseline"], "the edit is one"
    (before, draws, *_), (after, again, *_) = seen
    assert draws is again
    assert len(chosen) == 1
    np.testing.assert_array_equal(chosen[0][0].vectors_ME, before.memory.vectors_ME)
    assert (before.memory.vectors_ME != after.memory.vectors_ME).any()
    assert [draw.wrong_M.sum() for draw in draws] == [12, 12]
    assert (draws[0].labels_M != draws[1].labels_M).any()
    assert result["editing"]["voters"][0].startswith(("plurality", "softmax", "rank", "distance", "class_mean"))


def test_a_rule_sees_wrong_labels_alone(ran, monkeypatch):
    from itae.tasks.editing.repair import Random

    memories, scores = [], Random.scores
    monkeypatch.setattr(Random, "scores", lambda self, *args: memories.append(args[0]) or scores(self, *args))
    ran("corruption=uniform", "repair=random")
    ranking = pd.read_csv("run/ranking.csv", dtype=str).set_index("id")
    for memory in memories[:1]:
        names = [memory.label_names[code] for code in memory.labels_M.tolist()]
        assert dict(zip(memory.ids, names, strict=True)) == ranking["given"].to_dict()


def test_a_gallery_is_the_memory_and_the_images_are_its_queries(ran):
    words = ("dataset.split=test", "dataset.limit=40", "task.gallery={split: train, limit: 90}")
    result, _ = ran(*words, "corruption=pair")
    assert list(result["embeddings"]) == ["baseline", "edited", "baseline.gallery", "edited.gallery"]
    assert (result["editing"]["rows"], result["editing"]["queries"]) == (90, 40)
    assert result["editing"]["wrong"] == [18, 18]
    rows = set(pd.read_csv("run/ranking.csv")["id"])
    assert len(rows) == 90
    assert not rows & set(Path("run", result["embeddings"]["baseline"], "ids.txt").read_text().split())


def test_a_gallery_leaves_out_the_images_own_bytes(ran):
    whole, _ = ran("task.gallery={limit: 60}")
    alone, _ = ran()
    for name in ("clean", "noisy", "repaired"):
        assert whole["baseline"][name] == alone["baseline"][name]


def test_a_gallery_leaves_out_the_images_own_group(ran, tmp_path):
    """All rows of a class are of one group with the queries of that class, which can't be told then."""
    splits = {split: Digits(split=split, limit=40).open() for split in ("train", "test")}
    lines = [f"{id_},0" for images in splits.values() for id_, label in zip(images.ids, images.labels, strict=True)
             if label == 0]  # fmt: skip
    (tmp_path / "groups.csv").write_text("\n".join(["id,group", *lines]))
    words = ("dataset.split=test", "dataset.limit=40", "task.gallery={split: train}", "voter.k=1")
    alone, grouped = (ran(*words, *more)[0] for more in ((), (f"task.group={tmp_path / 'groups.csv'}",)))
    zeros = int((splits["test"].labels == 0).sum())
    lost = alone["baseline"]["clean"]["mean"] - grouped["baseline"]["clean"]["mean"]
    assert 0 < lost * 40 <= zeros + 1e-9


def test_rules_and_corruptions_of_ones_own_go_through(itae_, tmp_path):
    for group, target in {"repair": "Alone", "corruption": "Swapped"}.items():
        (tmp_path / "conf" / group).mkdir(parents=True)
        more = "rows: 7\n" if target == "Swapped" else ""
        (tmp_path / "conf" / group / "mine.yaml").write_text(f"_target_: toy_repair.{target}\n{more}")
    status, out, err = itae_(
        "--config-dir",
        "conf",
        *SMALL,
        *RANK,
        "dataset.limit=60",
        *RANK,
        "repair=mine",
        "corruption=mine",
        "hydra.run.dir=run",
    )
    assert status == 0, err
    result = result_of("run")
    assert set(pd.read_csv("run/curve.csv")["repair"]) == {"alone", "suspicion", "blame", "random"}
    assert result["editing"]["wrong"][0] <= 7
    assert "All draws have the same wrong labels" in json.dumps(result["notes"])
    assert "alone" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("repair._target_=toy_repair.Half",), "repair=half gave scores of shape (30,)"),
        (("corruption._target_=toy_repair.Swapped", "~corruption.rate", "~corruption.size", "+corruption.rows=0"),
         "Swapped made no label of 60 wrong"),
    ],
)  # fmt: skip
def test_what_ones_own_class_gives_wrongly_is_told(itae_, words, told):
    status, _, err = itae_(*SMALL, *RANK, "dataset.limit=60", *words, "hydra.run.dir=run")
    assert status == 2
    assert told in err


def test_where_little_is_lost_a_run_says_so(ran):
    """Two wrong labels among 60, of which seven neighbours see nothing; at k 1 both cost something."""
    result, _ = ran(
        "backbone=digits_vit", "corruption=uniform", "corruption.rate=0.034", "voter=plurality", "voter.k=7"
    )
    for side in ("baseline", "edited"):
        told = result[side]
        for clean, noisy, recovery in zip(*(told[n]["per_seed"] for n in ("clean", "noisy", "recovery")), strict=True):
            assert (recovery is None) == (clean <= noisy)
    assert "cost nothing: no recovery there" in json.dumps(result["notes"])


@pytest.mark.slow
def test_labels_and_groups_of_files(ran, tmp_path):
    ran()
    ids = pd.read_csv("run/ranking.csv")["id"].tolist()
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{i},{'ab'[n % 2]}\n" for n, i in enumerate(ids[:40])))
    (tmp_path / "groups.csv").write_text("id,group\n" + "".join(f"{i},{n // 2}\n" for n, i in enumerate(ids)))
    result, _ = ran("task.labels=labels.csv", "task.group=groups.csv")
    assert (result["editing"]["rows"], result["editing"]["wrong"]) == (40, [8, 8])
    assert "20 images have no label" in json.dumps(result["notes"])
    (tmp_path / "groups.csv").write_text("id,group\n" + "".join(f"{i},{n % 2}\n" for n, i in enumerate(ids)))
    result, _ = ran("task.labels=labels.csv", "task.group=groups.csv")
    assert result["baseline"]["clean"]["mean"] == 0
    assert "All images of a, b are of one group each" in json.dumps(result["notes"])


@pytest.mark.slow  # six jobs, and a page of their best
@pytest.mark.figures
def test_a_sweep_is_one_table_and_a_page(itae_, monkeypatch):
    import itae.tasks.editing.task as module

    calls, side_of = [], module.side_of
    monkeypatch.setattr(module, "side_of", lambda *args: calls.append(args) or side_of(*args))
    words = (
        "corruption=uniform,cluster",
        "attenuator.strength=0.3,0.6,1",
        "dataset.limit=60",
        "voter=rank",
        "voter.k=5",
    )
    status, out, err = itae_("-m", *SMALL, *words, "hydra.sweep.dir=sweep")
    assert status == 0, err
    assert len(calls) == 2 * (1 + 3), "the untouched side once for each corruption"
    status, out, err = itae_("collect", "sweep")
    assert status == 0, err
    table = pd.read_csv("sweep/results.csv")
    assert set(table["corruption._target_"]) == {"itae.corrupt.Uniform", "itae.corrupt.Cluster"}
    assert table["delta.repaired.mean"].notna().all()
    assert out.count(", uniform") == out.count(", cluster") == 3, "named by its kind, not its size"
    status, out, err = itae_("collect", "sweep", "--best", "repaired")
    assert status == 0, err
    assert out.count("best       ") == 2, "wrong labels of two kinds don't compare"
    status, out, err = itae_("report", "sweep/0")
    assert status == 0, err
    page = Path("sweep/0/report.html").read_text()
    for word in ("recovery at n", "Recovery", "What mending brings back"):
        assert word in page


@pytest.mark.slow
def test_optuna_and_wandb_take_its_metrics(itae_, monkeypatch):
    pytest.importorskip("optuna")
    words = (*SMALL, "dataset.limit=60", *RANK)
    status, _, err = itae_(
        "-m", *words, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.metric=repaired",
        "attenuator.strength=interval(0.1,1)", "hydra.sweep.dir=study",
    )  # fmt: skip
    assert status == 0, err
    best = json.loads(Path("study/best.json").read_text())
    assert best["value"] == max(result_of(f"study/{i}")["edited"]["repaired"]["mean"] for i in (0, 1))
    from wandb_files import items, records

    monkeypatch.setenv("WANDB_MODE", "offline")
    assert itae_(*words, "tracker=wandb", "hydra.run.dir=run")[0] == 0
    (path,) = Path("run/wandb").glob("offline-run-*/run-*.wandb")
    logged = {}
    for record in records(path):
        logged |= items(record.history.item)
    assert logged["edited/repaired/mean"] == pytest.approx(result_of("run")["edited"]["repaired"]["mean"])


@pytest.mark.slow  # twelve jobs
def test_the_overlay_runs(itae_):
    words = ("experiment=edit_digits", "tracker=none", "dataset.limit=60", "task.draws=1", *RANK)
    status, _, err = itae_(*words, "hydra.sweep.dir=sweep")
    assert status == 0, err
    settings = [result_of(f"sweep/{i}")["settings"]["corruption"] for i in range(12)]
    assert len({(one["_target_"], one["rate"]) for one in settings}) == 12


@pytest.mark.parametrize(
    ("option", "value"),
    [("draws", 0), ("draws", 1.5), ("sources", 0), ("budget", 0), ("budget", 1.5), ("right_with_wrong", -1),
     ("gallery", "train"), ("gallery", {})],
)  # fmt: skip
def test_settings_out_of_range_are_told(option, value):
    with pytest.raises(UserError, match=rf"task\.{option}="):
        Editing(**{option: value})


def test_one_draw_has_an_interval_over_images_alone(ran):
    result, out = ran("task.draws=1", "corruption=uniform")
    assert result["baseline"]["clean"]["std"] is None
    assert result["delta"]["repaired"]["interval"] is not None
    assert mean_interval(np.zeros((1, 5))) == (0.0, 0.0)
    assert "draws" not in out.split("selection")[0].rsplit("backbone", 1)[-1]
