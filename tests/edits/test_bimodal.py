from __future__ import annotations

import math
from functools import cache
from unittest import mock

import families
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.edits.attenuate import Fade, Floor, Scale
from itae.edits.bimodal import FIT, VALLEY, Fit, fit_threshold
from itae.edits.detect import Random, ResidualNorm, VectorNorm
from itae.edits.edit import Edit
from itae.embed.fit_layers import fit_layers
from itae.embed.replay import SharedPass, Watch
from itae.embed.walk import walk


def two_modes(rare=0.02, gap=1.5, n=20_000, seed=0, spread=0.1):
    draw = np.random.default_rng(seed)
    common = np.exp(draw.normal(0, spread, n))
    return np.concatenate([common, np.exp(draw.normal(gap, spread, int(rare * n)))])


def test_what_is_refused_and_why():
    draw = np.random.default_rng(0)
    assert "one component" in fit_threshold(np.exp(draw.normal(0, 1, 3000)), "high").reason
    wide = np.concatenate([draw.normal(0, 1, 10_000), draw.normal(0, 0.2, 10_000)])  # two widths, one mean
    shallow = np.concatenate([draw.normal(0, 1, 10_000), draw.normal(2.5, 1, 10_000)])
    for logs in (wide, shallow):
        fit = fit_threshold(np.exp(logs), "high")
        assert "valley" in fit.reason
        assert fit.valley > VALLEY
        assert fit.components > 1


def test_a_rare_mode_beside_a_long_tail_is_found():
    """Two Gaussians would share it out as the bulk, and as the tail with the mode (seen in 04_known_answers)."""
    draw = np.random.default_rng(0)
    rest = 0.2 * draw.standard_t(6, 16_000)
    for share in (0.003, 0.015, 0.05):
        rare = draw.normal(rest.max() + 0.5, 0.1, int(16_000 * share))
        fit = fit_threshold(np.exp(np.append(rest, rare)), "high")
        assert fit.reason == "bimodal", fit
        assert (np.exp(rare) >= fit.theta).all()
        assert (np.exp(rest) >= fit.theta).sum() <= 3
        assert fit.components > 2


def test_a_deeper_valley_on_the_other_side_hides_nothing():
    draw = np.random.default_rng(0)
    logs = np.concatenate([draw.normal(-4, 0.2, 3000), draw.normal(0, 0.3, 10_000), draw.normal(2.2, 0.3, 500)])
    assert math.log(fit_threshold(np.exp(logs), "high").theta) == pytest.approx(1.2, abs=0.3)
    assert math.log(fit_threshold(np.exp(logs), "low").theta) == pytest.approx(-2.2, abs=0.8)


def test_zeros_and_too_few_values_are_no_mode():
    zeros = np.concatenate([np.exp(np.random.default_rng(0).normal(0, 0.2, 20_000)), np.zeros(10)])
    assert math.isnan(fit_threshold(zeros, "low").theta)
    assert "too few" in fit_threshold(np.array([1.0, 1.0, 5.0, 5.0]), "high").reason


def test_a_signal_that_is_not_finite_is_told():
    model = families.small("plain")
    edit = Edit(VectorNorm(rule="bimodal"), Scale(), (0,))
    pixels = families.pixels(model, 4)
    pixels[0] = float("inf")
    with pytest.raises(UserError, match=r"block 0 is not finite.*precision"):
        fit_layers(SharedPass(model, 1, "cls", [edit]), [edit], [(pixels, families.digests(4))])


