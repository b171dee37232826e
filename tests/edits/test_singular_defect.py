"""Patches along the direction that the weights stretch most are flagged, and no others."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import families
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import normalize

from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.attenuate import Floor
from itae.edits.detect import OtherEnd, Random
from itae.edits.edit import Edit, make_edit
from itae.edits.singular_defect import SingularDefect
from itae.edits.site import Site
from itae.embed.replay import SharedPass, Watch

PATCHES, WIDTH, DEPTH = 36, 32, 3
RULES = [
    {"rule": "std", "stds": 4.0},
    {"rule": "mad"},
    {"rule": "ratio", "ratio": 20.0},
    {"rule": "quantile", "quantile": 1 / PATCHES},
    {"rule": "absolute", "threshold": 0.9},
]


def along(u):
    """Return a model whose blocks are x + u u^T x / 2, and add nothing else to the tokens that come in."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=48, patch_size=8, embed_dim=WIDTH, depth=DEPTH, num_heads=2, mlp_ratio=1.0, num_classes=0
    ).requires_grad_(False)
    for block in model.blocks:
        for name, weight in block.named_parameters():
            if not name.startswith("norm"):
                weight.zero_()
        block.attn.qkv.weight[-WIDTH:] = torch.eye(WIDTH)
        block.attn.proj.weight.copy_(torch.outer(u, u) / 2)
    return model.eval()


@pytest.fixture(scope="module")
def direction():
    u = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
    return normalize(u - u.mean(), dim=0)


@pytest.fixture(scope="module")
def model(direction):
    return along(direction)


