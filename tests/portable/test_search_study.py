"""The whole search on toy devices: pictures that are only darkened, so that small networks learn in few steps."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_devices import Toy

from itae.base.errors import UserError
from itae.portable.clock.measure import Measure
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.data.wanted import Wanted
from itae.portable.nets.costs import cost
from itae.portable.nets.spec import Spec
from itae.portable.search import converted, learned, measured, study
from itae.portable.search.asked import Searching
from itae.portable.search.figures import FIGURES
from itae.portable.search.front_file import read_front
from itae.portable.search.judge import Ranks
from itae.portable.search.options import Search
from itae.portable.search.result import CSV, FILES, flat, show, texts
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.search.workers import Workers
from itae.portable.train.loop import Trained
from itae.portable.train.options import Train

SIDE = 32
SPACE = Space(
    channels=(2, 3, 4), depth=(1,), blocks=(1,), up=("nearest", "transposed"), skip=("concat", "add"), down=("stride",),
    activation=("relu",), conv=("dense",), unshuffle=(1,),
)  # fmt: skip
BY_HAND = {
    "small": Spec(channels=2, depth=1, blocks=1, up="nearest", skip="add"),
    "wide": Spec(channels=8, depth=1, blocks=1, up="nearest", skip="add"),
}


def dark(name, seed, n=6, by=0.8):
    """Return smooth pictures and, as blurred ones, the same darker; with `by=1` none is darker, and all have noise."""
    coarse = torch.from_numpy(np.random.default_rng(seed).random((n, 3, 5, 5), dtype=np.float32))
    sharp = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1).numpy()
    noise = 0.02 * np.random.default_rng(seed).standard_normal(sharp.shape) if by == 1 else 0
    made = [(255 * each.clip(0, 1)).astype(np.uint8) for each in (by * sharp + noise, sharp)]
    return Pairs(*made, tuple(f"{name}{at % 3}" for at in range(n)), np.zeros(n, np.float32))


SPLITS = Splits(dark("a", 0), dark("b", 1), dark("c", 2), {"blur": None}, "key")


def devices(**faults):
    return {name: Toy(fault=fault, name=name) for name, fault in faults.items()}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A search that takes seconds; nothing is converted before the end, for times are counted and not measured."""
    monkeypatch.setattr(study, "pairs_of", lambda asked: SPLITS)
    return Searching(
        source=None,
        blur=None,
        noise=None,
        pairs=Wanted(size=SIDE, train_size=SIDE),
        train=Train(steps=40, crop=16, batch=4, lr=1e-2, precision="fp32", every=40),
        devices=devices(one="", two=""),
        left_out={"gone": "not installed"},
        measure=Measure(size=SIDE, rounds=8, budget_s=30, max_split_half=1, warmup=1, settle=0),
        cache=tmp_path / "cache",
        seed=0,
        space=SPACE,
        supernet=Sandwich(steps=60, drawn=1),
        search=Search(judged=8, population=4, measured=12, checked=0, chosen=3, portable=2, crop=16, batch=4),
        hand_made=BY_HAND,
        processes=1,
    )


def counted(asked, told, notes=()):
    """Return what `timed` would, of a machine whose times are known: by MACs, and on one device by channels."""

    def cell(device, spec):
        ms = cost(spec, *asked.size()[0]).macs / 1e5 + (spec.channels if device == "two" else 0.5)
        return {"ms": ms, "steady": True, "wrong": None, "split_half": 0.01}

    rows = [
        {"name": row.name, "cells": {name: cell(name, row.net) for name in asked.devices}, "macs": 10**5,
         "parameters": 100}
        for row in asked.rows
    ]  # fmt: skip
    of = {name: {"budget_db": 90.0} for name in asked.devices}
    return {
        "rows": rows, "not_run": dict(asked.left_out), "notes": [*notes], "devices": of, "size": [SIDE, SIDE],
        "threads": 1, "statistic": "counted", "clock": {"rounds": 2}, "timing": {"export_s": 0, "measure_s": 0},
    }  # fmt: skip


@pytest.fixture
def quick(asked, monkeypatch):
    for module in (measured, converted):
        monkeypatch.setattr(module, "timed", counted)
    return asked


