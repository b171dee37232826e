"""What has a say in the pixels and what has none: metadata, whole or damaged, and the ends of files."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from pictures import png_chunk
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from itae.images import chunks
from itae.images.chunks import Pieces
from itae.images.decode import BadImage, check, decode

SHADES = np.add.outer(np.arange(48), 2 * np.arange(64))[..., None] * np.array([1, 1.3, 0.6]) % 256
NOISE = np.random.default_rng(0).integers(0, 60, (48, 64, 3))
PICTURE = Image.fromarray((SHADES * 0.7 + NOISE).astype(np.uint8))
HIDDEN = b"Exif\0\0MM\0*junkjunkjunk"


def bytes_of(format_, image=PICTURE, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def look(folder, data):
    """Return the pixels, or why there are none; check agrees."""
    path = str(folder / "picture")
    (folder / "picture").write_bytes(data)
    try:
        pixels = np.asarray(decode(path))
    except BadImage as reason:
        with pytest.raises(BadImage):
            check(path)
        return str(reason)
    check(path)
    return pixels


def text(**options):
    info = PngInfo()
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    info.add_itxt("more", "x" * 2_000_000, zip=True)
    return bytes_of("PNG", pnginfo=info, **options)


def parts(png):
    """Return the chunks of a PNG as (kind, data)."""
    at, out = 8, []
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        out.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return out


def png_with(*chunks, damaged=(), at=1):
    """Return the PNG with more chunks in it; those of the kinds `damaged` have a wrong checksum."""
    every = parts(bytes_of("PNG"))
    every[at:at] = chunks
    made = [png_chunk(*part)[:-4] + bytes(4) if part[0] in damaged else png_chunk(*part) for part in every]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def jpeg_with(marker, data, jpeg=None):
    jpeg = jpeg or bytes_of("JPEG")
    return jpeg[:2] + bytes([255, marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


EXIF = Image.Exif()
EXIF[0x0112] = 6
XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
ITXT = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
RAW = b"Raw profile type exif\0\0" + zlib.compress(
    b"\nexif\n%8d\n" % len(EXIF.tobytes()) + EXIF.tobytes().hex().encode()
)
BULKY = (b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000)))
METADATA = {
    "texts of 2 MB": text(),
    "a profile of 3 MB": bytes_of("PNG", icc_profile=bytes(3_000_000)),
    "texts of 70 MB": png_with(*[(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000)))] * 70),
    "a bomb of a text behind the pixels": png_with(BULKY, at=2),
    "a text whose checksum is wrong": png_with((b"tEXt", b"k\0v"), damaged=[b"tEXt"]),
    "a density whose checksum is wrong": png_with((b"pHYs", bytes(9)), damaged=[b"pHYs"]),
    "a text whose checksum is wrong behind the pixels": png_with((b"tEXt", b"k\0v"), damaged=[b"tEXt"], at=2),
    "a text compressed by nobody knows what": png_with((b"zTXt", b"k\0\7abc")),
    "a text that is no text": png_with((b"iTXt", b"k\0\0\0\0\0\xff\xfe")),
    "no profile": png_with((b"iCCP", b"")),
    "a profile compressed by nobody knows what": png_with((b"iCCP", b"n\0\5abc")),
    "short gamma, density, colours": png_with((b"gAMA", b""), (b"pHYs", b"a"), (b"cHRM", b"a"), (b"sRGB", b"")),
    "an animation that is none": png_with((b"acTL", b"\0")),
    "a frame outside of the picture": png_with((b"fcTL", bytes(26))),
    "EXIF that is none": png_with((b"eXIf", b"junk")),
    "JPEG: EXIF that is none": bytes_of("JPEG", exif=HIDDEN),
    "JPEG: EXIF of loops": bytes_of("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(256))),
    "JPEG: XMP that is none": jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe\xfd"),
    "JPEG: a short profile": jpeg_with(0xE2, b"ICC_PROFILE\0"),
    "JPEG: no list of pictures": jpeg_with(0xE2, b"MPF\0junk"),
    "JPEG: no Photoshop": jpeg_with(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\xff\xff\xff\xff"),
    "JPEG: a short Adobe": jpeg_with(0xEE, b"Adobe"),
    "JPEG: a short JFIF": jpeg_with(0xE0, b"JFIF\0"),
    "JPEG: comments of megabytes": jpeg_with(0xFE, bytes(65533), jpeg_with(0xFE, bytes(65533))),
    "WebP: EXIF, XMP and a profile that are none": bytes_of(
        "WEBP", lossless=True, exif=HIDDEN, xmp=b"\xff\xfe", icc_profile=b"none"
    ),
    "TIFF: a profile and odd tags": bytes_of(
        "TIFF", icc_profile=b"none", tiffinfo={282: 0.0, 283: 0.0, 270: "\udcff".encode(errors="replace"), 34665: 9}
    ),
    "TIFF: XMP that is none": bytes_of("TIFF", tiffinfo={700: b"\xff\xfe"}),
    "GIF: a comment": bytes_of("GIF", PICTURE.convert("P"), comment=b"\xff" * 70_000),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", METADATA)
def test_metadata_has_no_say_in_the_pixels(tmp_path, name):
    kind = name.split(":")[0] if ":" in name else "PNG"
    options = {"lossless": True} if kind == "WebP" else {}
    plain = bytes_of(kind.upper(), PICTURE.convert("P") if kind == "GIF" else PICTURE, **options)
    assert np.array_equal(look(tmp_path, METADATA[name]), look(tmp_path, plain))


TURNED = {
    "PNG: beside a bulky text": png_with((b"eXIf", EXIF.tobytes()[6:]), BULKY),
    "PNG: bulky text first, EXIF last": png_with(BULKY, (b"eXIf", EXIF.tobytes()[6:]), at=2),
    "PNG: XMP beside a bulky text": png_with((b"iTXt", ITXT), BULKY),
    "PNG: ImageMagick's profile beside a bulky text": png_with((b"zTXt", RAW), BULKY),
    "JPEG: beside a short profile": jpeg_with(0xE2, b"ICC_PROFILE\0", bytes_of("JPEG", exif=EXIF)),
    "JPEG: without its last two bytes": bytes_of("JPEG", exif=EXIF)[:-2],
}


@pytest.mark.parametrize("name", TURNED)
def test_the_orientation_is_kept_where_metadata_is_bulky_or_damaged(tmp_path, name):
    upright = look(tmp_path, bytes_of(name.split(":")[0]))
    assert np.array_equal(look(tmp_path, TURNED[name]), np.rot90(upright, -1))


def test_an_orientation_whose_checksum_is_wrong_is_none(tmp_path):
    turned = png_with((b"eXIf", EXIF.tobytes()[6:]), damaged=[b"eXIf"])
    assert np.array_equal(look(tmp_path, turned), np.asarray(PICTURE))


def jpeg(**options):
    return bytes_of("JPEG", **options)


def cut(data, share):
    return data[: int(len(data) * share)]


def split_pixels(between):
    """Return the PNG with a chunk among those of its pixels."""
    header, (_, pixels), end = parts(bytes_of("PNG"))
    every = [header, (b"IDAT", pixels[:99]), between, (b"IDAT", pixels[99:]), end]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in every)


def filled(data):
    """Return the JPEG with bytes of ff before each marker ahead of its samples, as the standard allows."""
    for marker in b"\xe0\xdb\xc0\xc4\xda":
        data = data.replace(bytes([255, marker, 0]), bytes([255, 255, 255, marker, 0]), 1)
    return data


PNG, JPEG, PROGRESSIVE, RESTARTS = bytes_of("PNG"), jpeg(), jpeg(progressive=True), jpeg(restart_marker_blocks=3)
GREY = jpeg(image=Image.new("L", (64, 48), 128))
FORGIVEN = {  # by viewers: all pixels are there
    "PNG without IEND": (PNG, PNG[:-12]),
    "PNG without IEND and the checksum before it": (PNG, PNG[:-16]),
    "PNG without its last 2 bytes": (PNG, PNG[:-2]),
    "PNG whose end has a wrong checksum": (PNG, png_with(damaged=[b"IEND"])),
    "PNG whose end has a wrong checksum, with a bulky text": (PNG, png_with(BULKY, damaged=[b"IEND"])),
    "PNG with junk behind it": (PNG, PNG + b"junk" * 99),
    "PNG with what looks like a damaged part behind it": (PNG, PNG + bytes(4) + b"JUNK" + bytes(4)),
    "PNG with a text among the pixels": (PNG, split_pixels((b"tEXt", b"k\0v"))),
    "JPEG without its last byte": (JPEG, JPEG[:-1]),
    "JPEG without its last 2 bytes": (JPEG, JPEG[:-2]),
    "progressive JPEG without its last byte": (PROGRESSIVE, PROGRESSIVE[:-1]),
    "progressive JPEG without its last 2 bytes": (PROGRESSIVE, PROGRESSIVE[:-2]),
    "JPEG with restarts without its last 2 bytes": (RESTARTS, RESTARTS[:-2]),
    "JPEG with junk behind it": (JPEG, JPEG + b"junk" * 99),
    "JPEG with another one behind it": (JPEG, JPEG + cut(PROGRESSIVE, 0.5)),
    "JPEG with zeros behind it": (JPEG, JPEG + bytes(999)),
    "JPEG whose last pixels are mid grey": (GREY, GREY),
    "JPEG whose last pixels are mid grey, with ff before its markers": (GREY, filled(GREY)),
    "JPEG with ff before its markers and zeros behind it": (JPEG, filled(JPEG) + bytes(99)),
    "JPEG with ff before its markers, without its last 2 bytes": (JPEG, filled(JPEG)[:-2]),
}
REFUSED = {
    "PNG without a tenth": cut(PNG, 0.9),
    "PNG whose pixels have a wrong checksum": png_with(damaged=[b"IDAT"]),
    "PNG whose header has a wrong checksum": png_with(damaged=[b"IHDR"]),
    "PNG whose transparent colour has a wrong checksum": png_with((b"tRNS", bytes(6)), damaged=[b"tRNS"]),
    "PNG with another byte among its pixels": PNG[:200] + bytes([PNG[200] ^ 255]) + PNG[201:],
    "JPEG without a tenth": cut(JPEG, 0.9),
    "progressive JPEG without a tenth": cut(PROGRESSIVE, 0.9),
    "JPEG with restarts without a tenth": cut(RESTARTS, 0.9),
    "JPEG without its last 9 bytes": JPEG[:-9],
    "JPEG without a third, whose end was put there": cut(JPEG, 0.7) + b"\xff\xd9",
    "JPEG without a third, filled with zeros": cut(JPEG, 0.7) + bytes(len(JPEG) - int(len(JPEG) * 0.7)),
    "JPEG without a third, filled with zeros, and far more": cut(JPEG, 0.7) + bytes(99_999),
    "JPEG without a third, filled with ones": cut(JPEG, 0.7) + b"\xff" * 9999,
    "JPEG without its first scan": JPEG[: JPEG.index(b"\xff\xda")],
    "WebP without a tenth": cut(bytes_of("WEBP"), 0.9),
    "GIF without a tenth": cut(bytes_of("GIF"), 0.9),
    "TIFF without a tenth": cut(bytes_of("TIFF", compression="tiff_adobe_deflate"), 0.5),
}


@pytest.mark.parametrize("name", FORGIVEN)
def test_damage_that_every_viewer_forgives(tmp_path, name):
    whole, damaged = FORGIVEN[name]
    assert np.array_equal(look(tmp_path, damaged), look(tmp_path, whole))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_of_which_a_part_is_missing_is_refused(tmp_path, name):
    assert isinstance(look(tmp_path, REFUSED[name]), str)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}, {"quality": 98, "subsampling": 0}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "flat"])
@pytest.mark.parametrize("fill", [b"", b"\xff"], ids=["cut", "filled with ones"])
def test_a_cut_jpeg_is_the_whole_picture_or_refused(tmp_path, options, mode, fill):
    """Wherever it is cut."""
    image = Image.new("RGB", (64, 48), (128, 128, 128)) if mode == "flat" else PICTURE.convert(mode)
    data = jpeg(image=image, **options)
    right, start = look(tmp_path, data), data.index(b"\xff\xda") + 14
    cuts = {*range(1, 14), *np.random.default_rng(0).integers(14, max(15, len(data) - start), 12).tolist()}
    for less in cuts:
        got = look(tmp_path, data[:-less] + fill * less)
        assert isinstance(got, str) or np.array_equal(got, right), less
        if less <= 2 and mode != "flat":  # whose samples may be zeros, as a broken download leaves
            assert not isinstance(got, str), (less, got)


def test_a_long_end_of_ones_is_looked_at_once(tmp_path):
    """A broken download leaves it; looked at from each of its bytes it took 200 s, and a test may take five."""
    assert isinstance(look(tmp_path, cut(JPEG, 0.9) + b"\xff" * 100_000), str)


def test_a_large_jpeg_is_looked_at_in_small(tmp_path, monkeypatch):
    """Nobody has made room for it where it is decoded to see whether its end is missing."""
    monkeypatch.setattr(chunks, "_LARGE", 64 * 48 - 1)
    for whole in (JPEG, PROGRESSIVE, RESTARTS):
        assert np.array_equal(look(tmp_path, whole[:-2]), look(tmp_path, whole))
        assert isinstance(look(tmp_path, cut(whole, 0.9)), str)
    assert "truncated" in look(tmp_path, cut(JPEG, 0.7) + b"\xff\xd9")


def test_pieces_of_a_file_are_read_as_one(tmp_path):
    file = io.BytesIO(bytes(range(100)))
    whole = io.BufferedReader(Pieces(file, [range(3, 9), b"", b"abc", range(50, 60), range(98, 120)]), 4)
    right = bytes(range(3, 9)) + b"abc" + bytes(range(50, 60)) + bytes([98, 99])
    assert whole.read() == right
    for at in range(len(right)):
        whole.seek(at)
        assert whole.read(5) == right[at : at + 5]
    with contextlib.closing(whole):
        assert whole.seek(-3, io.SEEK_END) == len(right) + 20 - 3
