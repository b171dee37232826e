"""Blur and noise: what light does, held against what can be known without the code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itae.base.errors import UserError
from itae.portable.data.frames import Frames
from itae.portable.data.light import Light, linear_to_srgb, srgb_to_linear
from itae.portable.data.noise import NoNoise, PoissonGaussian
from itae.portable.data.objects import Objects, outline
from itae.portable.data.shake import NoBlur, Shake, convolved, softened
from itae.portable.data.walk import STEPS, path, psf, side


def drawn(seed=0):
    return np.random.default_rng(seed)


def picture(size, seed=0):
    """A picture of smooth and sharp parts, uint8."""
    rng = drawn(seed)
    coarse = rng.integers(0, 256, (size // 4 + 1, size // 4 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))[:size, :size]


def blurred(blur, size, seed=0, lit=None, split="train"):
    margin = blur.margin(size)
    whole = size + 2 * margin
    lit = Light().of(picture(whole, seed)) if lit is None else lit
    return blur.of(lit, margin, lambda: Light().of(picture(whole, seed + 1)), drawn(seed), split)


# ------------------------------------------------------------------------------------------------------ light


def test_every_byte_comes_back():
    for curve in ("srgb", "gamma", "none"):
        light = Light(curve)
        np.testing.assert_array_equal(light.seen(light.of(np.arange(256, dtype=np.uint8))), np.arange(256))


def test_the_curve_is_that_of_the_standard():
    """Values of IEC 61966-2-1: its two parts meet, and middle grey of 18 % is 118 (.4614)."""
    assert srgb_to_linear(np.array(0.04045)) == pytest.approx(0.0031308, abs=1e-6)
    assert linear_to_srgb(np.array(0.18)) == pytest.approx(0.4614, abs=1e-4)
    assert srgb_to_linear(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("curve", "number"), [("srgb", 0.7354), ("gamma", 0.5 ** (1 / 2.2)), ("none", 0.5)])
def test_black_and_white_stripes_blur_to_half_the_light(curve, number):
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = 255
    light = Light(curve)
    two = np.array([[0, 0, 0], [0.25, 0.5, 0.25], [0, 0, 0]], np.float32)
    seen = light.seen(convolved(light.of(stripes), two))
    np.testing.assert_allclose(seen / 255, number, atol=0.5 / 255 + 1e-4)


# ------------------------------------------------------------------------------------------------------ shake


@settings(max_examples=200, deadline=None)
@given(
    length=st.floats(0, 60),
    restless=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_psf_has_all_the_light_its_centre_in_the_middle_and_a_path_of_the_length_asked_for(length, restless, seed):
    way = path(length, restless, drawn(seed))
    assert len(way) == STEPS + 1
    assert np.abs(np.diff(way)).sum() == pytest.approx(length, abs=1e-9)
    kernel = psf(way, side(length))
    at = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert kernel.sum(0) @ at == pytest.approx(0, abs=1e-4)
    assert kernel.sum(1) @ at == pytest.approx(0, abs=1e-4)


def test_a_straight_path_is_a_line_of_even_light():
    way = np.linspace(0, 8, 1025) + 0j
    kernel = psf(way, side(8))
    middle = kernel[len(kernel) // 2]
    assert middle.sum() == pytest.approx(1)
    np.testing.assert_allclose(middle[len(kernel) // 2 - 3 : len(kernel) // 2 + 4], 1 / 8, rtol=0.01)


def test_restless_paths_are_shorter_from_end_to_end():
    reach = {
        restless: np.mean([abs(path(20, restless, drawn(seed))[-1]) for seed in range(100)]) for restless in (0, 0.5, 1)
    }
    assert reach[0] == pytest.approx(20)
    assert reach[0] > reach[0.5] + 2 > reach[1] + 3


@pytest.mark.parametrize("lens", [0, 1])
def test_a_lone_point_of_light_becomes_the_psf_and_not_its_mirror_image(lens):
    blur = Shake((18, 20), lens=lens)
    margin = blur.margin(41)
    whole = 41 + 2 * margin
    point = np.zeros((whole, whole, 3), np.float32)
    point[whole // 2, whole // 2] = 1
    found = blurred(blur, 41, lit=point)
    assert np.abs(found.psf - found.psf[::-1, ::-1]).max() > 0.002  # else nothing would be seen of it
    around = 20 - len(found.psf) // 2
    cut = found.blurred[around : around + len(found.psf), around : around + len(found.psf)]
    for channel in range(3):
        np.testing.assert_allclose(cut[..., channel], found.psf, atol=1e-6)
    assert found.blurred.sum() == pytest.approx(3, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(length=st.floats(0, 12), sigma=st.floats(0.8, 3), seed=st.integers(0, 2**32))
def test_a_lens_adds_its_variance_and_that_of_a_pixel_and_moves_no_light(length, sigma, seed):
    reach = int(np.ceil(4 * sigma))
    sharp = psf(path(length, 1, drawn(seed)), side(length) + 2 * reach)
    soft = softened(sharp, sigma)
    at = np.arange(len(sharp)) - len(sharp) // 2
    assert soft.min() >= 0
    assert soft.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    for axis in (0, 1):
        before, after = sharp.sum(axis).astype(np.float64), soft.sum(axis).astype(np.float64)
        assert after @ at == pytest.approx(before @ at, abs=1e-4)
        assert after @ at**2 - before @ at**2 == pytest.approx(sigma**2 + 1 / 12, rel=0.01, abs=0.002)


def test_a_lens_of_known_softness_is_the_integral_of_the_normal_law():
    point = np.zeros((11, 11), np.float32)
    point[5, 5] = 1
    middle = softened(point, 1.0)[5] / softened(point, 1.0)[5].sum()
    np.testing.assert_allclose(middle[5:9], [0.38292, 0.24173, 0.06060, 0.00598], atol=2e-5)  # of tables of the law


def test_convolution_is_that_of_the_definition():
    lit, kernel = drawn(1).random((9, 9, 3)).astype(np.float32), drawn(2).random((3, 3)).astype(np.float32)
    slow = np.zeros((7, 7, 3))
    for row in range(7):
        for column in range(7):
            for i in range(3):
                for j in range(3):
                    slow[row, column] += kernel[i, j] * lit[row + 2 - i, column + 2 - j]
    np.testing.assert_allclose(convolved(lit, kernel), slow, rtol=1e-5)
    for i, j in np.ndindex(3, 3):  # one that moves a picture does so to the bit
        alone = np.zeros((3, 3), np.float32)
        alone[i, j] = 1
        np.testing.assert_array_equal(convolved(lit, alone), lit[2 - i : 9 - i, 2 - j : 9 - j])


STILL = [
    Shake((0, 0), lens=0),
    NoBlur(),
    Frames((0, 0), turn=0),
    Objects((0, 0)),
    Objects((0, 0), background=(0, 0), size=(1, 1)),
]


@pytest.mark.parametrize("blur", STILL)
def test_without_motion_a_picture_is_the_same_to_the_bit(blur):
    found = blurred(blur, 48)
    light = Light()
    np.testing.assert_array_equal(light.seen(found.blurred), light.seen(found.sharp))
    np.testing.assert_allclose(found.blurred, found.sharp, atol=1e-6)
    assert found.length == 0


@pytest.mark.parametrize("blur", [Shake(), Frames(), NoBlur()])
def test_the_sharp_one_is_the_photograph_itself(blur):
    margin = blur.margin(32)
    shot = picture(32 + 2 * margin)
    sharp = Light().seen(blurred(blur, 32).sharp)
    np.testing.assert_array_equal(sharp, shot[margin : margin + 32, margin : margin + 32])


# ------------------------------------------------------------------------------------------- frames and things


def test_frames_without_a_turn_are_a_psf():
    """The same path by another way: an average of moved pictures is a convolution by where they moved to."""
    blur = Frames((9, 9), turn=0, frames=33, restless=0)
    margin = blur.margin(40)
    smooth = np.stack([gaussian(40 + 2 * margin, 6.0)] * 3, axis=2)
    found = blurred(blur, 40, lit=smooth)
    angle = drawn(0)
    angle.uniform(9, 9)  # as the blur draws
    way = path(9, 0, angle)[:: STEPS // 32]
    at = way - way[16]
    rows, columns = np.mgrid[: len(smooth), : len(smooth)] - (len(smooth) - 1) / 2
    slow = np.mean([np.exp(-((rows - z.imag) ** 2 + (columns - z.real) ** 2) / 72) for z in at], axis=0)
    np.testing.assert_allclose(found.blurred[..., 0], slow[margin:-margin, margin:-margin], atol=0.005)
    assert found.length == pytest.approx(9, rel=1e-3)


def gaussian(size, sigma):
    at = np.arange(size) - (size - 1) / 2
    return np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2)).astype(np.float32)


def test_a_turn_blurs_the_rim_and_not_the_middle():
    blur = Frames((0, 0), turn=20, frames=33)
    margin = blur.margin(64)
    shot = picture(64 + 2 * margin, seed=4)
    found = blurred(blur, 64, seed=4, lit=Light().of(shot))
    off = np.abs(found.blurred - found.sharp).mean(axis=2)
    assert off[28:36, 28:36].mean() < 0.3 * off[:8].mean()
    assert found.length > 0


def test_a_thing_hides_what_is_behind_it_and_the_rest_stays_sharp():
    blur = Objects((10, 10), size=(0.3, 0.3))
    found = blurred(blur, 64, seed=2)
    margin = blur.margin(64)
    behind = Light().of(picture(64 + 2 * margin, 2))[margin:-margin, margin:-margin]
    moved = np.abs(found.blurred - found.sharp).max(axis=2) > 1e-3
    other = np.abs(found.sharp - behind).max(axis=2) > 1e-3
    assert 0.01 < other.mean() < 0.3, "there is a thing"
    assert other.mean() < moved.mean() < 0.6, "its blur is larger than it"
    np.testing.assert_allclose(found.blurred[~moved & ~other], behind[~moved & ~other], atol=1e-3)


def test_a_shaken_background_moves_everywhere():
    found = blurred(Objects((0, 0), background=(10, 10), size=(0.1, 0.1)), 48)
    assert (np.abs(found.blurred - found.sharp).max(axis=2) > 1e-3).mean() > 0.4


def test_outlines_are_smooth_and_of_the_breadth_asked_for():
    areas = [outline(100, np.array([50.0, 50.0]), 20, drawn(seed)).sum() for seed in range(50)]
    assert np.mean(areas) == pytest.approx(np.pi * 20**2, rel=0.1)
    assert np.std(areas) > 20


def cutouts(folder, count=4):
    folder.mkdir()
    for i in range(count):
        pixels = np.zeros((30, 20, 4), np.uint8)
        pixels[5:25, 5:15] = (255, 10 * i, 0, 255)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_cutouts_of_the_user_are_shared_out_among_the_splits(tmp_path):
    blur = Objects((0, 0), size=(0.5, 0.5), folder=str(cutouts(tmp_path / "c")))
    blur.check()
    seen = {}
    for split in ("train", "validation", "test"):
        for seed in range(20):
            sharp = Light().seen(blurred(blur, 64, seed, lit=np.zeros((66, 66, 3), np.float32), split=split).sharp)
            reds = sharp[sharp[..., 0] == 255]
            if len(reds):
                seen.setdefault(split, set()).update(reds[:, 1].tolist())
    tones = [tone for split in seen.values() for tone in split]
    assert len(seen) == 3
    assert len(tones) == len(set(tones)) == 4, seen


def test_mistakes_with_cutouts_are_told(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        Objects(folder=str(tmp_path / "none")).check()
    with pytest.raises(UserError, match="2 different cut-outs"):
        Objects(folder=str(cutouts(tmp_path / "few", 2))).check()
    many = cutouts(tmp_path / "many")
    Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(many / "whole.png")
    with pytest.raises(UserError, match=r"whole\.png hides all"):
        Objects(folder=str(many)).check()
    (many / "whole.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"whole\.png can't be read"):
        Objects(folder=str(many)).check()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Shake((4,)),  # type: ignore[arg-type]
            "blur.length=\\(4,\\) must be two numbers",
        ),
        (lambda: Shake((True, 8)), "must be two numbers"),
        (lambda: Shake(("2", "8")), "must be two numbers"),  # type: ignore[arg-type]
        (lambda: Shake(9), "must be two numbers"),  # type: ignore[arg-type]
        (lambda: Shake((9, 4)), "in this order"),
        (lambda: Shake((4, 1000)), "of 0 to 128"),
        (lambda: Shake(restless=2), "blur.restless=2"),
        (lambda: Shake(lens=-1), "blur.lens=-1"),
        (lambda: Frames(frames=8), "blur.frames=8 must be odd"),
        (lambda: Frames(turn=-1), "blur.turn=-1"),
        (lambda: Objects(size=(0, 1)), "blur.size"),
        (lambda: Objects(background=(0, float("nan"))), "blur.background"),
        (lambda: PoissonGaussian(gain=-1), "noise.gain=-1"),
        (lambda: PoissonGaussian(sigma=2), "noise.sigma=2"),
        (lambda: Light("linear"), "pairs.light='linear' is not one of srgb, gamma, none"),
    ],
)
def test_options_out_of_range_are_told(make, said):
    with pytest.raises(UserError, match=said):
        make()


# ------------------------------------------------------------------------------------------------------ noise


def test_the_variance_of_noise_is_a_line_in_light():
    """Var = gain x + sigma^2, by regression over 40 levels of light."""
    noise, levels = PoissonGaussian(gain=2e-3, sigma=0.03), np.linspace(0.05, 1, 40)
    draw = drawn(5)
    noisy = [noise.of(np.full(20_000, level, np.float32), draw) for level in levels]
    slope, start = np.polyfit(levels, [each.var() for each in noisy], 1)
    assert slope == pytest.approx(2e-3, rel=0.05)
    assert start == pytest.approx(0.03**2, rel=0.1)
    np.testing.assert_allclose([each.mean() for each in noisy], levels, atol=2e-3)


def test_noise_goes_below_black_before_it_is_clipped():
    dark = PoissonGaussian(gain=0, sigma=0.1).of(np.zeros(1000, np.float32), drawn())
    assert dark.min() < -0.1
    assert dark.mean() == pytest.approx(0, abs=0.02)


def test_no_noise_changes_nothing():
    light = drawn().random(10).astype(np.float32)
    for none in (NoNoise(), PoissonGaussian(0, 0)):
        np.testing.assert_array_equal(none.of(light, drawn()), light)
