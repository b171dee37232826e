"""Flagged tokens become the mean of their neighbours: what has to come out, and a slow model that does it by loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest import mock

import families
import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixes import ATTENUATORS, BrokenError, fast_detector, state_of

from itae.base.errors import UserError
from itae.edits.attenuate import Scale
from itae.edits.bimodal import fit_threshold
from itae.edits.controls import MeanValue, OtherSide, controlled
from itae.edits.controls import Random as RandomControl
from itae.edits.detect import Detector, Nothing, Random, ResidualNorm, VectorNorm
from itae.edits.edit import Attention, Edit
from itae.edits.local_outlier import LocalOutlierFactor
from itae.edits.neighbour_mean import NeighbourMean, NeighbourMeanEdit, neighbour_means
from itae.edits.registers import TestTimeRegisters
from itae.edits.site import Flags
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES
from itae.embed.diagnostics.flags import FlagCollector, by_layer
from itae.embed.fit_layers import fit_layers
from itae.embed.replay import SharedPass, Watch
from itae.vit.door import Door, fused
from itae.vit.facts import Facts

FACTS = Facts("toy", 3, 24, 2, 1, True, (4, 4), (0.5,) * 3, (0.5,) * 3, "bicubic", None, None)


def edit(detector, layers, strength=1.0, grid=(4, 4)):
    return NeighbourMeanEdit(detector, NeighbourMean(strength), layers, grid)


def flags_at(places, patches, batch=1):
    mask = torch.zeros(batch, 1, patches, dtype=torch.bool)
    mask[:, :, places] = True
    return Flags(mask, mask.float(), torch.ones(batch, 1, 1))


def ramp(rows, columns):
    """Return tokens [1, rows * columns, 2] of which each is the mean of those around it."""
    y, c = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    return torch.stack([3 * y + 5 * c, 7 - 2 * y + c], dim=-1).reshape(1, -1, 2)


# --- known answers


@pytest.mark.parametrize("outlier", [1e4, -3.0, float("inf"), float("nan")])
@pytest.mark.parametrize("prefix", [0, 5])
def test_a_linear_ramp_with_one_planted_outlier_comes_back_exactly(prefix, outlier):
    rows, columns = 4, 6
    whole = torch.nn.functional.pad(ramp(rows, columns), (0, 0, prefix, 0), value=-99.0)
    spoilt, place = whole.clone(), 2 * columns + 3
    spoilt[:, prefix + place] = outlier
    out, told = edit(Nothing(), (0,), grid=(rows, columns)).replaced(spoilt, flags_at([place], 24), prefix)
    assert torch.equal(out, whole)
    assert not told.stuck.any()
    assert spoilt[0, prefix + place, 0] != whole[0, prefix + place, 0], "what came in is left as it was"


def test_a_corner_has_three_neighbours_and_an_edge_five():
    x = torch.arange(12.0).reshape(1, 12, 1) ** 2
    out, _ = edit(Nothing(), (0,), grid=(3, 4)).replaced(x, flags_at([0, 11], 12), 0)
    assert out[0, 0, 0] == (1 + 16 + 25) / 3
    assert out[0, 11, 0] == pytest.approx((36 + 49 + 100) / 3)
    out, _ = edit(Nothing(), (0,), grid=(3, 4)).replaced(x, flags_at([4], 12), 0)
    assert out[0, 4, 0] == pytest.approx((0 + 1 + 25 + 64 + 81) / 5)


def test_neighbours_that_are_flagged_do_not_count_and_where_all_are_the_patch_stays():
    x = torch.arange(9.0).reshape(1, 9, 1).repeat(2, 1, 1)
    flags = flags_at([0, 1, 3, 4], 9, batch=2)
    flags.mask[1, 0, 4] = False
    out, told = edit(Nothing(), (0,), grid=(3, 3)).replaced(x, flags, 0)
    want = [0, (2 + 5) / 2, 2, (6 + 7) / 2, (2 + 5 + 6 + 7 + 8) / 5, 5, 6, 7, 8]
    assert out[0, :, 0].tolist() == pytest.approx(want)
    assert told.stuck[:, 0, 0].tolist() == [True, False], "the corner of the first image has nobody to go by"
    assert out[1, 0, 0] == 4
    every = flags_at(list(range(9)), 9, batch=2)
    out, told = edit(Nothing(), (0,), grid=(3, 3)).replaced(x, every, 0)
    assert torch.equal(out, x)
    assert told.stuck.all()


def test_images_in_which_a_patch_stayed_are_counted():
    every = flags_at([0, 1, 3, 4], 9, batch=3)
    every.mask[2] = False
    _, told = edit(Nothing(), (1,), grid=(3, 3)).replaced(torch.zeros(3, 9, 1), every, 0)
    seen = FlagCollector(edit(Nothing(), (1,), grid=(3, 3)), 3)
    seen.see(1, told)
    seen.add(np.zeros((3, 1), np.float32))
    rows = seen.rows()
    assert rows["alone_in"][:, 0].tolist() == [True, True, False]
    assert rows["flagged"][:, 0].tolist() == [4, 4, 0]
    told_of = by_layer(seen.sums() | rows | {"layers": np.array([1]), "signal_edges": SIGNAL_EDGES}, 3)
    assert told_of[0]["left_alone"] == 2
    assert told_of[0]["artifact_rate"] == pytest.approx(8 / 27)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31), st.floats(0, 1), st.sampled_from([0.25, 1.0])
)  # fmt: skip
def test_every_grid_is_the_slow_one(rows, columns, seed, rate, strength):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 1 + rows * columns, 3, generator=g)
    mask = torch.rand(2, 1, rows * columns, generator=g) < rate
    flags = Flags(mask, mask.float(), mask[..., :1].float())
    out, _ = edit(Nothing(), (0,), strength, (rows, columns)).replaced(x, flags, 1)
    assert torch.equal(out[:, 0], x[:, 0])
    for i in range(2):
        want = reference.neighbour_mean(x[i, 1:].double().numpy(), mask[i, 0].numpy(), (rows, columns), strength)
        np.testing.assert_allclose(out[i, 1:].numpy(), want, rtol=1e-5, atol=1e-6)
    assert torch.equal(out[:, 1:][~mask[:, 0]], x[:, 1:][~mask[:, 0]]), "what isn't flagged stays, to the last bit"


def test_low_precision_is_summed_in_fp32():
    x = torch.full((1, 9, 1), 1.0, dtype=torch.bfloat16)
    x[0, 0] = 2.0**-7  # lost beside 7 in bf16
    mean, _ = neighbour_means(x, flags_at([4], 9).mask[:, 0], (3, 3))
    assert mean.dtype == torch.float32
    assert mean[0, 4, 0] == (7 + 2.0**-7) / 8
    out, _ = edit(Nothing(), (0,), grid=(3, 3)).replaced(x, flags_at([4], 9), 0)
    assert out.dtype == torch.bfloat16


# --- in a model


def inputs_of(model, pixels):
    """Return what enters each block of an untouched forward."""
    inputs = {}
    handles = [
        block.register_forward_pre_hook(lambda b, a, k, i=i: inputs.update({i: (a[0], k)}), with_kwargs=True)
        for i, block in enumerate(model.blocks)
    ]
    model.forward_features(pixels)
    for handle in handles:
        handle.remove()
    return inputs


def slow(model, pixels, detector, layers, strength, found_in=None):
    """Return the tokens [B, N, E] of an edited forward in fp64: each image alone, what enters a block by loops."""
    name, scope, rule, number, side = detector
    model, prefix = families.double(model), model.num_prefix_tokens
    grid = model.patch_embed.grid_size
    plain, out = torch.nn.functional.scaled_dot_product_attention, []

    def flags_of(block, x, kwargs):
        seen = []

        def looking(q, k, v, **options):
            seen.append((q, k, v))
            return plain(q, k, v, **options)

        with mock.patch("torch.nn.functional.scaled_dot_product_attention", looking):
            block(x, **kwargs)
        arrays = [t[0].numpy() for t in (*seen[0], x)]
        (s,) = reference.signal(name, scope, *arrays, prefix, arrays[0].shape[-1] ** -0.5)
        return reference.flagged(s, rule, number, side)

    try:
        for image in pixels.double():
            inputs = inputs_of(model, image[None])
            x = inputs[0][0]
            for i, block in enumerate(model.blocks):
                if i in layers:
                    look = i if found_in is None else found_in
                    seen = x if found_in is None else inputs[look][0]
                    flags = flags_of(model.blocks[look], seen, inputs[look][1])
                    patches = reference.neighbour_mean(x[0, prefix:].numpy(), flags, grid, strength)
                    x = torch.cat([x[:, :prefix], torch.tensor(patches)[None]], dim=1)
                x = block(x, **inputs[i][1])
            out.append(model.norm(x)[0])
    finally:
        model.float()
    return torch.stack(out)


IN_MODELS = [
    (("residual", "token", "quantile", 0.13, "high"), (2,), 1.0, None),
    (("value", "token", "mad", 1.0, "low"), (0, 1, 2), 1.0, None),
    (("key", "token", "quantile", 0.2, "high"), (0, 2), 0.6, None),
    (("query", "token", "quantile", 0.2, "low"), (1, 2), 1.0, 0),
    (("residual", "token", "quantile", 0.2, "high"), (0, 1), 1.0, 2),
]


def pooled(model, tokens, pool):
    return tokens[:, 0] if pool == "cls" else tokens[:, model.num_prefix_tokens :].mean(dim=1)


def made(detector, layers, strength, found_in, grid):
    return edit(replace(fast_detector(*detector), layer=found_in), layers, strength, grid)


@pytest.mark.parametrize("family", ["plain", "registers", "dinov3", "rope_mixed", "eva02", "clip", "siglip"])
def test_a_pass_is_the_slow_model_and_shares_it_with_edits_of_attention(family):
    model = families.small(family)
    pixels, grid = families.pixels(model, 2), model.patch_embed.grid_size
    edits = [made(*some, grid) for some in IN_MODELS]
    others = [Edit(one.detector, ATTENUATORS["scale"](), one.layers) for one in edits]
    untouched = model.forward_features(pixels)
    mixed = [None, *(each for pair in zip(others, edits, strict=True) for each in pair)]
    for pool in ("cls", "mean") if model.num_prefix_tokens else ("mean",):
        out = SharedPass(model, model.num_prefix_tokens, pool, mixed)(pixels, families.digests(2))
        assert torch.equal(out[0], pooled(model, untouched, pool)), "the baseline is the untouched model, bit for bit"
        for some, other, own, embedding in zip(IN_MODELS, others, edits, out[2::2], strict=True):
            want = pooled(model, slow(model, pixels, *some), pool)
            torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5)
            assert (want - pooled(model, untouched.double(), pool)).norm() > 1e-3 * want.norm(), "nothing to see here"
            (alone,) = SharedPass(model, model.num_prefix_tokens, pool, [own])(pixels, families.digests(2))
            torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)
            (attended,) = SharedPass(model, model.num_prefix_tokens, pool, [other])(pixels, families.digests(2))
            torch.testing.assert_close(out[1 + 2 * others.index(other)], attended, atol=1e-5, rtol=1e-5)


def test_how_far_tokens_are_replaced_tells_edits_of_one_pass_apart():
    model = families.small("plain")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edits = [edit(ResidualNorm(rule="quantile", quantile=0.2), (1, 2), strength) for strength in (1.0, 0.5, 1.0)]
    full, half, again = SharedPass(model, 1, "mean", edits)(pixels, digests)
    (alone,) = SharedPass(model, 1, "mean", edits[1:2])(pixels, digests)
    torch.testing.assert_close(half, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(full, again)
    assert (full - half).norm() > 1e-2 * half.norm()


@pytest.mark.parametrize("pool", ["cls", "mean", "head", "projection"])
def test_an_edit_that_flags_nothing_is_the_untouched_model(pool):
    model = families.small("registers")
    edits = [edit(Nothing(), layers) for layers in ((0, 1, 2), (2,))]
    baseline, *out = SharedPass(model, 5, pool, [None, *edits])(families.pixels(model), families.digests(3))
    for embedding in out:
        torch.testing.assert_close(embedding, baseline, atol=2e-5, rtol=2e-5)


def test_an_image_comes_out_as_it_does_alone():
    model = families.small("dinov2")
    pixels, digests = families.pixels(model, 4), families.digests(4)
    edits = [edit(LocalOutlierFactor(neighbours=4, threshold=1.1), (0, 1, 2)), edit(Random(rate=0.2), (1, 2))]
    together = SharedPass(model, 1, "cls", edits)(pixels, digests)
    untouched = SharedPass(model, 1, "cls", [None])(pixels, digests)[0]
    for i in range(4):
        alone = SharedPass(model, 1, "cls", edits)(pixels[i : i + 1], digests[i : i + 1])
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[i], atol=1e-5, rtol=1e-5)
            assert (many[i] - untouched[i]).norm() > 1e-3 * many[i].norm()


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_flags_and_attention_are_shown_as_of_an_edit_of_attention(pool):
    """The attention after is that of the very block that runs on the replaced tokens."""
    model, seen = families.small("plain"), {}
    pixels, digests = families.pixels(model, 2), families.digests(2)
    detector = ResidualNorm(rule="quantile", quantile=0.2)
    edits = [Edit(detector, Scale(), (1, 2)), edit(detector, (1, 2))]
    watch = Watch(lambda p, layer, flags, paid: seen.__setitem__((p, layer), (flags, paid)), attention=True)
    SharedPass(model, 1, pool, edits, watch)(pixels, digests)
    assert sorted(seen) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert torch.equal(seen[0, 1][0].mask, seen[1, 1][0].mask)
    torch.testing.assert_close(seen[0, 1][1][0], seen[1, 1][1][0])
    assert seen[0, 1][0].stuck is None
    assert seen[1, 1][0].stuck.shape == (2, 1, 1)
    x, rows = inputs_of(model, pixels)[1][0], []

    def looking(q, k, v, **options):
        rows.append((q[:, :, :1] @ k.mT * q.shape[-1] ** -0.5).softmax(-1)[:, :, 0, 1:])
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)

    for layer in (1, 2):
        x, _ = edits[1].replaced(x, seen[1, layer][0], 1)
        with Door(looking), fused(model.blocks):
            x = model.blocks[layer](x)
        torch.testing.assert_close(seen[1, layer][1][1], rows[-1], atol=1e-5, rtol=1e-4)


def test_thresholds_are_fitted_on_the_stream_as_it_is_edited():
    model, depth = families.small("plain"), 3
    batches = [(families.pixels(model, 6, seed), families.digests(6)) for seed in (3, 4)]
    fitted = edit(LocalOutlierFactor(rule="bimodal", neighbours=5), tuple(range(depth)))
    signals = {i: [] for i in range(depth)}

    def peak(pooled, side):  # some threshold above which there is something
        return replace(fit_threshold(pooled, side), theta=float(np.quantile(pooled, 0.9)))

    with mock.patch("itae.embed.fit_layers.fit_threshold", peak):
        (fits,) = fit_layers(SharedPass(model, 1, "cls", [fitted]), [fitted], batches)
    done = fitted.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    watch = Watch(lambda p, layer, flags, paid: signals[layer].append(flags.signal.flatten()))
    for some, digests in batches:
        SharedPass(model, 1, "cls", [done], watch)(some, digests)
    for layer in range(depth):
        want = np.quantile(torch.cat(signals[layer]).numpy(), 0.9)
        assert fits[layer].theta == pytest.approx(want, rel=1e-5), layer


def test_nothing_is_left_behind_after_an_exception():
    model = families.small("registers")
    before = state_of(model)

    class Broken(ResidualNorm):
        def signal(self, site):
            if site.layer == 1:
                raise BrokenError
            return super().signal(site)

    with pytest.raises(BrokenError):
        SharedPass(model, 5, "cls", [edit(Broken(), (0, 1, 2))])(families.pixels(model), families.digests(3))
    assert state_of(model) == before


# --- made of settings


def test_what_is_made_and_what_its_key_says():
    detector = VectorNorm(layer=-3)
    one = NeighbourMean().make(detector, Scale(), "last2", FACTS)
    assert (one.layers, one.grid, one.found_in, one.extra) == ((1, 2), (4, 4), 0, 0)
    assert one.spec(3, "cls") == {
        "method": 2,
        "detector": {"class": "itae.detect.VectorNorm", "k": 5.0, "rule": "mad", "scope": "token", "side": "low",
                     "vector": "value", "layer": 0},
        "neighbour_mean": {"class": "itae.neighbour_mean.NeighbourMean", "strength": 1.0},
        "layers": [1, 2],
    }  # fmt: skip
    assert one.spec(3, "cls") == NeighbourMean(1).make(detector, Scale(strength=0.0), "last2", FACTS).spec(3, "mean")
    for maker, found, layers in (
        (NeighbourMean(0.0), detector, "all"), (NeighbourMean(), Nothing(), "all"), (NeighbourMean(), detector, "none")
    ):  # fmt: skip
        assert maker.make(found, Scale(), layers, FACTS) is None


@dataclass(frozen=True)
class ByHead(Detector):
    def signal(self, site):
        return site.v[:, :, site.prefix :].norm(dim=-1)


def test_what_replaces_no_token_is_refused():
    with pytest.raises(UserError, match=r"edit\.strength=1\.5"):
        NeighbourMean(1.5)
    with pytest.raises(UserError, match=r"detector\.scope=head.*no heads"):
        edit(VectorNorm(scope="head"), (0,)).check(FACTS)
    with pytest.raises(UserError, match=r"detector\.scope=head.*no heads"):
        edit(Random(match=VectorNorm(scope="head")), (0,)).check(FACTS)
    model = families.small("plain")
    with pytest.raises(UserError, match="ByHead flags"):
        SharedPass(model, 1, "cls", [edit(ByHead(), (1,))])(families.pixels(model), families.digests(3))
    with pytest.raises(UserError, match="one flag for each of 3 x 5"):
        SharedPass(model, 1, "cls", [edit(ResidualNorm(), (1,), grid=(3, 5))])(families.pixels(model), [bytes(32)] * 3)


def test_controls_that_choose_other_patches_go_with_it_and_others_are_refused():
    mean, detector, scale = NeighbourMean(), ResidualNorm(), Scale()
    instead, how = controlled(mean, RandomControl(), detector, scale)
    assert (instead, how) == (Random(match=detector), scale)
    assert controlled(mean, OtherSide(), detector, scale)[0].match == detector
    with pytest.raises(UserError, match=r"control=mean_value changes.*edit=neighbour_mean.*control=none, random"):
        controlled(mean, MeanValue(), detector, scale)
    assert controlled(Attention(), MeanValue(), detector, scale)[1] != scale
    with pytest.raises(UserError, match="control=random goes with edit=attention"):
        controlled(TestTimeRegisters(), RandomControl(), detector, scale)
