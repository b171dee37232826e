"""How large a picture is, by its header: bombs of every format are told, and a picture as what it decodes to."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from bombs import PNG, SIDE, bombs, saved
from pictures import png_chunk
from PIL import Image, ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from itae.images.decode import BadImage, decode
from itae.images.header import header


@pytest.mark.parametrize("kind", bombs())
def test_a_bomb_tells_its_size(tmp_path, kind):
    path = tmp_path / "bomb"
    path.write_bytes(bombs()[kind])
    assert path.stat().st_size < 2000
    assert header(str(path)).pixels >= (250e6 if kind == "WEBP lossless" else SIDE**2)


@pytest.mark.parametrize("kind", bombs())
@pytest.mark.filterwarnings("ignore:Image size")
def test_nothing_is_decoded_for_that(tmp_path, kind, monkeypatch):
    """Of so many pixels, which Pillow would open."""
    path, image = tmp_path / "bomb", ImageFile.ImageFile
    path.write_bytes(bombs(12_000)[kind])
    monkeypatch.setattr(image, "load", lambda _: pytest.fail("it was decoded"))
    monkeypatch.setattr(WebPImageFile, "_open", lambda _: pytest.fail("it was opened"))
    assert header(str(path)).pixels in (12_000**2, 16_383**2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "JPEG2000", "WEBP", "GIF", "TIFF", "PPM", "BMP", "ICO", "AVIF"])
def test_a_picture_is_as_large_as_its_header_says(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(saved(kind, (16, 16) if kind == "ICO" else (31, 17)))
    found = header(str(path))
    assert found == (kind, np.prod(decode(str(path)).size), False)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_further_frames_are_told(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for count in (1, 3):
        path = tmp_path / f"{count}"
        frames[0].save(path, kind, **({"save_all": True, "append_images": frames[1:]} if count > 1 else {}))
        assert header(str(path)).several is (count > 1)


def test_parts_of_a_photograph_are_no_further_frames(tmp_path):
    """A telephone puts a small one, or the depths, behind the first: MPO."""
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8)).save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert header(str(path)) == ("MPO", 64, False)


@pytest.mark.parametrize("data", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG, b"GIF89a",
                                  b"\0\0\0\x18ftypheic" + bytes(20), b"PK\3\4" + bytes(50), b"RIFF\0\0\0\0WEBP",
                                  b"\xff\xd8\xff"])  # fmt: skip
def test_what_is_no_picture_is_told(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(BadImage) as told:
        header(str(path))
    assert str(told.value)


def test_a_header_with_something_damaged_beside_it_is_read_as_the_picture_is(tmp_path):
    whole = saved("PNG")
    damaged = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))  # more text than Pillow will have
    path = tmp_path / "picture"
    path.write_bytes(whole[:33] + damaged + whole[33:])
    with pytest.raises(ValueError, match="large"):
        Image.open(path)
    assert header(str(path)).pixels == np.prod(decode(str(path)).size) == 48
