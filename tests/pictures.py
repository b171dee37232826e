"""Picture files written by hand, for what Pillow reads but does not write, and so that no test asks it twice."""

from __future__ import annotations

import struct
import zlib


def packed(samples, bits, order=">"):
    """Return one row of whole numbers or floats as bytes: samples of fewer than 8 bits, and 12, lie bit by bit."""
    if bits % 8 == 0:
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    digits = "".join(f"{int(sample):0{bits}b}" for sample in samples.ravel())
    return bytes(int(digits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(digits), 8))


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, height, depth, colour, rows, chunks=()):
    """Write a PNG of rows of bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))
    return path


def png_of(path, samples, depth, colour, *chunks):
    """Write samples [H, W, C] as a PNG."""
    height, width, _ = samples.shape
    return png(path, width, height, depth, colour, [packed(row, depth) for row in samples], chunks)


def tiff(path, samples, bits, photometric, *, order="<", planar=1, compression=1, extra=(), tags=None):
    """Write samples [H, W, C] as a TIFF of one strip a plane, uncompressed (1) or deflated (8).

    `tags` has more of them, or others, as number -> (type, values); None leaves one out.
    """
    height, width, channels = samples.shape
    planes = [samples] if planar == 1 else [samples[..., i] for i in range(channels)]
    strips = [b"".join(packed(row, bits, order) for row in plane) for plane in planes]
    strips = [zlib.compress(strip) if compression == 8 else strip for strip in strips]
    numbers = {"u": 1, "i": 2, "f": 3, "c": 6}[samples.dtype.kind]
    entries = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        273: ("I", [0] * len(strips)),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [planar]),
        338: ("H", list(extra)) if extra else None,
        339: ("H", [numbers] * channels) if numbers != 1 else None,
        **(tags or {}),
    }
    kept = {tag: entry for tag, entry in sorted(entries.items()) if entry}
    start = 8 + 2 + 12 * len(kept) + 4  # behind the header and the directory: the long values, then the strips
    sizes = {tag: struct.calcsize(f"{len(values)}{kind}") for tag, (kind, values) in kept.items()}
    ahead = start + sum(size + size % 2 for size in sizes.values() if size > 4)
    kept[273] = ("I", [ahead + sum(map(len, strips[:i])) for i in range(len(strips))])
    directory, beyond = b"", b""
    for tag, (kind, values) in kept.items():
        data = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(data) > 4:
            data, beyond = struct.pack(f"{order}I", start + len(beyond)), beyond + data + bytes(len(data) % 2)
        directory += struct.pack(f"{order}HHI", tag, {"B": 1, "H": 3, "I": 4}[kind], len(values)) + data.ljust(4, b"\0")
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(kept))
    path.write_bytes(header + directory + bytes(4) + beyond + b"".join(strips))
    return path


def psd(path, mode, bits, planes, width, layers=None, palette=b""):
    """Write a PSD of one row; `layers` is the count of layers, negative where the last plane is the transparency."""
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, len(planes), 1, width, bits, mode)
    section = b"" if layers is None else struct.pack(">Ih", 2, layers)
    palette = struct.pack(">I", len(palette)) + palette
    section = struct.pack(">I", len(section)) + section
    path.write_bytes(header + palette + bytes(4) + section + bytes(2) + b"".join(planes))
    return path


def sgi(path, planes, size):
    """Write an uncompressed SGI image of one row, with samples of `size` bytes."""
    width = len(planes[0]) // size
    header = struct.pack(">hBBHHHH", 474, 0, size, 3 if len(planes) > 1 else 2, width, 1, len(planes))
    path.write_bytes(header.ljust(512, b"\0") + b"".join(planes))
    return path


def gif(path, width, left, transparent=None):
    """Write a GIF `width` x 1 whose only frame is green, blue from column `left` on; palette entry 0 is red."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, 1, 0x91, 0, 0)
    colours = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    control = b"" if transparent is None else struct.pack("<4sHBB", b"\x21\xf9\x04\x01", 0, transparent, 0)
    codes = sum(code << 3 * i for i, code in enumerate([4, 1, 2, 5]))  # clear, green, blue, end
    frame = b"," + struct.pack("<HHHHB", left, 0, 2, 1, 0) + b"\x02\x02" + codes.to_bytes(2, "little") + b"\0;"
    path.write_bytes(head + colours + control + frame)
    return path
