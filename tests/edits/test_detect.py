from __future__ import annotations

import dataclasses

import families
import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.edits.attenuate import Floor
from itae.edits.combined import Combined
from itae.edits.detect import ClsAttention, Detector, Nothing, OtherEnd, Random, ResidualNorm, VectorNorm, quantile
from itae.edits.edit import Edit
from itae.edits.site import Site
from itae.embed.replay import SharedPass, Watch

NUMBERS = {"absolute": ("threshold", 3.0), "quantile": ("quantile", 0.13), "mad": ("k", 1.0), "ratio": ("ratio", 1.2)}
SIGNALS = [("query", "token"), ("query", "head"), ("key", "token"), ("key", "head"), ("value", "token")]
SIGNALS += [("value", "head"), ("residual", "token"), ("cls_attention", "token"), ("combined", "token")]


def make(name, scope, **options):
    if name in ("residual", "combined"):
        return (ResidualNorm if name == "residual" else Combined)(scope=scope, **options)
    if name == "cls_attention":
        return ClsAttention(scope=scope, **options)
    return VectorNorm(vector=name, scope=scope, **options)


def site(batch=3, heads=2, patches=21, prefix=2, width=5, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, heads, patches + prefix, width, generator=g).to(dtype) for _ in range(3))
    x = torch.randn(batch, patches + prefix, heads * width, generator=g).to(dtype)
    return Site(q, k, v, x, prefix, 0, width**-0.5, families.digests(batch))


def expected(s, name, scope, rule, number, side):
    arrays = [t.double().numpy() for t in (s.q, s.k, s.v, s.x)]
    signals = [reference.signal(name, scope, *(a[b] for a in arrays), s.prefix, s.scale) for b in range(len(s.q))]
    thetas = [[reference.threshold(row, rule, number, side) for row in signal] for signal in signals]
    return np.array(signals), np.array(thetas)[..., None]


@pytest.mark.parametrize("side", ["low", "high"])
@pytest.mark.parametrize("rule", NUMBERS)
@pytest.mark.parametrize(("name", "scope"), SIGNALS)
def test_every_rule_on_every_signal_is_the_slow_one(name, scope, rule, side):
    key, number = NUMBERS[rule]
    if rule == "absolute":
        number = {"cls_attention": 0.05, "combined": 1.0}.get(name, number)
    s = site()
    flags = make(name, scope, rule=rule, side=side, **{key: number})(s)
    signals, thetas = expected(s, name, scope, rule, number, side)
    np.testing.assert_allclose(flags.signal.numpy(), signals, rtol=2e-6)
    np.testing.assert_allclose(flags.threshold.numpy(), thetas, rtol=1e-5)
    sure = np.abs(signals - thetas) > 1e-5
    want = reference.flag(signals, thetas, side)
    assert sure.mean() > 0.9
    assert 0 < want.mean() < 1, "a test in which all or nothing is flagged shows little"
    np.testing.assert_array_equal(flags.mask.numpy()[sure], want[sure])


