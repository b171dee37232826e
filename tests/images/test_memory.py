"""Small files that unpack to a lot: how much memory they take, alone and several at once."""

import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from pictures import png, png_chunk, png_of
from PIL import Image

from itae.base.errors import UserError
from itae.images import decode as decoding
from itae.images import in_flight
from itae.images.decode import BadImage, check, decode, with_picture
from itae.images.in_flight import Room

WIDTH, HEIGHT = 3000, 2000
MEASURE = """
import ctypes, json, sys
from pathlib import Path
from PIL import Image
from itae.images import decode
from itae.images.in_flight import bytes_before, bytes_of
import numpy

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

decode.readable_formats()
out = {}
for path in sys.argv[1:]:
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    with Image.open(path, formats=decode.readable_formats()) as image:
        told = bytes_before(path) or bytes_of(image, image.size, path)
    assert decode.with_picture(path, lambda picture: picture.mode) == "RGB", path
    out[path] = told, status("VmHWM") - before
print(json.dumps(out))
"""


def grey(bits=16, channels=1, value=300):
    return np.full((HEIGHT, WIDTH, channels), value, np.uint16)


def kinds(folder):
    """Write a picture of six megapixels of every kind, each in a small file."""
    image = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    colours, clear = image.convert("RGB"), image.convert("RGBA")
    clear.putalpha(image)
    palette = image.quantize(16)
    inks = image.convert("CMYK")
    for name, picture_, options in [
        ("a.png", clear, {}), ("b.png", image.convert("LA"), {}), ("c.png", image, {}), ("d.png", colours, {}),
        ("e.png", palette, {"transparency": bytes(range(16))}), ("f.png", image.convert("1"), {}),
        ("g.jpg", colours, {}), ("h.jpg", colours, {"progressive": True, "subsampling": 0}), ("i.jpg", inks, {}),
        ("j.jpg", inks, {"progressive": True}), ("k.webp", clear, {"method": 0}), ("l.webp", colours, {"method": 0}),
        ("m.jp2", clear, {}), ("n.jp2", image, {}), ("o.avif", clear, {"speed": 10}), ("p.gif", palette, {}),
        ("q.tif", clear, {"compression": "tiff_adobe_deflate"}), ("r.tif", inks, {"compression": "tiff_lzw"}),
        ("s.bmp", colours, {}), ("t.sgi", colours, {}), ("u.pcx", colours, {}), ("v.dds", clear, {}),
    ]:  # fmt: skip
        for turned in (False, True) if name[-3:] in ("png", "jpg") else (False,):
            exif = Image.Exif()
            exif[0x0112] = 6
            path = folder / f"{'turned_' * turned}{name}"
            picture_.save(path, **options, **({"exif": exif} if turned else {}))
            yield path
    frames = {"save_all": True, "append_images": [colours.transpose(method) for method in (0, 1)]}
    for name in ("pages.tif", "frames.gif", "frames.png", "frames.webp"):
        colours.save(folder / name, **frames)
        yield folder / name
    yield png_of(folder / "deep.png", grey(), 16, 0)
    yield png_of(folder / "deep_keyed.png", grey(), 16, 0, (b"tRNS", struct.pack(">H", 300)))
    yield png_of(folder / "deep_colours.png", grey(channels=3), 16, 2)
    yield png_of(folder / "deep_colours_keyed.png", grey(channels=3), 16, 2, (b"tRNS", struct.pack(">3H", 1, 1, 1)))
    yield png_of(folder / "deep_clear.png", grey(channels=4), 16, 6)
    Image.fromarray(grey()[..., 0]).save(folder / "deep.tif", compression="tiff_adobe_deflate")
    yield folder / "deep.tif"
    yield icon(folder / "icon.ico", (folder / "a.png").read_bytes())


def icon(path, content):
    """Write an icon of 16 x 16 by its directory, whose picture is a PNG of any size."""
    path.write_bytes(struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(content), 22) + content)
    return path


@pytest.mark.slow  # decodes forty pictures of six megapixels
def test_a_picture_takes_no_more_memory_than_is_told(tmp_path):
    paths = [str(path) for path in kinds(tmp_path)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(paths) > 40
    over = {
        path.split("/")[-1]: (told, took) for path, (told, took) in found.items() if took > told * 1.05 + 16 * 2**20
    }
    assert not over


CROWD = """
import json, os, resource, sys, threading
from pathlib import Path
import numpy
from itae.images import decode, in_flight
from itae.images.transform import Transform

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

room, spare, paths = int(sys.argv[1]), 64 * 2**20, sys.argv[2:]
decode.readable_formats()
decode.decode(paths[0])  # what is imported late
decode.ROOM = in_flight.Room(room)
Path("/proc/self/clear_refs").write_text("5")
# And a stack and a heap for each thread.
before, limit = status("VmRSS"), status("VmData") + room + spare + 16 * 2**20 * len(paths)
if "MALLOC_ARENA_MAX" in os.environ:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
shapes, errors = [], []

def work(path):
    try:
        decode.check(path)
        shapes.append(decode.with_picture(path, Transform(32)).shape)
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=work, args=(path,)) for path in paths]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"peak": status("VmHWM") - before, "done": len(shapes), "errors": errors}))
"""


def crowd(room, paths, limited):
    """Return what threads come to that read each of these, under a limit of the system for all data if `limited`.

    With an arena of the allocator's for each thread, that limit would count what is free in all of them.
    """
    command = [sys.executable, "-c", CROWD, str(room), *map(str, paths)]
    more = {"MALLOC_ARENA_MAX": "1"} if limited else {}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | more)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("limited", [False, True])
