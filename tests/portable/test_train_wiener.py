"""Wiener's filter that is told the PSF beats the blurred input, and one that is told a wrong PSF doesn't."""

import dataclasses

import numpy as np
import pytest
from drawn_pairs import pairs

from itae.portable.train.quality import floor, psnr
from itae.portable.train.wiener import BALANCE, BALANCES, balance, ceiling, told


@pytest.fixture(scope="module")
def drawn():
    return pairs(["a", "b", "c"], each=2, side=64, psf_side=9, noise=0.001)


def test_who_is_told_the_blur_beats_the_blurred_input(drawn):
    gain = ceiling(drawn, drawn).over(floor(drawn)).psnr
    assert gain.low > 2


def test_who_is_told_a_wrong_blur_does_not(drawn):
    turned = np.ascontiguousarray(np.rot90(drawn.psfs, axes=(1, 2)))
    for weight in BALANCES:
        assert (psnr(told(drawn, weight, turned), drawn) - psnr(drawn.blurred, drawn)).mean() < 0


def test_without_blur_hardly_anything_is_lost():
    still = pairs(["a", "b"], each=1, side=32, psf_side=1, noise=0.0)
    assert (told(still, 1e-9) == still.blurred).mean() > 0.99


def test_edges_cost_little(drawn):
    """A filter that takes the picture as going round has rings along its edges."""
    error = np.abs(told(drawn, 0.01).astype(float) - drawn.sharp).mean((0, 1))
    inner = error[16:-16, 16:-16].mean()
    assert error[:, :4].mean() < 3 * inner


def test_the_balance_is_chosen_where_it_is_told_to_be(drawn):
    noisy = pairs(["a", "b"], each=2, side=48, psf_side=9, noise=0.03)
    best = {each: psnr(told(noisy, each), noisy).mean() for each in BALANCES}
    assert balance(noisy) == max(best, key=best.get)
    assert balance(noisy) > balance(drawn)
    assert (ceiling(drawn, noisy).psnr_each == psnr(told(drawn, balance(noisy)), drawn)).all()
    assert (ceiling(drawn).psnr_each == psnr(told(drawn, BALANCE), drawn)).all()


def test_where_nobody_knows_the_blur_there_is_no_ceiling(drawn):
    unknown = dataclasses.replace(drawn, psfs=None)
    assert ceiling(unknown) is None
    assert ceiling(drawn, unknown).psnr_each == pytest.approx(ceiling(drawn).psnr_each)
    with pytest.raises(ValueError, match="no PSFs"):
        told(unknown, 0.01)
