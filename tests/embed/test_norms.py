"""Norms in all blocks of the untouched model, and attention on what is flagged: streamed, against slow references."""

from __future__ import annotations

import dataclasses
import json
import logging
import tracemalloc
from pathlib import Path

import families
import numpy as np
import pytest
import reference
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import itae
from itae.base.runtime import Runtime
from itae.edits.attenuate import Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.edits.detect import ClsAttention, Detector, Random, ResidualNorm, VectorNorm
from itae.edits.edit import Edit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.edits.site import Flags, Site
from itae.embed.diagnostics.collect import example_rows, looked_at
from itae.embed.diagnostics.flags import FlagCollector, by_layer
from itae.embed.diagnostics.norms import NORM_EDGES, SITES, by_site, histograms, two_modes
from itae.embed.extract import ensure, extract
from itae.embed.replay import SharedPass, Watch
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.measure.distance import cosine_distance, moved
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime("cpu", batch_size=16)
OFF = dataclasses.replace(CPU, diagnostics=False)
EDIT = Edit(VectorNorm(rule="quantile", quantile=0.2), Floor(), (0, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def source(tmp_path, weights):
    return source_in(tmp_path / "cache", weights)


def source_in(cache, weights, limit=40):
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=limit), backbone, Store(cache))


def pixels_of(source, rows):
    from itae.images.batches import batches
    from itae.images.transform import normalise

    raw = next(batches(source.images, source.transform, 0, len(source.images), len(source.images)))
    return normalise(torch.from_numpy(raw[list(rows)]), source.transform)


def slow_norms(model, pixels, prefix):
    """Return the norms of all sites by hooks on timm's own modules: [blocks] of {name: values}."""
    found = [{} for _ in model.blocks]
    handles = []
    for i, block in enumerate(model.blocks):

        def qkv(_module, _args, out, i=i, heads=block.attn.num_heads):
            q, k, v = (x.double().numpy() for x in out.unflatten(-1, (3, heads, -1)).unbind(2))  # [B, N, H, D]
            for name, x in zip("qkv", (q, k, v), strict=True):
                found[i][f"{name}.head"] = np.sqrt((x[:, prefix:] ** 2).sum(-1)).transpose(2, 0, 1)
                found[i][name] = np.sqrt((x[:, prefix:] ** 2).sum((-1, -2)))

        def out(_module, _args, out, i=i):
            found[i]["resid_post"] = np.sqrt((out[:, prefix:].double().numpy() ** 2).sum(-1))

        handles += [block.attn.qkv.register_forward_hook(qkv), block.register_forward_hook(out)]
    with torch.inference_mode():
        model.forward_features(pixels)
    for handle in handles:
        handle.remove()
    return found


def near(counts, values):
    """Whether a histogram is that of `values`, but for a few that lie on an edge."""
    want, _ = np.histogram(values, NORM_EDGES)
    return counts.sum() == values.size and np.abs(np.cumsum(counts - want)).max() <= max(1, 0.002 * values.size)


def test_norms_are_those_of_timms_own_modules(source):
    (entry,) = extract(source, [None], CPU)
    model = source.backbone.build(source.facts, torch.device("cpu"))
    found = histograms(entry.diagnostics)
    assert set(found) == {*SITES, "q.head", "k.head", "v.head"}
    for layer, sites in enumerate(slow_norms(model, pixels_of(source, looked_at(40)), source.facts.prefix)):
        for name, values in sites.items():
            if name.endswith(".head"):
                assert all(near(found[name][layer, h], values[h]) for h in range(source.facts.heads)), name
            else:
                assert near(found[name][layer], values), name
    rows = by_site(entry.diagnostics)
    assert list(rows)[:3] == ["q[0]", "q[1]", "k[0]"]
    assert rows["v[1]"]["norm"]["p50"] == pytest.approx(np.median(sites["v"]), rel=0.05)
    json.dumps(rows, allow_nan=False)


