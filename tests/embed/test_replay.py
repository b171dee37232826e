"""The shared pass, held against a slow model: every attention call of an untouched timm forward, in fp64, by loops."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from unittest import mock

import families
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixes import ATTENUATORS, MIXES, BrokenError, fast_detector, state_of
from slow_forward import slow

from itae.base.errors import UserError
from itae.edits.attenuate import Fade, Floor, Scale
from itae.edits.detect import ClsAttention, Nothing, OtherEnd, Random, ResidualNorm, VectorNorm
from itae.edits.edit import Edit, make_edit
from itae.edits.site import Flags
from itae.embed import edited_blocks, replay
from itae.embed.record import Record
from itae.embed.replay import SharedPass, Watch
from itae.embed.walk import walk
from itae.vit.door import Door, Tape, _few_queries


def pooled(model, tokens, pool):
    return tokens[:, 0] if pool == "cls" else tokens[:, model.num_prefix_tokens :].mean(dim=1)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_pass_of_many_edits_is_the_slow_model_on_every_family(family):
    model = families.small(family)
    pixels = families.pixels(model, 2)
    has_cls = model.num_prefix_tokens > 0
    mixes = [m for m in MIXES if has_cls or (m[1][2] == "all" and m[0][0] != "cls_attention")]
    edits = [
        Edit(fast_detector(*detector), ATTENUATORS[how](strength=strength, queries=queries), layers)
        for detector, (how, strength, queries), layers in mixes
    ]
    untouched = model.forward_features(pixels)
    for pool in ("cls", "mean") if has_cls else ("mean",):
        out = SharedPass(model, model.num_prefix_tokens, pool, [None, *edits])(pixels, families.digests(2))
        assert torch.equal(out[0], pooled(model, untouched, pool)), "the baseline is the untouched model, bit for bit"
        for mix, embedding in zip(mixes, out[1:], strict=True):
            want = pooled(model, slow(model, pixels, *mix), pool)
            torch.testing.assert_close(
                embedding.double(), want, atol=5e-5, rtol=5e-5, msg=lambda m, mix=mix: f"{mix}: {m}"
            )
            moved = (want - pooled(model, untouched.double(), pool)).norm() / want.norm()
            unseen = pool == "mean" and mix[1][2] == "cls" and mix[2] == (2,)  # its row reaches no patch any more
            assert unseen or moved > 1e-3, f"{mix} has no effect here, so this shows nothing"


FOUND_ELSEWHERE = [
    (("key", "token", "mad", 1.0, "high"), ("scale", 1.0, "all"), (0, 1), 2),
    (("value", "token", "quantile", 0.2, "low"), ("floor", 1.0, "all"), (1, 2), 0),
    (("residual", "token", "quantile", 0.13, "high"), ("fade", 0.8, "all"), (2,), 1),
    (("cls_attention", "token", "quantile", 0.13, "high"), ("scale", 1.0, "all"), (0, 2), 2),
]


@pytest.mark.parametrize("with_baseline", [True, False])
@pytest.mark.parametrize("family", ["plain", "registers", "dinov3", "rope_mixed"])
def test_patches_are_found_in_one_block_of_the_untouched_model_for_others(family, with_baseline):
    model = families.small(family)
    prefix, pixels = model.num_prefix_tokens, families.pixels(model, 2)
    edits = [
        Edit(replace(fast_detector(*detector), layer=found_in), ATTENUATORS[how](strength=a, queries=rows), layers)
        for detector, (how, a, rows), layers, found_in in FOUND_ELSEWHERE
    ]
    own = Edit(replace(edits[1].detector, layer=None), edits[1].attenuator, edits[1].layers)
    seen = {}
    watch = Watch(lambda p, layer, found, paid: seen.__setitem__((p, layer), found.mask))
    some = [None, *edits, own] if with_baseline else [*edits, own]
    out = SharedPass(model, prefix, "cls", some, watch)(pixels, families.digests(2))[with_baseline:]
    for mix, embedding in zip(FOUND_ELSEWHERE, out, strict=False):
        want = slow(model, pixels, *mix)[:, 0]
        torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5, msg=lambda m, mix=mix: f"{mix}: {m}")
    assert (out[1] - out[-1]).norm() > 1e-3 * out[-1].norm(), "found elsewhere is found here: this shows nothing"
    assert torch.equal(seen[with_baseline, 0], seen[with_baseline, 1]), "one mask for all blocks"
    for edit, embedding in zip(edits, out, strict=False):  # block 0 alone is enough for what is found there
        (alone,) = SharedPass(model, prefix, "cls", [edit])(pixels, families.digests(2))
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)


FOUND_IN_EACH = [
    (("combined", "token", "quantile", 0.2, "high"), ("scale", 1.0, "all"), (0, 1, 2)),
    (("value", "head", "quantile", 0.2, "low"), ("floor", 1.0, "all"), (1, 2)),
]


@pytest.mark.parametrize("with_baseline", [True, False])
@pytest.mark.parametrize("family", ["plain", "dinov3", "rope_mixed"])
def test_each_edited_block_takes_what_is_found_in_it_in_the_untouched_model(family, with_baseline):
    model = families.small(family)
    prefix, pixels = model.num_prefix_tokens, families.pixels(model, 2)
    edits = [
        Edit(replace(fast_detector(*detector), layer="each"), ATTENUATORS[how](strength=a, queries=rows), layers)
        for detector, (how, a, rows), layers in FOUND_IN_EACH
    ]
    own = Edit(replace(edits[0].detector, layer=None), edits[0].attenuator, edits[0].layers)
    some = [None, *edits, own] if with_baseline else [*edits, own]
    out = SharedPass(model, prefix, "cls", some)(pixels, families.digests(2))[with_baseline:]
    for mix, embedding in zip(FOUND_IN_EACH, out, strict=False):
        want = slow(model, pixels, *mix, found_in="each")[:, 0]
        torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5, msg=lambda m, mix=mix: f"{mix}: {m}")
    assert (out[0] - out[-1]).norm() > 1e-3 * out[-1].norm(), "the edited stream has the same: this shows nothing"


def test_what_each_block_finds_untouched_is_fitted_untouched():
    """And so without regard to what is done about it, whoever walks along."""
    model = families.small("plain")
    sample = [(families.pixels(model, 24, seed), families.digests(24)) for seed in (2, 3)]
    detector = VectorNorm(rule="bimodal", side="high", layer="each")
    own = replace(detector, layer=None)
    edits = [Edit(d, a, (0, 1, 2)) for d in (detector, own) for a in (Scale(), Fade(strength=0.5))]
    edits.append(Edit(Random(match=detector), Scale(), (1, 2)))
    seen = {}

    def fit(layer, positions, signals):
        whole = torch.cat(signals)
        for position in positions:
            seen[position, layer] = whole
        return float(whole.quantile(0.8))

    walk(SharedPass(model, 1, "cls", edits), sample, fit)
    assert set(seen) == {(p, i) for p in range(4) for i in range(3)} | {(4, 1), (4, 2)}
    want = {i: [] for i in range(3)}
    watch = Watch(operands=lambda i, q, k, v: want[i].append(v[:, :, 1:].transpose(1, 2).flatten(2).norm(dim=-1)))
    for pixels, digests in sample:
        SharedPass(model, 1, "cls", [None], watch)(pixels, digests)
    for (position, layer), signal in seen.items():
        same = torch.allclose(signal[:, 0], torch.cat(want[layer]), rtol=1e-4)
        assert same == (position in (0, 1, 4) or layer == 0), (position, layer)


@pytest.mark.parametrize("how", ATTENUATORS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_edit_that_flags_nothing_is_the_untouched_model(family, how):
    model = families.small(family)
    pixels = families.pixels(model)
    prefix = model.num_prefix_tokens
    layer_sets = [(0, 1, 2), (1,), (2,)]
    edits = [Edit(Nothing(), ATTENUATORS[how](), layers) for layers in layer_sets]
    for pool in ("cls", "mean", "head", "projection") if prefix else ("mean", "head", "projection"):
        baseline, *out = SharedPass(model, prefix, pool, [None, *edits])(pixels, families.digests(3))
        for embedding in out:
            torch.testing.assert_close(embedding, baseline, atol=2e-5, rtol=2e-5)


def test_head_pooling_is_the_models_own():
    for family in ("siglip", "dinov3", "clip"):
        model = families.small(family)
        pixels = families.pixels(model)
        (out,) = SharedPass(model, model.num_prefix_tokens, "head", [None])(pixels, families.digests(3))
        assert torch.equal(out, model.forward_head(model.forward_features(pixels), pre_logits=True))


@pytest.mark.parametrize("family", ["clip", "plain", "eva02", "siglip"])
def test_a_projection_is_the_models_head_on_its_pooling_under_every_edit(family):
    """CLIP's is that of the CLS token; another pooling needs the last block whole."""
    model = families.small(family, num_classes=7)
    model.head.weight.copy_(torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(3)))
    pixels, has_cls = families.pixels(model, 2), model.num_prefix_tokens > 0
    mixes = [m for m in MIXES if has_cls or (m[1][2] == "all" and m[0][0] != "cls_attention")]
    edits = [
        Edit(fast_detector(*detector), ATTENUATORS[how](strength=strength, queries=queries), layers)
        for detector, (how, strength, queries), layers in mixes
    ]
    shared = SharedPass(model, model.num_prefix_tokens, "projection", [None, *edits])
    assert bool(shared.finish_rows) == (family in ("clip", "plain"))
    out = shared(pixels, families.digests(2))
    assert torch.equal(out[0], model(pixels)), "the baseline is the untouched model, bit for bit"
    for mix, embedding in zip(mixes, out[1:], strict=True):
        tokens = slow(model, pixels, *mix)
        want = model.double().forward_head(tokens)
        model.float()
        torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5, msg=lambda m, mix=mix: f"{mix}: {m}")


