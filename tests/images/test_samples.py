"""The matrix of samples, depths and transparencies, against the standards and against a second decoder (libvips)."""

import io
import itertools
import re
import struct

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from pictures import gif, packed, png_of, psd, sgi, tiff
from PIL import Image, TiffImagePlugin
from reference import seen

from itae.images.decode import BadImage, check, decode

pyvips.cache_set_max(0)  # the same name gets other bytes
BLACK, WHITE, RED, GREEN, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3, 32803: 1, 32844: 1, 34892: 3}
INTERLEAVED = {(1, (1,)), (1, (2,)), (2, (0,)), (2, (1,)), (2, (2,)), (3, (2,)), (5, (0,))}  # that have to be read
READ = {0: (1, 2, 4, 8, 12, 16), 1: (1, 2, 4, 8, 12, 16), 2: (8, 16), 3: (1, 2, 4, 8), 5: (8, 16)}


def look(path):
    """Return decode's pixels, or its reason; check agrees."""
    try:
        pixels = np.asarray(decode(str(path)))
    except BadImage as reason:
        with pytest.raises(BadImage, match=f"^{re.escape(str(reason))}$"):
            check(str(path))
        return str(reason)
    check(str(path))
    return pixels


def listed(photometric, bits, extra=()):
    """Return whether this Pillow opens such a TIFF (8-bit grey with multiplied opacity: from 13 on)."""
    depths = (bits,) * (CHANNELS[photometric] + len(extra))
    return (b"II", photometric, (1,), 1, depths, extra) in TiffImagePlugin.OPEN_INFO


def vips(path):
    """Return what libvips makes of a file, over white."""
    image = pyvips.Image.new_from_file(str(path)).colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255] * (image.bands - 1))
    return image.cast("uchar").numpy()


def samples(channels, bits, kind="u", seed=0):
    """Return [2, 4, channels] of all shades; 0, the least and the greatest are among the first channel's."""
    if kind in "fc":
        return np.linspace(0, 1, 8 * channels).reshape(2, 4, channels).astype(f"{kind}{bits // 8}")
    dtype = np.dtype(f"{kind}{max(1, 1 << (bits - 1).bit_length() >> 3)}")
    low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    drawn = np.random.default_rng(seed).integers(low, high, (2, 4, channels), dtype=dtype, endpoint=True)
    drawn[0, :3, 0] = 0, low, high
    return drawn