def site(model, layer=1, batch=3, planted=None, seed=0, dtype=torch.float32):
    """Return a site whose tokens are noise without what is along the model's direction, but for those planted."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, 2, PATCHES + 1, WIDTH // 2, generator=g) for _ in range(3))
    x = torch.randn(batch, PATCHES + 1, WIDTH, generator=g)
    if planted is not None:
        x -= 0.9 * (x @ planted)[..., None] * planted
        for image in range(batch):
            x[image, 1 + 5 * image] = (-1) ** image * 40 * planted + x[image, 0]
    whole = (each.to(dtype) for each in (q, k, v, x))
    return Site(*whole, 1, layer, 0.25, families.digests(batch), model)


@pytest.mark.parametrize("options", RULES)
@pytest.mark.parametrize("layer", [1, 2])
def test_what_is_planted_along_the_direction_is_flagged_and_nothing_else(model, direction, layer, options):
    flags = SingularDefect(**options)(site(model, layer, planted=direction))
    want = torch.zeros(3, 1, PATCHES, dtype=torch.bool)
    want[range(3), 0, [5 * image for image in range(3)]] = True
    assert torch.equal(flags.mask, want)


def test_the_signal_is_the_slow_one(model, direction):
    s = site(model, planted=direction)
    found = SingularDefect().signal(s).numpy()
    for image, tokens in enumerate(s.x.double().numpy()):
        for j, token in enumerate(tokens[1:]):
            cosine = abs(sum(a * b for a, b in zip(token, direction.tolist(), strict=True))) / np.sqrt((token**2).sum())
            assert found[image, 0, j] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("options", [*RULES, {"rule": "absolute", "threshold": 0.5, "side": "low"}])
def test_before_the_first_block_nothing_is_flagged(model, direction, options):
    flags = SingularDefect(**options)(site(model, 0, planted=direction))
    assert not flags.signal.any()
    assert not flags.mask.any()
    assert flags.tied is None, "they are not alike, there is nothing to tell them by"


def test_a_token_of_nothing_but_zeros_has_no_direction(model):
    s = site(model)
    s.x[:, 3] = 0
    assert (SingularDefect().signal(s)[:, :, 2] == 0).all()


@pytest.mark.parametrize("options", RULES)
def test_flags_of_an_image_do_not_depend_on_its_batch(model, direction, options):
    s, detector = site(model, planted=direction), SingularDefect(**options)
    whole = detector(s)
    for i in range(3):
        parts = {name: getattr(s, name)[i : i + 1] for name in ("q", "k", "v", "x", "digests")}
        alone = detector(dataclasses.replace(s, **parts))
        assert torch.equal(alone.signal, whole.signal[i : i + 1])
        assert torch.equal(alone.mask, whole.mask[i : i + 1])


def test_a_prefix_token_has_no_influence(model, direction):
    s = site(model, planted=direction)
    loud = s.x.clone()
    loud[:, 0] *= 100
    assert torch.equal(SingularDefect()(dataclasses.replace(s, x=loud)).mask, SingularDefect()(s).mask)


def test_low_precision_tokens_are_measured_in_fp32(model, direction):
    low = site(model, planted=direction, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = SingularDefect().signal(low)
    want = SingularDefect().signal(dataclasses.replace(low, x=low.x.float()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, want)


# --- in a pass


def test_in_a_pass_each_block_sees_what_the_blocks_before_it_left(model, direction):
    """The patches of one image are along the direction from the first block on; of the others none is."""
    s, seen_by = site(model, planted=direction), {}

    def flags(position, layer, found, paid):
        seen_by[position, layer] = found.mask

    detectors = [
        SingularDefect(rule="mad"),
        SingularDefect(rule="mad", layer=1),
        SingularDefect(rule="mad", side="low"),
    ]
    edits = [Edit(detector, Floor(strength=0.5), tuple(range(DEPTH))) for detector in detectors]
    edits += [Edit(control(match=detectors[0]), Floor(strength=0.5), (2,)) for control in (Random, OtherEnd)]
    embed = model.patch_embed.register_forward_hook(lambda *_: s.x[:, 1:])
    model.pos_embed.zero_()
    try:
        out = SharedPass(model, 1, "cls", [None, *edits], Watch(flags))(torch.zeros(3, 3, 48, 48), s.digests)
    finally:
        embed.remove()
    assert len(out) == 6
    planted = torch.zeros(3, 1, PATCHES, dtype=torch.bool)
    planted[range(3), 0, [5 * image for image in range(3)]] = True
    for layer in range(DEPTH):
        assert torch.equal(seen_by[1, layer], planted & bool(layer)), layer
        assert torch.equal(seen_by[2, layer], planted), "found in block 1, for all"
    for position in (4, 5):
        assert (seen_by[position, 2].sum(dim=-1) == 1).all(), "as many, of the others"
        assert not (seen_by[position, 2] & planted).any()


# --- the authors' threshold


def test_the_threshold_is_the_mean_and_standard_deviations_of_the_image():
    signal = torch.rand(2, 1, 50, generator=torch.Generator().manual_seed(0))
    for side, sign in (("high", 1), ("low", -1)):
        theta = SingularDefect(stds=1.5, side=side).flags(signal).threshold
        want = signal.numpy().mean(axis=-1, keepdims=True) + sign * 1.5 * signal.numpy().std(axis=-1, keepdims=True)
        np.testing.assert_allclose(theta.numpy(), want, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.01, 0.02, 0.5, 1.0]), min_size=2, max_size=60))
def test_by_the_authors_threshold_no_more_than_one_in_17_is_flagged(values):
    flags = SingularDefect().flags(torch.tensor(values)[None, None])
    assert int(flags.mask.sum()) <= len(values) / 17


def test_one_in_17_is_flagged_and_patches_that_are_all_alike_are_not():
    far = torch.tensor([1.0] + [0.1, 0.11] * 9)
    assert SingularDefect().flags(far[None, None]).mask.flatten().tolist() == [True] + [False] * 18
    alike = SingularDefect().flags(torch.full((1, 1, 40), 0.1))
    assert alike.tied is not None
    assert bool(alike.tied.all())
    assert not alike.mask.any()


# --- settings and keys


def test_the_key_has_the_number_of_the_rule_and_the_version_of_the_directions():
    assert key_of(SingularDefect()) == {
        "class": "itae.detect.SingularDefect", "rule": "std", "stds": 4.0, "side": "high", "scope": "token",
        "direction": 1,
    }  # fmt: skip
    assert key_of(SingularDefect(stds=3)) == key_of(SingularDefect(stds=3.0, k=9.0))
    assert {"k": 5.0}.items() <= key_of(SingularDefect(rule="mad", stds=9.0)).items()
    assert "stds" not in key_of(SingularDefect(rule="mad"))


def test_a_fitted_threshold_is_taken_and_only_a_cut_of_somebodys_own_is_refused():
    assert SingularDefect(rule="bimodal").fitted

    class Own(SingularDefect):
        def cut(self, signal):
            return signal.mean(dim=-1, keepdim=True)

    with pytest.raises(UserError, match="a cut of its own"):
        Own(rule="bimodal")


@pytest.mark.parametrize("layer", [0, -DEPTH])
def test_to_look_in_the_first_block_is_refused(layer):
    with pytest.raises(UserError, match=r"detector\.layer=0: .* later block"):
        make_edit(SingularDefect(layer=layer), Floor(), "last", DEPTH)


def test_a_model_whose_weights_cannot_be_read_is_refused_before_it_is_built():
    facts, odd = (
        SimpleNamespace(architecture="tiny_vit", has_cls=True, unreadable=told)
        for told in ("", "block 0, a ResPostBlock")
    )
    for detector in (SingularDefect(), Random(match=SingularDefect()), OtherEnd(match=SingularDefect())):
        edit = Edit(detector, Floor(), (0,))
        edit.check(facts)
        with pytest.raises(UserError, match=r"detector=singular_defect: tiny_vit .*\(block 0, a ResPostBlock\)"):
            edit.check(odd)
    Edit(Random(rate=0.1), Floor(), (0,)).check(odd)
