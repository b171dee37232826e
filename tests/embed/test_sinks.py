"""What flagged patches say and what attention they get: against slow references, on the disk, and in what is told."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import reference
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itae.base.runtime import Runtime
from itae.edits.attenuate import Attenuator, Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.edits.controls import Shuffle
from itae.edits.detect import Random, VectorNorm
from itae.edits.edit import Edit
from itae.edits.neighbour_mean import NeighbourMean, NeighbourMeanEdit
from itae.embed.about import about_edit, notes_on_edit
from itae.embed.diagnostics import columns
from itae.embed.diagnostics.collect import example_rows, looked_at
from itae.embed.diagnostics.norms import COLUMNS, COLUMNS_OF, NORM_EDGES
from itae.embed.diagnostics.sinks import SILENT, VALUES, flagged_values, sinks_of, times_others
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.datasets import Digits, ImageFolder
from itae.results.report import details
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime("cpu", batch_size=16)
LOW = VectorNorm(rule="ratio", ratio=2.0)  # of the value, on the low side


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def source_of(folder, weights, name="tiny_vit", limit=40):
    backbone = Backbone(name, checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=limit), backbone, Store(folder))


def seen(source, rows):
    """Return q, k and v [B, H, N, D] of each block of the untouched model, in fp64, by hooks on timm's own modules."""
    from itae.images.batches import batches
    from itae.images.transform import normalise

    raw = next(batches(source.images, source.transform, 0, len(source.images), len(source.images)))
    model, found = source.backbone.build(source.facts, torch.device("cpu")), []
    for block in model.blocks:
        block.attn.qkv.register_forward_hook(
            lambda _qkv, _args, out: found.append(
                [x.transpose(1, 2).double().numpy() for x in out.unflatten(-1, (3, 2, -1)).unbind(2)]
            )
        )
    with torch.inference_mode():
        model.forward_features(normalise(torch.from_numpy(raw[list(rows)]), source.transform))
    return found


@pytest.mark.parametrize("held", [1, 200, 2**21])
def test_column_sums_are_those_of_each_row_by_itself_however_many_are_held(monkeypatch, held):
    monkeypatch.setattr(columns, "_BYTES", {"cpu": held})
    q, k = (torch.randn(3, 11, 5, generator=torch.Generator().manual_seed(i)) for i in range(2))
    found = columns.column_sums(q, k, 0.7)
    np.testing.assert_allclose(found, reference.column_sums(q.double().numpy(), k.double().numpy(), 0.7), rtol=1e-5)
    assert found.sum().item() == pytest.approx(11), "rows sum to 1"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(columns.column_sums(q, k, 0.7), found), "in fp32, whatever the model is in"


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 999), heads=st.integers(1, 3), patches=st.integers(1, 9), share=st.floats(0, 1))
def test_a_signal_against_the_median_of_the_others(seed, heads, patches, share):
    draw = np.random.default_rng(seed)
    signal, mask = draw.random((4, heads, patches)) + 0.1, draw.random((4, heads, patches)) < share
    found = times_others(torch.from_numpy(signal), torch.from_numpy(mask))
    known = torch.from_numpy(mask) & found.isfinite()
    np.testing.assert_allclose(found[known], reference.times_others(signal, mask))


@pytest.mark.parametrize("scope", ["token", "head"])
def test_what_is_kept_is_what_the_model_has(tmp_path, weights, scope):
    source = source_of(tmp_path, weights, limit=140)
    edit = Edit(VectorNorm(vector="key", rule="quantile", quantile=0.2, scope=scope), Scale(0.5), (0,))
    baseline, edited = extract(source, [None, edit], CPU)
    rows, flags = looked_at(140), []
    for _, k, v in seen(source, rows)[:1]:
        norms = {
            name: np.sqrt((x[:, :, 1:] ** 2).sum(axis=-1 if scope == "head" else (1, 3)))
            for name, x in (("k", k), ("v", v))
        }
        norms = {name: x if scope == "head" else x[:, None] for name, x in norms.items()}
        flags = norms["k"] <= np.quantile(norms["k"], 0.2, axis=-1, keepdims=True)
        want = np.array(reference.times_others(norms["v"], flags))
    counts = edited.diagnostics[VALUES]
    assert counts.shape == (1, len(NORM_EDGES) - 1)
    assert counts.sum() == flags.sum()
    apart = np.cumsum(counts[0] - np.histogram(want, NORM_EDGES)[0])
    assert np.abs(apart).max() <= 2, "but for a few that lie on an edge"
    assert flagged_values(edited.diagnostics)[0] == pytest.approx(np.median(want), rel=0.08)

    examples = baseline.diagnostics[COLUMNS_OF]
    assert examples.tolist() == example_rows(140)
    everything = seen(source, examples)
    slow = np.array(
        [[reference.column_sums(q[i], k[i], 8**-0.5)[1:] for q, k, _ in everything] for i in range(len(examples))]
    )
    np.testing.assert_allclose(baseline.diagnostics[COLUMNS], slow, rtol=2e-3)
    found = sinks_of(baseline.diagnostics, edited.diagnostics)
    assert found.keys() == {"0", "1"}
    for block in (0, 1):
        most = np.median(slow[:, block].max(axis=-1) / np.median(slow[:, block], axis=-1))
        assert found[str(block)]["attention_max"] == pytest.approx(most, rel=5e-3)
    masks = flags[np.searchsorted(rows, examples)].any(axis=1)
    ratios = reference.times_others(slow[:, :1], masks[:, None])
    assert found["0"]["attention_flagged"] == pytest.approx(np.median(ratios), rel=5e-3)
    assert found["1"].keys() == {"attention_max"}, "what isn't edited has no flags"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batches_nor_other_edits_leave_a_trace(tmp_path, weights, monkeypatch, batch_size):
    edits = [None, *(Edit(LOW, rule, layers) for rule in (Fade(), Floor()) for layers in ((0, 1), (1,)))]
    edits += [Edit(dataclasses.replace(LOW, layer=0), Scale(0.5), (0, 1))]
    monkeypatch.setattr("itae.embed.source.SHARD", 32)
    found = extract(source_of(tmp_path / "a", weights, "tiny_sinks", 140), edits, Runtime("cpu", batch_size))
    monkeypatch.undo()
    for i, one in enumerate(edits):
        (alone,) = extract(source_of(tmp_path / "b", weights, "tiny_sinks", 140), [one], CPU)
        for name in (VALUES, COLUMNS, COLUMNS_OF):
            assert (name in alone.diagnostics) == (name in found[i].diagnostics)
            if name in alone.diagnostics:
                np.testing.assert_allclose(found[i].diagnostics[name], alone.diagnostics[name], atol=2e-3, err_msg=name)