@given(n=st.integers(1, 5000))
def test_of_many_images_a_sixteenth_is_looked_at_in_runs_spread_over_all(n):
    rows = looked_at(n)
    assert len(rows) >= min(n, 56)
    assert n < 1024 or abs(len(rows) - n / 16) <= 8
    assert n >= 128 or len(rows) == n
    gaps = np.diff(rows)
    assert set(gaps.tolist()) <= {1, 8 * max(1, min(16, n // 64)) - 7}
    assert n - 128 <= rows[-1] < n, "the last images have a part in it"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_and_shards_leave_no_trace(tmp_path, weights, monkeypatch, batch_size):
    """140 images: every other eight are looked at, wherever a batch or a shard begins."""
    want = extract(source_in(tmp_path / "whole", weights, 140), [None, EDIT], CPU)
    monkeypatch.setattr("itae.embed.source.SHARD", 5)
    got = extract(source_in(tmp_path / "parts", weights, 140), [None, EDIT], Runtime("cpu", batch_size))
    for a, b in zip(want, got, strict=True):
        assert a.diagnostics.keys() == b.diagnostics.keys()
        for name, array in a.diagnostics.items():
            if name.startswith(("norm.", "signal")):
                assert np.abs(np.cumsum(array - b.diagnostics[name], axis=-1)).max() <= 2, name  # at an edge of a bin
            else:
                np.testing.assert_allclose(array, b.diagnostics[name], rtol=1e-4, atol=1e-3, err_msg=name)
    assert histograms(want[0].diagnostics)["q"][0].sum() == len(looked_at(140)) * 16 == 72 * 16


def test_without_diagnostics_the_vectors_are_the_very_same_and_nothing_is_kept(tmp_path, weights):
    on = extract(source_in(tmp_path / "on", weights), [None, EDIT], CPU)
    off = extract(source_in(tmp_path / "off", weights), [None, EDIT], OFF)
    for a, b in zip(on, off, strict=True):
        assert np.array_equal(a.vectors, b.vectors)
    assert not histograms(off[0].diagnostics)
    assert not {"flagged_at", "paid", "example_mask"} & set(off[1].diagnostics)
    assert by_site(off[0].diagnostics) == {}
    rows = [by_layer(entry.diagnostics, 40) for entry in (on[1], off[1])]
    assert [row["artifact_rate"] for row in rows[0]] == [row["artifact_rate"] for row in rows[1]]
    assert rows[1][0]["cls_attention_before"] is None


def test_what_was_made_without_diagnostics_is_made_again_when_they_are_wanted(source, caplog):
    assert all(entry.fresh for entry in extract(source, [None, EDIT], OFF))
    assert not any(entry.fresh for entry in extract(source, [None, EDIT], OFF))
    again = extract(source, [None, EDIT], CPU)
    assert all(entry.fresh for entry in again)
    assert "was made without diagnostics; it is made again" in caplog.text
    assert not any(entry.fresh for entry in extract(source, [None, EDIT], OFF)), "more than is asked for is well"
    assert histograms(extract(source, [None], CPU)[0].diagnostics), "a cached run shows the same"


def test_a_pass_that_only_fills_the_store_makes_them_again_too(source, caplog):
    ensure(source, [None, EDIT], OFF)
    ensure(source, [None], CPU)
    assert caplog.text.count("was made without diagnostics; it is made again") == 1
    assert [entry.meta["diagnostics"] for entry in extract(source, [None, EDIT], OFF)] == [True, False]


def test_what_somebody_else_has_made_again_meanwhile_is_kept(source, monkeypatch):
    """Two find an entry without diagnostics; the second has waited for the first, and makes none."""
    extract(source, [None], OFF)
    as_wanted, made = itae.embed.extract._as_wanted, []

    def meanwhile(store, key, runtime):
        found = as_wanted(store, key, runtime)
        if not made:
            monkeypatch.undo()
            made.extend(extract(source, [None], CPU))
        return found

    monkeypatch.setattr("itae.embed.extract._as_wanted", meanwhile)
    (entry,) = extract(source, [None], CPU)
    assert not entry.fresh
    assert entry.meta["seal"] == made[0].meta["seal"]


def test_shards_without_diagnostics_are_not_taken_up(source, killed_at_shard_2, monkeypatch, caplog):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    caplog.set_level(logging.INFO)
    killed_at_shard_2(extract, source, [None], dataclasses.replace(OFF, batch_size=8))
    (entry,) = extract(source, [None], dataclasses.replace(CPU, batch_size=8))
    assert "2 shards of" in caplog.text
    assert histograms(entry.diagnostics)["q"][0].sum() == 40 * 16


@pytest.mark.parametrize("how", [Floor, Scale, Fade, Cap, MeanValue])
@pytest.mark.parametrize("scope", ["token", "head"])
@pytest.mark.parametrize("family", ["plain", "dinov3"])
def test_attention_before_and_after_is_the_slow_one(family, how, scope):
    model, looked = families.small(family), []
    edit = Edit(VectorNorm(rule="quantile", quantile=0.3, scope=scope), how(strength=0.7), (1, 2))
    calls = {}

    class Spy(VectorNorm):  # sees the operands as the detector does
        def signal(self, site):
            calls[site.layer] = site
            return super().signal(site)

    edit = dataclasses.replace(edit, detector=Spy(rule="quantile", quantile=0.3, scope=scope))
    watch = Watch(lambda _, layer, flags, paid: looked.append((layer, flags, paid)), attention=True)
    SharedPass(model, model.num_prefix_tokens, "cls", [edit], watch)(families.pixels(model), families.digests(3))
    assert [layer for layer, *_ in looked] == [1, 2]
    for layer, flags, (before, after) in looked:
        site = calls[layer]
        heads, prefix = site.q.shape[1], model.num_prefix_tokens
        for b in range(3):
            for h in range(heads):
                z = (site.k[b, h] @ site.q[b, h, 0] * site.scale).double().numpy()
                np.testing.assert_allclose(before[b, h], reference.softmax(z)[prefix:], atol=1e-6)
                mask = flags.mask[b, h if scope == "head" else 0].numpy()
                np.testing.assert_allclose(after[b, h], slow_after(z, mask, prefix, how, 0.7), atol=1e-6)


def slow_after(z, mask, prefix, how, a):
    """Weights of one row after an edit: the slow row of the reference with the unit vectors as values."""
    n = len(z)
    flagged = [prefix + j for j in range(n - prefix) if mask[j]]
    others = [prefix + j for j in range(n - prefix) if not mask[j]]
    rule = {Floor: "floor", Scale: "scale", Fade: "fade", Cap: "cap", MeanValue: "mean_value"}[how]
    return reference.row(z, np.eye(n), flagged, others, prefix, rule, a)[prefix:]


def test_attention_and_maps_and_examples_say_what_was_flagged(source):
    edits = [
        Edit(Random(rate=0.25, seed=1), Scale(), (0, 1)),
        Edit(Random(rate=0.25, seed=1), Scale(strength=0.5), (1,)),
    ]
    for edit, entry in zip(edits, extract(source, edits, CPU), strict=True):
        found, layers = entry.diagnostics, len(edit.layers)
        seeds = [(1, int.from_bytes(digest)) for digest in source.images.digests]
        draws = np.array([np.random.default_rng(seed).random(16, np.float32) for seed in seeds])
        mask = draws.argsort(axis=1).argsort(axis=1) < 4
        assert (found["flagged_at"] == mask.sum(axis=0)).all(), "the same in every block"
        assert found["examples"].tolist() == example_rows(40)
        assert len(found["examples"]) == 12
        assert (found["example_mask"] == mask[found["examples"]][:, None]).all()
        assert found["example_paid"].shape == (12, 2, layers, 16)
        rows = by_layer(found, 40)
        for i, row in enumerate(rows):
            before, after = row["cls_attention_before"], row["cls_attention_after"]
            assert 0 < before < 1
            assert (after == 0) if edit.attenuator.strength == 1 else (0 < after < before)
            shown = found["example_paid"][:, 0, i].astype(float)
            on_flagged = (shown * found["example_mask"][:, i]).sum(axis=1).mean()
            assert on_flagged == pytest.approx(before, rel=0.5), "twelve of forty images"


def test_of_many_images_attention_is_looked_at_in_some_and_flags_in_all(tmp_path, weights, monkeypatch):
    """140 images in batches of 16: 72 are looked at, and no batch without one is asked for attention."""
    paid = SharedPass._paid
    asked = []
    monkeypatch.setattr(
        SharedPass, "_paid", lambda self, site, *rule: asked.append(site.digests) or paid(self, site, *rule)
    )
    monkeypatch.setattr("itae.embed.diagnostics.collect.looked_at", lambda n: np.arange(n)[np.arange(n) % 48 < 8])
    monkeypatch.setattr("itae.embed.diagnostics.choose.looked_at", lambda n: np.arange(n)[np.arange(n) % 48 < 8])
    monkeypatch.setattr("itae.embed.worker.looked_at", lambda n: np.arange(n)[np.arange(n) % 48 < 8])
    source = source_in(tmp_path, weights, 140)
    (entry,) = extract(source, [EDIT], Runtime("cpu", 16))
    assert [some[0] for some in asked] == [source.images.digests[i] for i in (0, 48, 96) for _ in EDIT.layers]
    assert entry.diagnostics["paid_of"].tolist() == [24] * len(EDIT.layers)
    rows = by_layer(entry.diagnostics, 140)
    wanted = np.flatnonzero(np.arange(140) % 48 < 8)
    assert set(entry.diagnostics["examples"].tolist()) <= set(wanted.tolist())
    monkeypatch.undo()
    (whole,) = extract(source_in(tmp_path / "whole", weights, 140), [EDIT], Runtime("cpu", 16))
    assert np.array_equal(whole.vectors, entry.vectors)
    for name in ("flagged", "flagged_at", "signal", "rate"):
        assert np.array_equal(whole.diagnostics[name], entry.diagnostics[name]), name
    for row, full in zip(rows, by_layer(whole.diagnostics, 140), strict=True):
        assert row["cls_attention_before"] == pytest.approx(full["cls_attention_before"], rel=0.3)


def test_an_attenuator_without_weights_by_row_leaves_after_unknown(source):
    from itae.edits.attenuate import Attenuator

    class Fused(Attenuator):
        def operands(self, k, v, flags, prefix):
            return k, v.masked_fill(flags.unsqueeze(-1), 0.0), None

        def spec(self):
            return {"how": "fused"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("itae.base.identity.identity", lambda rule: {"class": type(rule).__name__})
        (entry,) = extract(source, [dataclasses.replace(EDIT, attenuator=Fused())], CPU)
    (row, _) = by_layer(entry.diagnostics, 40)
    assert row["cls_attention_before"] > 0
    assert row["cls_attention_after"] is None


@settings(deadline=None, max_examples=60)
@given(
    gap=st.floats(2.5, 30), share=st.floats(0.01, 0.5), width=st.floats(0.05, 0.12), at=st.floats(0.5, 50),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_two_modes_are_found_with_their_gap(gap, share, width, at, seed):
    draw = np.random.default_rng(seed)
    n = 20_000
    logs = draw.normal(np.log(at), width, n)
    high = draw.random(n) < share
    logs[high] += np.log(gap)
    counts, _ = np.histogram(np.exp(logs), NORM_EDGES)
    found = two_modes(counts)
    assert found is not None
    assert found["gap"] == pytest.approx(gap, rel=0.2)
    assert found["above"] == pytest.approx(high.mean(), abs=0.01)
    assert found["low"] < found["valley"] < found["high"]


@settings(deadline=None, max_examples=60)
@given(width=st.floats(0.05, 0.6), at=st.floats(0.5, 50), n=st.integers(500, 20_000), seed=st.integers(0, 999))
def test_one_mode_is_no_two(width, at, n, seed):
    values = np.exp(np.random.default_rng(seed).normal(np.log(at), width, n))
    found = two_modes(np.histogram(values, NORM_EDGES)[0])
    assert found is None or found["above"] < 0.02 or found["above"] > 0.98, "at most a stray in the tail"


def test_two_bumps_with_no_valley_between_them_are_one_mode():
    draw = np.random.default_rng(0)
    logs = np.concatenate([draw.normal(0, 0.2, 50_000), draw.normal(0.5, 0.2, 50_000)])  # the valley is .88 of a mode
    assert two_modes(np.histogram(np.exp(logs), NORM_EDGES)[0]) is None


def test_how_far_embeddings_moved():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 50, 8)).astype(np.float32)
    b[:5] = a[:5]
    want = [1 - float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x, y in zip(a.astype(float), b, strict=True)]
    far = cosine_distance(a, b)
    np.testing.assert_allclose(far, want, atol=1e-7)
    assert (far[:5] == 0).all(), "exactly"
    assert moved(far)["mean"] == pytest.approx(np.mean(want))
    assert moved(far)["max"] == far.max()


def test_memory_does_not_grow_with_the_embeddings_that_moved():
    """In one go it took 600 MB for 50,000 embeddings of 384; a batch of these takes 9."""
    a = np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float32)
    tracemalloc.start()
    far = cosine_distance(a, a[::-1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    some = [0, 4095, 4096, 49_999]
    np.testing.assert_allclose(far[some], cosine_distance(a[some], a[::-1][some]))


def test_a_run_has_them_all_and_a_cached_one_the_same(itae_):
    words = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "detector.rule=quantile")
    status, out, _ = itae_(*words, "hydra.run.dir=first")
    assert status == 0
    assert "attention  of the CLS token on them:" in out
    assert "moved      cosine distance" in out
    itae_(*words, "hydra.run.dir=second")
    first, second = (itae.load_run(name).result for name in ("first", "second"))
    assert second["cached"]
    for name in ("norms", "moved", "layers"):
        assert first[name] == second[name]
    assert len(first["norms"]) == 4 * 6
    assert (
        Path("first/assignments.csv").read_text().splitlines()[0]
        == "id,label,baseline,edited,moved,baseline_distance,edited_distance"
    )
    assert itae_(*words, "runtime.diagnostics=maybe")[2].startswith("itae: runtime.diagnostics='maybe' must be true or")


def edits_of_every_kind(depth):
    """Return an edit by every signal and scope, and one of every attenuator."""
    signals: list[Detector] = [ResidualNorm(rule="quantile", quantile=0.2), ClsAttention(rule="mad", k=1.0)]
    for vector in ("query", "key", "value"):
        signals += [
            VectorNorm(vector=vector, rule="quantile", quantile=0.2, scope=scope) for scope in ("token", "head")
        ]
    by_signal = [Edit(signal, Scale(strength=0.5), tuple(range(depth))) for signal in [*signals, Random(rate=0.2)]]
    rules = (Floor(), Scale(), Fade(), Blend(), Cap(), MeanValue())
    return by_signal + [Edit(Random(rate=0.2), rule, tuple(range(depth))) for rule in rules]


@pytest.mark.parametrize(
    ("precision", "batch_size", "images", "kinds"),
    [("bf16", 512, 600, 13), ("bf16", 1797, 1797, 1), ("fp16", 512, 600, 1)],
)
def test_half_precision_in_large_batches_keeps_what_it_keeps_in_small_ones(
    tmp_path, weights, precision, batch_size, images, kinds
):
    """Row numbers in bf16 were 256, 256, 258, 260, ...: beyond 256 (in fp16 2048) norms of wrong images were kept."""
    exact = source_in(tmp_path / "exact", weights, images)
    backbone = dataclasses.replace(exact.backbone, precision=precision)
    low = [dataclasses.replace(exact, backbone=backbone, store=Store(tmp_path / name)) for name in ("small", "large")]
    registers = RegisterEdit(TestTimeRegisters(rule="mad", k=1.0, outlier_layer=0), {0: (3, 5)})
    edits = [None, registers, *edits_of_every_kind(exact.facts.depth)[:kinds]]
    (wide,) = extract(exact, [None], Runtime("cpu", 64))
    small, large = (extract(low[i], edits, Runtime("cpu", size)) for i, size in enumerate((64, batch_size)))
    for site, row in by_site(large[0].diagnostics).items():
        for p, value in by_site(wide.diagnostics)[site]["norm"].items():
            assert row["norm"][p] == pytest.approx(value, rel=0.08), (site, p)  # to a bin
    for edit, a, b in zip(edits, small, large, strict=True):
        assert cosine_distance(a.vectors, b.vectors).max() < 1e-3, edit
        assert a.diagnostics.keys() == b.diagnostics.keys()
        for name, array in a.diagnostics.items():
            if name.startswith(("norm.", "signal")):  # where sums are rounded, a patch may fall into the next bin
                apart = np.abs(np.cumsum(array - b.diagnostics[name], axis=-1)).max(axis=-1)
                assert (apart <= 0.002 * array.sum(axis=-1)).all(), (edit, name)
            elif name == "flagged":
                assert (array != b.diagnostics[name]).mean() < 0.02, edit
            else:
                np.testing.assert_allclose(array, b.diagnostics[name], rtol=0.02, atol=1, err_msg=f"{edit} {name}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_signal_of_somebodys_own_may_have_the_models_precision(dtype):
    """2,049 patches: in bf16 neither a count, a mean nor a place among them could be told."""

    class Own(Detector):
        def signal(self, site):
            return site.x[:, site.prefix :, 0].unsqueeze(1)

    x = torch.arange(2050).flip(0).reshape(1, -1, 1).to(dtype).expand(2, -1, 4)
    head = torch.zeros(2, 1, 2050, 4, dtype=dtype)
    flags = Own(rule="quantile", quantile=0.25)(Site(head, head, head, x, 1, 0, 0.5, [bytes(32)] * 2))
    assert flags.signal.dtype == flags.threshold.dtype == torch.float32
    want = reference.flagged(x[0, 1:, 0].double().numpy(), "quantile", 0.25, "low")
    assert np.array_equal(flags.mask[1, 0].numpy(), want)
    found = FlagCollector(Edit(Own(rule="quantile"), Floor(), (0,)), 2, 2049, np.ones(2, bool), [0, 1])
    low = Flags(flags.mask, flags.signal.to(dtype), flags.threshold.to(dtype))  # a whole detector of somebody's own
    found.see(0, low, None)
    assert found.sums()["signal"].sum() == 2 * 2049
    assert found.sums()["rate"] == pytest.approx([2 * want.mean()])