def told(line):
    pass


class StopError(Exception):
    """It was killed here."""


def stop(*_, **__):
    raise StopError


class Unseen:
    """Pairs of the test that nobody may look at yet: to train with, and to be counted, they are not needed."""

    photographs = ("c0", "c1", "c2")

    def __getattr__(self, name):
        raise AssertionError(f"test pairs were looked at: {name}")


def named(folder):
    """Return the specs in the order in which they were judged."""
    return [json.loads(line)["spec"] for line in (folder / "candidates.jsonl").read_text().splitlines()[1:]]


def test_test_photographs_are_not_looked_at_before_all_is_chosen(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "pairs_of", lambda asked: replace(SPLITS, test=Unseen()))
    chosen = []
    monkeypatch.setattr(study, "conversion_of", lambda asked, splits, devices: stop())
    trains = study.learned
    monkeypatch.setattr(study, "learned", lambda nets, *of: chosen.append(nets) or trains(nets, *of))
    few = replace(quick, train=replace(quick.train, steps=2), supernet=Sandwich(steps=2, drawn=0))
    with pytest.raises(StopError):
        study.searched(few, tmp_path / "run", told)
    assert len(named(tmp_path / "run")) == 8
    assert len(chosen[0]) == 3
    with pytest.raises(AssertionError, match="looked at"):
        _ = Unseen().blurred


@pytest.mark.slow
def test_other_test_photographs_change_what_is_told_and_nothing_that_is_chosen(quick, tmp_path, monkeypatch):
    """Of pictures that aren't dark, who has learned most makes the worst."""
    found = [study.searched(quick, tmp_path / "one", told)]
    monkeypatch.setattr(study, "pairs_of", lambda asked: replace(SPLITS, test=dark("d", 7, by=1)))
    found.append(study.searched(quick, tmp_path / "other", told))
    one, other = (each["search"] for each in found)
    assert one["nets"] == other["nets"]
    assert one["portable"]["nets"] == other["portable"]["nets"]
    for name in ("one", "two"):
        assert one["devices"][name]["front"] == other["devices"][name]["front"]
        some = one["devices"][name]["front"][0]
        both = [each["devices"][name]["nets"][some] for each in (one, other)]
        assert both[0]["validation_psnr"] == both[1]["validation_psnr"]
        assert both[0]["psnr"]["value"] != both[1]["psnr"]["value"]
    turned = replace(SPLITS, validation=dark("e", 8))
    monkeypatch.setattr(study, "pairs_of", lambda asked: turned)
    third = study.searched(quick, tmp_path / "third", told)["search"]
    some = one["devices"]["one"]["front"][0]
    assert (
        third["devices"]["one"]["nets"][some]["validation_psnr"]
        != one["devices"]["one"]["nets"][some]["validation_psnr"]
    )


@pytest.mark.slow
def test_a_killed_search_goes_on_and_the_same_one_finds_the_same(quick, tmp_path, monkeypatch):
    whole = study.searched(replace(quick, cache=tmp_path / "another"), tmp_path / "whole", told)
    for module, name in ((learned, "rank_check"), (study, "_chosen"), (study, "conversion_of"), (study, "result_of")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stop)
            search = replace(quick.search, checked=4 if module is learned else 0)
            with pytest.raises(StopError):
                study.searched(replace(quick, search=search), tmp_path / "killed", told)
    trained = []
    monkeypatch.setattr("itae.portable.train.loop._train", lambda *of: trained.append(of))
    again = study.searched(quick, tmp_path / "killed", told)
    assert not trained, "all of its networks had been trained"
    assert again["candidates"]["read"] == 8
    assert named(tmp_path / "killed") == named(tmp_path / "whole")
    assert again["search"] == whole["search"]


def checks(spearman):
    def check(specs, ours, theirs):
        both = tuple(ours(spec) for spec in specs), tuple(theirs(spec) for spec in specs)
        return Ranks(tuple(specs), *both, spearman, spearman - 0.1, spearman + 0.1)

    return check


