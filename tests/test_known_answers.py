"""The benchmark of known answers: what is planted is what is said, and the quick command finds it."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from itae.base.construct import construct
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.images.datasets import Digits, ImageFolder
from itae.store.store import Store
from itae.vit.backbone import Backbone

HERE = Path(__file__).parents[1] / "experiments" / "04_known_answers"
CPU = torch.device("cpu")


def load():
    """Import the two scripts, with their folder on the path as when the command is run."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location("known_answers", HERE / "run.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module, importlib.import_module("planting")
    finally:
        sys.path.remove(str(HERE))


known, planting = load()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return known.open_digits(tmp_path_factory.mktemp("known"), 96)


def embedded(model, data, rows, batch):
    shared, rows = SharedPass(model, data.source.facts.prefix, "cls", [None]), torch.from_numpy(rows)
    return torch.cat([shared(data.pixels[some], some)[0] for some in rows.split(batch)])


def check_plant(backbone, data, count):
    """Hold the tokens that leave the planted block against those of the clean model."""
    facts, pixels = data.source.facts, data.pixels[:24]
    plain = planting.tokens_after(planting.clean_twin(backbone).build(facts, CPU), pixels, backbone.block)
    tokens = planting.tokens_after(backbone.build(facts, CPU), pixels, backbone.block)
    mask = backbone.plan(pixels, facts).mask
    assert (mask.sum(1) == count).all()
    moved = (tokens - plain).norm(dim=-1)
    assert (moved[:, : facts.prefix] < 1e-5).all()  # 0 but for neurons: one more column is summed in another order
    assert torch.equal(moved[:, facts.prefix :] > 1e-2, mask)
    assert (moved[:, facts.prefix :][~mask] < 1e-5).all()


@pytest.mark.parametrize(
    "variant", ["middle", "eight", "fixed", "by image", "early", "late", "brightness", "by neurons"]
)
def test_the_truth_is_what_was_added(digits, variant):
    check_plant(digits.planted(known.VARIANTS[variant]), digits, known.VARIANTS[variant].get("count", 3))


@pytest.mark.parametrize("position", planting.POSITIONS)
def test_an_image_is_planted_alone_as_in_a_batch(digits, position):
    backbone, facts = digits.planted({"position": position}), digits.source.facts
    whole = backbone.plan(digits.pixels[:8], facts)
    for i in range(8):
        one = backbone.plan(digits.pixels[i : i + 1], facts)
        assert torch.equal(one.mask[0], whole.mask[i])
        assert one.content[0] == whole.content[i]
    model = backbone.build(facts, CPU)
    alone, together = (embedded(model, digits, np.arange(8), size) for size in (1, 8))
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    assert (whole.mask == whole.mask[0]).all() == (position == "fixed")


def test_it_is_planted_twice_the_same(digits):
    backbone = digits.planted({})
    first, second = (embedded(backbone.build(digits.source.facts, CPU), digits, np.arange(8), 8) for _ in range(2))
    assert torch.equal(first, second)


def test_without_a_plant_it_is_the_backbone_itself(digits):
    clean, facts = digits.clean, digits.source.facts
    plain = Backbone(clean.model_name, clean.checkpoint, clean.image_size, module=clean.module)
    rows = np.arange(16)
    one, other = (embedded(each.build(facts, CPU), digits, rows, 8) for each in (plain, clean))
    assert torch.equal(one, other)


def test_each_plant_has_a_key_of_its_own(digits, tmp_path):
    backbone = digits.planted({})
    others = [{"strength": "weak"}, {"count": 2}, {"position": "fixed"}, {"block": 3}, {"content": "constant"},
              {"seed": 1}, {"way": "neurons"}, {"count": 0}]  # fmt: skip
    store = Store(tmp_path)
    keys = {
        Source.open(digits.source.dataset, each, store).key(None)
        for each in (backbone, *(replace(backbone, **other) for other in others))
    }
    assert len(keys) == len(others) + 1