def any_edit():
    detectors = st.sampled_from(
        [VectorNorm(vector=v, rule="mad", k=1.0, scope=s, side=d) for v in ("query", "key", "value")
         for s in ("token", "head") for d in ("low", "high")]
        + [ResidualNorm(rule="quantile", quantile=0.2), ClsAttention(rule="ratio", ratio=1.5), Random(rate=0.2)]
        + [VectorNorm(vector="key", k=1.0, layer=layer) for layer in (0, 1, 2)]
        + [Random(match=VectorNorm(k=1.0)), OtherEnd(match=VectorNorm(k=1.0, layer=2))]
    )  # fmt: skip
    attenuators = st.builds(
        lambda how, strength, queries: ATTENUATORS[how](strength=strength, queries=queries),
        st.sampled_from(sorted(ATTENUATORS)), st.sampled_from([0.3, 1.0]), st.sampled_from(["all", "cls"]),
    )  # fmt: skip
    layers = st.sets(st.integers(0, 2), min_size=1).map(lambda s: tuple(sorted(s)))
    return st.builds(Edit, detectors, attenuators, layers)


MODELS = {family: families.small(family) for family in ("registers", "dinov3", "rope_mixed")}


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(any_edit(), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["cls", "mean"]),
)
def test_edits_that_share_a_pass_are_as_if_alone(family, edits, with_baseline, pool):
    model = MODELS[family]
    pixels, digests = families.pixels(model, 2), families.digests(2)
    shared = SharedPass(model, 5 if family != "rope_mixed" else 1, pool, [None, *edits] if with_baseline else edits)
    out = shared(pixels, digests)[with_baseline:]
    for edit, embedding in zip(edits, out, strict=True):
        (alone,) = SharedPass(model, shared.prefix, pool, [edit])(pixels, digests)
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)


