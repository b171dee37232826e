"""The lists that come with ImageNet: of which class each image of val is, and what classes are called.

None of them is pickled. torchvision's meta.bin, which is, isn't asked.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from itae.base.errors import UserError
from itae.images.formats import check_file, text_of
from itae.images.matlab import struct_array

WNID = re.compile(r"n[0-9]{8}")
"""A WordNet id, by which ImageNet's classes and their folders are called."""
CLASSES = 1000
WORDS = ("LOC_synset_mapping.txt", "synset_words.txt")
"""Lists of lines such as ``n01440764 tench, Tinca tinca``: Kaggle's, and Caffe's."""
DEVKIT, TRUTH, META = "ILSVRC2012_devkit_t12", "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
SOLUTION = "LOC_val_solution.csv"
LISTS = ("val.txt", "val_list.txt", "val/val.txt")
"""Lists of lines such as ``ILSVRC2012_val_00000001.JPEG 65``, as Caffe, PaddlePaddle and others have them."""

_FIRST = ("ILSVRC2012_val_00000001.JPEG", 65)
_LARGEST = 1 << 24  # bytes of a file of the devkit: two thousand rows of words, or 50,000 numbers, are far below


@dataclass(frozen=True)
class Lists:
    """What lies beside the images.

    Parameters
    ----------
    places
        The folders in which it is looked for, one after the other.
    """

    places: tuple[Path, ...]

    @cached_property
    def words(self) -> dict[str, str]:
        """What classes are called, by their WordNet ids: by the lists of `WORDS`, else by the devkit; none for none."""
        if file := self._first(*WORDS):
            return _words(file)
        return dict(self._devkit.synsets.values()) if self._devkit else {}

    def of_val(self, wnids: Sequence[str]) -> tuple[str, dict[str, str]] | None:
        """Return a list's place, and of each image of val that it names the WordNet id; None where there is no list.

        The devkit comes first, then Kaggle's solution, then the lists of `LISTS`.

        Parameters
        ----------
        wnids
            The classes in order, which numbers of the last kind of list are places in.
        """
        if self._devkit:
            return self._devkit.place(TRUTH), self._devkit.truth()
        if file := self._first(SOLUTION):
            return str(file), _solution(file)
        if file := self._first(*LISTS):
            return str(file), _listed(file, wnids)
        return None

    @cached_property
    def _devkit(self) -> _Devkit | None:
        found = self._first(DEVKIT, f"{DEVKIT}.tar.gz")
        return _Devkit(found) if found else None

    def _first(self, *names: str) -> Path | None:
        return next((place / name for name in names for place in self.places if os.path.exists(place / name)), None)


@dataclass(frozen=True)
class _Devkit:
    """The official devkit, as a folder or as the archive that it comes in."""

    path: Path

    def place(self, name: str) -> str:
        return str(self.path / "data" / name)

    @cached_property
    def synsets(self) -> dict[int, tuple[str, str]]:
        """WordNet id and words of each class, by the number (ILSVRC2012_ID) that the devkit has for it."""
        place, data = self.place(META), self._read(META)
        try:
            rows = struct_array(data, "synsets")
        except ValueError as error:
            raise UserError(f"'{place}' is damaged, or not the devkit's: {error}.") from None
        found = {}
        for row in rows:
            number, wnid, words = row.get("ILSVRC2012_ID"), row.get("WNID"), row.get("words")
            if not isinstance(number, int) or not isinstance(wnid, str) or not WNID.fullmatch(wnid):
                raise UserError(f"'{place}' is not the devkit's: it has ILSVRC2012_ID {number!r} for WNID {wnid!r}.")
            if row.get("num_children") == 0:  # the others are groups of classes
                found[number] = wnid, words if isinstance(words, str) else ""
        return found

    def truth(self) -> dict[str, str]:
        """Return the WordNet id of each image of val, of which line i of the ground truth has the number."""
        place, found = self.place(TRUTH), {}
        for line, text in _lines(_decoded(self._read(TRUTH), place)):
            number = int(text) if re.fullmatch("[0-9]{1,5}", text.strip()) else -1
            if number not in self.synsets:
                raise UserError(f"line {line} of '{place}' is the number of no class in {META}: {text[:60]!r}.")
            found[f"ILSVRC2012_val_{line:08d}.JPEG"] = self.synsets[number][0]
        return found

    def _read(self, name: str) -> bytes:
        place = self.path / "data" / name if os.path.isdir(self.path) else self.path
        check_file(place)
        try:
            if place == self.path:
                data = self._unpacked(f"{DEVKIT}/data/{name}")
            else:
                with place.open("rb") as stream:
                    data = stream.read(_LARGEST + 1)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise UserError(f"'{place}' is damaged or cannot be read ({type(error).__name__}: {error}).") from None
        if len(data) > _LARGEST:
            raise UserError(f"'{self.place(name)}' is not the devkit's: it has more than {_LARGEST} bytes.")
        return data

    def _unpacked(self, name: str) -> bytes:
        """Return a file of the archive; nothing is written anywhere."""
        with tarfile.open(self.path, "r:gz") as archive:
            member = next((member for member in archive if member.name == name and member.isreg()), None)
            stream = archive.extractfile(member) if member else None
            if stream is None:
                raise UserError(f"'{self.path}' holds no file '{name}'.")
            return stream.read(_LARGEST + 1)


