"""Test-time registers, held against a slow model: one image at a time, one neuron at a time, in fp64."""

from __future__ import annotations

from unittest import mock

import families
import numpy as np
import pytest
import timm
import torch
from mixes import ATTENUATORS, MIXES, BrokenError, fast_detector, state_of

from itae import compose
from itae.app.compose import plain_config
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.edits import registers
from itae.edits.edit import Edit
from itae.embed import kept, register_search
from itae.embed.replay import SharedPass, Watch
from itae.store.entry import canonical
from itae.vit import reachable as probe

NEURONS = {0: (3, 17), 1: (0, 5, 40), 2: (7,)}


def edit(neurons):
    return registers.RegisterEdit(registers.TestTimeRegisters(), neurons)


def slow(model, pixels, neurons):
    """Return the tokens [B, N + 1, E] in fp64: block by block, each image alone, each neuron and token by itself."""
    model, prefix, out = families.double(model), model.num_prefix_tokens, []
    try:
        for image in pixels.double():
            inputs = _inputs(model, image)
            x = torch.cat([inputs[0][0], model.norm_pre(torch.zeros_like(inputs[0][0][:, :1]))], dim=1)
            for i, block in enumerate(model.blocks):
                x = _slow_block(block, x, inputs[i][1], neurons.get(i, ()), prefix)
            out.append(model.norm(x)[0])
    finally:
        model.float()
    return torch.stack(out)


def _inputs(model, image):
    """Return the arguments of each block in an untouched forward."""
    inputs = {}
    handles = [
        block.register_forward_pre_hook(lambda b, a, k, i=i: inputs.update({i: (a[0], k)}), with_kwargs=True)
        for i, block in enumerate(model.blocks)
    ]
    model.forward_features(image[None])
    for handle in handles:
        handle.remove()
    return inputs


def _slow_block(block, x, kwargs, neurons, prefix):
    def by_hand(module, args):
        acts = args[0][0].tolist()
        for m in neurons:
            acts[-1][m] = max(acts[token][m] for token in range(prefix, len(acts) - 1))
            for token in range(prefix, len(acts) - 1):
                acts[token][m] = 0.0
        return (torch.tensor([acts], dtype=torch.float64),)

    if kwargs.get("rope") is not None:  # neither turned nor placed
        rope = kwargs["rope"]
        width = rope.shape[-1] // 2
        turn = torch.tensor([0.0] * width + [1.0] * width, dtype=rope.dtype).expand(*rope.shape[:-2], 1, -1)
        kwargs = {**kwargs, "rope": torch.cat([rope, turn], dim=-2)}
    handle = block.mlp.fc2.register_forward_pre_hook(by_hand)
    try:
        return block(x, **kwargs)
    finally:
        handle.remove()


def pooled(model, tokens, pool):
    return tokens[:, 0] if pool == "cls" else tokens[:, model.num_prefix_tokens : -1].mean(dim=1)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_registers_are_the_slow_model_on_every_family(family):
    model = families.small(family)
    pixels, prefix = families.pixels(model, 2), model.num_prefix_tokens
    some = [NEURONS, {1: (2,)}, {2: (1, 3)}, {0: ()}]
    for pool in ("cls", "mean") if prefix else ("mean",):
        out = SharedPass(model, prefix, pool, [None, *map(edit, some)])(pixels, families.digests(2))
        assert torch.equal(out[0], SharedPass(model, prefix, pool, [None])(pixels, families.digests(2))[0])
        for neurons, embedding in zip(some, out[1:], strict=True):
            want = pooled(model, slow(model, pixels, neurons), pool)
            torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5)
            assert (want - out[0]).norm() / want.norm() > 1e-3, "nothing moves here, so this shows nothing"


def test_a_token_that_is_appended_has_no_position_under_rope():
    """The attention that RoPE's family pays to it: as to a prefix token, whose q and k are never turned."""
    model = families.small("dinov3")
    pixels = families.pixels(model, 1)
    seen = []

    def door(q, k, v, **kwargs):
        seen.append((q, k))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, **kwargs)

    from itae.vit.door import Door

    with Door(door):
        SharedPass(model, 5, "mean", [edit({2: (0,)})])(pixels, families.digests(1))
    qkv = model.blocks[0].attn
    zero = model.blocks[0].norm1(torch.zeros(1, 1, 24))
    k = torch.nn.functional.linear(zero, qkv.qkv.weight[24:48]).view(2, 12)
    # the recorded forward stops at block 0, so the first call is that of the longer stream
    torch.testing.assert_close(qkv.k_norm(k), seen[0][1][0, :, -1], atol=1e-6, rtol=1e-6)


