"""The local outlier factor, held against scikit-learn's, a slow one, and what has to come out."""

from __future__ import annotations

import math

import families
import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor as Theirs

from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits import local_outlier
from itae.edits.local_outlier import LocalOutlierFactor, local_outlier_factors
from itae.edits.site import Site


def tokens(batch=3, patches=40, width=6, seed=0):
    """Return clusters of several scales, with some tokens off them."""
    g = torch.Generator().manual_seed(seed)
    scale = torch.rand(batch, patches, 1, generator=g).mul(3).round().exp()
    return torch.randn(batch, patches, width, generator=g) * scale + 100


def site(x_BTE, prefix=2):
    x = torch.nn.functional.pad(x_BTE, (0, 0, prefix, 0), value=1e6)  # a CLS token that must not count
    q = x.unsqueeze(1)
    return Site(q, q, q, x, prefix, 0, 1.0, families.digests(len(x)))


@pytest.mark.parametrize("k", [1, 5, 30, 39, 200])
def test_the_factors_are_those_of_scikit_learn_and_of_a_slow_twin(k):
    x = tokens()
    found = local_outlier_factors(x, k)
    assert found.dtype == torch.float32
    for one, factors in zip(x.double().numpy(), found.numpy(), strict=True):
        model = Theirs(n_neighbors=min(k, len(one) - 1)).fit(one)
        np.testing.assert_allclose(factors, -model.negative_outlier_factor_, rtol=1e-6)
        np.testing.assert_allclose(factors, reference.local_outlier_factors(one, k), rtol=1e-6)
    assert k >= 39 or found.max() > 1.3, "no outlier in it: this shows little"


def test_all_that_are_as_far_as_the_last_are_neighbours():
    """Of points 0, 1, 2, 4, 9 with k = 1, 1 has two: by hand, and whatever the order."""
    points = [0.0, 1.0, 2.0, 4.0, 9.0]
    found = local_outlier_factors(torch.tensor(points).reshape(1, -1, 1), 1)[0]
    density = [1, 1, 1, 1 / 2, 1 / 5]  # of 4: reach to 2 is 2; of 9: reach to 4 is 5
    want = [1, 1, 1, density[2] / density[3], density[3] / density[4]]
    np.testing.assert_allclose(found, want, rtol=1e-6)
    turned = local_outlier_factors(torch.tensor(points[::-1]).reshape(1, -1, 1), 1)[0]
    np.testing.assert_allclose(turned.flip(0), want, rtol=1e-6)


@pytest.mark.parametrize("off", [1e-3, 5.0, 1e6])
@pytest.mark.parametrize("fill", [0.0, 1.0, -7.5])
def test_one_token_far_off_equal_ones_is_flagged_alone(fill, off):
    x = torch.full((2, 49, 8), fill)
    x[0, 17] += off
    flags = LocalOutlierFactor()(site(x))
    assert flags.mask.nonzero().tolist() == [[0, 0, 17]], "the other image has none to flag"
    assert torch.isfinite(flags.signal).all()
    others = flags.signal[flags.mask.logical_not()]
    torch.testing.assert_close(others, torch.ones_like(others))


def test_tokens_that_differ_by_roundings_are_equal():
    """One is off the others by more of them, and by no more than a pass in another batch may put it."""
    g = torch.Generator().manual_seed(0)
    ulps = torch.randint(0, 2, (1, 49, 96), generator=g)
    ulps[0, 17] = 6
    x = 1 + ulps * torch.finfo(torch.float32).eps
    torch.testing.assert_close(LocalOutlierFactor()(site(x)).signal, torch.ones(1, 1, 49))


def test_a_clean_image_has_none_flagged_and_a_few_equal_outliers_are_found_together():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(4, 64, 96, generator=g)
    assert not LocalOutlierFactor()(site(x)).mask.any()
    x[2, 5:13] = 30.0 + 0.01 * torch.randn(8, 96, generator=g)
    found = LocalOutlierFactor()(site(x)).mask[:, 0]
    assert found.nonzero().tolist() == [[2, j] for j in range(5, 13)]
    crowd = LocalOutlierFactor(neighbours=6)(site(x)).mask[2, 0]
    assert not crowd[5:13].any(), "more of them than neighbours are a cluster of their own"