def _words(file: Path) -> dict[str, str]:
    found = {}
    for line, text in _lines(text_of(file)):
        wnid, words = _apart(text)
        if not WNID.fullmatch(wnid):
            raise UserError(f"line {line} of '{file}' begins with no WordNet id such as n01440764: {text[:60]!r}.")
        found[wnid] = words
    return found


def _solution(file: Path) -> dict[str, str]:
    """Read lines such as ``ILSVRC2012_val_00048981,n03995372 85 1 499 272``, of objects that are of one class."""
    lines = _lines(text_of(file))
    if next(lines, (0, ""))[1] != "ImageId,PredictionString":
        raise UserError(f"'{file}' has no first line 'ImageId,PredictionString'.")
    rows = ((line, *text.partition(",")[::2]) for line, text in lines)
    return _of_images(
        file, ((line, f"{name}.JPEG", objects.split(" ")[0]) for line, name, objects in rows), "WordNet id"
    )


def _listed(file: Path, wnids: Sequence[str]) -> dict[str, str]:
    """Read a name, which may have folders before it, and the WordNet id of its class or that one's place in `wnids`."""
    rows = [(line, *_apart(text)) for line, text in _lines(text_of(file))]
    numbers = any(class_.isdecimal() for _, _, class_ in rows)
    if numbers and not wnids:
        raise UserError(
            f"'{file}' tells classes by numbers, and nothing tells which they are: put {WORDS[0]} or the devkit there."
        )
    wnid_of = dict(zip(map(str, range(len(wnids))), wnids, strict=True))
    known = ((line, name.rpartition("/")[2], wnid_of.get(class_, class_)) for line, name, class_ in rows)
    found = _of_images(file, known, f"class of the {len(wnids)}")
    first, place = _FIRST
    if numbers and len(wnids) == CLASSES and found.get(first, wnids[place]) != wnids[place]:
        raise UserError(
            f"'{file}' counts classes in another order than that of the sorted WordNet ids, in which {first} is of "
            f"class {place}: use the devkit's list or Kaggle's."
        )
    return found


def _of_images(file: Path, pairs: Iterable[tuple[int, str, str]], what: str) -> dict[str, str]:
    """Return the classes of a list's images; refuse a line without a class, or of an image that had one."""
    found: dict[str, str] = {}
    for line, name, wnid in pairs:
        if not WNID.fullmatch(wnid):
            raise UserError(f"line {line} of '{file}' names an image and no {what}.")
        if name in found:
            raise UserError(f"line {line} of '{file}' names '{name}' for the second time.")
        found[name] = wnid
    return found


def _apart(text: str) -> tuple[str, str]:
    """Return the first word of a line and what stands behind it, be it after a blank or a tab."""
    first, *more = text.split(maxsplit=1)
    return first, more[0].strip() if more else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that aren't empty, counted from 1."""
    return ((line, each) for line, each in enumerate(text.splitlines(), start=1) if each.strip())


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"'{place}' cannot be read ({error}).") from None
