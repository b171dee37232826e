"""A conversion that computes something else is refused, and what is wrong with it is named where it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_nets import Toy, pictures, torch_of

from itae.base.errors import UserError
from itae.portable.devices.device import InProcess
from itae.portable.parity import BEST, check, parity_db


class Fake:
    name, pip = "fake", "pip install fake"
    budget_db: float | None = 90.0


class Quantised(Fake):
    budget_db = None


def half_a_pixel(picture, axis):
    """Between each pixel and the next, by linear interpolation; written by slices, where ours rolls."""
    after = np.concatenate([picture.take(range(1, picture.shape[axis]), axis), picture.take([-1], axis)], axis)
    return ((picture + after) / 2).astype(np.float32)


BROKEN = {
    "out": (lambda net, x: net(x)[:, ::-1], "channels come out swapped, as B, G, R"),
    "in": (lambda net, x: net(np.ascontiguousarray(x[:, ::-1])), "channels go in swapped, as B, G, R"),
    "both": (lambda net, x: net(np.ascontiguousarray(x[:, ::-1]))[:, ::-1], "go in and come out swapped, as B, G, R"),
    "turned": (lambda net, x: net(x)[:, [1, 2, 0]], "come out swapped, as G, B, R"),
    "down": (lambda net, x: half_a_pixel(net(x), 2), r"output is shifted by half a pixel \(-0.5 down, \+0 to the"),
    "right": (lambda net, x: net(half_a_pixel(x, 3)), r"input is shifted by half a pixel \(\+0 down, -0.5 to the"),
    "nan": (lambda net, x: net(x) * np.nan, "some of its values are not finite"),
    "less": (lambda net, x: net(x) * 0.99, r"at least 90 are needed; leave fake out"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_conversion_is_refused_and_named(kind):
    broken, said = BROKEN[kind]
    net = torch_of(Toy().build())
    with pytest.raises(UserError, match=said):
        check(Fake(), Toy(), InProcess(lambda x: broken(net, x)), net, pictures(2))


@pytest.mark.parametrize("kind", ["out", "in", "both", "turned", "down", "right", "nan"])
def test_so_it_is_without_a_budget(kind):
    broken, said = BROKEN[kind]
    net = torch_of(Toy().build())
    with pytest.raises(UserError, match=said):
        check(Quantised(), Toy(), InProcess(lambda x: broken(net, x)), net, pictures(2))


def test_a_faithful_one_passes_and_its_worst_picture_counts():
    net, (first, second) = torch_of(Toy().build()), pictures(2)
    runner = InProcess(lambda x: net(x) + np.float32(1e-5 if x is first else 1e-6))
    assert check(Fake(), Toy(), runner, net, [first, second]) == pytest.approx(100, abs=0.5)


def test_one_bad_picture_is_enough():
    net, (first, second) = torch_of(Toy().build()), pictures(2)
    with pytest.raises(UserError, match="come out swapped"):
        check(Fake(), Toy(), InProcess(lambda x: net(x)[:, ::-1] if x is second else net(x)), net, [first, second])


def test_eight_bits_are_told_not_refused():
    net = torch_of(Toy().build())
    found = check(Quantised(), Toy(), InProcess(lambda x: np.round(net(x) * 30) / 30), net, pictures(2))
    assert 35 < found < 45


def test_another_shape_is_refused():
    net = torch_of(Toy().build())
    with pytest.raises(UserError, match=r"array of shape \[1, 3, 63, 64\], where .* \[1, 3, 64, 64\] is"):
        check(Fake(), Toy(), InProcess(lambda x: net(x)[:, :, 1:]), net, pictures(1))


@given(st.floats(1e-9, 1.0))
def test_parity_is_the_psnr_at_peak_1(error):
    reference = np.zeros((1, 3, 4, 4))
    assert parity_db(reference + error, reference) == pytest.approx(min(BEST, -20 * np.log10(error)))


def test_equal_is_the_cap_and_no_number_is_the_worst():
    picture = pictures(1)[0]
    assert parity_db(picture, picture) == BEST
    assert parity_db(picture * np.nan, picture) == -np.inf
