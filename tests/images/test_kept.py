"""What a store keeps of a picture has the picture's digest, and is read back as it was."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from itae.images.datasets import Digits, ImageFolder
from itae.images.image_set import ImageSet
from itae.images.kept import picture
from itae.images.samples import BadImage


def same(images):
    for i in range(len(images)):
        data = images.data(i)
        assert hashlib.sha256(data).digest() == images.digests[i]
        np.testing.assert_array_equal(np.asarray(picture(data)), np.asarray(images.read(i)))


def test_pixels_that_lie_in_no_file():
    same(Digits(limit=5).open())
    rng = np.random.default_rng(0)
    colours = [rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)]
    same(ImageSet("x", "all", ["a", "b"], colours, None, []))


def test_files(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (9, 6, 3), dtype=np.uint8)).save(tmp_path / name)
    same(ImageFolder(root=str(tmp_path)).open())


def test_a_photo_may_come_smaller_where_that_will_do(tmp_path):
    Image.new("RGB", (1600, 1200), "red").save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    assert picture(data).size == (1600, 1200)
    assert picture(data, lambda _: (256, 256)).size == (400, 300)


@pytest.mark.parametrize("data", [b"", b"no picture", b"(2, 2)123", b"(2, 2)12345", b"(2, 2, 3)" + bytes(11)])
def test_what_is_no_picture_is_told(data):
    with pytest.raises(BadImage):
        picture(data)
