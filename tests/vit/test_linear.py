"""A block as a linear map of a token, and the direction in which the blocks so far stretch most."""

from __future__ import annotations

import copy
from functools import partial

import families
import numpy as np
import pytest
import reference
import torch
from scipy.stats import norm as normal
from timm.layers import DiffAttention, GluMlp, Mlp, RmsNorm, SwiGLU, SwiGLUPacked
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer
from torch import nn

import itae.vit.linear
from itae.vit.backbone import Backbone
from itae.vit.linear import directions, linear, unreadable

READABLE = ["plain", "dinov2", "registers", "dinov3", "dinov3_qkvb", "eva02", "rope_mixed", "clip", "siglip"]


def vit(**options):
    torch.manual_seed(0)
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0}
    return VisionTransformer(**{**settings, **options}).eval().requires_grad_(False)


def centred(width=16, seed=0):
    u = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(u - u.mean(), dim=0)


def stretching(u, size, branch, **options):
    """Return a model whose blocks are x + size u u^T x, by their attention or by their MLP, and nothing else."""
    model = vit(embed_dim=len(u), mlp_ratio=1.0, act_layer=nn.Identity, **options)
    for block in model.blocks:
        for name, weight in block.named_parameters():
            if not name.startswith("norm"):
                weight.zero_()
        if branch == "attention":
            block.attn.qkv.weight[-len(u) :] = torch.eye(len(u))
            block.attn.proj.weight.copy_(size * torch.outer(u, u))
        else:
            block.mlp.fc1.weight.copy_(torch.eye(len(u)))
            block.mlp.fc2.weight.copy_(size * torch.outer(u, u))
        for scale in (block.ls1, block.ls2):
            if hasattr(scale, "gamma"):
                scale.gamma.fill_(1.0)
    return model


@pytest.mark.parametrize("scaled", [None, 1.0])
@pytest.mark.parametrize("branch", ["attention", "mlp"])
def test_blocks_that_stretch_one_direction_alone_have_it_in_all_blocks(branch, scaled):
    u = centred()
    found = directions(stretching(u, 0.7, branch, init_values=scaled))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], torch.zeros(16)), "nothing comes before the first block"
    torch.testing.assert_close((found[1:] @ u).abs(), torch.ones(2))


@pytest.mark.parametrize("branch", ["attention", "mlp"])
@pytest.mark.parametrize("size", [0, 1e-9])
def test_blocks_that_stretch_all_directions_alike_have_none(branch, size):
    assert not directions(stretching(centred(), size, branch)).any()


def test_a_layer_norm_takes_the_mean_off_and_an_rms_norm_does_not():
    ones = torch.ones(16) / 4
    assert not directions(stretching(ones, 0.7, "attention")).any()
    kept = directions(stretching(ones, 0.7, "attention", norm_layer=RmsNorm))
    torch.testing.assert_close((kept[1:] @ ones).abs(), torch.ones(2))


def test_gain_and_layer_scale_count():
    model, rows = stretching(centred(), 0.7, "attention", init_values=1.0), torch.arange(1.0, 17.0)
    block = model.blocks[0]
    block.norm1.weight.copy_(rows)
    block.ls1.gamma.copy_(rows.flip(0))
    u = centred().double()
    gained = u * rows.double()
    want = torch.eye(16).double() + 0.7 * torch.outer(rows.flip(0).double() * u, gained - gained.mean())
    torch.testing.assert_close(linear(block), want, rtol=1e-5, atol=1e-6)


def test_the_mlp_comes_behind_the_attention():
    u, w = centred(seed=0), centred(seed=1)
    block = stretching(u, 0.7, "attention").blocks[0]
    block.mlp.fc1.weight.copy_(torch.eye(16))
    block.mlp.fc2.weight.copy_(torch.outer(w, u))
    one, u, w = torch.eye(16).double(), u.double(), w.double()
    want = (one + torch.outer(w, u)) @ (one + 0.7 * torch.outer(u, u))
    torch.testing.assert_close(linear(block), want, rtol=1e-5, atol=1e-6)


def test_a_bias_of_the_norm_is_one_of_the_neurons():
    first, second = vit(), vit()
    bias = torch.linspace(-3, 3, 16)
    first.blocks[0].norm2.bias.copy_(bias)
    second.blocks[0].mlp.fc1.bias += second.blocks[0].mlp.fc1.weight @ bias
    found = linear(first.blocks[0])
    torch.testing.assert_close(found, linear(second.blocks[0]), rtol=1e-5, atol=1e-6)
    assert (found - linear(vit().blocks[0])).abs().max() > 1e-3