@pytest.mark.parametrize(
    ("spearman", "judge", "by"),
    [
        (0.9, "auto", "supernet"),
        (0.3, "auto", "training"),
        (math.nan, "auto", "training"),
        (0.3, "supernet", "supernet"),
    ],
)
def test_who_judges_is_settled_by_the_ranks_and_said(quick, monkeypatch, spearman, judge, by):
    monkeypatch.setattr(learned, "rank_check", checks(spearman))
    of = replace(
        quick, search=replace(quick.search, checked=5, judge=judge, steps=3), train=replace(quick.train, steps=2)
    )
    of = replace(of, supernet=Sandwich(steps=2, drawn=0))
    lines = []
    by_hand, judging = learned.with_judge(SPLITS, of, of.workers(), lines.append)
    assert set(by_hand.nets) == set(BY_HAND), "those that were trained for the check alone are no one's"
    assert judging.by == by
    assert judging.supernet is not None
    assert len(judging.ranks.specs) == 5
    assert judging.ranks.specs[0] == BY_HAND["small"], "it is in the space, and trained anyway"
    assert len(set(judging.ranks.specs)) == 5
    assert judging.notes[0] == judging.ranks.told()
    fell = "So candidates were judged by a training of 3 steps each (search.judge=auto)."
    assert (fell in judging.notes) == (by == "training")
    assert any(judging.ranks.told() in line for line in lines)
    assert (judging.short is not None) == (by == "training"), "a short training is held against the long one, too"
    if by == "training":
        assert len(judging.short.specs) == 5
        assert judging.notes[-1].startswith("A training of 3 steps ranks 5 networks as one of 2 does with Spearman's")
        judging.prepare([SPACE.smallest, SPACE.largest])
        with monkeypatch.context() as patch:
            patch.setattr("itae.portable.train.loop._train", stop)
            assert math.isfinite(judging.judge(SPACE.largest)), "it was trained by then"


@pytest.mark.slow
def test_a_supernet_that_cannot_be_trained_is_replaced_or_told(quick, monkeypatch):
    def bad(*_):
        raise UserError("the supernet's loss is no finite number any more.")

    monkeypatch.setattr(learned, "trained_supernet", bad)
    of = replace(quick, train=replace(quick.train, steps=1), search=replace(quick.search, checked=4))
    _, judging = learned.with_judge(SPLITS, of, of.workers(), told)
    assert (judging.by, judging.supernet, judging.ranks) == ("training", None, None)
    assert judging.notes[0] == "There is no supernet: the supernet's loss is no finite number any more."
    assert len(judging.short.specs) == 4
    with pytest.raises(UserError, match="no finite number"):
        learned.with_judge(SPLITS, replace(of, search=replace(of.search, judge="supernet")), of.workers(), told)


def test_a_network_that_cannot_be_trained_costs_itself_alone(quick, monkeypatch):
    trains = learned.trained

    def some(net, *of):
        if net.name == "wide":
            raise UserError("no finite number.")
        return trains(net, *of)

    monkeypatch.setattr(learned, "trained", some)
    of = replace(quick, train=replace(quick.train, steps=1))
    nets = {name: of.net(name, spec) for name, spec in BY_HAND.items()}
    found = learned.learned(nets, SPLITS, of, of.workers(), "Training")
    assert list(found.nets) == ["small"]
    assert found.why == {"wide": "wide: no finite number."}
    with pytest.raises(UserError, match="wide: no finite"):
        learned.learned({"wide": nets["wide"]}, SPLITS, of, of.workers(), "Training")


def test_networks_that_do_nothing_are_known():
    def one(psnr):
        return Trained(Path(), [{"validation_psnr": 29.0}, {"validation_psnr": psnr}], {"blurred_psnr": 28.5})

    assert learned.Learned({}, {"a": one(28.4), "b": one(28.6), "c": one(28.5)}, {}).idle() == ["a", "c"]


# --- times