@pytest.mark.parametrize(("name", "scope"), SIGNALS)
def test_low_precision_operands_are_measured_in_fp32(name, scope):
    s = site(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        flags = make(name, scope)(s)
    assert flags.signal.dtype == flags.threshold.dtype == torch.float32
    signals, _ = expected(s, name, scope, "mad", 5.0, "low")
    np.testing.assert_allclose(flags.signal.numpy(), signals, rtol=2e-6)


@pytest.mark.parametrize("detector", [make(n, s, rule="mad", k=1.0) for n, s in SIGNALS] + [Random(rate=0.3)])
def test_flags_of_an_image_do_not_depend_on_its_batch(detector):
    s = site(batch=4)
    whole = detector(s).mask
    for i in range(4):
        parts = {name: getattr(s, name)[i : i + 1] for name in ("q", "k", "v", "x", "digests")}
        assert torch.equal(detector(dataclasses.replace(s, **parts)).mask, whole[i : i + 1])


@pytest.mark.parametrize(("name", "scope"), SIGNALS)
def test_a_prefix_token_has_no_influence_and_is_never_flagged(name, scope):
    s = site()
    detector = make(name, scope, rule="quantile", quantile=0.2, side="high")
    loud = {n: getattr(s, n).clone() for n in ("q", "k", "v", "x")}
    for n in ("q", "k", "v"):
        loud[n][:, :, 1] *= 100  # the register; the CLS query is what cls_attention is about
    loud["x"][:, :2] *= 100
    if name == "cls_attention":
        loud["k"] = s.k
    flags = detector(dataclasses.replace(s, **loud))
    assert flags.mask.shape[-1] == s.q.shape[2] - s.prefix
    assert torch.equal(flags.mask, detector(s).mask)


class Given(Detector):
    """A signal that a test gives, as the patches of one image."""

    def signal(self, site):
        return torch.as_tensor(site, dtype=torch.float32).reshape(1, 1, -1)


def flagged(values, **options):
    return Given(**options)(values).mask.flatten().tolist()


def test_a_value_at_an_absolute_threshold_is_beyond_it():
    assert flagged([3.0, 2.0, 4.0], rule="absolute", threshold=3.0, side="low") == [True, True, False]
    assert flagged([3.0, 2.0, 4.0], rule="absolute", threshold=3.0, side="high") == [True, False, True]


ALIKE = [1, 1, 1, 1, 1, 1, 2, 3, 9]


@pytest.mark.parametrize("side", ["low", "high"])
@pytest.mark.parametrize(
    ("values", "options", "count"),
    [
        (ALIKE, {"rule": "mad", "k": 5.0}, 0),  # was: all nine on the high side
        (ALIKE, {"rule": "mad", "k": 0.0}, 0),
        ([0.0] * 9, {"rule": "mad"}, 0),
        (ALIKE, {"rule": "ratio", "ratio": 1.0}, 0),
        ([0, 0, 0, 0, 5], {"rule": "ratio"}, 0),  # twice a median of 0 is 0, too
        ([7] * 50, {"rule": "quantile", "quantile": 0.5}, 0),
        ([7] * 50, {"rule": "quantile", "quantile": 1.0}, 50),  # all were asked for
        (range(50), {"rule": "quantile", "quantile": 0.0}, 0),
        (range(100), {"rule": "quantile", "quantile": 0.07}, 7),  # .07 * 100 is 7.000000000000001
        ([1, 1, 5, 5, 9, 9], {"rule": "quantile", "quantile": 0.3}, 2),  # of two equal ones, both or none
        ([1, 1, 1, 5, 9, 9, 9], {"rule": "quantile", "quantile": 0.15}, 0),
    ],
)
def test_of_ties_a_rule_flags_nothing_rather_than_everything(values, options, count, side):
    assert sum(flagged(list(values), side=side, **options)) == count


def test_patches_that_differ_by_rounding_are_alike():
    values = np.float32(3.7) * np.ones(64, np.float32)
    values[::3] = np.nextafter(values[::3], np.float32(9))
    values[:20] = 3.9
    for side in ("low", "high"):
        assert not any(flagged(values, rule="mad", side=side))
    values[::3] += 1e-4  # a scale, small as it is
    assert flagged(values, rule="mad", side="high")[:20] == [True] * 20


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 4.0, 32.0]), min_size=1, max_size=40),
    st.sampled_from(["low", "high"]),
    st.sampled_from([("quantile", "quantile", p) for p in (0, 0.02, 0.1, 0.25, 0.5, 0.75, 1)]
                    + [("mad", "k", k) for k in (0, 1, 5)] + [("ratio", "ratio", r) for r in (1, 2, 4)]),
)  # fmt: skip
def test_ties_are_the_slow_ones(values, side, options):
    rule, name, number = options
    mask = flagged(values, rule=rule, side=side, **{name: number})
    assert mask == reference.flagged(np.array(values), rule, number, side).tolist()
    if number:  # a threshold at the median itself flags as many as lie there
        assert sum(mask) <= (np.ceil(number * len(values)) if rule == "quantile" else len(values) / 2)