def test_a_token_that_is_appended_is_zero_before_the_norm_of_what_enters():
    """As in the authors' CLIP, whose whole forward is run here with a token more behind its positions."""
    model = families.small("clip")
    model.norm_pre.bias.copy_(torch.randn(24, generator=torch.Generator().manual_seed(4)))
    pixels = families.pixels(model, 2)
    out = SharedPass(model, 1, "cls", [edit({1: (2, 9)})])(pixels, families.digests(2))[0]
    hooks = [
        model.norm_pre.register_forward_pre_hook(lambda m, a: (torch.nn.functional.pad(a[0], (0, 0, 0, 1)),)),
        model.blocks[1].mlp.fc2.register_forward_pre_hook(lambda m, a: (registers.moved(a[0], (2, 9), 1),)),
    ]
    want = model.forward_features(pixels)[:, 0]
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(out, want, atol=1e-5, rtol=1e-5)


def test_the_token_gets_the_largest_activation_of_patches_alone_with_its_sign():
    acts = torch.tensor([[[9.0, 9.0], [-2.0, 5.0], [-1.0, 6.0], [7.0, 7.0]]])  # CLS, two patches, the token
    before = acts.clone()
    assert registers.moved(acts, (0,), 1).tolist() == [[[9, 9], [0, 5], [0, 6], [-1, 7]]]
    assert torch.equal(acts, before), "what the MLP holds is left alone"


@pytest.mark.parametrize("pool", ["cls", "mean", "head"])
@pytest.mark.parametrize("family", ["registers", "dinov3", "rope_mixed", "eva02"])
def test_a_mixed_pass_is_as_separate_passes(family, pool):
    model = families.small(family)
    prefix = model.num_prefix_tokens
    pixels, digests = families.pixels(model, 3), families.digests(3)
    attention = [Edit(fast_detector(*d), ATTENUATORS[h](strength=a, queries=q), ls) for d, (h, a, q), ls in MIXES]
    edits = [None, edit(NEURONS), *attention, edit({0: (3, 17), 2: (1,)}), edit({2: (1,)}), edit(NEURONS)]
    edits += [edit({**NEURONS, 2: (1,)}), edit({})]
    together = SharedPass(model, prefix, pool, edits)(pixels, digests)
    for one, embedding in zip(edits, together, strict=True):
        (alone,) = SharedPass(model, prefix, pool, [one])(pixels, digests)
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(together[-1], together[0]), "nothing found is the untouched model, without a token more"


def test_an_image_is_embedded_the_same_in_any_batch():
    model = families.small("registers")
    pixels = families.pixels(model, 8)
    shared = SharedPass(model, 5, "cls", [None, edit(NEURONS)])
    together = shared(pixels, families.digests(8))
    for i in range(8):
        for one, all_ in zip(shared(pixels[i : i + 1], torch.tensor([i])), together, strict=True):
            torch.testing.assert_close(one[0], all_[i], atol=1e-5, rtol=1e-5)


def test_the_model_is_as_before_afterwards_also_after_an_exception():
    model = families.small("dinov3")
    pixels, before = families.pixels(model), state_of(model)
    untouched = model.forward_features(pixels)

    def raising(position, layer, tokens):
        if layer == 1:
            raise BrokenError

    shared = SharedPass(model, 5, "cls", [None, edit(NEURONS)])
    shared(pixels, families.digests(3))
    assert state_of(model) == before
    shared.watch = Watch(longer=raising)
    with pytest.raises(BrokenError):
        shared(pixels, families.digests(3))
    model.blocks[1].mlp.fc2.forward = lambda x: 1 / 0  # inside the hook's reach
    with pytest.raises(ZeroDivisionError):
        SharedPass(model, 5, "cls", [edit(NEURONS)])(pixels, families.digests(3))
    del model.blocks[1].mlp.fc2.forward
    assert state_of(model) == before
    assert torch.equal(model.forward_features(pixels), untouched)


def test_edits_that_move_the_same_neurons_so_far_are_one_stream():
    model = families.small("registers")
    runs = [0]
    for block in model.blocks:
        block.mlp.register_forward_pre_hook(lambda m, a: runs.__setitem__(0, runs[0] + (a[0].shape[1] > 1)))
    edits = [edit({0: (1,), 1: (2,)}), edit({0: (1,), 1: (3,)}), edit({0: (1,), 2: (3,)})]
    SharedPass(model, 5, "cls", edits)(families.pixels(model), families.digests(3))
    assert runs[0] == 1 + 3, "block 0 once for all, block 1 in three ways, block 2 on CLS rows alone"