def test_a_row_is_of_the_blocks_before():
    """What a detector in block i sees went through the blocks 0 to i - 1."""
    first, second = centred(seed=0), centred(seed=1)
    model = stretching(first, 0.5, "mlp")
    model.blocks[1].mlp.fc2.weight.copy_(50 * torch.outer(second, second))
    found = directions(model)
    torch.testing.assert_close((found[1] @ first).abs(), torch.tensor(1.0))
    torch.testing.assert_close((found[2] @ second).abs(), torch.tensor(1.0), atol=1e-3, rtol=0)


# --- the MLP's mean slope


def slopes(mlp, norm=None):
    return itae.vit.linear._mean_slope(mlp.requires_grad_(False).double(), (norm or nn.Identity()).double())


class Unnormed(nn.Module):
    """A norm that leaves a token as it is: mean, and a gain of 1."""

    weight = bias = None


@pytest.fixture
def unnormed(monkeypatch):
    monkeypatch.setattr(itae.vit.linear, "_normed", lambda weight, norm: weight)
    return Unnormed()


@pytest.mark.parametrize(("act", "close"), [(nn.GELU, 1e-12), (nn.ReLU, 1e-4)])
def test_the_mean_slope_of_a_neuron_is_the_one_that_is_known(unnormed, act, close):
    """GELU's: Phi(b / r) + b phi(b / r) / r^3 with r^2 = 1 + |w|^2; ReLU's: Phi(b / |w|)."""
    torch.manual_seed(0)
    mlp = Mlp(8, 40, act_layer=act).double()
    w, b, out = (each.detach().numpy() for each in (mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight))
    b[:] *= 5
    if act is nn.GELU:
        r = np.sqrt(1 + (w**2).sum(axis=1))
        known = normal.cdf(b / r) + b * normal.pdf(b / r) / r**3
    else:
        known = normal.cdf(b / np.linalg.norm(w, axis=1))
    np.testing.assert_allclose(slopes(mlp, unnormed).numpy(), out @ (known[:, None] * w), atol=close)


@pytest.mark.parametrize("gate_last", [False, True])
def test_two_layers_that_are_multiplied_have_the_slope_of_a_product(unnormed, gate_last):
    """Without a bend, y = g u: its mean slope is the mean of u times that of g, and the other way around."""
    torch.manual_seed(0)
    mlp = GluMlp(8, 40, act_layer=nn.Identity, gate_last=gate_last).double()
    (w, v), (b, c) = (np.split(each.detach().numpy(), 2) for each in (mlp.fc1.weight, mlp.fc1.bias))
    want = mlp.fc2.weight.detach().numpy() @ (c[:, None] * w + b[:, None] * v)
    np.testing.assert_allclose(slopes(mlp, unnormed).numpy(), want, atol=1e-12)


@pytest.mark.parametrize("make", [SwiGLU, SwiGLUPacked, partial(SwiGLUPacked, gate_last=True), Mlp])
def test_the_mean_slope_is_the_least_squares_fit_of_many_tokens(unnormed, make):
    torch.manual_seed(0)
    mlp = make(8, 40).double().requires_grad_(False)
    for name, weight in mlp.named_parameters():
        if "fc1" in name:
            weight.mul_(3)
    tokens = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(1)).double()
    moved = (mlp(tokens) - mlp(-tokens)) / 2  # with each token its negative, which spares most of the noise
    fit = torch.linalg.lstsq(tokens, moved).solution.T
    found = slopes(mlp, unnormed)
    assert (found - fit).norm() < 0.02 * fit.norm()


def test_a_neuron_that_sees_nothing_adds_nothing(unnormed):
    mlp = Mlp(8, 40).double().requires_grad_(False)
    mlp.fc1.weight[3] = 0
    whole = slopes(mlp, unnormed)
    mlp.fc2.weight[:, 3] = 0
    torch.testing.assert_close(slopes(mlp, unnormed), whole)
    assert whole.isfinite().all()


# --- the whole of it


def branches_of(block):
    """Return what a block's attention and its MLP add to tokens [n, E], each of which stands alone."""

    def branch(run):
        return lambda tokens: run(torch.from_numpy(tokens)[:, None])[:, 0].numpy()

    def scaled(number, y):
        own = getattr(block, f"gamma_{number}", None)
        return y * own if own is not None else getattr(block, f"ls{number}", nn.Identity())(y)

    attention = branch(lambda x: scaled(1, block.attn(block.norm1(x))))
    return attention, branch(lambda x: scaled(2, block.mlp(block.norm2(x))))