def test_content_has_no_class_in_it(digits):
    images = Digits(name="digits").open()
    data = replace(digits, pixels=known.open_digits(digits.source.store.root).pixels)
    for position in planting.POSITIONS:
        content = data.planted({"position": position}).plan(data.pixels, digits.source.facts).content
        assert len(content.unique()) == 10
        assert normalized_mutual_info_score(images.labels, content) < 0.02


def test_a_config_can_name_it(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(HERE))
    options = {"model_name": "digits_vit", "checkpoint": "pkg://itae/weights/digits_vit.safetensors"}
    node = {"_target_": "planting.Planted", "image_size": 32, "module": "itae.digits_vit", "sample": "digits"}
    assert construct("backbone", options | node).space(known.Planted(**options, image_size=32, sample="digits",
        module="itae.digits_vit").facts(tmp_path))["plant"]["count"] == 3  # fmt: skip


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    assert known.main(["--quick", "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("known_answers")
def test_the_quick_command_runs(quick):
    results, flags = (pd.read_csv(quick / name) for name in ("results.csv", "flags.csv"))
    assert set(results["variant"]) == {"clean", *known.QUICK}
    assert len(results) == (1 + len(known.QUICK)) * len(known.EDITS) + len(known.QUICK)  # the truth, too
    assert set(flags["rule"]) == {"mad", "quantile", "ratio", "bimodal"}
    assert set(flags["detector"]) == set(known.SIGNALS)
    assert (quick / "figure.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.xdist_group("known_answers")
def test_the_default_setting_finds_and_undoes_two_plants(quick):
    rows = pd.read_csv(quick / "results.csv").set_index(["edit", "variant"])
    default = rows.loc[[known.DEFAULT, known.LABEL_FREE]].loc[pd.IndexSlice[:, list(known.QUICK)], :]
    assert len(default) == 4
    assert (default["nmi_lost"] > 0.05).all()
    assert (default["flags_f1"] >= 0.95).all()
    assert (default["won_back"] >= 0.9).all()
    assert (default["harm_on_clean"] <= 0.01).all()
    assert (rows.loc[known.TRUTH]["won_back"] > 0.95).all()  # what was lost can be won back
    assert (rows.loc["random"].loc[list(known.QUICK)]["won_back"] < 0.2).all()


@pytest.mark.slow
def test_a_rival_is_one_more_name(digits):
    small = replace(digits, timed=32, fitted=48)
    by = importlib.import_module("known_edits").by
    edits = {name: known.EDITS[name] for name in (known.DEFAULT, known.TRUTH)}
    rival = edits | {"rival": by("key_norm", rule="mad")}
    rows = [row for results, _ in known.measure(small, ["middle"], 1, rival) for row in results]
    assert [row["edit"] for row in rows] == 2 * ["untouched", known.DEFAULT, "rival"] + [known.TRUTH]
    assert all(row["s_per_image"] > 0 for row in rows)


@pytest.mark.slow
def test_registers_undo_what_neurons_planted_and_nothing_else(digits):
    small = replace(digits, timed=32, fitted=48)
    edits = {name: known.EDITS[name] for name in (known.DEFAULT, known.REGISTERS)}
    variants = ["middle", "by neurons"]
    results = [row for rows, _ in known.measure(small, variants, 1, edits) for row in rows]
    nmi = {(row["variant"], row["edit"]): row["nmi"] for row in results}
    clean = nmi["clean", "untouched"]
    for variant in variants:  # the same plant, by another way
        assert nmi[variant, "untouched"] < clean - 0.05
        assert nmi[variant, known.DEFAULT] > clean - 0.02
    assert nmi["by neurons", known.REGISTERS] > clean - 0.02
    assert nmi["middle", known.REGISTERS] < clean - 0.05


def test_the_table_is_that_of_the_variants():
    table = pd.read_csv(HERE / "results.csv")
    digits = table[table["data"] == "digits"]
    assert list(digits["variant"].unique()) == ["clean", *known.VARIANTS]
    assert set(digits["images"]) == {1797}
    assert set(table["edit"]) == {"untouched", *known.EDITS, known.TRUTH}


@pytest.mark.weights
@pytest.mark.slow
def test_the_truth_in_dinov2_is_what_was_added(assets, tmp_path):
    weights, images = assets / "weights" / "dinov2_vits14.safetensors", assets / "images" / "emoji"
    data = known.open_dinov2(tmp_path, str(weights), str(images), 24)
    data = replace(data, clean=replace(data.clean, sample=ImageFolder(name="imagefolder", root=str(images), limit=24)))
    check_plant(data.planted({}), data, 3)


def test_another_seed_is_another_plant_and_has_a_place_of_its_own(tmp_path, capsys):
    first, second = known.open_digits(tmp_path, 24), known.open_digits(tmp_path, 24, seed=1)
    one, other = (embedded(data.planted({}).build(data.source.facts, CPU), data, np.arange(8), 8)
                  for data in (first, second))  # fmt: skip
    assert not torch.allclose(one, other, atol=1e-2)
    with pytest.raises(SystemExit):
        known.main(["--seed", "1"])
    assert "--seed=1 needs --out" in capsys.readouterr().err


def test_plants_are_drawn_within_what_the_variants_span():
    confirm = importlib.import_module("known_confirm")
    named = {name: planting.STRENGTHS[name] for name in confirm._NAMED}
    assert set(named) == {"weak", "middle", "strong", "loud", "faint", "key_only", "value_only"}
    some, again = ([next(d) for _ in range(200)] for d in (confirm.draws(5, "digits", 6) for _ in range(2)))
    assert some == again, "a seed is a draw"
    assert some[0] != next(confirm.draws(6, "digits", 6))
    assert some[0] != next(confirm.draws(5, "dinov2_s", 6))
    assert {plant["count"] for plant in some} == set(range(1, 9))
    assert {plant["block"] for plant in some} == set(range(5)), "one is left behind it"
    assert {plant["position"] for plant in some} == set(planting.POSITIONS)
    for part in ("length", "key", "value"):
        drawn = np.array([getattr(planting.STRENGTHS[plant["strength"]], part) for plant in some])
        span = [getattr(strength, part) for strength in named.values()]
        assert min(span) <= drawn.min() < drawn.max() <= max(span)
        assert len(np.unique(drawn)) > 50, "in between, too"


@pytest.mark.slow
def test_a_drawn_plant_is_measured_and_one_that_costs_nothing_is_told(digits, monkeypatch):
    confirm = importlib.import_module("known_confirm")
    monkeypatch.setitem(confirm.COUNTS, "digits", 2)
    monkeypatch.setattr(confirm, "LEAST", 0.1)
    edits = known.some([known.LABEL_FREE, known.TRUTH])
    table = pd.DataFrame([row for rows in known.confirm(3, replace(digits, fitted=48), edits) for row in rows])
    assert table["counted"].sum() == 2 * len(edits)
    assert (table["counted"] == (table["nmi_lost"] >= 0.1)).all()
    assert table.loc[~table["counted"], "f1"].isna().all()
    truth = table[table["counted"] & (table["edit"] == known.TRUTH)]
    assert (truth["f1"] == 1).all()
    assert (truth["won_back"] > 0.8).all()
    assert "digits, the truth: F1 of 0.95 in 2, 90% won back in" in known.verdict(table)
    assert list(known.confirm(3, digits, edits, table.to_dict("records"))) == [], "it goes on where it was left"
    with pytest.raises(ValueError, match="seed 4"):
        next(known.confirm(4, digits, edits, table.to_dict("records")))


def test_of_the_tables_only_what_was_measured_anew_is_replaced(tmp_path):
    path = tmp_path / "results.csv"
    old = [{"data": "digits", "variant": v, "edit": e, "nmi": 0.0} for v in ("clean", "weak") for e in ("a", "b")]
    pd.DataFrame(old).to_csv(path, index=False)
    new = [{"data": "digits", "variant": "weak", "edit": edit, "nmi": 1.0} for edit in ("c", "a")]
    table = known.replaced(path, new, "edit", ["a", "c", "b"])
    assert list(zip(table["variant"], table["edit"], table["nmi"], strict=True)) == [
        ("clean", "a", 0.0), ("clean", "b", 0.0), ("weak", "a", 1.0), ("weak", "c", 1.0), ("weak", "b", 0.0)
    ]  # fmt: skip