def colour_map(bits, top=65535):
    """Return the colours of a palette [2**bits, 3], and the tag with them."""
    colours = np.random.default_rng(bits).integers(0, top, (2**bits, 3), endpoint=True)
    return colours * (65535 // top), {320: ("H", colours.T.ravel().tolist())}


def expected(values, bits, photometric, alpha=None, colours=None):
    """Return what the reference sees, uint8 [H, W, 3] before rounding."""
    return 255 * np.array([[seen(pixel, bits, photometric, alpha, colours) for pixel in row] for row in values])


def layouts():
    return itertools.product("<>", (1, 2), (1, 8))


@pytest.mark.parametrize("photometric", CHANNELS)
def test_a_tiff_is_what_its_tags_say_or_is_refused(tmp_path, photometric):
    kinds = [(bits, "u") for bits in (1, 2, 4, 8, 12, 16, 32, 64)]
    kinds += [(8, "i"), (16, "i"), (32, "i"), (64, "i"), (16, "f"), (32, "f"), (64, "f"), (64, "c"), (128, "c")]
    for (bits, kind), (order, planar, compression) in itertools.product(kinds, layouts()):
        values = samples(CHANNELS[photometric], bits, kind)
        colours, tags = colour_map(bits) if photometric == 3 and bits <= 16 else (None, {})
        path = tiff(tmp_path / "a.tif", values, bits, photometric, order=order, planar=planar, compression=compression,
                    tags=tags)  # fmt: skip
        got, case = look(path), f"{bits} {kind} {order} planar={planar} compression={compression}"
        raw_inks = (photometric, bits, planar, compression) == (5, 16, 2, 1)  # Pillow has no way to read them
        if kind == "u" and bits in READ.get(photometric, ()) and not raw_inks:
            assert not isinstance(got, str), (case, got)
            error = np.abs(got - expected(values, bits, photometric, None, colours)).max()
            assert error <= (2 if photometric == 5 else 1), case  # a product of two inks
        elif photometric == 6 and isinstance(got, np.ndarray):
            assert (bits, kind, planar, compression) == (8, "u", 1, 8), case  # see the test against libvips
        else:
            assert isinstance(got, str), case
            assert re.search("convert it to|save it", got), (case, got)


def test_white_is_zero_of_16_bits_is_the_same_picture(tmp_path):
    a = np.arange(0, 65536, 1024, dtype=np.uint16).repeat(64).reshape(64, 64).T.copy()
    Image.fromarray(a).save(tmp_path / "a.tif")
    Image.fromarray(65535 - a).save(tmp_path / "b.tif", tiffinfo={262: 0})
    assert np.array_equal(look(tmp_path / "a.tif"), look(tmp_path / "b.tif"))
    assert look(tmp_path / "b.tif")[0, [0, -1], 0].tolist() == [0, 251]


@pytest.mark.parametrize(("photometric", "bits"), [(0, 8), (1, 8), (2, 8), (2, 16), (3, 8), (5, 8)])
@pytest.mark.parametrize("extra", [(0,), (1,), (2,), (0, 0), (1, 0), (2, 0)], ids=str)
def test_extra_samples_of_a_tiff_are_opacity_only_where_it_says_so(tmp_path, photometric, bits, extra):
    colours, tags = colour_map(bits) if photometric == 3 else (None, {})
    channels = CHANNELS[photometric]
    values = samples(channels + len(extra), bits)
    alpha = {0: None, 1: -channels, 2: channels}[extra[0]]
    right, shown = expected(values, bits, photometric, alpha, colours), 0
    for order, planar, compression in layouts():
        path = tiff(tmp_path / "a.tif", values, bits, photometric, order=order, planar=planar, compression=compression,
                    extra=extra, tags=tags)  # fmt: skip
        got = look(path)
        if isinstance(got, np.ndarray):
            assert np.abs(got - right).max() <= 3, (order, planar, compression)  # both cut to 8 bits, then divided
            shown += 1
        else:
            assert re.search("convert it to|save it", got), got
    if (photometric, extra) in INTERLEAVED and listed(photometric, bits, extra):
        assert shown >= 2, "interleaved ones can be read"


def test_four_samples_without_a_word_on_the_fourth_are_rgba(tmp_path):
    """As old writers left it out; libvips takes it so too."""
    for bits in (8, 16):
        values = samples(4, bits)
        path = tiff(tmp_path / "a.tif", values, bits, 2)
        assert np.abs(look(path) - expected(values, bits, 2, alpha=3)).max() <= 2
        assert isinstance(look(tiff(tmp_path / "a.tif", values, bits, 2, planar=2)), str)


def test_files_of_the_matrix_are_what_a_second_decoder_reads(tmp_path):
    """The writer of these tests, by the raw values of tifffile and by the colours of libvips."""
    for photometric, bits, alpha in [(0, 1, 0), (0, 2, 0), (0, 4, 0), (0, 8, 0), (0, 16, 0), (1, 1, 0), (1, 2, 0),
                                     (1, 4, 0), (1, 8, 0), (1, 16, 0), (2, 8, 0), (2, 16, 0), (3, 1, 0), (3, 2, 0),
                                     (3, 4, 0), (3, 8, 0), (1, 8, 1), (1, 8, 2), (2, 8, 1), (2, 8, 2), (2, 16, 1),
                                     (2, 16, 2), (3, 8, 2)]:  # fmt: skip
        tags = colour_map(bits)[1] if photometric == 3 else {}
        values = samples(CHANNELS[photometric] + (alpha > 0), bits)
        if not listed(photometric, bits, (alpha,) if alpha else ()):
            continue
        for order, compression in itertools.product("<>", (1, 8)):
            path = tiff(tmp_path / "a.tif", values, bits, photometric, order=order, compression=compression,
                        extra=(alpha,) if alpha else (), tags=tags)  # fmt: skip
            if bits >= 8 and compression == 1:
                assert np.array_equal(tifffile.imread(path).reshape(values.shape), values)
            assert np.abs(look(path).astype(int) - vips(path)).max() <= 2, (photometric, bits, alpha, order)


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits", "jpeg", "ccittfax4"])
@pytest.mark.parametrize("tiled", [False, True])
def test_tiffs_of_another_writer_in_all_compressions(tmp_path, compression, tiled):
    """Also YCbCr, in which JPEG keeps colours."""
    path, size = tmp_path / "a.tif", 32
    shades = np.add.outer(np.arange(size), np.arange(size)) * 4
    pictures = {
        "grey": shades.astype(np.uint8),
        "colours": np.stack([shades, shades[::-1], shades.T[::-1]], -1).astype(np.uint8),
        "deep": (shades * 257).astype(np.uint16),
    }
    if compression == "jpeg":
        del pictures["deep"]
    if compression == "ccittfax4":
        pictures = {"bits": np.where(shades > 99, 255, 0).astype(np.uint8)}
    for name, pixels in pictures.items():
        depth = {"bitdepth": 1} if compression == "ccittfax4" else {}
        image = pyvips.Image.new_from_array(pixels)
        if name == "deep":
            image = image.copy(interpretation="grey16")
        image.tiffsave(str(path), compression=compression, tile=tiled, tile_width=16, tile_height=16, Q=90, **depth)
        right = pixels // 257 if name == "deep" else pixels
        got = look(path)
        assert np.abs(got - right.reshape(size, size, -1).astype(int)).mean() <= (3 if compression == "jpeg" else 1)
        assert np.abs(got.astype(int) - vips(path)).max() <= 3


def test_a_colour_map_of_8_bits_is_not_black(tmp_path):
    for bits in (1, 2, 4, 8):
        colours, tags = colour_map(bits, top=255)
        path = tiff(tmp_path / "a.tif", samples(1, bits), bits, 3, tags=tags)
        assert np.abs(look(path) - expected(samples(1, bits), bits, 3, None, colours)).max() <= 1
        assert np.array_equal(look(path), vips(path))


def test_uncompressed_ycbcr_is_refused_but_where_all_samples_are_there(tmp_path):
    values = np.array([[[0, 128, 128], [255, 128, 128], [76, 85, 255], [128, 128, 128]]] * 2, np.uint8)
    assert "YCbCr" in look(tiff(tmp_path / "a.tif", values, 8, 6))
    whole = tiff(tmp_path / "b.tif", values, 8, 6, tags={530: ("H", [1, 1])})
    if Image.open(whole).mode == "YCbCr":  # from Pillow 13 on
        assert np.abs(look(whole)[0] - [BLACK, WHITE, RED, (128,) * 3]).max() <= 2
    fewer = tiff(tmp_path / "c.tif", values, 8, 6, compression=8)  # libtiff knows what to do
    assert np.abs(look(fewer).astype(int) - vips(fewer)).max() <= 2


def test_a_damaged_tiff_and_an_unknown_compression_are_told(tmp_path):
    path = tiff(tmp_path / "a.tif", samples(3, 8), 8, 2, compression=8)
    path.write_bytes(path.read_bytes()[:-9])
    assert "damaged" in look(path)
    assert "can't be read" in look(tiff(tmp_path / "b.tif", samples(3, 8), 8, 2, tags={259: ("H", [34712])}))


@pytest.mark.parametrize(
    ("photometric", "channels", "tags", "reason"),
    [
        (5, 4, {332: ("H", [2])}, "inks"),
        (1, 1, {262: None}, "0 is black or white"),
        (8, 3, {}, "CIELab"),
        (4, 1, {}, "PhotometricInterpretation 4"),
        (1, 2, {}, "2 x 8 bits"),
        (0, 1, {266: ("H", [2])}, "packed"),
    ],
)
def test_a_tiff_is_refused_with_its_reason(tmp_path, photometric, channels, tags, reason):
    assert reason in look(tiff(tmp_path / "a.tif", samples(channels, 8), 8, photometric, tags=tags))


@pytest.mark.parametrize(
    ("bits", "kind", "reason"),
    [(8, "i", "signed"), (16, "i", "signed"), (32, "f", "floating point"), (64, "f", "floating point"),
     (64, "c", "complex"), (32, "u", "more than 16 bits"), (64, "u", "more than 16 bits")],
)  # fmt: skip
def test_numbers_without_an_agreed_white_are_named_whether_pillow_opens_them_or_not(tmp_path, bits, kind, reason):
    for photometric, order in itertools.product((0, 1, 2), "<>"):
        values = samples(CHANNELS[photometric], bits, kind)
        assert reason in look(tiff(tmp_path / "a.tif", values, bits, photometric, order=order))


@given(
    data=st.data(),
    order=st.sampled_from("<>"),
    planar=st.sampled_from((1, 2)),
    compression=st.sampled_from((1, 8)),
    photometric=st.sampled_from((0, 1, 2, 3, 5)),
    bits=st.sampled_from((1, 2, 4, 8, 12, 16, 32)),
)
def test_no_tiff_is_another_picture_without_a_word(
    tmp_path_factory, data, order, planar, compression, photometric, bits
):
    extra = tuple(data.draw(st.lists(st.sampled_from((0, 1, 2)), max_size=2)))
    values = samples(CHANNELS[photometric] + len(extra), bits, seed=data.draw(st.integers(0, 99)))
    colours, tags = colour_map(bits) if photometric == 3 and bits <= 16 else (None, {})
    path = tiff(tmp_path_factory.getbasetemp() / "any.tif", values, bits, photometric, order=order, planar=planar,
                compression=compression, extra=extra, tags=tags)  # fmt: skip
    alphas = [
        (CHANNELS[photometric] + place) * (-1 if kind == 1 else 1) for place, kind in enumerate(extra) if kind > 0
    ]
    got = look(path)
    if isinstance(got, np.ndarray):
        right = expected(values, bits, photometric, alphas[0] if alphas else None, colours)
        assert np.abs(got - right).max() <= 3


PNGS = [(0, depth) for depth in (1, 2, 4, 8, 16)] + [(3, depth) for depth in (1, 2, 4, 8)]
PNGS += [(colour, depth) for colour in (2, 4, 6) for depth in (8, 16)]


@pytest.mark.parametrize(("colour", "depth"), PNGS)
def test_a_png_of_every_kind_with_every_transparency(tmp_path, colour, depth):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    values, chunks, colours = samples(channels, depth), [], None
    if colour == 3:
        table = np.random.default_rng(0).integers(0, 256, (2**depth, 3), dtype=np.uint8)
        chunks, colours = [(b"PLTE", table.tobytes())], table.astype(int) * 257
    photometric = {0: 1, 2: 2, 3: 3, 4: 1, 6: 2}[colour]
    right = expected(values, depth, photometric, {4: 1, 6: 3}.get(colour), colours)
    path = png_of(tmp_path / "a.png", values, depth, colour, *chunks)
    assert np.abs(look(path) - right).max() <= 2
    assert np.abs(look(path).astype(int) - vips(path)).max() <= 2
    if colour in (4, 6):
        return
    for key in values.reshape(-1, channels):
        if colour == 3:  # an opacity for each of the first entries
            opacity = np.array([0, 128, *[255] * (2**depth - 2)])[values[..., 0]] / 255
            shown = right * opacity[..., None] + 255 * (1 - opacity[..., None])
            path = png_of(tmp_path / "a.png", values, depth, colour, *chunks, (b"tRNS", b"\0\x80"))
        else:  # one colour: all bits count
            near = values.copy()
            near[1, 1] = key ^ 1
            shown = expected(near, depth, photometric)
            shown[(near == key).all(-1)] = 255
            keyed = (b"tRNS", struct.pack(f">{channels}H", *key))
            path = png_of(tmp_path / "a.png", near, depth, colour, *chunks, keyed)
        assert np.abs(look(path) - shown).max() <= 2, key
        if (colour, depth) != (2, 16):  # libvips compares the high bytes alone
            assert np.abs(look(path).astype(int) - vips(path)).max() <= 2, key


def deep_files(folder, values):
    """Write grey values [H, W] of 16 bits in all the ways that there are."""
    opaque = np.full_like(values, 65535)
    for name, planes, colour in [("grey", [values], 0), ("alpha", [values, opaque], 4)]:
        yield png_of(folder / f"{name}.png", np.stack(planes, -1), 16, colour)
    for name, planes, colour in [("rgb", [values] * 3, 2), ("rgba", [*[values] * 3, opaque], 6)]:
        yield png_of(folder / f"{name}.png", np.stack(planes, -1), 16, colour)
    for order, white, compression in itertools.product("<>", (0, 1), (1, 8)):
        yield tiff(folder / f"{ord(order)}{white}{compression}.tif", values[..., None], 16, white, order=order,
                   compression=compression)  # fmt: skip
    for order, compression, extra in itertools.product("<>", (1, 8), ((), (0,), (2,))):
        planes = np.stack([*[values] * 3, *[opaque] * len(extra)], -1)
        yield tiff(folder / f"{ord(order)}{compression}{len(extra)}.tif", planes, 16, 2, order=order, extra=extra,
                   compression=compression)  # fmt: skip
    Image.fromarray(values.repeat(8, 0).repeat(8, 1)).save(folder / "a.jp2")
    yield folder / "a.jp2"
    head = f"{values.shape[1]} {values.shape[0]} 65535\n".encode()
    (folder / "a.pgm").write_bytes(b"P5 " + head + packed(values, 16))
    yield folder / "a.pgm"


@pytest.mark.parametrize(
    "values",
    [[0, 1000, 2000, 4095], [0, 255, 128, 7], [0, 1, 1, 0], [7000, 8000, 9000, 7100]],
    ids=["12 bits", "8 bits", "a mask", "thermal"],
)
def test_deep_samples_that_were_never_scaled_up_are_refused(tmp_path, values):
    for path in deep_files(tmp_path, np.array([values] * 2, np.uint16)):
        assert "never scaled up" in look(path), path.name
    colours = np.stack([np.array([values] * 2, np.uint16)] * 3, -1)
    if values[-1] != 0:  # less than half a shade each: black in 8 bits, which are all that Pillow gives
        (tmp_path / "a.ppm").write_bytes(b"P6 4 2 65535\n" + packed(colours, 16))
        assert "never scaled up" in look(tmp_path / "a.ppm")
    if max(values) > 255:
        assert "never scaled up" in look(sgi(tmp_path / "a.sgi", [packed(colours[0, :, 0], 16)] * 3, 2))


@pytest.mark.parametrize(
    "values", [[0, 0, 0, 0], [900, 900, 900, 900], [0, 3000, 8000, 16383], [61000, 62000, 63000, 64000],
               [0, 257, 514, 17 * 257]],
    ids=["black", "one value", "14 bits", "bright", "a night in 8 bits"],
)  # fmt: skip
def test_dark_and_plain_pictures_of_16_bits_are_read(tmp_path, values):
    for path in deep_files(tmp_path, np.array([values] * 2, np.uint16)):
        right = np.array(values) / 257
        if path.name.split(".")[0][-2:] in ("01", "08") and path.suffix == ".tif":  # 0 is white
            right = 255 - right
        got = look(path)
        assert np.abs(got[0, :: got.shape[1] // 4, 0] - right).max() <= 1, path.name


def test_eight_bits_and_a_transparent_value_have_no_say_in_the_range(tmp_path):
    Image.fromarray(np.array([[0, 1, 0, 1]], np.uint8)).save(tmp_path / "mask.png")
    assert look(tmp_path / "mask.png")[0, :, 0].tolist() == [0, 1, 0, 1]
    values = np.array([[[1000], [1285], [1000], [1285]]], np.uint16)
    path = png_of(tmp_path / "a.png", values, 16, 0, (b"tRNS", struct.pack(">H", 1000)))
    assert look(path)[0, :, 0].tolist() == [255, 5, 255, 5]


@pytest.mark.parametrize("top", [1, 7, 100, 255, 256, 1023, 4095, 65535])
def test_maxval_is_white(tmp_path, top):
    values = np.array([0, top // 2, top], np.uint16)
    wide = 16 if top > 255 else 8
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 %d\n" % top + packed(values.astype(f"u{wide // 8}"), wide))
    (tmp_path / "b.pgm").write_bytes(b"P2 3 1 %d\n" % top + b" ".join(b"%d" % value for value in values) + b"\n")
    (tmp_path / "c.ppm").write_bytes(b"P6 1 1 %d\n" % top + packed(values.astype(f"u{wide // 8}"), wide))
    (tmp_path / "d.ppm").write_bytes(b"P3 1 1 %d\n" % top + b" ".join(b"%d" % value for value in values) + b"\n")
    for name in ("a.pgm", "b.pgm"):
        assert np.abs(look(tmp_path / name)[0, :, 0] - 255.0 * values / top).max() <= 1
    for name in ("c.ppm", "d.ppm"):
        assert np.abs(look(tmp_path / name)[0, 0] - 255.0 * values / top).max() <= 1


def test_float_maps_are_refused(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0, 1))
    assert "no agreed white" in look(tmp_path / "a.pfm")


def test_psd_as_photoshop_shows_it(tmp_path):
    path, full = tmp_path / "a.psd", bytes([255] * 4)
    assert look(psd(path, 0, 1, [bytes([0b01100000])], 4))[0, :, 0].tolist() == [255, 0, 0, 255]  # 1 is black
    assert look(psd(path, 1, 8, [bytes([0, 64, 128, 255])], 4))[0, :, 0].tolist() == [0, 64, 128, 255]
    inks = [bytes([0, 255, 255, 255]), bytes([255, 0, 255, 255]), full, bytes([255, 255, 255, 0])]  # 0 is full ink
    assert look(psd(path, 4, 8, inks, 4))[0].tolist() == [[0, 255, 255], [255, 0, 255], [255] * 3, [0] * 3]
    colours = [full, bytes(4), bytes(4), bytes([255, 0, 255, 0])]
    for layers in (None, 0, 1):  # the fourth channel is a mask, which isn't shown
        assert look(psd(path, 3, 8, colours, 4, layers))[0].tolist() == [[255, 0, 0]] * 4
    assert look(psd(path, 3, 8, colours, 4, -1))[0].tolist() == [[255, 0, 0], [255] * 3] * 2
    palette = bytes([0, 255, *[0] * 254, *[0] * 256, 9, *[0] * 255])
    assert look(psd(path, 2, 8, [bytes([0, 1, 1, 0])], 4, palette=palette))[0, :2].tolist() == [[0, 0, 9], [255, 0, 0]]
    assert "multichannel" in look(psd(path, 7, 8, colours[:3], 4))
    assert "CIELab" in look(psd(path, 9, 8, colours[:3], 4))


def test_sgi_of_8_and_16_bits(tmp_path):
    shades = np.array([0, 64, 128, 255])
    for size, planes in itertools.product((1, 2), (1, 3, 4)):
        rows = [packed((shades * (257 if size == 2 else 1)).astype(f"u{size}"), 8 * size)] * planes
        right = shades * shades / 255 + 255 - shades if planes == 4 else shades
        assert np.abs(look(sgi(tmp_path / "a.sgi", rows, size))[0, :, 0] - right).max() <= 1


def test_where_the_frame_of_a_gif_does_not_reach_there_is_nothing(tmp_path):
    path = tmp_path / "a.gif"
    for transparent, right in [(None, [WHITE, GREEN, BLUE, WHITE]), (0, [WHITE, GREEN, BLUE, WHITE]),
                               (2, [WHITE, GREEN, WHITE, WHITE])]:  # fmt: skip
        gif(path, 4, 1, transparent)
        assert look(path)[0].tolist() == [list(colour) for colour in right]
        assert transparent is None or np.array_equal(look(path), vips(path))


def test_the_ones_of_an_x_bitmap_are_ink(tmp_path):
    path = tmp_path / "a.xbm"
    path.write_bytes(b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {\n0x06 };\n")
    assert look(path)[0, :4, 0].tolist() == [255, 0, 0, 255]


def test_jpeg_2000_of_signed_samples(tmp_path):
    """Signed samples are told by the codestream, whose middle is grey all the same (ISO 15444-1, Ssiz)."""
    shades = np.array([[0, 16384, 32768, 65535]] * 4, np.uint16).repeat(8, 0).repeat(8, 1)
    for pixels, depth in ((shades, 16), ((shades >> 8).astype(np.uint8), 8)):
        Image.fromarray(pixels).save(tmp_path / "a.j2k", no_jp2=True)
        data = bytearray((tmp_path / "a.j2k").read_bytes())
        data[data.index(b"\xff\x51") + 40] |= 0x80
        (tmp_path / "signed.j2k").write_bytes(data)
        assert np.abs(look(tmp_path / "a.j2k")[0, ::8, 0] - [0, 64, 128, 255]).max() <= 1
        assert np.array_equal(look(tmp_path / "a.j2k"), look(tmp_path / "signed.j2k")), depth


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_2000_of_fewer_and_of_more_than_8_bits(tmp_path, channels):
    """The samples of a lossless file are its numbers plus half of the range, which its header tells."""
    place, path = tmp_path / "a.j2k", tmp_path / "b.j2k"
    for bits in (1, 2, 4, 7):
        values = np.arange(16, dtype=np.uint8).reshape(4, 4).repeat(8, 0).repeat(8, 1) % 2**bits
        pixels = np.stack([values] * channels, -1)
        Image.fromarray((pixels + 128 - 2 ** (bits - 1)).squeeze()).save(place, no_jp2=True, mct=0)
        data = bytearray(place.read_bytes())
        for i in range(channels):
            data[data.index(b"\xff\x51") + 40 + 3 * i] = bits - 1
        path.write_bytes(data)
        photometric = 1 if channels == 1 else 2
        right = expected(pixels[::8, ::8], bits, photometric, 3 if channels == 4 else None)
        assert np.abs(look(path)[::8, ::8] - right).max() <= 2, bits
    for i in range(channels):
        data[data.index(b"\xff\x51") + 40 + 3 * i] = 11
    path.write_bytes(data)
    if channels == 1:
        assert not isinstance(look(path), str)  # read as 16 bits
    else:
        assert "more than 8 bits in JPEG 2000" in look(path)


def jpeg_of(transform, *samples):
    """Return a JPEG of one colour whose Adobe marker says what its samples are: 0 as they are, 2 YCCK."""
    buffer = io.BytesIO()
    Image.new("CMYK" if len(samples) == 4 else "RGB", (8, 8), samples).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    for marker in (b"\xff\xe0", b"\xff\xee"):  # JFIF, Adobe
        if (at := data.find(marker)) >= 0:
            data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00" + bytes([transform]) + data[2:]


def test_jpegs_of_an_adobe_marker(tmp_path):
    """Amounts of ink are stored as what they leave; the numbers of YCCK are what ImageMagick shows too."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_of(0, 40, 120, 200, 30))
    left = np.array([255 - 40, 255 - 120, 255 - 200]) * (255 - 30) / 255
    assert np.abs(look(path)[0, 0] - left).max() <= 2
    path.write_bytes(jpeg_of(2, 40, 120, 200, 30))
    assert np.abs(look(path)[0, 0] - [125, 0, 25]).max() <= 2
    path.write_bytes(jpeg_of(0, 40, 120, 200))  # no YCbCr: luminance and the two differences, shown as they are
    assert np.abs(look(path)[0, 0] - [105, 181, 81]).max() <= 2


def test_ico_and_dds_have_their_opacity(tmp_path):
    def ico(bits, pixels, clear):
        info = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, bits, 0, 0, 0, 0, 0, 0) + pixels + clear
        entry = struct.pack("<HHHBBBBHHII", 0, 1, 1, 4, 1, 0, 0, 1, bits, len(info), 22)
        return entry + info

    def dds(flags, bits, masks, pixels):
        head = struct.pack("<4s7I44x", b"DDS ", 124, 0x100F, 1, 4, 0, 0, 1)
        return head + struct.pack("<2I4s5I5I", 32, flags, bytes(4), bits, *masks, 0x1000, 0, 0, 0, 0) + pixels

    pixels = bytes([0, 0, 255, 0, 0, 255, 0, 128, 255, 0, 0, 255, 9, 9, 9, 255])
    clear = [list(WHITE), [127, 255, 127], list(BLUE), [9] * 3]
    opaque = [list(RED), list(GREEN), list(BLUE), [9] * 3]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for name, data, right in [
        ("a.ico", ico(32, pixels, bytes(4)), clear),
        ("b.ico", ico(24, bytes([0, 0, 255] * 4), bytes([0b01000000, 0, 0, 0])), [RED, WHITE, RED, RED]),
        ("a.dds", dds(0x41, 32, masks, pixels), clear),
        ("b.dds", dds(0x40, 32, (*masks[:3], 0), pixels), opaque),
        ("c.dds", dds(0x20001, 16, (0xFF, 0, 0, 0xFF00), bytes([0, 255, 64, 0, 128, 255, 255, 255])),
         [BLACK, WHITE, (128,) * 3, WHITE]),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(data)
        assert np.abs(look(tmp_path / name)[0] - np.array(right)).max() <= 1, name


def bmp(bits, pixels, masks=b"", size=40):
    """Return a BMP of four pixels in a row."""
    info = struct.pack("<IiiHHIIiiII", size, 4, 1, 1, bits, 3 if masks else 0, len(pixels), 0, 0, 0, 0) + masks
    info = info.ljust(size, b"\0")
    return struct.pack("<2sIHHI", b"BM", 14 + len(info + pixels), 0, 0, 14 + len(info)) + info + pixels


def test_bmp_has_opacity_only_with_a_mask_for_it(tmp_path):
    path = tmp_path / "a.bmp"
    pixels = bytes([0, 0, 255, 0, 0, 255, 0, 128, 255, 0, 0, 255, 9, 9, 9, 255])
    path.write_bytes(bmp(32, pixels))
    assert look(path)[0].tolist() == [list(RED), list(GREEN), list(BLUE), [9] * 3]
    path.write_bytes(bmp(32, pixels, struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108))
    assert look(path)[0].tolist() == [list(WHITE), [127, 255, 127], list(BLUE), [9] * 3]
    path.write_bytes(bmp(16, struct.pack("<4H", 0, 0x7FFF, 0x7C00, 0x3DEF)))
    assert look(path)[0].tolist() == [list(BLACK), list(WHITE), list(RED), [123] * 3]


@pytest.mark.parametrize("ending", ["png", "webp", "avif", "tif", "gif"])
def test_pictures_of_another_writer(tmp_path, ending):
    """All that libvips writes with opacity, read by both."""
    rows = np.linspace(0, 255, 16 * 16 * 4).reshape(16, 16, 4).round().astype(np.uint8)
    image = pyvips.Image.new_from_array(rows).copy(interpretation="srgb")
    path = tmp_path / f"a.{ending}"
    lossless = {"lossless": True} if ending in ("webp", "avif") else {}
    try:
        image.write_to_file(str(path), **lossless)
    except pyvips.Error:
        pytest.skip(f"this libvips writes no {ending}")
    assert np.abs(look(path).astype(int) - vips(path)).max() <= (8 if ending == "avif" else 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pictures_are_turned_upright_too(tmp_path, orientation):
    values = np.array([[0, 20000, 40000], [50000, 60000, 65535]], np.uint16)
    stored = (values >> 8).astype(int)
    seen_upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.T, 6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    opaque = np.full_like(values, 65535)
    for planar, planes in itertools.product((1, 2), ([values], [values] * 3, [values] * 3 + [opaque])):
        path = tiff(tmp_path / "a.tif", np.stack(planes, -1), 16, 1 if len(planes) == 1 else 2, planar=planar,
                    extra=(2,) * (len(planes) == 4), compression=8, tags={274: ("H", [orientation])})  # fmt: skip
        assert np.abs(look(path)[..., 0] - seen_upright).max() <= 1
    for planes, colour in ([values], 0), ([values] * 3, 2), ([values, opaque], 4):
        chunk = (b"eXIf", exif.tobytes()[6:])
        path = png_of(tmp_path / "a.png", np.stack(planes, -1), 16, colour, chunk)
        assert np.abs(look(path)[..., 0] - seen_upright).max() <= 1
    key = (b"tRNS", struct.pack(">3H", *[65535] * 3))
    path = png_of(tmp_path / "a.png", np.stack([values] * 3, -1), 16, 2, key, (b"eXIf", exif.tobytes()[6:]))
    assert np.abs(look(path)[..., 0] - seen_upright).max() <= 1