def test_edits_with_the_same_history_share_it_and_one_qkv_serves_a_block():
    model = families.small("registers")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edits = [
        Edit(VectorNorm(rule="quantile", quantile=0.2), how(strength=a), layers)
        for layers in ((0,), (0, 1), (0, 1, 2), (0, 2), (1, 2), (1,), (2,))
        for how, a in ((Scale, 1.0), (Floor, 0.5))
    ]
    runs = dict.fromkeys(("qkv", "mlp"), 0)

    def count(name):
        return lambda module, args: runs.__setitem__(name, runs[name] + (args[0].shape[1] > 1))

    for block in model.blocks:
        block.attn.qkv.register_forward_pre_hook(count("qkv"))
        block.mlp.register_forward_pre_hook(count("mlp"))
    shared = SharedPass(model, 5, "cls", [None, *edits])(pixels, digests)
    # mlp: 3 of the baseline; block 0: 2 ways (two attenuators); block 1: each of those parts in 2 (edited or not),
    # and the untouched stream in 2 (two attenuators). Block 2 is a CLS row for all.
    assert runs["mlp"] == 3 + 2 + 4 + 2
    # A module that is played from a tape is called, so this counts calls; what they compute is counted below.
    computed, without_queries = [], []
    linear = torch.nn.functional.linear

    class Counting(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is linear and len(args[1]) == 3 * len(args[1][0]) and args[0].shape[1] > 1:
                computed.append(args[0].shape)
            if func is torch.addmm:
                without_queries.append(args[1].shape)
            return func(*args, **(kwargs or {}))

    with Counting():
        SharedPass(model, 5, "cls", [None, *edits])(pixels, digests)
    # q, k, v: 3 of the baseline, which are also those of edits that start there; 2 of block 1 (its edited streams).
    # k, v: 4 + 2 of block 2
    assert (len(computed), len(without_queries)) == (3 + 2, 6)
    computed.clear()
    with Counting(), mock.patch.object(edited_blocks, "_TAPED", 1):
        capped = SharedPass(model, 5, "cls", [None, *edits])(pixels, digests)
    assert len(computed) == 3 + 1 + 3  # only those of block 2 were kept
    assert all(map(torch.equal, shared, capped))
    for edit, embedding in zip(edits, shared[1:], strict=True):
        (alone,) = SharedPass(model, 5, "cls", [edit])(pixels, digests)
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)