def standard(n, width):
    tokens = np.random.default_rng(0).standard_normal((n, width))
    tokens -= tokens.mean(axis=1, keepdims=True)
    return tokens / tokens.std(axis=1, keepdims=True)


def model_of(family):
    return vit(embed_dim=48, mlp_layer=SwiGLUPacked) if family == "swiglu" else families.small(family, embed_dim=48)


@pytest.mark.parametrize("family", [*READABLE, "swiglu"])
def test_directions_are_those_of_the_slow_one_which_asks_the_modules(family):
    model = families.double(model_of(family))
    assert unreadable(model) == ""
    for block in model.blocks:  # the gains that timm starts with are all 1
        for norm in (block.norm1, block.norm2):
            norm.weight.copy_(torch.linspace(0.3, 2, 48))
            norm.bias.copy_(torch.linspace(-0.3, 0.3, 48))
    with torch.inference_mode():
        want = reference.stretched([branches_of(block) for block in model.blocks], standard(20_000, 48))
    found = directions(model)
    cosines = np.abs((found[1:].numpy() * want[:-1]).sum(axis=1))
    assert (cosines > 0.99).all(), cosines
    assert np.abs(found[1].numpy() @ want[1]) < 0.999, "a test in which all blocks have one direction shows little"


def test_directions_are_read_once_and_go_with_the_model(monkeypatch):
    model = vit()
    first = directions(model)
    monkeypatch.setattr(itae.vit.linear, "linear", lambda block: pytest.fail("read again"))
    assert directions(model) is first
    before = len(itae.vit.linear._KNOWN)
    del model
    assert len(itae.vit.linear._KNOWN) == before - 1


def test_low_precision_around_it_changes_nothing():
    model = vit()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = directions(copy.deepcopy(model))
    assert torch.equal(low, directions(model))


# --- what can't be read


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"block_fn": ParallelScalingBlock}, "block 0, a ParallelScalingBlock"),
        ({"block_fn": ResPostBlock}, "block 0, a ResPostBlock"),
        ({"attn_layer": DiffAttention}, "the attention of block 0, a DiffAttention"),
        ({"scale_attn_norm": True}, "the norm in the attention of block 0, a LayerNorm"),
        ({"scale_mlp_norm": True}, "the norm in the MLP of block 0, a LayerNorm"),
        ({"norm_layer": nn.Identity}, "the first norm of block 0, a Identity"),
    ],
)
def test_what_cannot_be_taken_for_linear_is_named(options, told):
    if "norm_layer" in options:
        model = vit()
        model.blocks[0].norm1 = nn.Identity()
    else:
        model = vit(**options)
    assert unreadable(model) == told


def test_a_block_of_somebodys_own_is_named():
    model = vit()
    model.blocks[1] = nn.Sequential()
    assert unreadable(model) == "block 1, a Sequential"


def test_facts_say_it_without_weights(tmp_path):
    for _ in ("read", "remembered"):
        assert Backbone("vit_base_patch16_rpn_224", pool="mean").facts(tmp_path).unreadable == "block 0, a ResPostBlock"
    assert Backbone("vit_giant_patch14_dinov2").facts(tmp_path).unreadable == ""


@pytest.mark.weights
def test_the_authors_way_comes_to_the_same_on_a_real_model(assets, tmp_path):
    """2,048 Gaussian tokens, half of them the others' negatives, through the first MLP of DINOv2-S as it is."""
    path = assets / "weights" / "dinov2_vits14.safetensors"
    backbone = Backbone("vit_small_patch14_dinov2.lvd142m", checkpoint=str(path), image_size=112)
    model = backbone.build(backbone.facts(tmp_path), torch.device("cpu"))
    block = model.blocks[0].double()
    tokens = torch.randn(1024, 384, generator=torch.Generator().manual_seed(0)).double()
    with torch.inference_mode():
        here, there = (block.ls2(block.mlp(block.norm2(x))) for x in (tokens, -tokens))
        fit = torch.linalg.solve(tokens.T @ tokens, tokens.T @ (here - there) / 2).T
        one = torch.eye(384).double()
        attended = torch.linalg.solve(
            one + itae.vit.linear._scaled(block, 2, slopes(block.mlp, block.norm2)), linear(block)
        )
        first = torch.linalg.svd((one + fit) @ attended)[0][:, 0]
    assert abs(float(first @ directions(model)[1].double())) > 0.998
