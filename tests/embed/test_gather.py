"""What is gathered of calibration images, and passes with it, held against slow models in fp64."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import families
import numpy as np
import pytest
import reference
import torch
from mixes import fast_detector

from itae.base.errors import UserError
from itae.edits.attenuate import Scale
from itae.edits.bimodal import fit_threshold
from itae.edits.controls import RegisterMean, Shuffle
from itae.edits.detect import VectorNorm
from itae.edits.edit import Edit
from itae.edits.gathered import Gathered
from itae.edits.register_mean import RegisterMeanEdit
from itae.embed import kept_arrays
from itae.embed.gather import gather_values, register_means
from itae.embed.replay import SharedPass, Watch

CALIBRATION = 5
"""The first images of each test are the calibration images."""


def in_batches(pixels, digests, size):
    return [(pixels[i : i + size], digests[i : i + size]) for i in range(0, len(pixels), size)]


# --- values of other images


def slow_shuffle(model, pixels, digests, detector, strength, queries, layers, found_in=None):
    """Return the tokens of a forward in which flagged patches have others' values, and what they got, fp64.

    The first images are the calibration images. `detector` = (signal, scope, rule, number, side).
    """
    name, scope, rule, number, side = detector
    model, prefix = families.double(model), model.num_prefix_tokens
    inputs, given, elsewhere, replaying = [], {}, None, False
    plain = torch.nn.functional.scaled_dot_product_attention

    def flags_of(q, k, v, x):
        masks = []
        for b in range(len(q)):
            s = reference.signal(name, scope, *(t[b].numpy() for t in (q, k, v, x)), prefix, q.shape[-1] ** -0.5)
            masks.append(np.array([reference.flag(r, reference.threshold(r, rule, number, side), side) for r in s]))
        return np.array(masks)

    def substituted(v, masks, layer):
        heads, patches = v.shape[1], range(v.shape[2] - prefix)
        parts = masks.shape[1]
        pool = {s: [] for s in range(parts)}
        for digest, b in sorted((digest, b) for b, digest in enumerate(digests[:CALIBRATION])):
            for s in range(parts):
                owned = slice(None) if parts == 1 else slice(s, s + 1)
                pool[s] += [(digest, v[b, owned, prefix + j].clone()) for j in patches if masks[b, s, j]]
        out = v.clone()
        for b, digest in enumerate(digests):
            draws = np.random.default_rng((0, int.from_bytes(digest))).random(len(patches))
            for s in range(parts):
                others = [(owner, value) for owner, value in pool[s] if owner != digest]
                for j in patches:
                    if masks[b, s, j] and others:
                        owner, value = others[int(draws[j] * len(others))]
                        owned = slice(None) if parts == 1 else slice(s, s + 1)
                        out[b, owned, prefix + j] = (1 - strength) * v[b, owned, prefix + j] + strength * value
                        given[b, layer, s, j] = owner
        assert heads in (parts, heads)
        return out

    def attention(q, k, v, **kwargs):
        nonlocal elsewhere
        layer = len(inputs) - 1
        if layer == found_in and elsewhere is None:
            elsewhere = flags_of(q, k, v, inputs[-1])
        if layer not in layers or (found_in is not None and not replaying):
            return plain(q, k, v, **kwargs)
        masks = flags_of(q, k, v, inputs[-1]) if found_in is None else elsewhere
        out = plain(q, k, substituted(v, masks, layer), **kwargs)
        if queries == "cls":
            untouched = plain(q, k, v, **kwargs)
            untouched[:, :, :1] = out[:, :, :1]
            return untouched
        return out

    handles = [b.register_forward_pre_hook(lambda block, args: inputs.append(args[0])) for b in model.blocks]
    try:
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", attention):
            for once_more in (False, True) if found_in is not None else (True,):
                inputs.clear()
                replaying = once_more
                tokens = model.forward_features(pixels.double())
            return tokens, given
    finally:
        for handle in handles:
            handle.remove()
        model.float()


SHUFFLES = [
    (("value", "token", "quantile", 0.2, "low"), (1.0, "all"), (0, 1, 2), None),
    (("key", "head", "quantile", 0.13, "high"), (1.0, "all"), (0, 2), None),
    (("residual", "token", "quantile", 0.13, "high"), (0.6, "cls"), (1, 2), None),
    (("cls_attention", "token", "quantile", 0.13, "high"), (1.0, "all"), (2,), None),
    (("value", "token", "quantile", 0.2, "high"), (1.0, "all"), (0, 2), 1),
]


def shuffled(detector, how, layers, found_in):
    made = replace(fast_detector(*detector), layer=found_in)
    return Edit(*Shuffle()(made, Scale(*how)), layers)


def settled(model, edits, pixels, digests, size=2):
    shared = SharedPass(model, model.num_prefix_tokens, "cls", edits)
    found = gather_values(shared, edits, in_batches(pixels[:CALIBRATION], digests[:CALIBRATION], size))
    return [edit.with_gathered(gathered) for edit, (gathered, _) in zip(edits, found, strict=True)]


BOTH = [(family, pool) for family in ("registers", "dinov3", "plain") for pool in ("cls", "mean", "cls_registers")]


@pytest.mark.parametrize(("family", "pool"), [one for one in BOTH if one != ("plain", "cls_registers")])
def test_values_of_other_images_are_those_of_the_slow_model(family, pool):
    model = families.small(family)
    prefix, pixels, digests = model.num_prefix_tokens, families.pixels(model, 7), families.digests(7)
    edits = settled(model, [shuffled(*one) for one in SHUFFLES], pixels, digests)
    others = [None, Edit(VectorNorm(k=1.0), Scale(), (1, 2))]
    out = SharedPass(model, prefix, pool, [*others, *edits])(pixels, digests)[2:]
    alone = SharedPass(model, prefix, pool, [None])(pixels, digests)[0].double()
    for one, embedding in zip(SHUFFLES, out, strict=True):
        detector, how, layers, found_in = one
        tokens, given = slow_shuffle(model, pixels, digests, detector, *how, layers, found_in)
        want = {"cls": tokens[:, 0], "mean": tokens[:, prefix:].mean(dim=1)}
        want["cls_registers"] = torch.cat([tokens[:, 0], tokens[:, 1:5].mean(dim=1)], dim=1)
        torch.testing.assert_close(embedding.double(), want[pool], atol=5e-5, rtol=5e-5,
                                   msg=lambda m, one=one: f"{one}: {m}")  # fmt: skip
        assert given
        assert all(owner != digests[b] for (b, *_), owner in given.items()), "none of its own"
        unseen = pool == "mean" and layers == (1, 2)  # the CLS row reaches patches in block 2 alone
        assert unseen or (embedding.double() - alone).norm() > 1e-3 * alone.norm(), f"{one} has no effect here"


def test_each_replacement_is_the_value_of_another_image_in_that_block():
    """By hooks on what the model itself is given: the values with which each edited block attends."""
    model = families.small("registers")
    pixels, digests = families.pixels(model, CALIBRATION), families.digests(CALIBRATION)
    (edit,) = settled(model, [shuffled(*SHUFFLES[0])], pixels, digests, size=CALIBRATION)
    calls, flags = [], []
    original = type(edit.attenuator).operands

    def operands(self, k, v, *args):
        out = original(self, k, v, *args)
        calls.append((v, out[1]))
        return out

    watch = Watch(lambda position, layer, found, paid: flags.append(found.mask[:, 0]))
    with mock.patch.object(type(edit.attenuator), "operands", operands):
        SharedPass(model, 5, "mean", [edit], watch)(pixels, digests)
    assert len(calls) == len(flags) == 3
    for call, mask in zip(calls, flags, strict=True):
        was, now = (t.transpose(1, 2)[:, 5:].flatten(2) for t in call)
        for b, j in mask.nonzero().tolist():
            same = [(c, i) for c, i in mask.nonzero().tolist() if torch.equal(now[b, j], was[c, i])]
            assert len(same) == 1, "exactly one flagged patch has this very value"
            assert same[0][0] != b, "and it is another image's"
        assert torch.equal(now[~mask], was[~mask])


def test_what_is_gathered_depends_neither_on_batches_nor_on_order_and_rows_on_no_other_image():
    model = families.small("dinov3")
    pixels, digests = families.pixels(model, 7), families.digests(7)
    edits = [shuffled(*one) for one in SHUFFLES[:3]]
    whole, parts = (settled(model, edits, pixels, digests, size) for size in (CALIBRATION, 1))
    order = [3, 0, 4, 2, 1, 5, 6]
    other = settled(model, edits, pixels[order], [digests[i] for i in order])
    for one, two, three in zip(whole, parts, other, strict=True):
        for layer in one.layers:
            for again in (two, three):
                a, b = one.attenuator.pools[layer], again.attenuator.pools[layer]
                assert np.array_equal(a.owners, b.owners)
                np.testing.assert_allclose(a.values, b.values, atol=1e-5)
    together = SharedPass(model, 5, "cls", whole)(pixels, digests)
    for i in range(7):
        alone = SharedPass(model, 5, "cls", whole)(pixels[i : i + 1], digests[i : i + 1])
        for row, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(row[0], all_[i], atol=1e-5, rtol=1e-5)


def test_thresholds_of_several_blocks_are_fitted_where_values_are_gathered():
    """Each block's on the stream that the blocks before it leave, with the values of other images in it."""
    model = families.small("registers")
    pixels, digests = families.pixels(model, CALIBRATION), families.digests(CALIBRATION)
    detector = VectorNorm(rule="bimodal", side="low", calibration_images=CALIBRATION)
    edit = Edit(*Shuffle()(detector, Scale()), (0, 1, 2))

    def third(signals, side):
        return replace(fit_threshold(signals, side), theta=float(np.quantile(signals, 0.3)))

    with mock.patch("itae.embed.fit_layers.fit_threshold", third):
        shared = SharedPass(model, 5, "cls", [edit])
        ((gathered, fits),) = gather_values(shared, [edit], in_batches(pixels, digests, 2))
    assert sorted(fits) == [0, 1, 2]
    known = edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    ((again, nothing),) = gather_values(SharedPass(model, 5, "cls", [known]), [known], in_batches(pixels, digests, 2))
    assert nothing == {}
    assert again.digest == gathered.digest
    untouched = replace(edit, attenuator=Scale(1e-9))  # flags the same in the first block alone
    with mock.patch("itae.embed.fit_layers.fit_threshold", third):
        from itae.embed.fit_layers import fit_layers

        (plain,) = fit_layers(SharedPass(model, 5, "cls", [untouched]), [untouched], in_batches(pixels, digests, 2))
    assert plain[0].theta == fits[0].theta
    assert plain[2].theta != fits[2].theta