def test_a_single_patch_and_one_with_all_others_for_neighbours_are_no_outliers():
    assert local_outlier_factors(torch.randn(2, 1, 4), 30).tolist() == [[1.0], [1.0]]
    x = torch.zeros(1, 9, 4)
    x[0, 3] = 8.0
    torch.testing.assert_close(local_outlier_factors(x, 30), torch.ones(1, 9))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 100.0), st.integers(1, 12))
def test_neither_place_scale_nor_order_changes_a_factor(seed, scale, k):
    x = tokens(1, 13, 3, seed) - 100
    order = torch.randperm(13, generator=torch.Generator().manual_seed(seed))
    found = local_outlier_factors(x, k)[:, order]
    torch.testing.assert_close(local_outlier_factors(x[:, order] * scale + 1, k), found, rtol=1e-3, atol=1e-3)


def test_an_image_has_the_factors_that_it_has_alone_however_many_come(monkeypatch):
    x = tokens(5)
    together = local_outlier_factors(x, 7)
    monkeypatch.setattr(local_outlier, "_BYTES", {"cpu": 2 * 8 * local_outlier._ARRAYS * 40**2})
    sizes, plain = [], local_outlier._factors
    monkeypatch.setattr(local_outlier, "_factors", lambda some, k: (sizes.append(len(some)), plain(some, k))[1])
    assert torch.equal(local_outlier_factors(x, 7), together)
    assert sizes == [2, 2, 1], "memory is bounded"
    for i in range(5):
        torch.testing.assert_close(local_outlier_factors(x[i : i + 1], 7)[0], together[i], rtol=1e-6, atol=0)


def test_precision_is_fp64_under_autocast_and_of_low_precision_tokens():
    x = tokens()
    want = local_outlier_factors(x, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(local_outlier_factors(x, 5), want)
    half = x.bfloat16()
    found = local_outlier_factors(half, 5)
    assert found.dtype == torch.float32
    assert torch.equal(found, local_outlier_factors(half.double(), 5))


@pytest.mark.parametrize(
    "options", [{"rule": "mad", "k": 4.0}, {"rule": "quantile", "quantile": 0.1}, {"rule": "ratio"}]
)
def test_every_rule_goes_by_it(options):
    flags = LocalOutlierFactor(**options, neighbours=10)(site(tokens(2, 60, 6)))
    own = {"mad": 4.0, "quantile": 0.1, "ratio": 2.0}[options["rule"]]
    for row, mask in zip(flags.signal[:, 0].double().numpy(), flags.mask[:, 0].numpy(), strict=True):
        assert (mask == reference.flagged(row, options["rule"], own, "high")).all()
    assert flags.mask.any()


def test_it_is_computed_once_for_all_that_ask(monkeypatch):
    calls = []
    monkeypatch.setattr(local_outlier, "local_outlier_factors", lambda x, k: (calls.append(k), x[..., 0])[1])
    here = site(tokens())
    LocalOutlierFactor().signal(here)
    LocalOutlierFactor(rule="mad").signal(here)
    LocalOutlierFactor(neighbours=4).signal(here)
    assert calls == [30, 4]


def test_what_it_is_in_a_key_and_what_is_refused():
    assert key_of(LocalOutlierFactor()) == {
        "class": "itae.local_outlier.LocalOutlierFactor", "rule": "absolute", "threshold": 2.0, "side": "high",
        "scope": "token", "neighbours": 30,
    }  # fmt: skip
    assert not LocalOutlierFactor().reads_queries
    for options, told in (({"neighbours": 0}, "detector.neighbours=0"), ({"scope": "head"}, "detector.scope='head'")):
        with pytest.raises(UserError, match=told):
            LocalOutlierFactor(**options)
    with pytest.raises(UserError, match=r"detector\.neighbours"):
        LocalOutlierFactor(neighbours=math.inf)
