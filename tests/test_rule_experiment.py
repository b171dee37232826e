"""How the rule of feedback of our own was chosen: the simulation is the search's, and its page prints what came out."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from snapshots import snapshot_of

from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank

HERE = Path(__file__).parents[1] / "experiments" / "07_feedback"
ALL = ("none", "nearest", "margin", "rocchio", "mean_difference", "kernel", "logistic", "svm", "tally")


@pytest.fixture
def script(monkeypatch):
    """Import the experiment, and leave nothing of it on the path or among the modules."""
    names = ("choose_rule", "rule_tables", "wishes")
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])
    yield importlib.import_module("choose_rule")
    for name in names:
        sys.modules.pop(name, None)


def drawn(script, n=60, seed=0):
    """Return a collection of three classes, each around a direction of its own, with some twins."""
    rng = np.random.default_rng(seed)
    class_N = np.arange(n) % 3
    vectors = rng.standard_normal((3, 6))[class_N] + rng.standard_normal((n, 6))
    vectors[-4:] = vectors[:4]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    category = class_N[:, None] == class_N
    wanted = {"category": category, "one_label": category, "conditioned": category & ~np.eye(n, dtype=bool)[::-1]}
    return script.Collection("drawn", "made", vectors, wanted)


@pytest.mark.parametrize("name", ALL)
def test_its_ranking_is_the_searchs(script, name):
    one, rule = drawn(script), script.rule_of(name)
    snapshot = snapshot_of(one.vectors_NE)
    seen = 0
    for query, trial in script.trials(one, script.cosines(one.vectors_NE), "category", 10, 0.2, 8):
        yes, no = np.split(trial.judged.rows_J[1:], [trial.near.yes_count])
        asked = Query(snapshot.vectors_ME[query], rows=np.array([query]))
        found = rank(Alike(snapshot), asked, Marks(yes.tolist(), no.tolist()), rule, 60)
        assert trial.rest_R[script.ranked(rule, trial)].tolist() == found.positions_K.tolist()
        assert set(yes) | set(no) == set(found_first(snapshot, query, 10))
        seen += 1
    assert seen == 8


def found_first(snapshot, query, count):
    asked = Query(snapshot.vectors_ME[query], rows=np.array([query]))
    return rank(
        Alike(snapshot), asked, Marks(), importlib.import_module("itae.feedback").Unchanged(), count
    ).positions_K


def test_wrong_clicks_are_of_the_same_images_whoever_asks_and_more_of_them_have_those_of_fewer(script):
    one = drawn(script)
    similar = script.cosines(one.vectors_NE)

    def wrong(user, clicks):
        return {
            (query, i)
            for query, trial in script.trials(one, similar, user, 10, clicks, 60)
            for i, row in enumerate(trial.judged.rows_J[1:])
            if one.means[user][query][row] != (i < trial.near.yes_count)
        }

    assert not wrong("category", 0)
    few, many = (len(wrong("category", clicks)) for clicks in (0.05, 0.2))
    assert 0.02 * 600 < few < 0.1 * 600 < 0.15 * 600 < many < 0.25 * 600


@pytest.mark.parametrize(
    ("hits", "value"), [([1, 1, 0, 0], 1), ([0, 0, 1, 1], 0), ([1, 0, 1, 0], 1 / 2), ([0, 1, 1, 0], 1 / 4), ([1], 1)]
)
def test_map_at_r_of_rankings_by_hand(script, hits, value):
    assert script.map_at_r(np.array(hits, bool)) == pytest.approx(value)


def test_what_is_meant_by_an_image(script):
    wishes = importlib.import_module("wishes")

    pairs = SimpleNamespace(attributes={"left": ["3", "3", "7", "1"], "right": ["7", "1", "3", "7"]})
    assert wishes._left_anywhere(pairs)[0].tolist() == [True, True, True, False]
    assert wishes._left_alone(pairs)[0].tolist() == [False, True, False, False]
    seen = SimpleNamespace(attributes={"digit": ["3", "3", "4"], "polarity": ["light", "dark", "dark"]})
    assert wishes._under("polarity")(seen)[0].tolist() == [False, True, False]


def test_development_and_held_out_share_no_picture(script):
    wishes = importlib.import_module("wishes")

    ids = [f"{name}/{glyph}-{vendor}" for name in "abcd" for glyph in "xy" for vendor in ("google", "twitter")]
    vectors = np.eye(len(ids))
    parts = [wishes._drawn(vectors, [f"{id_}.png" for id_ in ids], part) for part in ("development", "held_out")]
    taken = [set(one.vectors_NE.argmax(axis=1).tolist()) for one in parts]
    assert taken == [set(range(8)), set(range(8, 16))]
    assert parts[0].means["category"][0].tolist() == [True] * 4 + [False] * 4
    assert parts[0].means["conditioned"][0].tolist() == [False, True, False, True] + [False] * 4
    assert sorted(wishes.SPLITS.values()) == ["test", "train"]


def test_a_score_is_the_share_of_the_best_by_user_and_intervals_are_paired(script):
    rule_tables = importlib.import_module("rule_tables")

    rows = pd.DataFrame(
        {"user": user, "data": "d", "embedding": "e", "judged": judged, "clicks": 0.0, "query": query, "yes": query % 2,
         "rule": rule, "map_at_r": value + query / 100}
        for user, judged, values in (
            ("a", 10, {"x": 0.4, "y": 0.2}), ("a", 30, {"x": 0.4, "y": 0.2}), ("b", 10, {"x": 0.1, "y": 0.4})
        )
        for query in range(20)
        for rule, value in values.items()
    )  # fmt: skip
    scores = rule_tables.by_rule(rows, "x").set_index("rule")
    mean = 0.095
    assert scores.a["y"] == pytest.approx((0.2 + mean) / (0.4 + mean))
    assert scores.score["x"] == pytest.approx((1 + (0.1 + mean) / (0.4 + mean)) / 2)
    ends = scores.score_low["x"], scores.score_high["x"]
    assert ends[0] < scores.score["x"] < ends[1] < ends[0] + 0.1
    assert scores.best_in.to_dict() == {"x": 2, "y": 1}
    assert (scores.ours_surely_more_in["y"], scores.ours_surely_less_in["y"]) == (2, 1)
    settings = rule_tables.by_setting(rows, "x").set_index(["user", "judged", "rule"])
    other = settings.loc[("a", 30, "y")]
    ends = [other.ours_more_low, other.ours_more, other.ours_more_high]
    assert ends == pytest.approx([0.2] * 3), "drawn in pairs"
    assert other.map_at_r_low < other.map_at_r - 0.01
    assert other.without_yes == 0.5
    assert other.map_at_r_without == pytest.approx(0.2 + 0.09)
    told = rule_tables.choice(rows, ["y"], {"x": (0.5, 1.0)}).iloc[0]
    assert (told.power, told.gamma) == (0.5, 1.0)
    assert told.score == pytest.approx(scores.score["x"])
    assert told.best_of_eight == "y"


def test_it_runs(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(script, "collections", lambda *_: [drawn(script)])
    monkeypatch.setattr(script, "POWERS", (0.5,))
    monkeypatch.setattr("rule_tables.DRAWS", 20)
    assert script.main(["--quick", "--work", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("*.csv")} == {
        "rule_development.csv", "rule_scores_development.csv", "rule_choice.csv",
    }  # fmt: skip
    assert len(pd.read_csv(tmp_path / "rule_development.csv")) == 3 * 2 * 3 * 9
    assert "tally" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["development", "held_out"])
def test_the_page_prints_what_came_out(part):
    page = (HERE / "README.md").read_text(encoding="utf-8")
    table = page.split({"development": "### Development", "held_out": "### Held out"}[part])[1].split("| rule |")[1]
    printed = [re.split(r" *\| *", line)[1:-1] for line in table.split("\n\n")[0].splitlines()[2:]]
    came = pd.read_csv(HERE / f"rule_scores_{part}.csv")
    assert len(printed) == len(came) == 9
    for cells, row in zip(printed, came.itertuples(), strict=True):
        assert cells[0].strip("*`") == row.rule
        numbers = [row.category, row.one_label, row.conditioned, row.score, row.map_at_r]
        assert [float(cell) for cell in [*cells[1:5], cells[6]]] == pytest.approx(numbers, abs=6e-4)
        assert int(cells[7]) == row.best_in
        if row.rule == "tally":
            continue
        more = [float(number) for number in re.findall(r"[+-]\.\d{3}", cells[5])]
        assert more == pytest.approx([row.ours_more, row.ours_more_low, row.ours_more_high], abs=6e-4)
        assert cells[8] == f"{row.ours_surely_more_in}, {row.ours_surely_less_in}"


def test_the_rule_is_the_pair_that_came_first_and_every_setting_is_told(script):
    first = pd.read_csv(HERE / "rule_choice.csv").iloc[0]
    rule = script.rule_of("tally")
    assert (rule.power, rule.gamma) == (first.power, first.gamma)
    for part in ("development", "held_out"):
        assert len(pd.read_csv(HERE / f"rule_{part}.csv")) == 84 * 9
        scores = pd.read_csv(HERE / f"rule_scores_{part}.csv").set_index("rule")
        assert set(scores.index) == set(ALL)
        assert (scores.ours_more_low.drop("tally") > 0).all(), "the claim of the page"