# --- mean registers


def slow_means(model, pixels, registers=4):
    """Return the tokens [B, N, E] of a forward whose registers are their means, and these, by loops in fp64."""
    model, prefix = families.double(model), model.num_prefix_tokens
    means, seen = {}, []

    def remember(block, args):
        seen.append(args[0])

    def replace_(block, args, kwargs):
        layer = list(model.blocks).index(block)
        x = args[0].clone()
        for r in range(registers):
            for b in range(len(x)):
                x[b, prefix - registers + r] = means[layer, r]
        return (x, *args[1:]), kwargs

    handles = [block.register_forward_pre_hook(remember) for block in model.blocks]
    model.forward_features(pixels[:CALIBRATION].double())
    for handle in handles:
        handle.remove()
    for layer, x in enumerate(seen):
        for r in range(registers):
            total = torch.zeros_like(x[0, 0])
            for b in range(CALIBRATION):
                total += x[b, prefix - registers + r]
            means[layer, r] = total / CALIBRATION
    handles = [block.register_forward_pre_hook(replace_, with_kwargs=True) for block in model.blocks]
    tokens = model.forward_features(pixels.double())
    for handle in handles:
        handle.remove()
    model.float()
    return tokens, means


def mean_edit(model, pixels, size=2):
    some = pixels[:CALIBRATION]
    gathered = register_means(model, 5, 4, in_batches(some, families.digests(len(some)), size))
    settings = {"class": "itae.controls.RegisterMean", "calibration_images": CALIBRATION, "calibration_seed": 0}
    return RegisterMeanEdit(settings, len(model.blocks), 4).with_gathered(gathered)


