"""Quality by the length of the blur holds each pair once."""

import dataclasses

import numpy as np
import pytest
from drawn_pairs import pairs

from itae.portable.train.lengths import by_length
from itae.portable.train.quality import Mean, floor, quality

PAIRS = dataclasses.replace(pairs(["a", "b", "c"], each=3, side=16), blur_px=np.arange(1, 10, dtype=np.float32))


def test_parts_have_about_as_many_pairs_and_each_pair_once():
    found, blurred = quality(PAIRS.sharp, PAIRS), floor(PAIRS)
    parts = by_length(found, blurred, PAIRS)
    assert [(part.low, part.high, part.pairs) for part in parts] == [(1, 3, 2), (3, 5, 2), (5, 7, 2), (7, 9, 3)]
    assert parts[3].psnr.mean == pytest.approx(found.psnr_each[6:].mean())
    assert parts[3].gain.mean == pytest.approx((found.psnr_each - blurred.psnr_each)[6:].mean())
    assert parts[0].psnr.low is None  # both are of one photograph
    assert parts[1].gain.low < parts[1].gain.high


def test_edges_may_be_given_and_empty_parts_are_left_out():
    blurred = floor(PAIRS)
    parts = by_length(blurred, blurred, PAIRS, (0, 0.5, 5, 9))
    assert [(part.low, part.high, part.pairs) for part in parts] == [(0.5, 5, 4), (5, 9, 5)]
    assert parts[1].gain == Mean(0.0, 0.0, 0.0)


def test_lengths_that_nobody_knows_and_those_that_are_all_one():
    blurred = floor(PAIRS)
    unknown = dataclasses.replace(PAIRS, blur_px=np.full(9, np.nan, np.float32))
    assert by_length(blurred, blurred, unknown) == []
    one = np.full(9, 4, np.float32)
    one[0] = np.nan
    parts = by_length(blurred, blurred, dataclasses.replace(PAIRS, blur_px=one))
    assert [(part.low, part.high, part.pairs) for part in parts] == [(4, 4, 8)]