def test_nothing_of_a_batch_outlives_it():
    """By counting references alone: until the garbage collector came by, the batches would pile up."""
    model = families.small("registers")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    kept = []

    def noting(*args):
        record = Record(*args)
        kept.append(weakref.ref(record))
        return record

    edits = [None, *(Edit(VectorNorm(), Scale(), layers) for layers in ((0,), (0, 1), (1, 2), (2,)))]
    edits.append(Edit(VectorNorm(layer=1), Scale(), (2,)))
    gc.disable()
    try:
        with mock.patch.object(edited_blocks, "Record", noting):
            shared = SharedPass(model, 5, "cls", edits, Watch(operands=lambda *_: None, attention=True))
            shared(pixels, digests)
        assert [ref() for ref in kept] == [None]
    finally:
        gc.enable()


class QueryPeak(VectorNorm):
    """Somebody's own, which reads the queries and says nothing of it."""

    def signal(self, site):
        return site.q[:, :, site.prefix :].amax(dim=(1, 3)).unsqueeze(1)


class QueryControl(Random):
    """Somebody's own control, which reads the queries and says nothing of it."""

    def __call__(self, site, theta=None):
        return QueryPeak()(site)


class Whoever:
    """No more than what a detector has to have."""

    needs_cls = fitted = False

    def __call__(self, site, theta=None):
        signal = site.q[:, :, site.prefix :].abs().sum(dim=(1, 3)).unsqueeze(1)
        return Flags(signal > signal.mean(), signal, signal[..., :1])

    def spec(self):
        return {}


@pytest.mark.parametrize("family", ["plain", "registers", "dinov3_qkvb", "eva02", "clip"])
@pytest.mark.parametrize(
    ("detector", "reads"),
    [
        (VectorNorm(vector="query"), True),
        (VectorNorm(vector="key"), False),
        (ClsAttention(), False),
        (ResidualNorm(), False),
        (Random(), False),
        (OtherEnd(match=VectorNorm(vector="query")), True),
        (Random(match=VectorNorm()), False),
        (QueryPeak(), True),
        (Whoever(), True),
        (Random(match=Whoever()), True),
        (QueryControl(), True),
    ],
)
def test_queries_of_patches_in_the_last_block_are_there_for_who_reads_them(family, detector, reads):
    model = families.small(family)
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edit = Edit(detector, Scale(), (1, 2))
    assert edit.reads_queries is reads

    def run():
        signals = []
        watch = Watch(flags=lambda position, layer, found, paid: signals.append(found.signal))
        return SharedPass(model, model.num_prefix_tokens, "cls", [edit], watch)(pixels, digests)[0], signals

    out, signals = run()
    with mock.patch.object(replay, "fused_qkv", return_value=None):
        whole, expected = run()
    torch.testing.assert_close(out, whole, atol=1e-5, rtol=1e-5)
    for signal, one in zip(signals, expected, strict=True):
        torch.testing.assert_close(signal, one, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("low", [True, False])
def test_keys_and_values_without_queries_are_those_with_them(bias, low):
    torch.manual_seed(0)
    qkv, x = torch.nn.Linear(24, 72, bias=bias), torch.randn(3, 7, 24)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        whole, short = qkv(x), _few_queries(x, qkv.weight, qkv.bias)
    assert short.dtype == whole.dtype
    assert not short[:, 1:, :24].any()
    tolerance = {"atol": 2e-2, "rtol": 1e-2} if low else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(short[..., 24:], whole[..., 24:], **tolerance)
    torch.testing.assert_close(short[:, :1], whole[:, :1], **tolerance)


def test_a_tape_refuses_another_way():
    tape = Tape()
    x = torch.ones(2)
    for func in (torch.sin, torch.sin):
        with Door(lambda *a: None, tape):
            y = func(x)
    assert y is tape._steps[0][1]
    with pytest.raises(AssertionError, match="another step"), Door(lambda *a: None, tape):
        torch.cos(x)


def test_an_image_is_embedded_the_same_in_any_batch():
    model = families.small("registers")
    pixels = families.pixels(model, 8)
    edits = [None, *(Edit(fast_detector(*d), ATTENUATORS[h](strength=a, queries=r), ls) for d, (h, a, r), ls in MIXES)]
    edits.append(Edit(Random(rate=0.3), Scale(), (0, 1)))
    shared = SharedPass(model, 5, "cls", edits)
    together = shared(pixels, families.digests(8))
    for i in range(8):
        alone = shared(pixels[i : i + 1], families.digests(8)[i : i + 1])
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[i], atol=1e-5, rtol=1e-5)


