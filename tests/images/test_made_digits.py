"""What is made of the digits: known pictures, the same bytes every time, and no digit in two splits."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from itae.base.errors import UserError
from itae.images.datasets import DigitPairs, Digits, DigitsConditions

VALUES = {"polarity": ["light_on_dark", "dark_on_light"], "colour": ["red", "green", "blue"], "rotation": ["0", "90"]}


@pytest.fixture(scope="module")
def digits():
    return Digits().open()


def glyphs(pairs):
    """Return the places of the digits of each pair, as its id tells them."""
    return [tuple(int(part) for part in id_.split("-")) for id_ in pairs.ids]


# ------------------------------------------------------------------------------------------------ pairs


def test_a_pair_is_its_two_digits_unchanged(digits):
    pairs = DigitPairs().open()
    for row in (0, 17, 540, 541, 839):
        left, right = glyphs(pairs)[row]
        picture = pairs.items[row]
        assert (picture.shape, picture.dtype) == ((16, 16), np.uint8)
        np.testing.assert_array_equal(picture[4:12, :8], digits.items[left])
        np.testing.assert_array_equal(picture[4:12, 8:], digits.items[right])
        assert not picture[:4].any()
        assert not picture[12:].any()
        name = f"{digits.labels[left]}{digits.labels[right]}"
        assert pairs.class_names[pairs.labels[row]] == name
        assert (pairs.attributes["left"][row], pairs.attributes["right"][row]) == tuple(name)
        assert pairs.label_sets[row] == tuple(sorted(set(name)))


def test_known_pairs():
    pairs = DigitPairs().open()
    assert pairs.ids[:3] == ["00974-00701", "00906-00777", "00437-00851"]
    assert [pairs.class_names[label] for label in pairs.labels[8:13]] == ["88", "99", "01", "12", "23"]
    assert pairs.label_sets[8:11] == [("8",), ("9",), ("0", "1")]
    assert pairs.fingerprint() == "82d3e7aaf9b2b1c66040652401373a9467757cbca3c9c4373d3cc859a17a88bd"


@pytest.mark.parametrize(("split", "count"), [("train", 541), ("test", 299)])
def test_up_to_the_default_no_digit_is_in_two_pairs(split, count):
    pairs = DigitPairs(split=split).open()
    assert len(pairs) == count
    used = Counter(itertools.chain(*glyphs(pairs)))
    assert set(used.values()) == {1}
    inside = range(1157) if split == "train" else range(1157, 1797)
    assert used.keys() <= set(inside)
    for start in range(0, count - 99, 100):
        assert sorted(pairs.labels[start : start + 100]) == list(range(100)), "each class once"


@pytest.mark.parametrize("count", [10, 840, 3000])
def test_all_is_train_and_then_test(count):
    whole, train, test = (DigitPairs(split=split, count=count).open() for split in ("all", "train", "test"))
    assert whole.ids == train.ids + test.ids
    assert len(whole) == count == len(set(whole.digests)), "no pair comes twice"
    assert len(train) == round(count * 1157 / 1797)
    first, second = (set(itertools.chain(*glyphs(one))) for one in (train, test))
    assert max(first) < 1157 <= min(second)
    for rest in (train, test):
        assert all(left != right for left, right in glyphs(rest)), "a digit is no pair with itself"


def test_more_pairs_begin_with_the_fewer_and_use_all_digits_alike():
    few, many = (DigitPairs(split="test", count=count).open() for count in (200, 5000))
    assert many.ids[: len(few)] == few.ids
    assert many.items[70].tobytes() == few.items[70].tobytes()
    used = Counter(itertools.chain(*glyphs(many)))
    assert set(used) == set(range(1157, 1797))
    assert max(used.values()) <= min(used.values()) + 2


@pytest.mark.parametrize("count", [9, -1, 2.5, True, None, "many", 100_001])
def test_a_count_that_cannot_be(count):
    with pytest.raises(UserError, match=r"dataset\.count=.* must be a whole number of at least 10 and at most 100,000"):
        DigitPairs(count=count)


def test_the_most_pairs_are_all_different():
    assert len(set(DigitPairs(split="test", count=100_000).open().ids)) == 35_615


# ------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize("condition", VALUES)
@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_each_digit_is_there_under_each_value(condition, split):
    plain, images = Digits(split=split).open(), DigitsConditions(condition=condition, split=split).open()
    values, n = VALUES[condition], len(plain)
    assert images.ids == [f"{glyph}/{value}" for value in values for glyph in plain.ids]
    assert images.labels.tolist() == plain.labels.tolist() * len(values)
    assert images.class_names == plain.class_names
    assert list(images.attributes) == ["digit", condition, "glyph"]
    assert images.attributes[condition] == [value for value in values for _ in range(n)]
    assert images.attributes["glyph"] == plain.ids * len(values) == [id_.rpartition("/")[0] for id_ in images.ids]
    assert images.attributes["digit"] == [str(label) for label in images.labels]
    assert images.label_sets is None


def seen(condition, digits, row):
    """Return what a digit is under each value, made here by hand from its 8 x 8 numbers."""
    grey = [[int(value) for value in line] for line in digits.items[row]]
    black = [[0] * 8 for _ in range(8)]
    return {
        "polarity": [grey, [[255 - value for value in line] for line in grey]],
        "colour": [list(np.stack(rgb, axis=-1)) for rgb in ((grey, black, black), (black, grey, black),
                                                            (black, black, grey))],
        "rotation": [grey, [[grey[x][7 - y] for x in range(8)] for y in range(8)]],  # the right column comes on top
    }[condition]  # fmt: skip


@pytest.mark.parametrize("condition", VALUES)
def test_the_pixels_are_those_of_the_digit(condition, digits):
    images = DigitsConditions(condition=condition).open()
    for row in (0, 1, 500, 1796):
        for turn, wanted in enumerate(seen(condition, digits, row)):
            np.testing.assert_array_equal(images.items[turn * 1797 + row], np.array(wanted, np.uint8))
            assert images.items[turn * 1797 + row].dtype == np.uint8


@pytest.mark.parametrize(
    ("condition", "fingerprint"),
    [
        ("polarity", "db19f2489924da1117dc24d826839e2e0ea8b6835893cfae6f157330de9017aa"),
        ("colour", "588ab621439b6d3cce21d93fa4369c01fd6d07b58109e4479cadbab2bf799a60"),
        ("rotation", "e8edd0d2d59ac9d97bb3fdcda1fb3587bbe4c796b4ed4faa43a60ef78cea8eb6"),
    ],
)
def test_they_are_the_same_every_time(condition, fingerprint):
    assert DigitsConditions(condition=condition).open().fingerprint() == fingerprint


def test_half_of_them_are_of_both_values():
    some = DigitsConditions(limit=1797).open()
    assert Counter(some.attributes["polarity"]) == {"light_on_dark": 899, "dark_on_light": 898}


@pytest.mark.parametrize("condition", ["size", "polarity,colour", None, ["colour"]])
def test_another_condition_is_told(condition):
    with pytest.raises(UserError, match=r"dataset\.condition=.* is not one of polarity, colour, rotation"):
        DigitsConditions(condition=condition)
