"""PSNR and SSIM by their formulas, and intervals that hold what they say."""

import numpy as np
import pytest
from drawn_pairs import pairs
from scipy.stats import t

from itae.portable.parity import BEST
from itae.portable.train.quality import (
    floor,
    mean_over,
    psnr,
    quality,
    restored,
    rounded,
    ssim,
    told_intervals,
)


@pytest.fixture(scope="module")
def drawn():
    return pairs(["a", "b", "c"], each=2, side=40)


def test_psnr_is_that_of_the_formula(drawn):
    error = (drawn.blurred.astype(np.float64) - drawn.sharp) / 255
    assert psnr(drawn.blurred, drawn) == pytest.approx(-10 * np.log10((error**2).mean((1, 2, 3))), abs=1e-4)
    assert list(psnr(drawn.sharp, drawn)) == [BEST] * 6


def ssim_by_loops(one: np.ndarray, other: np.ndarray) -> float:
    """Return Wang et al.'s SSIM of two pictures [3, H, W] in 0..1: window by window, those that lie inside."""
    along = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(along, along) / along.sum() ** 2
    found = []
    for a, b in zip(one, other, strict=True):
        for i, j in np.ndindex(a.shape[0] - 10, a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            var_x, var_y = (weights * x * x).sum() - mean_x**2, (weights * y * y).sum() - mean_y**2
            both = (weights * x * y).sum() - mean_x * mean_y
            found.append((2 * mean_x * mean_y + 1e-4) * (2 * both + 9e-4)
                         / ((mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)))  # fmt: skip
    return float(np.mean(found))


def test_ssim_is_that_of_the_formula(drawn):
    pairs = zip(ssim(drawn.blurred, drawn), drawn.blurred / 255, drawn.sharp / 255, strict=True)
    for found, blurred, sharp in pairs:
        assert found == pytest.approx(ssim_by_loops(blurred, sharp), abs=1e-9)
    assert ssim(drawn.sharp, drawn) == pytest.approx(1)


def test_many_pairs_are_judged_as_each_alone():
    many = pairs(["a"], each=18, side=16)
    one = [psnr(many.blurred[i : i + 1], type(many)(many.blurred[i : i + 1], many.sharp[i : i + 1], ("a",),
                many.blur_px[:1])) for i in range(18)]  # fmt: skip
    assert psnr(many.blurred, many) == pytest.approx(np.concatenate(one))


def test_a_network_is_given_pictures_in_0_to_1_and_what_it_gives_is_rounded(drawn):
    seen = []

    def call(pictures):
        seen.append(pictures)
        assert pictures.dtype == np.float32
        return 2 * pictures - 0.5

    outputs = restored(call, drawn, batch=4)
    assert [len(each) for each in seen] == [4, 2]
    assert outputs.dtype == np.uint8
    expected = np.clip(2 * (drawn.blurred / 255) - 0.5, 0, 1) * 255
    assert np.abs(outputs - expected).max() <= 0.5 + 1e-4


def test_pictures_are_padded_for_a_network_and_cropped_back(drawn):
    def call(pictures):
        assert pictures.shape[-2:] == (48, 48)
        return pictures

    assert (restored(call, drawn, multiple=16) == drawn.blurred).all()


def test_what_is_no_number_is_black():
    assert list(rounded(np.array([np.nan, np.inf, -np.inf, -1, 0.5, 2]))) == [0, 0, 0, 0, 128, 255]


def test_outputs_of_another_kind_are_refused(drawn):
    with pytest.raises(ValueError, match="uint8"):
        quality(drawn.blurred.astype(np.float32), drawn)
    with pytest.raises(ValueError, match="same pairs"):
        floor(drawn).over(floor(pairs(["x"], each=6, side=40)))


def test_the_mean_is_over_pairs_and_one_photograph_has_no_interval():
    mean = mean_over(np.array([1.0, 2, 3, 10]), ["a", "a", "a", "b"])
    assert (mean.mean, mean.low, mean.high) == (4, 2, 10)  # two photographs: from one to the other
    assert mean_over(np.array([1.0, 3]), ["a", "a"]) == type(mean)(2.0, None, None)


def test_pairs_of_one_photograph_count_once_for_the_interval():
    rng = np.random.default_rng(0)
    each = rng.standard_normal(12)
    alone = mean_over(each, [str(i) for i in range(12)])
    doubled = mean_over(np.repeat(each, 5), [str(i) for i in range(12) for _ in range(5)])
    assert (doubled.low, doubled.high) == pytest.approx((alone.low, alone.high))


def test_intervals_are_about_as_wide_as_those_of_students_t():
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(20):
        each = rng.standard_normal(10)
        found = mean_over(each, [str(i) for i in range(10)])
        widths.append((found.high - found.low) / (2 * t.ppf(0.975, 9) * each.std(ddof=1) / np.sqrt(10)))
    assert np.mean(widths) == pytest.approx(1, abs=0.06)  # plain percentiles: .82


def test_a_gain_that_all_photographs_share_has_a_narrow_interval():
    drawn = pairs(["a", "b", "c", "d"], each=2, side=24, seed=3)
    closer = np.round((drawn.blurred.astype(float) + drawn.sharp) / 2).astype(np.uint8)  # half the error: 6 dB
    gain = quality(closer, drawn).over(floor(drawn)).psnr
    whole = floor(drawn).psnr
    assert gain.low < gain.mean < gain.high
    assert gain.mean == pytest.approx(6, abs=0.3)
    assert gain.high - gain.low < 0.3 * (whole.high - whole.low)
    assert quality(closer, drawn).over(floor(drawn)).ssim.low > 0


def test_what_intervals_are_worth_is_said():
    assert "no interval" in told_intervals(["a", "a"])
    assert "over 3 photographs, which is too few" in told_intervals(["a", "b", "c"])
    assert told_intervals([str(i) for i in range(9)]) == "Intervals (95 %) are over 9 photographs, by bootstrap."
