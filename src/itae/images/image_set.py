"""The images of a run: one plain object that they are read from, and what is known of them without decoding any.

A run is a function of content, so `ImageSet.fingerprint` hashes bytes, never paths or dates.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from itae.base.errors import UserError
from itae.base.threads import in_threads
from itae.images.decode import BadImage, Least, check, with_picture
from itae.images.transform import Transform

if TYPE_CHECKING:
    from PIL import Image

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their ids; the labels lie beside them, and only a metric has use for those.

    Parameters
    ----------
    name, split
        As in the settings.
    ids
        n unique names that do not depend on where the folder is: ``test/00042``, ``face/joy-twitter.png``.
    items
        n paths of files, or n arrays of pixels, uint8 [H, W] or [H, W, 3].
    labels
        int64 [n], or None for an unlabelled set.
    class_names
        The name of each label value; empty when unlabelled.
    label_sets
        All labels of each image by name, n of none, one or several, where some have several; None where `labels` says
        it all. What asks for one label an image, as clustering, reads `labels`, and what takes several reads these.
    attributes
        What else is known of the images: n texts by the name of each column.
    """

    name: str
    split: str
    ids: list[str]
    items: Sequence[str | np.ndarray]
    labels: np.ndarray | None
    class_names: list[str]
    label_sets: Sequence[tuple[str, ...]] | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        assert len(self.items) == n, (len(self.items), n)
        assert len(set(self.ids)) == n, "ids are not unique"
        if self.labels is not None:
            labels = np.array(self.labels, np.int64)
            assert labels.shape == (n,), (labels.shape, n)
            labels.setflags(write=False)
            object.__setattr__(self, "labels", labels)
        if self.label_sets is not None:
            assert len(self.label_sets) == n, (len(self.label_sets), n)
            object.__setattr__(self, "label_sets", [tuple(sorted(set(some))) for some in self.label_sets])
        assert all(len(texts) == n for texts in self.attributes.values()), list(self.attributes)
        object.__setattr__(self, "attributes", {name: list(texts) for name, texts in self.attributes.items()})

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int) -> Image.Image:
        """Return image i as 8-bit RGB, upright, transparency over white.

        Raises
        ------
        UserError
            When its file cannot be decoded.
        """
        return self._used(i, lambda image: image)

    def pixels(self, i: int, transform: Transform) -> np.ndarray:
        """Return image i as a backbone sees it, uint8 [S, S, 3]; pictures in all threads share `IN_FLIGHT` bytes.

        Raises
        ------
        UserError
            When its file cannot be decoded.
        """
        return self._used(i, transform, transform.least)

    def _used(self, i: int, use: Callable[[Image.Image], R], least: Least | None = None) -> R:
        item = self.items[i]
        if isinstance(item, np.ndarray):
            from PIL import Image

            return use(Image.fromarray(np.ascontiguousarray(item)).convert("RGB"))
        try:
            return with_picture(item, use, least)
        except BadImage as reason:
            raise UserError(
                f"image '{self.ids[i]}' cannot be read: {reason}. Mend or remove it, or leave out such "
                "images with dataset.bad_image=skip."
            ) from reason

    @cached_property
    def digests(self) -> list[bytes]:
        """The SHA-256 of each image's bytes, or of an array's shape and pixels; every file is read, once."""
        return list(in_threads(_digest, self.items, len(self), "reading images"))

    def data(self, i: int) -> bytes:
        """Return the bytes that image i has its digest of, which `itae.images.kept.picture` reads.

        Raises
        ------
        UserError
            When its file cannot be read.
        """
        item = self.items[i]
        if isinstance(item, np.ndarray):
            return _bytes_of(item)
        try:
            with open(item, "rb") as file:
                return file.read()
        except OSError as error:
            raise UserError(f"image '{self.ids[i]}' cannot be read: {error.strerror}.") from error

    def fingerprint(self) -> str:
        """Return a SHA-256 (hex) of the content: ids, the bytes of every image, labels and class names.

        Several labels and attributes count where there are any: a set without them has the one that it always had.
        """
        told: dict[str, Any] = {
            "ids": self.ids,
            "labels": None if self.labels is None else self.labels.tolist(),
            "class_names": self.class_names,
        }
        if self.label_sets is not None:
            told["label_sets"] = [list(some) for some in self.label_sets]
        if self.attributes:
            told["attributes"] = {name: list(texts) for name, texts in sorted(self.attributes.items())}
        total = hashlib.sha256(json.dumps(told).encode())
        for digest in self.digests:
            total.update(digest)
        return total.hexdigest()

    def stamps(self, rows: Sequence[int]) -> list[tuple[int, int] | None]:
        """Return size and time of change of these images' files, None for arrays and files that are gone."""
        return [_stamp(self.items[i]) for i in rows]

    def bad(self) -> dict[str, str]:
        """Return the images that cannot be decoded, as id -> reason, by trying each of them."""
        reasons = in_threads(_reason, self.items, len(self), "checking images")
        return {id_: reason for id_, reason in zip(self.ids, reasons, strict=True) if reason}

    @property
    def all_labels(self) -> list[tuple[str, ...]]:
        """The labels of each image by name: those of `label_sets`, or its one of `labels`, or none."""
        if self.label_sets is not None:
            return list(self.label_sets)
        if self.labels is None:
            return [()] * len(self)
        return [(self.class_names[value],) for value in self.labels.tolist()]

    @property
    def n_classes(self) -> int | None:
        """How many classes have an image, None for unlabelled images."""
        return count_classes(self.labels)

    @property
    def empty_classes(self) -> list[str]:
        """The names of the classes that have no image."""
        return without_images(self.class_names, self.labels)

    def without(self, ids: Collection[str]) -> ImageSet:
        """Return the set less the images of these ids; a `UserError` when none would be left."""
        gone = set(ids)
        assert gone <= set(self.ids), "ids of another set"
        if len(gone) == len(self):
            raise UserError(f"none of the {len(self)} images of {self.name}/{self.split} can be read.")
        return self.take([i for i, id_ in enumerate(self.ids) if id_ not in gone])

    def take(self, rows: Sequence[int]) -> ImageSet:
        """Return the images at these positions, as a set of its own."""
        taken = dataclasses.replace(
            self,
            ids=[self.ids[i] for i in rows],
            items=[self.items[i] for i in rows],
            labels=None if self.labels is None else self.labels[list(rows)],
            label_sets=None if self.label_sets is None else [self.label_sets[i] for i in rows],
            attributes={name: [texts[i] for i in rows] for name, texts in self.attributes.items()},
        )
        if "digests" in vars(self):  # known already: no file is read again
            vars(taken)["digests"] = [self.digests[i] for i in rows]
        return taken


