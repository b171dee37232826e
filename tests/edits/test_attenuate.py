from __future__ import annotations

import numpy as np
import pytest
import reference
import torch

from itae.base.errors import UserError
from itae.edits.attention import attend, edited_rows, first_logits, first_rows
from itae.edits.attenuate import Attenuator, Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.vit.door import Call

RULES = {"floor": Floor, "cap": Cap, "scale": Scale, "fade": Fade, "blend": Blend, "mean_value": MeanValue}
PREFIX = 2


def operands(batch=3, heads=2, patches=9, width=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, heads, patches + PREFIX, width, generator=g) for _ in range(3))


def some_flags(scope, batch=3, heads=2, patches=9):
    g = torch.Generator().manual_seed(5)
    mask = torch.rand(batch, heads if scope == "head" else 1, patches, generator=g) < 0.35
    mask[-1, -1] = True  # an image (or head) in which every patch is flagged
    return mask


def padded(mask):
    return torch.nn.functional.pad(mask, (PREFIX, 0))


def rows_of(q, k, v, attenuator, flags, prefix, scale):
    return edited_rows(q, k, v, [(attenuator, flags)], prefix, scale)[0]


@pytest.mark.parametrize("strength", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("queries", ["all", "cls"])
@pytest.mark.parametrize("scope", ["token", "head"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_the_slow_one(rule, scope, queries, strength):
    q, k, v = operands()
    mask = some_flags(scope)
    attenuator = RULES[rule](strength=strength, queries=queries)
    (out,) = attend(Call(q, k, v, {}), [(attenuator, padded(mask))], PREFIX)
    heads = mask.expand(-1, q.shape[1], -1).numpy()
    want = [
        reference.attention(
            *(t[b].double().numpy() for t in (q, k, v)), heads[b], PREFIX, 5**-0.5, rule, strength, queries
        )
        for b in range(len(q))
    ]
    np.testing.assert_allclose(out.numpy(), np.array(want), atol=2e-6)
    (row,) = first_rows(Call(q, k, v, {}), [(attenuator, padded(mask))], PREFIX, first_logits(q, k, 5**-0.5))
    np.testing.assert_allclose(row.numpy(), np.array(want)[:, :, :1], atol=2e-6)
    # The fused formula and the one by row say the same, row by row.
    by_row = attenuator.weights(q @ k.transpose(-2, -1) * 5**-0.5, padded(mask), PREFIX) @ v
    rows = slice(1) if queries == "cls" else slice(None)
    np.testing.assert_allclose(by_row.numpy()[:, :, rows], np.array(want)[:, :, rows], atol=2e-6)


@pytest.mark.parametrize("chunk", [1, 2**21])
def test_rows_of_many_rules_are_each_their_own(chunk, monkeypatch):
    """Those without a fused formula share their logits, which a rule may overwrite."""
    monkeypatch.setattr("itae.edits.attention._LOGIT_BYTES", {"cpu": chunk})

    class Overwrites(Attenuator):
        def logits(self, z, flags, prefix):
            return z.masked_fill_(flags.unsqueeze(2), 0.0).mul_(self.strength)

    q, k, v = operands()
    masks = [padded(some_flags(scope)) for scope in ("token", "head")]
    rules = [
        (rule(strength=a, queries=queries), mask)
        for rule in (*RULES.values(), Overwrites) for a in (0.4, 1.0) for mask in masks for queries in ("all", "cls")
    ]  # fmt: skip
    for alone, out in zip(rules, attend(Call(q, k, v, {}), rules, PREFIX), strict=True):
        torch.testing.assert_close(out, attend(Call(q, k, v, {}), [alone], PREFIX)[0], atol=2e-6, rtol=0)


def test_cls_rows_of_many_edits_are_each_their_own():
    q, k, v = operands()

    class Fused(Attenuator):  # a formula for fused attention alone
        def operands(self, k, v, flags, prefix):
            return k, v.masked_fill(flags.unsqueeze(-1), 0.0), None

    masks = [padded(some_flags(scope)) for scope in ("token", "head")]
    answers = [(rule(strength=a), mask) for rule in (*RULES.values(), Fused) for a in (0.4, 1.0) for mask in masks]
    for (attenuator, mask), row in zip(
        answers, first_rows(Call(q, k, v, {}), answers, PREFIX, first_logits(q, k, 5**-0.5)), strict=True
    ):
        want = rows_of(q[:, :, :1], k, v, attenuator, mask, PREFIX, 5**-0.5)
        torch.testing.assert_close(row, want, atol=2e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_no_flags_and_no_strength_change_nothing(rule):
    q, k, v = operands()
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    none = torch.zeros(3, 1, 11, dtype=torch.bool)
    some = padded(some_flags("token"))
    for flags, strength in ((none, 1.0), (none, 0.5), (some, 0.0)):
        out = rows_of(q, k, v, RULES[rule](strength=strength), flags, PREFIX, 5**-0.5)
        torch.testing.assert_close(out, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", ["blend", "cap", "mean_value"])
def test_an_image_with_every_patch_flagged_is_left_alone(rule):
    q, k, v = operands()
    flags = torch.nn.functional.pad(torch.ones(3, 1, 9, dtype=torch.bool), (PREFIX, 0))
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    out = rows_of(q, k, v, RULES[rule](), flags, PREFIX, 5**-0.5)
    torch.testing.assert_close(out, plain, atol=1e-6, rtol=0)


def test_scale_of_one_removes_the_key():
    q, k, v = operands()
    flags = torch.zeros(3, 1, 11, dtype=torch.bool)
    flags[:, :, 4] = True
    out = rows_of(q, k, v, Scale(), flags, PREFIX, 5**-0.5)
    kept = [j for j in range(11) if j != 4]
    want = torch.nn.functional.scaled_dot_product_attention(q, k[:, :, kept], v[:, :, kept])
    torch.testing.assert_close(out, want, atol=1e-6, rtol=0)


def test_all_patches_flagged_under_scale_leaves_the_prefix_and_no_nan():
    q, k, v = operands()
    flags = torch.nn.functional.pad(torch.ones(3, 1, 9, dtype=torch.bool), (PREFIX, 0))
    out = rows_of(q, k, v, Scale(), flags, PREFIX, 5**-0.5)
    want = torch.nn.functional.scaled_dot_product_attention(q, k[:, :, :PREFIX], v[:, :, :PREFIX])
    torch.testing.assert_close(out, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", ["floor", "cap"])
def test_logits_are_chunked_without_a_trace(rule, monkeypatch):
    q, k, v = operands(batch=5)
    flags = padded(some_flags("token", batch=5))
    whole = rows_of(q, k, v, RULES[rule](), flags, PREFIX, 0.3)
    monkeypatch.setattr("itae.edits.attention._LOGIT_BYTES", {"cpu": 1})
    torch.testing.assert_close(rows_of(q, k, v, RULES[rule](), flags, PREFIX, 0.3), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_bf16_operands_stay_near_fp32(rule):
    q, k, v = operands()
    flags = padded(some_flags("token"))
    exact = rows_of(q, k, v, RULES[rule](strength=0.6), flags, PREFIX, 5**-0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = rows_of(*(t.bfloat16() for t in (q, k, v)), RULES[rule](strength=0.6), flags, PREFIX, 5**-0.5)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("rule", RULES)
def test_low_precision_operands_get_logits_and_means_in_fp32(rule):
    """Against fp64 on the same rounded operands: only the output may be rounded."""
    q, k, v = (8 * t.bfloat16() for t in operands(patches=40))
    mask = some_flags("token", patches=40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = rows_of(q[:, :, :1], k, v, RULES[rule](strength=0.5), padded(mask), PREFIX, 5**-0.5)
    heads = mask.expand(-1, 2, -1).numpy()
    for b in range(len(q)):
        arrays = [t[b].double().numpy() for t in (q, k, v)]
        want = reference.attention(*arrays, heads[b], PREFIX, 5**-0.5, rule, 0.5, "all")[:, :1]
        # an edited key or value is itself rounded to bf16 once more, which the exponential magnifies
        loose = 0.6 if rule == "blend" else 0.15
        np.testing.assert_allclose(out[b].float().numpy(), want, atol=loose)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rule", ["floor", "cap"])
def test_the_product_with_values_is_the_same_on_a_cpu_with_instructions_for_it_and_without(
    rule, dtype, capability, monkeypatch
):
    """Weights are rounded as the values are; then the exact product is rounded, and nothing else."""
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    q, k, v = (t.to(dtype) for t in operands(patches=40))
    flags, attenuator = padded(some_flags("token", patches=40)), RULES[rule](strength=0.5)
    out = rows_of(q, k, v, attenuator, flags, PREFIX, 5**-0.5)
    weights = attenuator.weights((q.float() * 5**-0.5) @ k.float().transpose(-2, -1), flags, PREFIX)
    assert out.dtype == dtype
    torch.testing.assert_close(
        out.double(), weights.to(dtype).double() @ v.double(), atol=1e-6, rtol=torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("rule", ["floor", "cap"])
def test_logits_are_never_rounded_to_low_precision(rule, monkeypatch):
    seen = []
    formula = RULES[rule].logits
    monkeypatch.setattr(RULES[rule], "logits", lambda self, z, *rest: seen.append(z.clone()) or formula(self, z, *rest))
    q, k, v = (t.bfloat16() for t in operands())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows_of(q, k, v, RULES[rule](), padded(some_flags("token")), PREFIX, 5**-0.5)
    z = torch.cat(seen)
    torch.testing.assert_close(z, (q.float() * 5**-0.5) @ k.float().transpose(-2, -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_scale_without_a_prefix_leaves_an_image_alone_in_which_every_patch_is_flagged(strength):
    q, k, v = operands()
    flags = torch.ones(3, 1, 11, dtype=torch.bool)
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(rows_of(q, k, v, Scale(strength=strength), flags, 0, 5**-0.5), plain, atol=1e-6, rtol=0)


def test_an_attenuator_needs_a_formula():
    with pytest.raises(UserError, match="no formula"):
        Attenuator()


@pytest.mark.parametrize("rule", RULES)
def test_operands_are_not_written_to(rule):
    q, k, v = operands()
    before = [t.clone() for t in (q, k, v)]
    attend(Call(q, k, v, {}), [(RULES[rule](queries="cls"), padded(some_flags("token")))], PREFIX)
    assert all(torch.equal(a, b) for a, b in zip(before, (q, k, v), strict=True))


def test_a_new_attenuator_is_one_formula():
    class Zero(Attenuator):
        def logits(self, z, flags, prefix):
            return z.masked_fill(flags.unsqueeze(2), 0.0)

    q, k, v = operands()
    flags = padded(some_flags("token"))
    z = q @ k.transpose(-2, -1) * 0.4
    want = torch.where(flags.unsqueeze(2), torch.zeros(()), z).softmax(-1) @ v
    torch.testing.assert_close(rows_of(q, k, v, Zero(), flags, PREFIX, 0.4), want, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "options",
    [{"strength": 1.5}, {"strength": -0.1}, {"strength": float("nan")}, {"strength": "1"}, {"queries": "patch"}],
)
def test_wrong_settings_are_told(options):
    with pytest.raises(UserError, match=r"attenuator\.(strength|queries)="):
        Floor(**options)
