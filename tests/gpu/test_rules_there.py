"""Detectors and attenuators on the device, held against the slow ones."""

from __future__ import annotations

import families
import numpy as np
import pytest
import reference
import torch
from gpu_models import near
from mixes import ATTENUATORS

from itae.base.device import forward_context
from itae.edits.attention import attend
from itae.edits.bimodal import fit_threshold
from itae.edits.combined import Combined
from itae.edits.detect import ClsAttention, OtherEnd, Random, ResidualNorm, VectorNorm
from itae.edits.local_outlier import LocalOutlierFactor
from itae.edits.site import Site
from itae.vit.door import Call

HEADS, PATCHES, PREFIX, WIDTH = 2, 21, 3, 64
NUMBERS = {"absolute": ("threshold", 8.0), "quantile": ("quantile", 0.13), "mad": ("k", 1.0), "ratio": ("ratio", 1.1)}
SIGNALS = [("query", "token"), ("key", "head"), ("value", "token"), ("value", "head")]
SIGNALS += [("residual", "token"), ("cls_attention", "token"), ("combined", "token")]
ALL_HEADS = {"residual": ResidualNorm, "cls_attention": ClsAttention, "combined": Combined}


def operands(seed=0):
    """Return q, k, v [B, H, N, D] and x [B, N, E]."""
    draw = torch.Generator().manual_seed(seed)
    shape = (3, HEADS, PATCHES + PREFIX, WIDTH)
    q, k, v = (torch.randn(shape, generator=draw) for _ in range(3))
    return q, k, v, torch.randn(3, PATCHES + PREFIX, HEADS * WIDTH, generator=draw)


def site(device, seed=0):
    q, k, v, x = (each.to(device) for each in operands(seed))
    return Site(q, k, v, x, PREFIX, 0, WIDTH**-0.5, families.digests(3))


def detector(name, scope="token", **options):
    if name in ALL_HEADS:
        return ALL_HEADS[name](**options)
    return VectorNorm(vector=name, scope=scope, **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_local_outlier_factors(precision, device):
    with forward_context(device, precision), torch.inference_mode():
        flags = LocalOutlierFactor(neighbours=5, threshold=1.02)(site(device))
    assert flags.mask.device.type == device.type
    assert flags.mask.any()
    for i, x in enumerate(operands()[3].double().numpy()):
        near(flags.signal[i, 0], torch.from_numpy(reference.local_outlier_factors(x[PREFIX:], 5)), 1e-6)


@pytest.mark.parametrize("rule", NUMBERS)
@pytest.mark.parametrize(("name", "scope"), SIGNALS)
def test_every_rule_on_every_signal(name, scope, rule, device):
    key, number = NUMBERS[rule]
    number = (
        {"cls_attention": 0.05, "residual": 11.0, "combined": 1.0}.get(name, number) if rule == "absolute" else number
    )
    for side in ("low", "high"):
        with forward_context(device, "fp32"), torch.inference_mode():
            flags = detector(name, scope, rule=rule, side=side, **{key: number})(site(device))
        assert flags.mask.device.type == flags.signal.device.type == device.type
        for i, arrays in enumerate(zip(*operands(), strict=True)):
            signal = reference.signal(name, scope, *(a.double().numpy() for a in arrays), PREFIX, WIDTH**-0.5)
            near(flags.signal[i], torch.from_numpy(signal), 1e-5)
            theta = np.array([[reference.threshold(row, rule, number, side)] for row in signal])
            sure = np.abs(signal - theta) > 1e-5 * np.abs(theta)
            want = np.array([reference.flagged(row, rule, number, side) for row in signal])
            assert np.array_equal(flags.mask[i].cpu().numpy()[sure], want[sure])
            assert sure.mean() > 0.9


@pytest.mark.parametrize("rule", ["quantile", "mad"])
def test_patches_that_are_alike_are_none_of_them_flagged(rule, device):
    q, k, v, x = operands()
    v[:, :, PREFIX:] = v[:, :, PREFIX : PREFIX + 1]
    blank = Site(*(each.to(device) for each in (q, k, v, x)), PREFIX, 0, WIDTH**-0.5, families.digests(3))
    flags = VectorNorm(rule=rule)(blank)
    assert not flags.mask.any()
    assert flags.tied.all()


def test_a_draw_is_the_same_on_every_device(device):
    (here, there) = (Random(rate=0.3, seed=5)(site(torch.device(name))) for name in ("cpu", device.type))
    assert torch.equal(here.mask, there.mask.cpu())
    assert there.mask.sum(dim=-1).unique().tolist() == [round(0.3 * PATCHES)]


@pytest.mark.parametrize("control", [Random, OtherEnd])
def test_a_control_flags_as_many_and_others(control, device):
    judge = VectorNorm(rule="quantile", quantile=0.2)
    theirs, own = judge(site(device)), control(match=judge)(site(device))
    assert torch.equal(theirs.mask.sum(dim=-1), own.mask.sum(dim=-1))
    assert theirs.mask.any()
    assert not (theirs.mask & own.mask).any()


def test_a_fitted_threshold_is_where_the_valley_is(device):
    draw = torch.Generator().manual_seed(0)
    signal = torch.cat([torch.randn(4000, generator=draw) + 10, torch.randn(400, generator=draw) + 40]).to(device)
    fit = fit_threshold(signal.cpu().numpy(), "high")
    flags = VectorNorm(rule="bimodal", side="high").flags(signal.view(1, 1, -1), fit.theta)
    assert int(flags.mask.sum()) == 400


@pytest.mark.parametrize("scope", ["token", "head"])
@pytest.mark.parametrize("queries", ["all", "cls"])
@pytest.mark.parametrize("how", ATTENUATORS)
def test_every_attenuator(how, queries, scope, device):
    q, k, v, _ = operands(1)
    mask = torch.rand(3, HEADS if scope == "head" else 1, PATCHES, generator=torch.Generator().manual_seed(2)) < 0.3
    flags = torch.nn.functional.pad(mask, (PREFIX, 0)).to(device)
    call = Call(*(each.to(device) for each in (q, k, v)), {})
    for strength in (0.4, 1.0):
        rule = ATTENUATORS[how](strength, queries=queries), flags
        with forward_context(device, "fp32"), torch.inference_mode():
            (rows,) = attend(call, [rule], PREFIX)
        for i in range(3):
            arrays = [each[i].double().numpy() for each in (q, k, v)]
            each_head = mask[i].expand(HEADS, -1).numpy()
            want = reference.attention(*arrays, each_head, PREFIX, WIDTH**-0.5, how, strength, queries)
            near(rows[i], torch.from_numpy(want))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("how", ATTENUATORS)
def test_every_attenuator_in_a_lower_precision(how, precision, device):
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    q, k, v, _ = (each.to(low) for each in operands(1))
    mask = torch.rand(3, 1, PATCHES, generator=torch.Generator().manual_seed(2)) < 0.3
    call = Call(*(each.to(device) for each in (q, k, v)), {})
    rule = ATTENUATORS[how](1.0), torch.nn.functional.pad(mask, (PREFIX, 0)).to(device)
    with forward_context(device, precision), torch.inference_mode():
        (rows,) = attend(call, [rule], PREFIX)
    assert rows.dtype == low
    arrays = [each[0].double().numpy() for each in (q, k, v)]
    want = reference.attention(*arrays, mask[0].expand(HEADS, -1).numpy(), PREFIX, WIDTH**-0.5, how, 1.0, "all")
    near(rows[0], torch.from_numpy(want), 0.05 if precision == "bf16" else 0.01)