def test_times_are_measured_once_and_a_device_that_fails_is_told(quick, monkeypatch):
    asks = []

    def some(asked, told, notes=()):
        asks.append(asked)
        found = counted(asked, told)
        for i, row in enumerate(found["rows"]):
            row["cells"]["two"] = {"reason": "it has no Conv"}
            row["cells"]["three"]["steady"] = i < 5
        return found | {"not_run": {"two": "it has no Conv"}}

    monkeypatch.setattr(measured, "timed", some)
    quick = replace(quick, devices=devices(one="", two="", three=""))
    lines = []
    seen = measured.times(quick, lines.append)
    assert seen.devices == ("one", "three")
    assert list(seen.predictors) == ["one"]
    assert seen.not_run == {"gone": "not installed", "two": "it has no Conv"}
    assert any("three: 5 networks are measured and steady" in note for note in seen.notes)
    assert any(line.startswith("predictor  one: the predictor errs by") for line in lines)
    wide = cost(BY_HAND["wide"], SIDE, SIDE).macs / 1e5 + 0.5
    assert seen.slowest == {"one": pytest.approx(wide)}, "it is beyond the space, so it is measured"
    assert [row.name for row in asks[0].rows][-1] == "wide"
    spec = Spec(channels=3, depth=1, blocks=1, up="nearest", skip="add")
    assert seen("one", spec) == pytest.approx(cost(spec, SIDE, SIDE).macs / 1e5 + 0.5, rel=0.1)
    assert seen.of("three", spec) is None
    again = measured.times(quick, told)
    assert len(asks) == 1
    assert again.key == seen.key
    assert "by a run before this one" in again.notes[0]
    measured.times(replace(quick, measure=replace(quick.measure, wait=True)), told)
    assert len(asks) == 1
    measured.times(replace(quick, measure=replace(quick.measure, rounds=10)), told)
    assert len(asks) == 2, "with another clock there are other times"


def test_without_a_predictor_for_any_device_nothing_is_trained(quick, monkeypatch):
    def none(asked, told, notes=()):
        found = counted(asked, told)
        for row in found["rows"]:
            row["cells"] = {name: {**cell, "steady": False} for name, cell in row["cells"].items()}
        return found

    monkeypatch.setattr(measured, "timed", none)
    with pytest.raises(UserError, match="0 networks are measured and steady"):
        measured.times(quick, told)


# --- processes


def dies():
    """Be a work that dies in a process of its own, and is done in the one that began."""
    if multiprocessing.parent_process() is not None:
        os._exit(3)
    return "done"


def where():
    return os.getpid()


def for_ever():
    time.sleep(300)


@pytest.mark.slow
def test_processes_make_the_same_weights_as_one(quick, tmp_path):
    nets = {name: quick.net(name, spec) for name, spec in BY_HAND.items()}
    both = []
    for n in (1, 2):
        of = replace(quick, cache=tmp_path / str(n), processes=n)
        with of.workers() as workers:
            both.append(learned.learned(nets, SPLITS, of, workers, "Training"))
    for name in nets:
        one, other = (each.trained[name] for each in both)
        assert one.facts["sha256"] == other.facts["sha256"]
        assert one.facts["by"] != other.facts["by"]


@pytest.mark.slow
def test_processes_stay_until_they_are_let_go_and_one_that_dies_costs_nothing(caplog):
    with Workers(2, 1) as workers:
        first = workers.do([where] * 4, "Works")
        assert os.getpid() not in first
        assert set(workers.do([where] * 4, "Works")) <= set(first)
        assert workers.do([dies, partial(int, "3")], "Works") == ["done", 3]
        assert "are done one at a time" in caplog.text
        workers.let_go()
        assert not set(workers.do([where] * 4, "Works")) & set(first)


@pytest.mark.slow
def test_what_goes_wrong_ends_them_in_the_midst_of_their_work():
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), Workers(2, 1) as workers:
        workers.do([for_ever, partial(divmod, 1, 0)], "Works")
    assert time.monotonic() - began < 120


def test_works_come_back_in_their_order():
    with Workers(1, 1) as workers:
        assert workers.do([partial(int, "3"), partial(len, "ab")], "Works") == [3, 2]
        assert workers.do([], "Works") == []


# --- all of it