def plain_pictures(size):
    """Return blank, mostly white and two-coloured images [6, 3, S, S]."""
    g = torch.Generator().manual_seed(0)
    x = torch.ones(6, 3, size, size)
    x[1] = -1
    x[2, :, : size // 4, : size // 4] = torch.rand(3, size // 4, size // 4, generator=g)  # something on white
    x[3, :, :, : size // 2] = -1
    x[4, :, : size // 4] = torch.tensor([0.5, -0.5, -0.5]).view(3, 1, 1)
    x[5, :, size // 2 : size // 2 + 3] = -1
    return x


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["plain", "registers", "dinov3", "eva02", "rope_mixed", "siglip"])
def test_of_a_plain_picture_no_rule_flags_nearly_everything(family, precision):
    """In the first block of a model with rotary positions, equal patches have equal values, keys up to a turn."""
    model = families.small(family)
    pixels = plain_pictures(model.patch_embed.img_size[0])
    detectors = [
        make(name, scope, rule=rule, side=side)
        for name, scope in SIGNALS
        if model.num_prefix_tokens or name != "cls_attention"
        for rule in ("mad", "quantile", "ratio")
        for side in ("low", "high")
    ]
    share = {}

    def see(position, layer, found, paid):
        share[position, layer] = found.mask.float().mean(dim=-1).amax().item()
        most = np.ceil(0.02 * found.mask.shape[-1]) / found.mask.shape[-1]
        assert share[position, layer] <= (most if detectors[position].rule == "quantile" else 0.5), detectors[position]

    edits = [Edit(one, Floor(strength=1e-3), (0, 1, 2)) for one in detectors]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        SharedPass(model, model.num_prefix_tokens, "mean", edits, Watch(see))(pixels, families.digests(6))
    assert len(share) == 3 * len(detectors)
    assert any(share.values())


def test_a_fitted_threshold_is_used_as_it_is_and_nan_flags_nothing():
    detector, s = VectorNorm(rule="bimodal", side="low"), site()
    theta = float(detector.signal(s).median())
    assert torch.equal(detector(s, theta).mask, VectorNorm(rule="absolute", threshold=theta, side="low")(s).mask)
    for side in ("low", "high"):
        assert not VectorNorm(rule="bimodal", side=side)(s, float("nan")).mask.any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.floats(0, 1))
def test_quantile_is_numpys(values, p):
    x = torch.tensor([values], dtype=torch.float32)
    want = np.quantile(np.array(values, np.float32).astype(np.float64), p)
    np.testing.assert_allclose(
        quantile(x, p).item(), want, rtol=1e-5, atol=max(1e-3, np.ptp(values) * 2.0**-22)
    )  # of a step's own rounding


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["low", "high"]), st.integers(0, 9))
def test_a_larger_quantile_flags_more(p, r, side, seed):
    s = site(seed=seed)
    few, many = (VectorNorm(rule="quantile", quantile=x, side=side)(s).mask for x in sorted((p, r)))
    assert not (few & ~many).any()


def test_random_flags_its_share_and_hangs_on_seed_and_image_alone():
    detector = Random(rate=0.25, seed=3)
    s = site(patches=20)
    mask = detector(s).mask
    assert mask.sum(dim=-1).eq(5).all()
    assert torch.equal(mask, detector(dataclasses.replace(s, layer=2)).mask)
    assert not torch.equal(mask, Random(rate=0.25, seed=4)(s).mask)
    other = detector(dataclasses.replace(s, digests=[b"7" * 32, s.digests[1], s.digests[0]])).mask
    assert torch.equal(other[2], mask[0])
    assert not torch.equal(other[0], mask[0])
    assert Random(rate=0.0)(s).mask.sum() == 0
    assert Random(rate=1.0)(s).mask.all()


def test_nothing_flags_nothing():
    s = site()
    for x in (s.x, torch.full_like(s.x, float("inf"))):
        mask = Nothing()(dataclasses.replace(s, x=x)).mask
        assert mask.shape == (3, 1, 21)
        assert not mask.any()


def test_a_new_detector_is_a_signal():
    class FirstChannel(Detector):
        def signal(self, site):
            return site.x[:, site.prefix :, 0].float().unsqueeze(1)

    s = site()
    flags = FirstChannel(rule="absolute", threshold=0.0)(s)
    assert torch.equal(flags.mask[:, 0], s.x[:, 2:, 0] <= 0)


def test_numbers_of_other_rules_stay_out_of_the_key():
    base = VectorNorm(rule="mad", k=3)
    assert base.spec() == VectorNorm(rule="mad", k=3.0, threshold=9, quantile=0.4, ratio=7).spec()
    assert base.spec() != VectorNorm(rule="mad", k=4).spec()
    assert base.spec() != VectorNorm(rule="ratio").spec()
    seeds = [VectorNorm(rule="bimodal", calibration_seed=i).spec() for i in range(2)]
    assert seeds[0] != seeds[1]