def test_the_model_is_as_before_afterwards_also_after_an_exception():
    model = families.small("dinov3")
    model.blocks[1].attn.fused_attn = False  # somebody's own choice, which must come back
    pixels = families.pixels(model)
    before, weights = state_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    untouched = model.forward_features(pixels)

    def raising(position, layer, flags, paid):
        if layer == 2:
            raise BrokenError

    for seen, error in ((None, None), (raising, BrokenError)):
        for edits in ([None, Edit(VectorNorm(), Floor(), (1, 2))], [Edit(VectorNorm(), Scale(), (2,))]):
            shared = SharedPass(model, 5, "cls", edits, seen and Watch(seen))
            if error:
                with pytest.raises(error):
                    shared(pixels, families.digests(3))
            else:
                shared(pixels, families.digests(3))
            assert state_of(model) == before
            assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
            assert torch.equal(model.forward_features(pixels), untouched)
            assert torch._C._len_torch_function_stack() == 0, "a door was left open"


@pytest.mark.parametrize("times", [0, 2])
@pytest.mark.parametrize("layers", [(0, 1, 2), (2,)])
def test_a_block_that_does_not_call_attention_once_is_an_error(times, layers):
    model = families.small("plain")

    class Odd(torch.nn.Module):
        def forward(self, x, **kwargs):
            heads = x.unflatten(-1, (2, -1)).transpose(1, 2)
            for _ in range(times):
                heads = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
            return heads.transpose(1, 2).flatten(2)

    model.blocks[2].attn = Odd()
    for with_baseline in (True, False):
        edits = [Edit(VectorNorm(), Floor(), layers)]
        with pytest.raises(UserError, match=r"Block 2 called scaled_dot_product_attention"):
            SharedPass(model, 1, "mean" if times else "cls", [None, *edits] if with_baseline else edits)(
                families.pixels(model), families.digests(3)
            )


def test_everything_flagged_is_seen_layer_by_layer():
    model = families.small("plain")
    seen = []
    edits = [None, Edit(VectorNorm(rule="quantile", quantile=1.0), Floor(), (0, 2)), Edit(Nothing(), Fade(), (1,))]
    SharedPass(model, 1, "cls", edits, Watch(lambda *found: seen.append(found)))(
        families.pixels(model), families.digests(3)
    )
    assert [(position, layer) for position, layer, *_ in seen] == [(1, 0), (1, 2), (2, 1)]
    assert [bool(flags.mask.all()) for *_, flags, _ in seen] == [True, True, False]


def test_bf16_is_near_fp32():
    model = families.small("dinov3")
    pixels = families.pixels(model)
    edits = [None, *(Edit(Random(rate=0.2), ATTENUATORS[how](), (0, 1, 2)) for how in ATTENUATORS)]
    shared = SharedPass(model, 5, "cls", edits)
    exact = shared(pixels, families.digests(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = shared(pixels, families.digests(3))
    for a, b in zip(exact, low, strict=True):
        assert b.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(a, b).min() > 0.99


def test_an_edit_that_can_not_change_anything_is_no_edit():
    for detector, attenuator, layers in [
        (Nothing(), Floor(), "all"),
        (Random(rate=0.0), Floor(), "all"),
        (VectorNorm(), Floor(strength=0.0), "all"),
        (VectorNorm(), Floor(), "none"),
        (VectorNorm(), Floor(), []),
    ]:
        assert make_edit(detector, attenuator, layers, 12) is None