def test_bf16_is_near_fp32():
    model = families.small("dinov3")
    pixels = families.pixels(model)
    shared = SharedPass(model, 5, "cls", [None, edit(NEURONS)])
    exact = shared(pixels, families.digests(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = shared(pixels, families.digests(3))
    for a, b in zip(exact, low, strict=True):
        assert torch.nn.functional.cosine_similarity(a, b).min() > 0.99


# --- the search


def slow_search(model, pixels, threshold, highest, outlier_layer):
    """Return the score of each neuron, by loops over images, outliers, blocks and neurons."""
    prefix, scores, images = model.num_prefix_tokens, {}, 0
    for image in pixels:
        acts, outs = _seen(model, image)
        tokens = outs[outlier_layer][prefix:].tolist()
        outliers = [t for t, token in enumerate(tokens) if sum(c * c for c in token) ** 0.5 >= threshold]
        if not outliers:
            continue
        images += 1
        for layer in range(highest + 1):
            some = acts[layer][prefix:].tolist()
            for m in range(len(some[0])):
                mean = sum(abs(some[t][m]) for t in outliers) / len(outliers)
                scores[layer, m] = scores.get((layer, m), 0) + mean
    return {name: score / images for name, score in scores.items()}, images


def _seen(model, image):
    """Return the inputs of each block's fc2 and the tokens behind each block."""
    acts, outs = [], []
    handles = [b.mlp.fc2.register_forward_pre_hook(lambda m, a: acts.append(a[0][0])) for b in model.blocks]
    handles += [b.register_forward_hook(lambda m, a, y: outs.append(y[0])) for b in model.blocks]
    model.forward_features(image[None])
    for handle in handles:
        handle.remove()
    return acts, outs


def resolved(model, **options):
    facts = mock.Mock(depth=len(model.blocks))
    return registers.TestTimeRegisters(**options).make(None, None, "last", facts).settings


def batches_of(pixels, size):
    return lambda: ((some, families.digests(len(some))) for some in pixels.split(size))


@pytest.mark.parametrize("family", ["plain", "registers", "dinov3", "eva02", "siglip"])
def test_the_search_is_the_slow_one(family):
    model = families.small(family)
    pixels, prefix = families.pixels(model, 7), model.num_prefix_tokens
    outs = []
    handle = model.blocks[1].register_forward_hook(lambda m, a, y: outs.append(y[:, prefix:].norm(dim=-1)))
    model.forward_features(pixels)
    handle.remove()
    highest_of_images = outs[0].amax(dim=1).sort().values
    threshold = float(highest_of_images[2:4].mean())  # images without outliers among them
    settings = resolved(model, rule="absolute", threshold=threshold, highest_layer=1, outlier_layer=1)
    want, images = slow_search(model, pixels, threshold, 1, 1)
    for size in (3, 7):
        found = register_search.search(model, prefix, settings, batches_of(pixels, size))
        assert found.with_outliers == images == 4
        got = {(layer, m): score for layer, m, score in found.neurons}
        assert set(got) == set(want)
        for name, score in want.items():
            assert got[name] == pytest.approx(score, rel=1e-4, abs=1e-7)
        ranked = [score for *_, score in found.neurons]
        assert ranked == sorted(ranked, reverse=True)


def bright_pixels(model, count):
    """Return images of faint noise and the patch of each that is strong and the same in all.

    The same, because what a neuron reads has been through LayerNorm, which leaves a token's direction alone.
    """
    pixels, pattern = families.pixels(model, count) * 0.1, families.pixels(model, 1, seed=3)[0, :, :16, :16]
    bright = torch.arange(count) % 16
    for image, patch in zip(pixels, bright.tolist(), strict=True):
        row, column = divmod(patch, 4)
        image[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 6 * pattern
    return pixels, bright


def planted(model, pixels, bright):
    """Have neuron 33 of block 1 fire at the bright patches alone, and write a long vector there."""
    block, seen = model.blocks[1], []
    block.mlp.fc1.weight[33] = 0
    direction = torch.randn(24, generator=torch.Generator().manual_seed(5))
    block.mlp.fc2.weight[:, 33] = 300 * direction / direction.norm()
    handle = block.norm2.register_forward_hook(lambda m, a, y: seen.append(y[:, 1:]))
    model.forward_features(pixels)
    handle.remove()
    at = torch.nn.functional.one_hot(bright, 16).bool()
    far = seen[0][at].mean(dim=0) - seen[0][~at].mean(dim=0)
    block.mlp.fc1.weight[33] = far / far.norm()
    scores = seen[0] @ block.mlp.fc1.weight[33]
    least, most = scores[at].min(), scores[~at].max()
    assert least > most, "a line keeps them apart, or nothing is planted"
    block.mlp.fc1.weight[33] *= 8 / (least - most)  # GELU is next to nothing at -4
    block.mlp.fc1.bias[33] = -4 * (least + most) / (least - most)


@pytest.mark.parametrize("rule", [{"rule": "mad", "k": 30.0}, {"rule": "bimodal"}, {"rule": "absolute"}])
def test_a_planted_neuron_is_found_and_moving_it_ends_the_outliers(rule):
    model = families.small("plain")
    pixels, bright = bright_pixels(model, 48)
    planted(model, pixels, bright)
    block, before, after = model.blocks[1], [], {}
    handle = block.register_forward_hook(lambda m, a, y: before.append(y[:, 1:].norm(dim=-1)))
    model.forward_features(pixels)
    handle.remove()
    assert torch.equal(before[0].argmax(dim=1), bright)
    if rule["rule"] == "absolute":
        rule = {**rule, "threshold": float(before[0].amax(dim=1).min()) / 2}
    settings = resolved(model, **rule, top_k=1, outlier_layer=-1)
    found = register_search.search(model, 1, settings, batches_of(pixels, 5))
    assert found.with_outliers == found.images == 48
    assert found.outlier_rate == 1 / 16, "one patch of each image, and no other"
    assert found.highest_layer == 1, "they rise behind block 1, and nobody said so"
    assert found.neurons[0][:2] == (1, 33)
    one = registers.RegisterEdit(settings).with_neurons(found)
    assert one.neurons == {1: (33,)}
    SharedPass(model, 1, "mean", [one], Watch(longer=lambda _, layer, x: after.update({layer: x.norm(dim=-1)})))(
        pixels, families.digests(48)
    )
    most = before[0].amax(dim=1)
    assert (after[1][:, 1:-1].amax(dim=1) < most / 5).all(), "the outliers are gone from every image"
    assert (after[1][:, -1] > most / 2).all(), "and are in its token"
    assert not one.outliers(after[2][:, 1:-1]).any(), "none by the rule that found them"


def test_outliers_emerge_where_they_rise_and_not_where_they_are_longest():
    others = np.full((4, 2, 5), [[[1.0]], [[2.0]], [[3.0]], [[1.0]]])
    outliers = np.zeros((2, 5), bool)
    outliers[:, 1] = True
    norms = np.where(outliers, np.array([1.0, 20.0, 45.0, 20.0])[:, None, None], others)
    assert register_search.emergence(norms, outliers) == 1
    norms[0, outliers] = 30
    assert register_search.emergence(norms, outliers) == 0, "they may come with the patches"


def test_where_nothing_stands_out_nothing_is_found():
    model = families.small("plain")
    for options in ({"rule": "absolute", "threshold": 1e6}, {"rule": "bimodal"}, {"rule": "mad", "k": 1e6}):
        found = register_search.search(model, 1, resolved(model, **options), batches_of(families.pixels(model, 20), 8))
        assert (found.neurons, found.with_outliers, found.highest_layer) == ((), 0, None)
        assert registers.RegisterEdit(resolved(model, **options)).with_neurons(found).layers == ()


def test_what_was_found_is_kept_whole_and_asked_for_by_all_that_it_depends_on(tmp_path):
    found = register_search.RegisterNeurons(((1, 2, 0.5), (0, 3, 0.25)), "bimodal", 12.5, 1, 20, 3, 0.01)
    key = {"space": {"weights": "a"}, "search": {"k": 5}}
    path = kept.NEURONS.path(tmp_path, key)
    assert kept.NEURONS.recall(tmp_path, key) is None
    kept.NEURONS.remember(tmp_path, key, found)
    assert kept.NEURONS.recall(tmp_path, key) == found
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    other = {**key, "search": {"k": 6}}
    kept.NEURONS.path(tmp_path, other).write_bytes(path.read_bytes())
    assert kept.NEURONS.recall(tmp_path, other) is None, "it says what it is of"
    path.write_text(path.read_text()[:-20])
    assert kept.NEURONS.recall(tmp_path, key) is None, "a damaged file is searched for again"


# --- settings and keys


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rule": "quantile"}, "absolute, mad, bimodal"),
        ({"rule": "absolute"}, "edit.threshold"),
        ({"top_k": 0}, "edit.top_k=0"),
        ({"top_k": 1001}, "at most 1000"),
        ({"outlier_layer": 3}, "no such block in a model of 3 blocks"),
        ({"highest_layer": 2, "outlier_layer": 1}, "behind edit.outlier_layer=1"),
        ({"k": -1}, "edit.k=-1"),
        ({"rule": "absolute", "threshold": -1.0}, "edit.threshold=-1.0"),
        ({"calibration_images": 1}, "edit.calibration_images=1"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(options, told):
    with pytest.raises(UserError, match=told):
        resolved(families.small("plain"), **options)


def spec(**options):
    made = registers.TestTimeRegisters(**options).make(None, None, "last", mock.Mock(depth=12))
    return canonical(made.spec(12, "cls"))


def test_the_key_changes_with_what_changes_the_neurons_and_with_nothing_else():
    plain = spec()
    changes = [
        {"top_k": 11}, {"highest_layer": 5}, {"outlier_layer": -1}, {"rule": "mad"}, {"calibration_seed": 1},
        {"calibration_images": 64}, {"rule": "absolute", "threshold": 3.0}, {"rule": "mad", "k": 6},
    ]  # fmt: skip
    assert len({plain, *(spec(**change) for change in changes)}) == 1 + len(changes)
    with mock.patch.object(registers, "FIT", 0):
        assert spec() != plain, "thresholds of an earlier fit"
    assert spec(k=7) == plain, "a number that the rule doesn't read"
    assert spec(outlier_layer=10) == plain
    assert spec(rule="mad", k=5) == spec(rule="mad", k=5.0)


def test_the_key_of_an_edit_of_attention_is_what_it_was():
    """Taken from commit df34877, before there were edits of another kind."""
    one = Edit(fast_detector("value", "token", "mad", 5.0, "low"), ATTENUATORS["floor"](), (10, 11))
    assert one.spec(12, "cls") == {
        "method": 2,
        "detector": {
            "class": "itae.detect.VectorNorm", "k": 5.0, "rule": "mad", "scope": "token", "side": "low",
            "vector": "value",
        },
        "attenuator": {"class": "itae.attenuate.Floor", "queries": "all", "strength": 1.0},
        "layers": [10, 11],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "depth", "layers"),
    [("dinov2_l14", 24, (17, 22)), ("clip_b16", 12, (5, 11)), ("openclip_l14", 24, (14, 22))],
)
def test_a_preset_fits_its_backbone(preset, depth, layers):
    """The numbers of the authors' configs, layers counted from the first."""
    made = construct("edit", plain_config(compose([f"edit=test_time_registers_{preset}"]))["edit"])
    settings = made.make(None, None, "last", mock.Mock(depth=depth)).settings
    assert (settings.highest_layer, settings.outlier_layer) == layers


def test_without_layers_there_is_no_edit():
    assert registers.TestTimeRegisters().make(None, None, "none", mock.Mock(depth=12)) is None


def test_an_edit_whose_neurons_nobody_searched_for_is_not_taken_for_the_untouched_model():
    model = families.small("plain")
    with pytest.raises(AssertionError, match="before its neurons were searched for"):
        SharedPass(model, 1, "cls", [None, edit(None)])


def test_a_model_without_such_neurons_is_refused_by_name():
    facts = mock.Mock(neurons=0, architecture="vit_odd")
    with pytest.raises(UserError, match=r"vit_odd have no mlp\.fc2"):
        edit(None).check(facts)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("vit_small_patch16_224", 1536),
        ("vit_base_patch16_plus_240", 3584),
        ("vit_small_patch16_dinov3", 1536),
        ("vit_giant_patch14_dinov2", 4096),
    ],
)
def test_facts_know_the_neurons(name, there):
    with torch.device("meta"):
        model = timm.create_model(name, depth=2)
    assert probe.neurons(model) == there
    model.blocks[1].mlp = torch.nn.Identity()
    assert probe.neurons(model) == 0
    fixed = torch.nn.Parameter(torch.empty(1, 50, 1, device="meta"))
    with torch.device("meta"):
        model = timm.create_model(name, depth=2)
    model.blocks[1].norm1.register_forward_hook(lambda m, a, y: y + fixed)  # a block that counts its tokens
    assert probe.neurons(model) == 0
