"""Every family of models, edited in one pass, on the device."""

from __future__ import annotations

import families
import pytest
import torch
from gpu_models import COSINE, FP32, cosines, in_fp64, model_of, near
from mixes import ATTENUATORS, MIXES, fast_detector

from itae.base.device import forward_context
from itae.edits.detect import Random
from itae.edits.edit import Edit
from itae.edits.neighbour_mean import NeighbourMean, NeighbourMeanEdit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.embed.prove import prove
from itae.embed.replay import SharedPass


def edits_for(model):
    has_cls = model.num_prefix_tokens > 0
    mixes = [m for m in MIXES if has_cls or (m[1][2] == "all" and m[0][0] != "cls_attention")]
    return [
        None,
        *(Edit(fast_detector(*d), ATTENUATORS[how](a, queries=rows), layers) for d, (how, a, rows), layers in mixes),
        Edit(Random(rate=0.2), ATTENUATORS["scale"](0.7), (0, 2)),
    ]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_pass_of_many_edits_is_that_of_fp64(family, device):
    model = model_of(family)
    edits, pool = edits_for(model), "cls" if model.num_prefix_tokens else "mean"
    pixels, want = in_fp64(model, pool, edits, 2)
    model = model.to(device)
    with forward_context(device, "fp32"):
        out = SharedPass(model, model.num_prefix_tokens, pool, edits)(pixels.to(device), families.digests(2))
        untouched = model.forward_features(pixels.to(device))
    for embedding, one in zip(out, want, strict=True):
        assert embedding.device.type == device.type
        assert embedding.dtype == torch.float32
        near(embedding, one)
    pooled = untouched[:, 0] if pool == "cls" else untouched[:, model.num_prefix_tokens :].mean(dim=1)
    near(out[0], pooled, 1e-5)
    assert min((out[0] - one).norm() / one.norm() for one in out[1:]) > 10 * FP32, "an edit without effect"


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_can_be_proved(family, device):
    model = model_of(family).to(device)
    with forward_context(device, "fp32"):
        pool = "cls" if model.num_prefix_tokens else "mean"
        prove(model, model.num_prefix_tokens, pool, model.patch_embed.img_size[0], family)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("family", ["dinov2", "registers", "dinov3", "eva02", "clip", "siglip"])
def test_a_lower_precision_is_used_and_near(family, precision, device):
    model = model_of(family)
    pool = "cls" if model.num_prefix_tokens else "mean"
    edit = Edit(Random(rate=0.2), ATTENUATORS["scale"](0.7), (0, 2))  # whose flags no rounding changes
    pixels, want = in_fp64(model, pool, [None, edit], 8)
    model = model.to(device)
    with forward_context(device, precision):
        out = SharedPass(model, model.num_prefix_tokens, pool, [None, edit])(pixels.to(device), families.digests(8))
    for embedding, one in zip(out, want, strict=True):
        assert (embedding.cpu() - one).abs().max() > FP32, "this is fp32"
        assert cosines(embedding, one).min() > COSINE[precision]


@pytest.mark.parametrize("family", ["dinov2", "registers", "clip"])
def test_test_time_registers(family, device):
    model = model_of(family)
    edit = RegisterEdit(TestTimeRegisters(rule="mad", k=2.0, outlier_layer=1), {0: (3, 5, 40), 1: (7,)})
    pixels, want = in_fp64(model, "cls", [None, edit], 2)
    model = model.to(device)
    with forward_context(device, "fp32"):
        out = SharedPass(model, model.num_prefix_tokens, "cls", [None, edit])(pixels.to(device), families.digests(2))
    for embedding, one in zip(out, want, strict=True):
        near(embedding, one)
    assert (out[0] - out[1]).norm() / out[0].norm() > 10 * FP32


@pytest.mark.parametrize("family", ["dinov2", "registers", "dinov3", "clip"])
def test_the_mean_of_neighbours(family, device):
    model = model_of(family)
    grid = model.patch_embed.grid_size
    edit = NeighbourMeanEdit(Random(rate=0.2), NeighbourMean(), (0, 2), grid)
    pixels, want = in_fp64(model, "cls", [None, edit], 2)
    model = model.to(device)
    with forward_context(device, "fp32"):
        out = SharedPass(model, model.num_prefix_tokens, "cls", [None, edit])(pixels.to(device), families.digests(2))
    for embedding, one in zip(out, want, strict=True):
        near(embedding, one)
    assert (out[0] - out[1]).norm() / out[0].norm() > 10 * FP32


@pytest.mark.parametrize("asked", ["high", "medium"])
def test_fp32_is_fp32_whatever_a_user_asked_of_torch(asked, device):
    model = model_of("dinov2").to(device)
    pixels, edits = families.pixels(model, 4).to(device), [None, Edit(Random(rate=0.2), ATTENUATORS["floor"](), (0, 2))]
    shared = SharedPass(model, model.num_prefix_tokens, "cls", edits)
    with forward_context(device, "fp32"):
        want = shared(pixels, families.digests(4))
    torch.set_float32_matmul_precision(asked)
    try:
        with forward_context(device, "fp32"):
            out = shared(pixels, families.digests(4))
            prove(model, model.num_prefix_tokens, "cls", model.patch_embed.img_size[0], "dinov2")
    finally:
        torch.set_float32_matmul_precision("highest")
    for embedding, one in zip(out, want, strict=True):
        near(embedding, one, 1e-5)
