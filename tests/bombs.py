"""Small files of huge pictures, one of every format that says how large it is."""

from __future__ import annotations

import io
import struct
import zlib

from pictures import png_chunk
from PIL import Image

SIDE = 40_000  # 1,600 megapixels
PNG = b"\x89PNG\r\n\x1a\n"


def saved(kind, size=(8, 6), **more):
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **more)
    return out.getvalue()


def png_of_size(width, height):
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return PNG + head + png_chunk(b"IDAT", zlib.compress(bytes(99))) + png_chunk(b"IEND", b"")


def tiff_of_size(width, height):
    tags = {256: width, 257: height, 258: 1, 259: 1, 262: 1, 273: 8, 278: height, 279: 99}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def bombs(side=SIDE):
    """Return small files of huge pictures, by their format."""
    jpeg, jp2 = bytearray(saved("JPEG")), bytearray(saved("JPEG2000"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    whole = bytes(jp2).replace(struct.pack(">II", 6, 8), struct.pack(">II", side, side))  # ihdr
    at = jp2.index(b"\xff\x4f\xff\x51")
    jp2[at + 8 : at + 16] = struct.pack(">II", side, side)  # the codestream, and not the box around it
    png = png_of_size(side, side)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png
    dib = struct.pack("<IiiHHIIiiII", 40, side, 2 * side, 1, 24, 0, 0, 0, 0, 0, 0)
    drawn = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 24, 999, 22) + dib + bytes(959)
    webp = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + 2 * struct.pack("<I", side - 1)[:3] + bytes(40)
    lossless = b"RIFF\x40\0\0\0WEBPVP8L\x20\0\0\0\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(40)
    gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\0;"
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return {
        "PNG": png, "JPEG": bytes(jpeg), "JPEG2000": whole, "JPEG2000 codestream": bytes(jp2), "ICO": icon,
        "ICO drawn": drawn, "WEBP": webp, "WEBP lossless": lossless, "GIF": gif + frame, "GIF frame": screen,
        "TIFF": tiff_of_size(side, side),
        "PPM": b"P6 %d %d 255\n" % (side, side) + bytes(99), "BMP": bmp + bytes(99),
    }  # fmt: skip
