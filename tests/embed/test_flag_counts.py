"""A signal's histogram, counted by edges in fp32, has the bins that numpy's logarithm gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES, _least, histograms

BINS = len(SIGNAL_EDGES) - 1


def by_logarithm(signal):
    """Count as entries on the disk were counted when this was done by numpy, one batch and edit after the other."""
    with np.errstate(divide="ignore"):
        place = (np.log10(np.maximum(signal[np.isfinite(signal)], 0)) + 5) * 128
    return np.bincount(np.clip(place, 0, BINS - 1).astype(np.int64), minlength=BINS)


def all_of(signal):
    return histograms(torch.from_numpy(signal), torch.zeros(signal.shape, dtype=torch.bool)).sum(dim=0).numpy()


def test_values_at_every_edge_fall_where_the_logarithm_puts_them():
    edges = _least()
    assert edges.dtype == np.float32
    np.testing.assert_allclose(edges, SIGNAL_EDGES[1:-1], rtol=3e-6)
    near = np.concatenate([np.nextafter(edges, np.float32(to)) for to in (0, np.inf)])
    values = np.concatenate([edges, near, SIGNAL_EDGES.astype(np.float32)])
    assert np.array_equal(all_of(values), by_logarithm(values))


@pytest.mark.parametrize("spread", [0.1, 1.0, 6.0])
def test_a_million_values_are_counted_as_by_the_logarithm(spread):
    values = (10 ** np.random.default_rng(0).normal(0, spread, 10**6)).astype(np.float32)
    assert np.array_equal(all_of(values), by_logarithm(values))


def test_what_is_0_negative_or_huge_is_at_an_end_and_what_is_not_finite_nowhere():
    values = np.array([0.0, -3.0, 1e-30, 1e30, np.inf, -np.inf, np.nan], np.float32)
    found = all_of(values)
    assert (found[0], found[-1], found.sum()) == (3, 1, 4)
    assert np.array_equal(found, by_logarithm(values))


def test_what_is_flagged_is_counted_apart():
    signal = torch.tensor([[[1.0, 2.0, 3.0]], [[1.0, 50.0, float("nan")]]])
    others, flagged = histograms(signal, signal >= 3).numpy()
    assert np.array_equal(others, by_logarithm(np.float32([1, 2, 1])))
    assert np.array_equal(flagged, by_logarithm(np.float32([3, 50])))