def test_several_bombs_at_once_stay_within_the_room(tmp_path, limited):
    """Side by side they would take 540 MB."""
    size = (3500, 2600)
    clear = Image.new("RGBA", size, (1, 2, 3, 4))
    clear.save(tmp_path / "a.png")
    clear.save(tmp_path / "a.webp", lossless=True)
    Image.new("CMYK", size).save(tmp_path / "a.jpg", progressive=True)
    assert all((tmp_path / name).stat().st_size < 300_000 for name in ("a.png", "a.webp", "a.jpg"))
    room = 150 * 2**20
    found = crowd(room, [tmp_path / name for name in ["a.png"] * 3 + ["a.webp"] + ["a.jpg"] * 2], limited)
    assert found["errors"] == []
    assert found["done"] == 6
    assert found["peak"] < room + 100 * 2**20


@pytest.mark.slow  # decodes 120 megapixels eight times
def test_scans_of_120_megapixels_from_files_of_2_mb(tmp_path):
    width, height = 12_000, 10_000
    packer = zlib.compressobj(1)
    row = bytes(1) + bytes([9, 9, 9, 200]) * width
    body = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    assert (tmp_path / "a.png").stat().st_size < 3e6
    found = crowd(in_flight.IN_FLIGHT, [tmp_path / "a.png"] * 4, limited=True)
    assert found["errors"] == []
    assert found["done"] == 4
    assert found["peak"] < 1.1 * in_flight.IN_FLIGHT


def test_a_tile_of_far_more_than_it_shows_is_refused(tmp_path):
    """Eight by eight pixels in a tile of 10,000 x 10,000, which libtiff unpacks as a whole."""
    side = 10_000
    body = zlib.compress(bytes(side * side), 1)
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 0)]
    tags += [(325, len(body))]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 324 else value) for tag, value in tags)
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + body)
    for look in (decode, check):
        with pytest.raises(BadImage, match="a tile of 10000 x 10000 pixels for a picture of 8 x 8; save it again"):
            look(str(path))


def test_too_many_pixels_are_told_with_what_is_allowed(tmp_path):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(9))))
    with pytest.raises(BadImage, match="400 megapixels, and at most 178 megapixels are read; make it smaller"):
        decode(str(path))


def test_too_little_memory_is_no_bad_image(tmp_path, monkeypatch):
    """Or it would be left out of one run and not of the next."""
    Image.new("RGBA", (80, 60)).save(tmp_path / "a.png")

    def full(image):
        raise MemoryError

    monkeypatch.setattr(decoding, "load", full)
    for look in (decode, check):
        with pytest.raises(UserError, match=r"too little memory to decode '.*a\.png', whose 80 x 60 pixels take up to"):
            look(str(tmp_path / "a.png"))


@pytest.mark.parametrize("samples", [7, 60_000])
def test_a_tiff_of_more_samples_than_there_are_colours_is_refused(tmp_path, samples):
    path = tmp_path / "a.tif"
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, samples), (278, 4), (279, 16 * samples)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4 + 16 * samples))
    for look in (decode, check):
        with pytest.raises(BadImage):
            look(str(path))


def test_the_room_is_given_back_whatever_happens(tmp_path, monkeypatch):
    room = Room(10**9)
    monkeypatch.setattr(decoding, "ROOM", room)
    good = png(tmp_path / "good.png", 1, 1, 8, 0, [b"\1"])
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:50])
    for path in (good, tmp_path / "bad.png"):
        for look in (decode, check):
            try:
                look(str(path))
            except BadImage:
                assert path != good
            assert room._free == room.size

    def use(picture):
        assert room._free < room.size
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_picture(str(good), use)
    assert room._free == room.size


def test_one_after_the_other_where_there_is_no_room_for_two():
    room, inside, most = Room(10), [], []

    def work(wanted):
        with room.taken(wanted):
            inside.append(wanted)
            time.sleep(0.001)
            most.append(sum(inside))
            inside.remove(wanted)

    threads = [threading.Thread(target=work, args=(wanted,)) for wanted in [7, 3, 8, 99, 1, 5, 10, 2] * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(most) == 160
    assert max(total for total in most if total < 99) <= 10
    assert room._free == 10


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("frames", [1, 2])
def test_the_size_of_a_webp_is_known_before_it_is_opened(tmp_path, lossless, frames):
    path = tmp_path / "a.webp"
    for mode in ("RGB", "RGBA"):
        images = [Image.new(mode, (301, 77), colour) for colour in ("red", "green")[:frames]]
        images[0].save(path, lossless=lossless, save_all=frames > 1, append_images=images[1:])
        pixels = (in_flight.bytes_before(str(path)) - path.stat().st_size) / (24 if frames > 1 else 16)
        assert pixels == 301 * 77
    assert in_flight.bytes_before(__file__) == 0