def count_classes(labels: np.ndarray | None) -> int | None:
    """Return how many classes these labels are of, None for no labels."""
    return None if labels is None else len(np.unique(labels))


def without_images(class_names: Sequence[str], labels: np.ndarray | None) -> list[str]:
    """Return the names of the classes that none of these labels is of."""
    there = set() if labels is None else set(np.unique(labels).tolist())
    return [name for label, name in enumerate(class_names) if label not in there]


def _digest(item: str | np.ndarray) -> bytes:
    """Hash one image; a file that cannot be read has a digest too, so that `skip` can still leave it out."""
    if isinstance(item, np.ndarray):
        return hashlib.sha256(_bytes_of(item)).digest()
    try:
        if not stat.S_ISREG(os.stat(item).st_mode):  # to read a named pipe or a device may take for ever
            raise OSError(errno.EINVAL, "not a regular file")
        with open(item, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return hashlib.sha256(f"unreadable: {error.errno}".encode()).digest()


def _bytes_of(pixels: np.ndarray) -> bytes:
    return repr(pixels.shape).encode() + pixels.tobytes()


def _stamp(item: str | np.ndarray) -> tuple[int, int] | None:
    if isinstance(item, np.ndarray):
        return None
    try:
        status = os.stat(item)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _reason(item: str | np.ndarray) -> str:
    """Return why a file cannot be decoded, or an empty string, as for all arrays."""
    if isinstance(item, np.ndarray):
        return ""
    try:
        check(item)
    except BadImage as reason:
        return str(reason)
    return ""