def test_without_diagnostics_nothing_is_kept(tmp_path, weights):
    off = dataclasses.replace(CPU, diagnostics=False)
    entries = extract(source_of(tmp_path, weights), [None, Edit(LOW, Floor(), (0,))], off)
    assert not {VALUES, COLUMNS, COLUMNS_OF} & {name for entry in entries for name in entry.diagnostics}
    assert sinks_of(*(entry.diagnostics for entry in entries)) == {}


# --- rows of entries of before


def without_news(monkeypatch):
    """Have entries made as they were before there were any of these arrays."""
    from itae.embed import extract as module
    from itae.embed.diagnostics.put_together import put_together

    def before(found, *args):
        gone = (VALUES, COLUMNS, COLUMNS_OF)
        return put_together({name: array for name, array in found.items() if name not in gone}, *args)

    monkeypatch.setattr(module, "put_together", before)


def more_of(folder, weights, count):
    """Return the source of a folder to which pictures were added, so that there are `count`."""
    (folder / "pictures" / "a").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / "a" / f"{i:02d}.png")
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(ImageFolder(root=str(folder / "pictures")), backbone, Store(folder / "cache"))


def test_an_entry_of_before_gives_its_rows_and_norms_and_what_it_lacks_is_of_fewer(tmp_path, weights, monkeypatch):
    edits = [None, Edit(VectorNorm(rule="quantile", quantile=0.25), Scale(), (0, 1))]
    with monkeypatch.context() as patched:
        without_news(patched)
        old = extract(more_of(tmp_path, weights, 40), edits, CPU)
    assert sinks_of(*(entry.diagnostics for entry in old)) == {}
    new = extract(more_of(tmp_path, weights, 48), edits, CPU)
    assert [entry.passed for entry in new] == [8, 8]
    assert new[0].diagnostics["norm.v"][0].sum() == 48 * 16
    assert new[1].diagnostics["signal"][0].sum() == 48 * 16
    assert new[1].diagnostics[VALUES][0].sum() == 8 * 4, "patches of those that passed"
    assert set(new[0].diagnostics[COLUMNS_OF].tolist()) <= set(range(40, 48))
    more = extract(more_of(tmp_path, weights, 56), edits, CPU)
    assert more[1].diagnostics[VALUES][0].sum() == 16 * 4
    assert len(more[0].diagnostics[COLUMNS_OF]) > len(new[0].diagnostics[COLUMNS_OF]) > 0
    whole = extract(dataclasses.replace(more_of(tmp_path, weights, 56), store=Store(tmp_path / "new")), edits, CPU)
    for place, sums in zip(more[0].diagnostics[COLUMNS_OF], more[0].diagnostics[COLUMNS], strict=True):
        (same,) = np.flatnonzero(whole[0].diagnostics[COLUMNS_OF] == place).tolist() or (None,)
        if same is not None:
            np.testing.assert_allclose(sums, whole[0].diagnostics[COLUMNS][same], atol=2e-3)
    assert np.intersect1d(more[0].diagnostics[COLUMNS_OF], whole[0].diagnostics[COLUMNS_OF]).size
    assert sinks_of(*(entry.diagnostics for entry in more)).keys() == {"0", "1"}


# --- what is told


def told(tmp_path, weights, edit, name="tiny_sinks"):
    source = source_of(tmp_path, weights, name)
    baseline, edited = extract(source, [None, edit], CPU)
    about = about_edit(source, edit, baseline, edited)
    return about, notes_on_edit(source, edit, about["layers"], baseline, edited)


