"""Every kind of file comes out as a person sees it, and every kind of damage is told."""

import io
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
from pictures import png
from PIL import Image, features

from itae.images import decode as decoding
from itae.images.decode import ENDINGS, FORMATS, BadImage, check, decode

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def pixel(path, x=0, y=0):
    image = decode(str(path))
    assert image.mode == "RGB"
    check(str(path))  # what can be decoded also passes the check
    return image.getpixel((x, y))


def test_alpha_is_composited_over_white(tmp_path):
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    image.putpixel((2, 0), (0, 0, 0, 128))
    image.save(tmp_path / "a.png")
    assert [pixel(tmp_path / "a.png", x) for x in range(3)] == [WHITE, RED, (127, 127, 127)]


def test_grey_with_alpha(tmp_path):
    image = Image.new("LA", (2, 1), (10, 0))
    image.putpixel((1, 0), (10, 255))
    image.save(tmp_path / "a.png")
    assert [pixel(tmp_path / "a.png", x) for x in range(2)] == [WHITE, (10, 10, 10)]


@pytest.mark.parametrize("alphas", [b"\0\xff", b"\x80\xff"], ids=["one clear entry", "alpha for each entry"])
def test_palette_with_transparency(tmp_path, alphas):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=alphas)
    clear = WHITE if alphas[0] == 0 else (127, 127, 127)
    assert [pixel(tmp_path / "p.png", x) for x in range(2)] == [clear, RED]


def test_palette_without_transparency(tmp_path):
    image = Image.new("P", (1, 1))
    image.putpalette([*GREEN])
    image.save(tmp_path / "p.png")
    assert pixel(tmp_path / "p.png") == GREEN


def test_one_transparent_colour(tmp_path):
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    image.save(tmp_path / "rgb.png", transparency=RED)
    assert [pixel(tmp_path / "rgb.png", x) for x in range(2)] == [WHITE, GREEN]
    grey = Image.new("L", (2, 1), 7)
    grey.putpixel((1, 0), 9)
    grey.save(tmp_path / "l.png", transparency=7)
    assert [pixel(tmp_path / "l.png", x) for x in range(2)] == [WHITE, (9, 9, 9)]


def test_grey_and_one_bit(tmp_path):
    Image.new("L", (1, 1), 77).save(tmp_path / "l.png")
    assert pixel(tmp_path / "l.png") == (77, 77, 77)
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "1.png")
    assert [pixel(tmp_path / "1.png", x) for x in range(2)] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_uses_the_full_range(tmp_path, ending):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    path = tmp_path / f"a.{ending}"
    if ending == "pgm":
        path.write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert [pixel(path, x)[0] for x in range(4)] == [0, 1, 128, 255]


def test_16_bit_grey_with_a_transparent_value(tmp_path):
    row = struct.pack(">2H", 1000, 257 * 5)
    path = png(tmp_path / "a.png", 2, 1, 16, 0, [row], [(b"tRNS", struct.pack(">H", 1000))])
    assert [pixel(path, x) for x in range(2)] == [WHITE, (5, 5, 5)]


def test_16_bit_colour(tmp_path):
    rgb = png(tmp_path / "rgb.png", 1, 1, 16, 2, [struct.pack(">3H", 0xFF00, 0x8000, 0)])
    assert pixel(rgb) == (255, 128, 0)
    rgba = png(tmp_path / "rgba.png", 1, 1, 16, 6, [struct.pack(">4H", 0, 0, 0, 0)])
    assert pixel(rgba) == WHITE
    key = struct.pack(">3H", 0xFF00, 0x8000, 0x100)
    keyed = png(tmp_path / "key.png", 1, 1, 16, 2, [key], [(b"tRNS", key)])
    assert pixel(keyed) == WHITE


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk(tmp_path, ending):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"a.{ending}")  # no cyan is red
    assert np.allclose(pixel(tmp_path / f"a.{ending}"), RED, atol=4)


def test_cmyk_with_and_without_an_adobe_marker_are_inverted_alike(tmp_path):
    """Pillow takes every CMYK JPEG for an inverted one, as Photoshop writes them; so do browsers."""
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(buffer, "JPEG")
    data = buffer.getvalue()
    adobe = b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x00"
    bare = data.replace(data[data.index(b"\xff\xee") :][:16], b"") if b"Adobe" in data else data
    (tmp_path / "bare.jpg").write_bytes(bare)
    (tmp_path / "adobe.jpg").write_bytes(bare[:2] + adobe + bare[2:])
    assert pixel(tmp_path / "bare.jpg") == pixel(tmp_path / "adobe.jpg")
    assert np.allclose(pixel(tmp_path / "adobe.jpg"), RED, atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, ending):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = RED
    stored[8:, 16:] = GREEN
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    seen = {  # what the EXIF standard says, written in numpy
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    got = np.asarray(decode(str(path))).astype(int)
    assert got.shape == seen.shape
    assert np.abs(got - seen).mean() < 6


def test_broken_exif_does_not_cost_the_picture(tmp_path):
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.jpg", exif=b"Exif\0\0not a TIFF header at all", quality=100)
    assert np.allclose(pixel(tmp_path / "a.jpg"), RED, atol=4)


def test_webp_with_alpha_and_animated_webp(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.webp", lossless=True)
    assert pixel(tmp_path / "a.webp") == WHITE
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert pixel(tmp_path / "b.webp") == RED


def test_first_frame_of_a_gif_and_its_transparency(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(tmp_path / "a.gif") == RED
    image = Image.new("P", (1, 1))
    image.putpalette([0, 0, 0])
    image.save(tmp_path / "b.gif", transparency=0)
    assert pixel(tmp_path / "b.gif") == WHITE


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in {"XPM", "XBM", "MPO", "DIB", "JPEG2000", "AVIF"}])
def test_every_format_that_is_promised(tmp_path, name):
    path = tmp_path / f"a{FORMATS[name][0]}"
    if name == "PSD":
        header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 1, 1, 8, 3)
        path.write_bytes(header + bytes(12) + b"\0\0" + bytes(RED))
    else:
        Image.new("RGB", (16, 16), RED).save(path, name)
    assert np.allclose(pixel(path), RED, atol=4)