@pytest.mark.slow
def test_a_whole_search_on_devices_of_which_some_fail(asked, tmp_path, capsys):
    lines = []
    asked = replace(
        asked, devices=devices(one="", two="", bad="swapped", broken="nothing", falls="crashes"),
        search=replace(asked.search, checked=4),
    )  # fmt: skip
    result = study.searched(asked, tmp_path / "run", lines.append)
    assert json.loads(json.dumps(result, allow_nan=False)) == result, "plain values"
    found = result["search"]
    assert set(found["devices"]) == {"one", "two"}
    assert set(result["not_run"]) == {"gone", "bad", "broken", "falls"}
    assert not any("no better than doing nothing" in note for note in result["notes"])
    steps = {one["steps"] for one in result["training"]["nets"].values()}
    assert steps == {asked.train.steps}, "those that were found and those made by hand learn equally long"
    assert set(result["training"]["nets"]) == set(found["nets"])
    assert {"small", "wide"} < set(found["nets"])
    assert result["candidates"]["judged"] == 8
    assert set(result["timing"]) >= {"pairs_s", "predictor_s", "learn_s", "candidates_s", "train_s", "convert_s",
                                     "front_s", "total_s"}  # fmt: skip
    assert set(found["predictor"]) == {"one", "two"}
    for name, of in found["predictor"].items():
        cells = found["devices"][name]["nets"].values()
        later = [cell["ms"]["value"] for cell in cells if cell["steady"] and cell["predicted_ms"] is not None]
        assert set((of["afterwards"] or {"measured_ms": ()})["measured_ms"]) <= set(later)
    exports = list((tmp_path / "cache" / "portable" / "exports").glob("[0-9a-f]*"))
    measured, kinds = 12 + 1, 3  # one and two write the same, and broken writes nothing
    nets = {json.dumps(row["settings"], sort_keys=True) for row in result["rows"]}  # one found may be one made by hand
    assert len(exports) == measured * kinds + len(nets), "what is timed is what was judged"
    came_to = {name: result["training"]["nets"][name]["validation_psnr"] for name in found["portable"]["nets"]}
    assert came_to[result["pictured"]] == max(came_to.values())
    front = read_front(tmp_path / "run" / "front.json")
    on = {name for of in found["devices"].values() for name in of["front"]} | set(found["portable"]["nets"])
    assert set(front["weights"]) == on
    _told(result, tmp_path / "run", capsys)


def _told(result, folder, capsys):
    for name, text in texts(result).items():
        (folder / name).write_text(text)
    assert all(any(folder.glob(name)) for name in FILES)
    rows = list(csv.DictReader(io.StringIO((folder / CSV).read_text())))
    assert len(rows) == len(flat(result)) == 2 * len(result["search"]["nets"])
    for row, one in zip(rows, flat(result), strict=True):
        assert float(row["psnr"]) == one["psnr"]
        assert (row["on_front"] == "True") == (row["net"] in result["search"]["devices"][row["device"]]["front"])
    show(result, folder)
    said = " ".join(capsys.readouterr().out.split())
    assert "area over hand-made" in said
    assert "a CPU runtime is no phone" in said
    assert "chosen on photographs of validation (3), and are told of others (3), which" in said
    assert "guideline On one the front of the search has" in said
    assert "not run gone: not installed" in said
    assert len(result["pictures"]) == 3
    for one in result["pictures"]:
        assert all((folder / file).is_file() for file in one["files"].values())
    drawn = {name for name, (_, draw) in FIGURES.items() if draw(result) is not None}
    assert drawn == set(FIGURES) - {"lengths"}, "all of these blurs are equally long"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pairs": Wanted(size=64)}, "pairs.size=64 must be measure.size=32"),
        ({"train": Train(crop=17)}, "train.crop=17 must be a multiple of 2, for a network of the search"),
        ({"train": Train(crop=64)}, "train.crop=64 is larger than pairs.train_size=32"),
        ({"pairs": Wanted(size=33, train_size=32), "measure": Measure(size=33)},
         "measure.size=33 must be a multiple of 2, .* take 34"),
        ({"space": Space(channels=(2, 3), depth=(1,), blocks=(1,), up=("nearest",), unshuffle=(1,), conv=("dense",),
                         down=("stride",), activation=("relu",))},
         "The space has 4 networks, and times are predicted from 12"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before(quick, changed, says):
    with pytest.raises(UserError, match=says):
        replace(quick, **changed)