def test_a_rule_of_ones_own_has_all_numbers_in_its_key():
    class Own(VectorNorm):
        def cut(self, signal):
            return quantile(signal, 0.5) * self.ratio

    assert Own(ratio=3).spec() != Own(ratio=7).spec()
    assert VectorNorm(ratio=3).spec() == VectorNorm(ratio=7).spec()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "madd"}, "Did you mean 'mad'"),
        ({"rule": "absolute"}, "detector.threshold"),
        ({"rule": "absolute", "threshold": float("nan")}, "detector.threshold=nan"),
        ({"threshold": "x"}, "detector.threshold='x'"),
        ({"quantile": 1.2}, "[0, 1]"),
        ({"k": -1}, "detector.k=-1"),
        ({"ratio": 0.5}, "at least 1"),
        ({"side": "left"}, "low, high"),
        ({"scope": "layer"}, "token, head"),
        ({"calibration_images": 1.5}, "whole number"),
        ({"calibration_seed": -1}, "at least 0"),
        ({"vector": "residual"}, "query, key, value"),
        ({"layer": 1.5}, "detector.layer=1.5"),
        ({"layer": True}, "index of a block"),
        ({"layer": "all"}, "or each, or null"),
        ({"layer": -1, "scope": "head"}, "detector.scope=token"),
        ({"rule": "mad", "calibration": "a.json"}, "detector.rule=bimodal"),
    ],
)
def test_wrong_settings_are_told(options, words):
    with pytest.raises(UserError, match=r"detector\.") as told:
        VectorNorm(**options)
    assert words in str(told.value)


@pytest.mark.parametrize("cls", [ResidualNorm, ClsAttention, Combined])
def test_a_signal_without_heads_has_no_head_scope(cls):
    with pytest.raises(UserError, match="scope"):
        cls(scope="head")


@pytest.mark.parametrize("options", [{"rate": 1.5}, {"rate": True}, {"seed": -1}])
def test_wrong_random_settings_are_told(options):
    with pytest.raises(UserError, match=r"detector\."):
        Random(**options)


MATCHED = [Random, OtherEnd]


@pytest.mark.parametrize("scope", ["token", "head"])
@pytest.mark.parametrize("side", ["low", "high"])
@pytest.mark.parametrize("control", MATCHED)
def test_a_control_flags_as_many_others(control, side, scope):
    s, theirs = site(batch=6), VectorNorm(vector="key", rule="mad", k=0.7, side=side, scope=scope)
    found, own = theirs(s), control(match=theirs)(s)
    counts = found.mask.sum(-1)
    assert counts.unique().numel() > 1, "with one count for all images this shows nothing"
    assert torch.equal(own.mask.sum(-1), counts)
    assert not (own.mask & found.mask).any()


def test_the_other_end_is_the_other_end():
    s, theirs = site(), VectorNorm(rule="quantile", quantile=0.1, side="high")
    signal = theirs(s).signal[:, 0]
    for b, mask in enumerate(OtherEnd(match=theirs)(s).mask[:, 0]):
        count = int(mask.sum())
        assert count
        assert set(np.flatnonzero(mask)) == set(np.argsort(signal[b].numpy())[:count])
    low = OtherEnd(match=VectorNorm(rule="quantile", quantile=0.1, side="low"))(s).mask[:, 0]
    assert all(signal[b][low[b]].min() >= signal[b][~low[b]].max() for b in range(len(low)))


def test_where_most_are_flagged_a_control_flags_all_the_others():
    s, theirs = site(), VectorNorm(rule="quantile", quantile=0.8, side="low")
    for control in MATCHED:
        assert torch.equal(control(match=theirs)(s).mask, ~theirs(s).mask)


def test_a_matched_draw_hangs_on_seed_and_image_alone():
    s, theirs = site(batch=4), VectorNorm(rule="quantile", quantile=0.2)
    whole = Random(match=theirs)(s).mask
    for b in range(4):
        some = slice(b, b + 1)
        one = Site(s.q[some], s.k[some], s.v[some], s.x[some], 2, 5, s.scale, s.digests[some])
        assert torch.equal(Random(match=theirs)(one).mask[0], whole[b])
    assert not torch.equal(Random(match=theirs, seed=1)(s).mask, whole)


def test_a_control_of_a_fitted_detector_goes_by_its_threshold():
    s, theirs = site(), VectorNorm(rule="bimodal", side="high")
    theta = float(theirs.signal(s).median())
    for control in MATCHED:
        assert control(match=theirs).fitted
        assert torch.equal(control(match=theirs)(s, theta).mask.sum(-1), (~theirs(s, theta).mask).sum(-1).minimum(
            theirs(s, theta).mask.sum(-1)))  # fmt: skip
        assert not control(match=theirs)(s, float("nan")).mask.any()