@pytest.mark.parametrize(("feature", "name"), [("jpg_2000", "JPEG2000"), ("avif", "AVIF")])
def test_formats_that_some_builds_lack(tmp_path, feature, name):
    if not features.check(feature):
        pytest.skip(f"this Pillow has no {name}")
    Image.new("RGB", (16, 16), RED).save(tmp_path / f"a{FORMATS[name][0]}", name)
    assert np.allclose(pixel(tmp_path / f"a{FORMATS[name][0]}"), RED, atol=8)


def test_the_content_decides_not_the_name(tmp_path):
    Image.new("RGB", (8, 8), RED).save(tmp_path / "really_a_png.jpg", "PNG")
    assert pixel(tmp_path / "really_a_png.jpg") == RED


def test_a_format_that_runs_another_program_is_never_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\nshowpage\n")
    with pytest.raises(BadImage, match="not an image"):
        decode(str(tmp_path / "a.png"))
    assert not ENDINGS & {".eps", ".ps", ".pdf", ".txt", ".h5"}


def jpeg_bytes(**options):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, options.pop("format", "JPEG"), **options)
    return buffer.getvalue()


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, I am not an image", "not an image"),
    "html.jpg": (b"<html>404 Not Found</html>", "not an image"),
    "cut.jpg": (jpeg_bytes()[:-2000], "truncated"),
    "cut_progressive.jpg": (jpeg_bytes(progressive=True)[:2000], "truncated"),
    "cut.png": (jpeg_bytes(format="PNG")[:-4000], "truncated|broken"),
    "cut.webp": (jpeg_bytes(format="WEBP")[:-500], "."),
    "cut.gif": (jpeg_bytes(format="GIF")[:-2000], "."),
    "header.png": (jpeg_bytes(format="PNG")[:20], "."),
    "flipped.png": (jpeg_bytes(format="PNG")[:300] + b"\xff" * 50 + jpeg_bytes(format="PNG")[350:], "."),
}


@pytest.mark.parametrize("name", BAD)
def test_damage_is_a_bad_image_with_a_reason(tmp_path, name):
    data, reason = BAD[name]
    (tmp_path / name).write_bytes(data)
    for look in (decode, check):
        with pytest.raises(BadImage, match=reason):
            look(str(tmp_path / name))


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture, whatever its name says"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIC picture"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "a JPEG XL picture"),
    ],
)
def test_a_picture_of_another_kind_under_a_wrong_name_is_told(tmp_path, start, told):
    (tmp_path / "a.jpg").write_bytes(start + bytes(99))
    for look in (decode, check):
        with pytest.raises(BadImage, match=f"{told}.*convert it to JPEG or PNG"):
            look(str(tmp_path / "a.jpg"))


def test_avif_where_pillow_lacks_it(tmp_path, monkeypatch):
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0" + bytes(99))
    monkeypatch.setattr(decoding, "readable_formats", lambda: ("PNG", "JPEG"))
    with pytest.raises(BadImage, match="an AVIF picture, which the Pillow that is installed can't read; convert it"):
        decode(str(tmp_path / "a.avif"))


def test_float_pixels_are_refused(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "f.tif")
    for look in (decode, check):
        with pytest.raises(BadImage, match="no agreed white"):
            look(str(tmp_path / "f.tif"))


def test_a_missing_file_a_broken_link_and_a_folder(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    for name, reason in {"no.png": "missing", "link.png": "broken link", ".": "a folder"}.items():
        with pytest.raises(BadImage, match=reason):
            decode(str(tmp_path / name))


def test_a_big_scan_is_read_without_a_warning_and_a_bomb_is_a_bad_image(tmp_path):
    Image.new("1", (100, 100)).save(tmp_path / "a.png")
    code = (
        "from PIL import Image; from itae.images.decode import decode, BadImage\n"
        "Image.MAX_IMAGE_PIXELS = {}\n"
        "try: print(decode({!r}).size)\n"
        "except BadImage as e: print(e)"
    )

    def run(limit):
        command = [sys.executable, "-c", code.format(limit, str(tmp_path / "a.png"))]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    big = run(6000)  # 10,000 pixels are more than the limit, and less than twice the limit
    assert big.stdout.strip() == "(100, 100)"
    assert big.stderr == ""
    assert "megapixels" in run(4000).stdout


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import itae.images.decode  # noqa: F401
