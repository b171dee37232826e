"""MATLAB's files as scipy writes them, and as damage leaves them."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagenets import meta
from scipy.io import loadmat, savemat

from itae.images import matlab
from itae.images.matlab import struct_array, texts

CLASSES = {1: ("n02119789", "kit fox, Vulpes macrotis"), 2: ("n02100735", "English setter"), 3: ("n02110185", "é, 狐")}


def array_of(rows, fields):
    array = np.empty((len(rows), 1), [(name, object) for name in fields])
    for i, row in enumerate(rows):
        array[i, 0] = row
    return array


@pytest.mark.parametrize("compressed", [False, True])
def test_what_imagenets_file_holds(compressed):
    rows = struct_array(meta(CLASSES, do_compression=compressed), "synsets")
    assert [(row["ILSVRC2012_ID"], row["WNID"], row["words"], row["num_children"]) for row in rows] == [
        *((number, wnid, words, 0) for number, (wnid, words) in CLASSES.items()),
        (4, "n00001740", "entity", 3),
    ]
    assert rows[0]["children"] is None


@given(
    st.lists(
        st.tuples(st.text(max_size=9), st.floats(allow_nan=False), st.integers(-(2**31), 2**31 - 1)),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_texts_and_numbers_are_those_that_scipy_reads(rows, compressed):
    stream = io.BytesIO()
    content = [(text, number, np.int32(whole)) for text, number, whole in rows]
    savemat(stream, {"it": array_of(content, ["text", "number", "whole"])}, do_compression=compressed)
    scipys = np.atleast_1d(loadmat(io.BytesIO(stream.getvalue()), squeeze_me=True)["it"])
    for ours, theirs, (_, number, whole) in zip(struct_array(stream.getvalue(), "it"), scipys, rows, strict=True):
        assert ours["text"] == (str(theirs["text"]) if np.size(theirs["text"]) else "")
        assert (ours["number"], ours["whole"]) == (number, whole)


def element(kind, data, order=">"):
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(class_, name, *parts, shape=(1, 1), shape_type=5):
    letter = {5: "i", 9: "d"}[shape_type]
    head = element(6, struct.pack(">II", class_, 0)) + element(shape_type, struct.pack(f">2{letter}", *shape))
    return element(14, head + element(1, name) + b"".join(parts))


FIELDS = element(5, struct.pack(">i", 8)) + element(1, b"words\0\0\0ID\0\0\0\0\0\0")
TEXT = array(4, b"", element(4, "kit fox".encode("utf-16-be")), shape=(1, 7))
NUMBER = array(6, b"", struct.pack(">HH", 2, 4) + struct.pack(">H", 490) + b"\0\0")


def big_endian(*parts):
    return b"MATLAB".ljust(124) + b"\x01\x00MI" + b"".join(parts)


def test_the_other_order_of_bytes():
    """As a big-endian machine writes it: one row with two fields, by hand."""
    data = big_endian(array(2, b"synsets", FIELDS, TEXT, NUMBER))
    assert struct_array(data, "synsets") == [{"words": "kit fox", "ID": 490}]


def test_nothing_is_no_text_and_no_number():
    data = big_endian(array(2, b"synsets", FIELDS, array(4, b"", shape=(0, 0)), element(14, b"")))
    assert struct_array(data, "synsets") == [{"words": "", "ID": None}]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (big_endian(array(2, b"synsets", FIELDS, TEXT)), "it has 1 values for 1 rows of 2 fields"),
        (
            big_endian(array(2, b"synsets", FIELDS, TEXT, NUMBER, shape=(10**6, 10**6))),
            "2 values for 1000000000000 rows",
        ),
        (big_endian(array(2, b"synsets", FIELDS, TEXT, NUMBER, shape=(-1, 1))), "the head of an array is damaged"),
        (big_endian(array(2, b"synsets", FIELDS, shape=(1, np.inf), shape_type=9)), "the head of an array is damaged"),
        (big_endian(array(2, b"synsets", FIELDS[:16], element(1, b"words"))), "the names of its fields are damaged"),
        (big_endian(array(2, b"synsets", FIELDS, TEXT, NUMBER)[:-8]), "it is cut short"),
        (big_endian(array(2, b"synsets", struct.pack(">HH", 5, 1) + b"wide")), "it is cut short"),
    ],
)
def test_what_does_not_fit(data, told):
    with pytest.raises(ValueError, match=told):
        struct_array(data, "synsets")


def test_a_type_that_there_is_not_is_told():
    """scipy's reader ends Python with a segmentation fault here."""
    stream = io.BytesIO()
    savemat(stream, {"it": array_of([(5.0,)], ["number"])})
    data = bytearray(stream.getvalue())
    at = data.rfind(struct.pack("<II", 9, 8))
    data[at] = 8
    with pytest.raises(ValueError, match="no numbers of type 8"):
        struct_array(bytes(data), "it")


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.booleans(), st.data()
)
def test_damage_is_a_value_error_or_nothing(changes, compressed, data):
    content = bytearray(meta(CLASSES, do_compression=compressed))
    for at, byte in changes:
        content[at % len(content)] = byte
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        with contextlib.suppress(ValueError):
            struct_array(damaged, "synsets")


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.booleans(), st.data()
)
def test_damage_of_texts_is_a_value_error_or_nothing(changes, compressed, data):
    stream = io.BytesIO()
    savemat(stream, {"names": np.array([["AM General Hummer", "é, 狐"]], object)}, do_compression=compressed)
    content = bytearray(stream.getvalue())
    for at, byte in changes:
        content[at % len(content)] = byte
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        with contextlib.suppress(ValueError):
            texts(damaged, "names")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), max_size=6), st.booleans())
def test_a_cell_array_of_texts(names, compressed):
    cells = np.empty((1, len(names)), object)
    cells[0, :] = names
    stream = io.BytesIO()
    savemat(stream, {"it": np.arange(3), "names": cells}, do_compression=compressed)
    assert texts(stream.getvalue(), "names") == names


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (big_endian(array(1, b"names", TEXT, NUMBER, shape=(1, 2))), "'names' has 1 texts in 2 cells"),
        (big_endian(array(1, b"names", TEXT, shape=(1, 2))), "'names' has 1 texts in 2 cells"),
        (big_endian(array(1, b"names", TEXT, TEXT, shape=(1, 1))), "'names' has 2 texts in 1 cells"),
        (big_endian(array(1, b"names", TEXT)[:-8]), "it is cut short"),
        (big_endian(array(2, b"names", FIELDS, TEXT, NUMBER)), "it has no cell array 'names'"),
        (big_endian(array(1, b"others", TEXT)), "it has no cell array 'names'"),
        (b"x" * 200, "no MATLAB file of level 5"),
    ],
)
def test_what_is_no_list_of_texts(data, told):
    with pytest.raises(ValueError, match=told):
        texts(data, "names")


@pytest.mark.parametrize("data", [b"", b"x" * 200, b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_other_files(data):
    with pytest.raises(ValueError, match="no MATLAB file of level 5"):
        struct_array(data, "synsets")


def test_another_variable():
    with pytest.raises(ValueError, match="has no struct array 'children'"):
        struct_array(meta(CLASSES), "children")
    with pytest.raises(ValueError, match="has no struct array 'other'"):
        struct_array(meta(CLASSES), "other")


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(matlab, "MOST", 1000)
    packed = zlib.compress(bytes(10**6))
    data = b"MATLAB".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(ValueError, match="unpacks to more than 1000 bytes"):
        struct_array(data, "synsets")
