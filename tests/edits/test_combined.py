"""Several norms as one signal: what it is, what it doesn't depend on, and what no norm finds alone."""

from __future__ import annotations

from dataclasses import replace

import families
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.attenuate import Scale
from itae.edits.bimodal import fit_threshold
from itae.edits.combined import SIGNALS, Combined
from itae.edits.controls import OtherSide, Random
from itae.edits.detect import VectorNorm
from itae.edits.site import Site

PREFIX, PATCHES = 2, 60


def site(batch=40, seed=0):
    draw = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, 4, PREFIX + PATCHES, 8, generator=draw) for _ in range(3))
    x = torch.randn(batch, PREFIX + PATCHES, 32, generator=draw)
    return Site(q, k, v, x, PREFIX, 0, 8**-0.5, families.digests(batch))


def slow(s, signals):
    """By the formula, image by image and patch by patch, in fp64."""
    out = np.zeros((len(s.q), 1, PATCHES))
    for b in range(len(s.q)):
        squares = np.zeros(PATCHES)
        for name in signals:
            whole = {"query": s.q, "key": s.k, "value": s.v}.get(name)
            vectors = s.x[b, PREFIX:] if whole is None else whole[b].transpose(0, 1)[PREFIX:]
            norms = [np.sqrt(sum(float(c) ** 2 for c in vector.flatten())) for vector in vectors]
            squares += (np.array(norms) / np.median(norms)) ** 2
        out[b, 0] = np.sqrt(squares / len(signals))
    return out


@pytest.mark.parametrize("signals", [("key", "value"), ("residual", "query"), SIGNALS])
def test_it_is_the_root_mean_square_of_norms_in_medians(signals):
    s = site(batch=3)
    np.testing.assert_allclose(Combined(signals=signals).signal(s).numpy(), slow(s, signals), rtol=2e-6)


@given(scales=st.tuples(*[st.floats(1e-3, 1e3)] * 4), seed=st.integers(0, 9))
def test_the_unit_of_a_signal_makes_no_difference(scales, seed):
    s, (a, b, c, d) = site(batch=2, seed=seed), scales
    other = replace(s, q=a * s.q, k=b * s.k, v=c * s.v, x=d * s.x)
    detector = Combined(signals=SIGNALS)
    torch.testing.assert_close(detector.signal(s), detector.signal(other), rtol=1e-5, atol=0)


def test_the_order_of_signals_makes_none_either():
    one, other = Combined(signals=["value", "key"]), Combined(signals=("key", "value"))
    assert key_of(one) == key_of(other)
    assert torch.equal(one.signal(site()), other.signal(site()))
    assert key_of(one)["signals"] == ["key", "value"], "a list, as JSON has it: a calibration is compared by it"
    assert key_of(one)["class"] == "itae.detect.Combined"
    assert key_of(Combined(signals=["key", "residual"])) != key_of(one)


@pytest.mark.parametrize("shows_in", [("k",), ("v",), ("k", "v")])
def test_one_threshold_finds_what_shows_in_keys_or_in_values(shows_in):
    s = site()
    planted = torch.zeros(len(s.q), PATCHES, dtype=torch.bool)
    planted[torch.arange(len(s.q)), torch.arange(len(s.q)) % PATCHES] = True
    factor = torch.where(planted, 4.0, 1.0)[:, None, :, None]
    loud = {name: getattr(s, name).clone() for name in shows_in}
    for vectors in loud.values():
        vectors[:, :, PREFIX:] *= factor
    s = replace(s, **loud)
    detector = Combined(rule="bimodal")
    fit = fit_threshold(detector.signal(s).numpy(), detector.side)
    assert torch.equal(detector(s, fit.theta).mask[:, 0], planted)
    blind = VectorNorm(vector="value" if shows_in == ("k",) else "key", rule="bimodal", side="high")
    found = fit_threshold(blind.signal(s).numpy(), "high").reason == "bimodal"
    assert found == (len(shows_in) == 2), "one norm alone misses it: so this shows something"


def test_of_tokens_that_are_alike_nothing_is_flagged():
    assert fit_threshold(Combined().signal(site()).numpy(), "high").reason != "bimodal"


def test_where_most_norms_are_0_the_norm_itself_is_taken():
    s = site(batch=2)
    s.v[:, :, PREFIX:] = 0
    s.v[0, :, PREFIX] = 3.0
    signal = Combined().signal(s)
    assert signal.isfinite().all()
    alone = VectorNorm(vector="key").signal(s)
    torch.testing.assert_close(signal[1], alone[1] / alone[1].median() / 2**0.5, rtol=2e-2, atol=0)
    assert signal[0].argmax() == 0


def test_controls_take_as_many_others():
    s, detector = site(), Combined(rule="quantile", quantile=0.1)
    theirs = detector(s)
    for control in (Random(), OtherSide()):
        mask = control(detector, Scale())[0](s).mask
        assert torch.equal(mask.sum(-1), theirs.mask.sum(-1))
        assert not (mask & theirs.mask).any()
    lowest = theirs.signal.argsort(-1)[..., : int(theirs.mask[0].sum())]
    assert mask.gather(-1, lowest).all(), "the other side is the low one"


def test_it_reads_queries_where_it_is_told_to():
    assert not Combined().reads_queries
    assert Combined(signals=["query", "key"]).reads_queries


@pytest.mark.parametrize(
    "signals", [(), ("key",), "key", None, 3, ("key", "key"), ("key", "keys"), ("key", None), ("key", ["value"])]
)
def test_wrong_signals_are_told(signals):
    with pytest.raises(UserError, match=r"detector\.signals=.* two or more of query, key, value, residual"):
        Combined(signals=signals)
