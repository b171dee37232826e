"""Pictures that itae can't read: told apart from what is no picture, so that nobody loses them without a word."""

from __future__ import annotations

from collections.abc import Container

HOW = "convert such pictures to JPEG or PNG, for instance with ImageMagick: magick mogrify -format jpg FILES"

# In lower case.
UNREAD = frozenset(
    {
        *(".heic", ".heif", ".heics", ".heifs", ".hif", ".avci"),  # phones
        *(".jxl", ".jxr", ".hdp", ".wdp", ".bpg"),
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".rwl"),
        *(".pef", ".srw", ".raw", ".3fr", ".fff", ".iiq", ".x3f", ".erf", ".kdc", ".dcr", ".mrw", ".mos", ".mef"),
        *(".tga", ".exr", ".hdr", ".xcf", ".psb", ".svg", ".svgz", ".eps", ".wmf", ".emf"),  # renderers and editors
    }
)
"""Endings of pictures in formats of which there is no decoder here; raw files of cameras first need developing."""

_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def other_picture(start: bytes, readable: Container[str]) -> str:
    """Return which picture a file is that can't be read, by its first 16 bytes; an empty string for none."""
    if start[4:8] == b"ftyp" and start[8:12] in _BRANDS:
        return "a HEIC picture, whatever its name says, which can't be read; convert it to JPEG or PNG"
    if start[4:8] == b"ftyp" and start[8:12] in {b"avif", b"avis"} and "AVIF" not in readable:
        return "an AVIF picture, which the Pillow that is installed can't read; convert it to JPEG or PNG"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "a JPEG XL picture, which can't be read; convert it to JPEG or PNG"
    return ""