@pytest.mark.parametrize("rare", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("gap", [1.0, 2.5])
def test_two_modes_are_found_and_parted(rare, gap):
    values = two_modes(rare, gap)
    fit = fit_threshold(values, "high")
    assert fit.reason == "bimodal"
    assert math.exp(0.3) < fit.theta < math.exp(gap - 0.25)
    assert abs(fit.minority - rare / (1 + rare)) < 0.004


def test_the_threshold_keeps_away_from_both_modes():
    values = np.concatenate([two_modes(0.05, gap=2.5, spread=0.15), np.full(200, math.exp(2.5))])
    assert 0.8 < math.log(fit_threshold(values, "high").theta) < 1.9


@pytest.mark.parametrize(
    "values",
    [
        np.exp(np.random.default_rng(0).normal(0, 0.2, 20_000)),
        np.random.default_rng(1).uniform(1, 2, 20_000),
        np.random.default_rng(2).lognormal(0, 1, 20_000),
        1 + np.abs(np.random.default_rng(3).standard_t(3, 20_000)),  # a heavy tail is no second mode
        np.exp(0.1 * np.random.default_rng(3).standard_t(2, 20_000)),
        np.exp(0.2 * np.random.default_rng(5).laplace(size=20_000)),
        np.random.default_rng(6).pareto(3, 20_000) + 1,
        np.random.default_rng(7).gamma(4, 1, 3000),
        np.random.default_rng(4).exponential(1, 20_000) + 1,
        two_modes(0.05, 0.25),
        np.ones(500),
    ],
)
@pytest.mark.parametrize("side", ["low", "high"])
def test_one_mode_flags_nothing(values, side):
    fit = fit_threshold(values, side)
    assert math.isnan(fit.theta), fit
    assert fit.reason != "bimodal"


def test_the_larger_mode_is_not_the_artifacts():
    values = two_modes(0.05)
    assert math.isnan(fit_threshold(values, "low").theta)
    assert fit_threshold(1 / values, "low").reason == "bimodal"


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_the_unit_of_the_signal_does_not_matter(unit):
    values, theta = _two_modes_and_theta()
    assert fit_threshold(values * unit, "high").theta == pytest.approx(theta * unit, rel=1e-3)


@cache
def _two_modes_and_theta():
    values = two_modes(n=3000)
    return values, fit_threshold(values, "high").theta


def test_the_version_of_the_fit_is_in_the_key_of_what_is_fitted():
    assert VectorNorm(rule="bimodal").spec()["fit"] == FIT
    assert Random(match=VectorNorm(rule="bimodal")).spec()["match"]["fit"] == FIT
    assert "fit" not in VectorNorm(rule="mad").spec()
    assert "fit" not in VectorNorm(rule="bimodal", calibration="paper.json").spec(), "its thresholds are there"


def test_layers_are_fitted_in_order_on_the_stream_that_is_edited():
    model = families.small("plain")
    batches = [(families.pixels(model, 4, seed=s), families.digests(4)) for s in (5, 6)]
    edit = Edit(VectorNorm(vector="value", rule="bimodal", side="low"), Scale(), (0, 2))
    sites, thetas = [], {0: 1e9, 2: 0.0}

    def fit(layer, positions, signals):
        sites.append((layer, signals))
        return thetas[layer]

    walk(SharedPass(model, 1, "cls", [edit]), batches, fit)
    assert [layer for layer, _ in sites] == [0, 2]
    seen = {}
    for i, batch in enumerate(batches):  # a threshold of 1e9 flags every patch in block 0; then look at block 2
        probe = Edit(VectorNorm(vector="value", rule="absolute", threshold=1e9), Scale(), (0, 2))
        watch = Watch(lambda p, layer, flags, paid, i=i: seen.__setitem__((i, layer), flags.signal))
        SharedPass(model, 1, "cls", [probe], watch)(*batch)
        for layer, signals in sites:
            torch.testing.assert_close(signals[i], seen[i, layer], atol=1e-5, rtol=1e-5)


SOME = st.tuples(
    st.sampled_from(["value", "key"]), st.sampled_from([Scale, Fade, Floor]), st.sampled_from([0.5, 1.0]),
    st.sampled_from(["low", "high"]), st.sets(st.integers(0, 2), min_size=1).map(lambda s: tuple(sorted(s))),
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["registers", "dinov3", "rope_mixed"]), st.lists(SOME, min_size=1, max_size=6))
def test_edits_are_fitted_together_as_alone(family, mixes):
    model = families.small(family)
    batches = [(families.pixels(model, 2, seed=s), families.digests(2)) for s in (5, 6)]
    edits = [
        Edit(VectorNorm(vector=vector, rule="bimodal", side=side), how(strength=a), layers)
        for vector, how, a, side, layers in mixes
    ]

    def quarter(signal, side):  # not one mode in small random models; a quarter is flagged, so that edits matter
        return Fit(float(np.quantile(signal, 0.25 if side == "low" else 0.75)), "bimodal")

    def fitted(some):
        return fit_layers(SharedPass(model, model.num_prefix_tokens, "cls", some), some, batches)

    with mock.patch("itae.embed.fit_layers.fit_threshold", quarter):
        together = fitted(edits)
        for edit, fits in zip(edits, together, strict=True):
            (alone,) = fitted([edit])
            assert list(fits) == list(edit.layers) == list(alone)
            for layer in edit.layers:
                assert fits[layer].theta == pytest.approx(alone[layer].theta, rel=1e-5)


@pytest.mark.parametrize("layer", [None, "each", 0])
def test_thresholds_tell_edits_of_one_pass_apart(layer):
    """As those of two calibrations of one detector."""
    model = families.small("plain")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    one = Edit(ResidualNorm(rule="bimodal", layer=layer), Scale(), (1, 2))
    seen = {}
    watch = Watch(lambda p, i, flags, _: seen.__setitem__((p, i), flags.mask.sum().item()))
    few, many, none = (one.with_thetas(dict.fromkeys(one.looks, theta)) for theta in (1e9, 0.0, math.nan))
    out = SharedPass(model, 1, "mean", [few, many, none], watch)(pixels, digests)
    assert seen == {(p, i): count for p, count in enumerate((0, 32, 0)) for i in (1, 2)}
    for edit, embedding in zip((few, many, none), out, strict=True):
        (alone,) = SharedPass(model, 1, "mean", [edit])(pixels, digests)
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)


def test_a_layer_without_two_modes_is_left_out_and_said():
    model = families.small("plain")
    batches = [(families.pixels(model, 8), families.digests(8))]
    edit = Edit(VectorNorm(rule="bimodal"), Scale(), (0, 1))
    (fits,) = fit_layers(SharedPass(model, 1, "cls", [edit]), [edit], batches)
    assert set(fits) == {0, 1}
    empty = [layer for layer, fit in fits.items() if math.isnan(fit.theta)]
    assert empty
    told = fits[empty[0]].as_json()
    assert told["theta"] is None
    assert told["reason"] != "bimodal"