@pytest.mark.parametrize("pool", ["cls", "mean", "cls_registers"])
@pytest.mark.parametrize("family", ["registers", "dinov3", "dinov3_qkvb"])
def test_registers_that_are_their_means_are_those_of_the_slow_model(family, pool):
    model = families.small(family)
    pixels, digests = families.pixels(model, 7), families.digests(7)
    edit = mean_edit(model, pixels)
    tokens, means = slow_means(model, pixels)
    for (layer, r), want in means.items():
        np.testing.assert_allclose(edit.means.arrays["means"][layer, r], want.numpy(), atol=1e-5)
    others = [Edit(VectorNorm(k=1.0), Scale(), layers) for layers in ((0, 1), (2,), (1, 2))]
    out = SharedPass(model, 5, pool, [None, *others[:1], edit, *others[1:]])(pixels, digests)
    want = {"cls": tokens[:, 0], "mean": tokens[:, 5:].mean(dim=1)}
    want["cls_registers"] = torch.cat([tokens[:, 0], tokens[:, 1:5].mean(dim=1)], dim=1)
    torch.testing.assert_close(out[2].double(), want[pool], atol=5e-5, rtol=5e-5)
    assert (out[2] - out[0]).norm() > 1e-3 * out[0].norm(), "the registers of this model carry nothing"
    (alone,) = SharedPass(model, 5, pool, [edit])(pixels, digests)
    torch.testing.assert_close(alone, out[2], atol=1e-5, rtol=1e-5)
    without = SharedPass(model, 5, pool, [None, *others])(pixels, digests)
    for one, other in zip(without, [out[0], out[1], *out[3:]], strict=True):
        assert torch.equal(one, other), "edits beside it are as without it"


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_means_of_other_images_are_another_edit_of_the_same_pass(pool):
    model = families.small("registers")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edits = [mean_edit(model, families.pixels(model, CALIBRATION, seed)) for seed in (5, 6, 5)]
    one, other, again = SharedPass(model, 5, pool, edits)(pixels, digests)
    (alone,) = SharedPass(model, 5, pool, edits[1:2])(pixels, digests)
    torch.testing.assert_close(other, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(one, again)
    assert (one - other).norm() > 1e-3 * one.norm()


def test_mean_registers_depend_on_no_batch_and_are_the_tokens_themselves_in_the_first_block():
    model = families.small("registers")
    pixels = families.pixels(model, 7)
    one, other = (mean_edit(model, pixels, size).means.arrays["means"] for size in (1, CALIBRATION))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.array_equal(one[0], model.reg_token[0].numpy()), "to the last bit: they are the same in all images"
    together = SharedPass(model, 5, "cls", [mean_edit(model, pixels)])(pixels, families.digests(7))[0]
    for i in range(7):
        (alone,) = SharedPass(model, 5, "cls", [mean_edit(model, pixels)])(pixels[i : i + 1], families.digests(7)[i:])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_of_one_image_its_own_registers_are_the_mean_and_nothing_changes():
    model = families.small("dinov3")
    pixels, digests = families.pixels(model, 1), families.digests(1)
    edit = mean_edit(model, pixels)
    untouched, edited = SharedPass(model, 5, "cls_registers", [None, edit])(pixels, digests)
    torch.testing.assert_close(untouched, edited, atol=1e-5, rtol=1e-5)


def test_a_model_without_registers_is_refused_by_name(tmp_path):
    from itae.vit.backbone import Backbone

    facts = Backbone("vit_small_patch14_dinov2").facts(tmp_path)
    edit = RegisterMean().make(None, None, "last", facts)
    with pytest.raises(UserError, match="control=register_mean: vit_small_patch14_dinov2 has no register tokens"):
        edit.check(facts)
    assert RegisterMean().make(None, None, "none", facts) is None


@pytest.mark.parametrize("what", ["values", "registers"])
def test_numbers_that_are_none_are_told(what):
    model = families.small("registers")
    model.blocks[1].norm1.bias.fill_(float("inf"))
    pixels, digests = families.pixels(model, 3), families.digests(3)
    work = {
        "values": lambda: settled(model, [shuffled(*SHUFFLES[2])], pixels, digests),
        "registers": lambda: register_means(model, 5, 4, in_batches(pixels, digests, 2)),
    }
    with pytest.raises(UserError, match="not finite in this precision"):
        work[what]()


# --- kept


def test_what_is_kept_comes_back_and_damage_is_noticed(tmp_path, caplog):
    found = Gathered({"means": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}, 4, {3: 0, 5: 2})
    key = {"space": {"model": "x"}, "images": "y"}
    assert kept_arrays.recall(tmp_path, key) is None
    kept_arrays.remember(tmp_path, key, found)
    again = kept_arrays.recall(tmp_path, key)
    assert (again.digest, again.images, again.values) == (found.digest, 4, {3: 0, 5: 2})
    assert kept_arrays.recall(tmp_path, key | {"images": "z"}) is None
    (file,) = tmp_path.glob(".gathered/*.safetensors")
    kept_arrays.remember(tmp_path, {"of": "another"}, found)
    (other,) = (path for path in tmp_path.glob(".gathered/*.safetensors") if path != file)
    file.replace(other)
    assert kept_arrays.recall(tmp_path, {"of": "another"}) is None, "found by its name, and of something else"
    other.replace(file)
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    assert kept_arrays.recall(tmp_path, key) is None
    assert "other numbers than were written" in caplog.text
    file.write_bytes(data[: len(data) // 2])
    assert kept_arrays.recall(tmp_path, key) is None


def test_values_of_images_that_are_to_be_forgotten_are_removed(tmp_path):
    owners = np.stack([np.frombuffer(digest, np.uint8) for digest in families.digests(2)])[None]
    kept_arrays.remember(tmp_path, {"a": 1}, Gathered({"owners.3": owners}, 2))
    kept_arrays.remember(tmp_path, {"a": 2}, Gathered({"means": np.zeros(3, np.float32)}, 2))
    assert kept_arrays.forget(tmp_path, {b"\0" * 32}) == []
    (gone,) = kept_arrays.forget(tmp_path, {families.digests(2)[1]})
    assert not gone.exists()
    assert kept_arrays.recall(tmp_path, {"a": 2}) is not None, "a mean is of nobody"