@pytest.mark.parametrize("rule", [Floor(), Scale(), Scale(0.3), Cap(), Blend(), MeanValue()])
def test_who_breaks_a_silence_is_told(tmp_path, weights, rule):
    about, notes = told(tmp_path, weights, Edit(LOW, rule, (0, 1)))
    assert set(about["artifact_rate"].values()) == {2 / 16}, "the silent patches and no other"
    ratios = {block: about["sinks"][block]["values_flagged"] for block in "01"}
    assert all(0 < ratio < 0.05 for ratio in ratios.values()), ratios
    (note,) = [note for note in notes if "attenuator=fade" in note]
    least = min(ratios, key=ratios.__getitem__)
    assert f"In block {least} the values of flagged patches are {ratios[least]:.2g} times as long" in note
    assert "(below 0.25 in 2 of 2 blocks)" in note
    names = {Floor: "floor", Scale: "scale", Cap: "cap", Blend: "blend", MeanValue: "mean_value"}
    assert f"attenuator={names[type(rule)]} hands" in note


def test_one_block_alone_is_named_without_a_count(tmp_path, weights):
    _, notes = told(tmp_path, weights, Edit(LOW, Floor(), (1,)))
    assert any("In block 1 the values of flagged" in note and "blocks)" not in note for note in notes), notes


def test_fade_leaves_them_silent(tmp_path, weights):
    about, notes = told(tmp_path, weights, Edit(LOW, Fade(), (0, 1)))
    assert about["sinks"]["0"]["values_flagged"] < SILENT
    assert not any("silen" in note or "fade" in note for note in notes), notes


def test_values_that_are_next_to_nothing_are_shuffled_for_such(tmp_path, weights):
    detector, attenuator = Shuffle()(dataclasses.replace(LOW, calibration_images=8), Scale())
    about, notes = told(tmp_path, weights, Edit(detector, attenuator, (0, 1)))
    ratio = min(about["sinks"][block]["values_flagged"] for block in "01")
    (note,) = [note for note in notes if "control=shuffle" in note]
    assert f"{ratio:.2g} times as long as those of the others (below 0.25 in 2 of 2 blocks)" in note
    assert "attenuator=" not in note


def test_of_patches_that_are_replaced_the_values_are_told_as_well_and_no_attenuator_is_named(tmp_path, weights):
    about, notes = told(tmp_path, weights, NeighbourMeanEdit(LOW, NeighbourMean(), (0, 1), grid=(4, 4)))
    same, _ = told(tmp_path / "same", weights, Edit(LOW, Fade(), (0,)))
    assert about["sinks"]["0"] == same["sinks"]["0"]
    assert 0 < about["sinks"]["0"]["values_flagged"] < SILENT
    assert not any("attenuator=" in note for note in notes), notes


@pytest.mark.parametrize("detector", [Random(rate=0.2), VectorNorm(rule="quantile", quantile=0.2)])
def test_of_ordinary_patches_nothing_is_told(tmp_path, weights, detector):
    about, notes = told(tmp_path, weights, Edit(detector, Floor(), (0, 1)), "tiny_vit")
    assert 0.5 < about["sinks"]["0"]["values_flagged"] < 1.2
    assert not any("attenuator=" in note for note in notes), notes


def test_which_attenuators_hand_attention_on():
    class Doubled(Attenuator):
        def operands(self, k, v, flags, prefix):
            return k, v * 2, None

    rules = (Floor, Scale, Fade, Blend, Cap, MeanValue, Doubled)
    assert [rule().renormalises for rule in rules] == [True, True, False, True, True, True, False]


@pytest.mark.parametrize("rule", [Floor, Scale, Fade, Blend, Cap, MeanValue])
def test_they_do_so_by_their_weights(rule):
    z = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    flags = torch.zeros(2, 1, 7, dtype=torch.bool)
    flags[:, :, 3:5] = True
    summed = rule(0.6).weights(z, flags, 1).sum(dim=-1)
    assert torch.allclose(summed, torch.ones(())) == rule(0.6).renormalises


def test_a_line_of_the_report_has_both_ratios(itae_, tmp_path):
    words = ("tracker=none", "dataset.limit=60", "clusterer.seeds=2", "detector.rule=quantile", "layers=last2")
    status, out, err = itae_(*words)
    assert status == 0, err
    (file,) = tmp_path.glob("outputs/runs/*/result.json")
    result = json.loads(file.read_text())
    assert result["sinks"].keys() == {*"012345"}
    assert result["sinks"]["5"].keys() == {"attention_max", "attention_flagged", "values_flagged"}
    (line,) = [text for name, text in details(result) if name == "values"]
    assert "times as long as of the others; all tokens attend to them" in line
    assert "values " in out
    old = {name: value for name, value in result.items() if name != "sinks"}
    assert "values" not in dict(details(old)), "of before"


def test_columns_of_no_image_say_nothing():
    """As where all rows are taken from an entry of before: a median of nothing would be no number, and no JSON."""
    none = {COLUMNS: np.zeros((0, 3, 16), np.float16), COLUMNS_OF: np.zeros(0, np.int64)}
    assert sinks_of(none, {}) == {}
