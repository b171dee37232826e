"""The data sets: what can be chosen, where it lies, and one plain object that a run reads images from.

A run is a function of content, so `ImageSet.fingerprint` hashes bytes, never paths or dates, and nothing in
here decodes an image before it is asked to. Only `prepare` ever uses the network, and a run never calls it.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shlex
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.base.threads import in_threads
from itae.images import folder, formats
from itae.images.class_names import alike, told_apart
from itae.images.decode import BadImage, check, decode
from itae.images.transform import RESIZES
from itae.images.walk import listed

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)


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
    """

    name: str
    split: str
    ids: list[str]
    items: Sequence[str | np.ndarray]
    labels: np.ndarray | None
    class_names: list[str]

    def __post_init__(self) -> None:
        n = len(self.ids)
        assert len(self.items) == n, (len(self.items), n)
        assert len(set(self.ids)) == n, "ids are not unique"
        if self.labels is not None:
            labels = np.array(self.labels, np.int64)
            assert labels.shape == (n,), (labels.shape, n)
            labels.setflags(write=False)
            object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int) -> Image.Image:
        """Return image i as 8-bit RGB, upright, transparency over white.

        Raises
        ------
        UserError
            When its file cannot be decoded.
        """
        item = self.items[i]
        if isinstance(item, np.ndarray):
            from PIL import Image

            return Image.fromarray(np.ascontiguousarray(item)).convert("RGB")
        try:
            return decode(item)
        except BadImage as reason:
            raise UserError(
                f"image '{self.ids[i]}' cannot be read: {reason}. Mend or remove it, or leave out such "
                "images with dataset.bad_image=skip."
            ) from reason

    @cached_property
    def digests(self) -> list[bytes]:
        """The SHA-256 of each image's bytes, or of an array's shape and pixels; every file is read, once."""
        return list(in_threads(_digest, self.items, len(self), "reading images"))

    def fingerprint(self) -> str:
        """Return a SHA-256 (hex) of the content: ids, the bytes of every image, labels and class names."""
        total = hashlib.sha256(
            json.dumps(
                {
                    "ids": self.ids,
                    "labels": None if self.labels is None else self.labels.tolist(),
                    "class_names": self.class_names,
                }
            ).encode()
        )
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
        return hashlib.sha256(repr(item.shape).encode() + item.tobytes()).digest()
    try:
        if not stat.S_ISREG(os.stat(item).st_mode):  # to read a named pipe or a device may take for ever
            raise OSError(errno.EINVAL, "not a regular file")
        with open(item, "rb", buffering=0) as file:
            return hashlib.sha256(file.read()).digest()
    except OSError as error:
        return hashlib.sha256(f"unreadable: {error.errno}".encode()).digest()


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


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What every kind of data set can be asked for.

    Parameters
    ----------
    name
        What it is called in tables and in the cache's folders.
    split
        Which part of it.
    limit
        How many images: every (n / limit)-th of the ordered set, so that sorted classes stay present, but for those
        of fewer than n / limit images, which may lose all of them and are named then. None, or more than there are,
        takes all. What a fingerprint is of are the images that are taken.
    resize
        How images come to the backbone's size; see `itae.images.transform.Transform`.
    bad_image
        ``error`` stops before the long work when a file cannot be decoded, ``skip`` leaves it out.

    Raises
    ------
    UserError
        For a value outside of these.
    """

    name: str
    split: str
    limit: int | None = None
    resize: str = "squash"
    bad_image: str = "error"

    SPLITS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise UserError(
                f"dataset.name={self.name!r} is not a word of letters, digits and . _ - + (a folder's name)."
            )
        if self.SPLITS:
            one_of("dataset.split", self.split, self.SPLITS)
        whole("dataset.limit", self.limit, low=1, optional=True)
        one_of("dataset.resize", self.resize, RESIZES)
        one_of("dataset.bad_image", self.bad_image, ("error", "skip"))

    def open(self) -> ImageSet:
        """Find the images, without decoding any; a `UserError` says what is missing and what to do."""
        ids, items, labels, class_names = self._find()
        images = ImageSet(self.name, self.split, ids, items, labels, class_names)  # type: ignore[arg-type]
        n = len(images)
        if self.limit is not None and self.limit < n:
            images = images.take([i * n // self.limit for i in range(self.limit)])
        _warn_of_classes(images, "" if len(images) == n else f" of dataset.limit={self.limit}")
        return images

    def prepare(self) -> None:
        """Fetch what can be fetched, once and ahead of any run; say so when there is nothing to fetch."""
        log.info("dataset=%s needs no download", self.name)

    def _find(self) -> formats.Found:
        raise NotImplementedError


def _warn_of_classes(images: ImageSet, taken: str) -> None:
    """Say which classes have no image, and which a person can't tell apart."""
    if empty := images.empty_classes:
        log.warning(
            "%d of the %d classes of %s have none of the %d images%s (%s); they don't count as classes.",
            len(empty), len(images.class_names), images.name, len(images), taken, listed(empty),
        )  # fmt: skip
    for group in alike(images.class_names):
        log.warning("%s are %d classes of %s, which look the same.", told_apart(group), len(group), images.name)


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey, light strokes on black."""

    name: str = "digits"
    split: str = "all"

    SPLITS: ClassVar[tuple[str, ...]] = ("all",)

    def _find(self) -> formats.Found:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        names = [str(name) for name in digits.target_names]
        return formats.Found(formats.numbered("all", len(pixels)), list(pixels), digits.target, names)


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Any folder of images: a sub-folder for each class, or none at all, and then it is unlabelled.

    `split` is ``all`` for `root` itself, or the name of one of its sub-folders, such as ``val``.
    """

    root: str
    name: str = "imagefolder"
    split: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_root(self.root)
        if not isinstance(self.split, str) or not self.split or re.search(r"[/\\]|^\.", self.split):
            raise UserError(f"dataset.split={self.split!r} is not 'all' or the name of a sub-folder of dataset.root.")

    def prepare(self) -> None:
        """Say that a folder of one's own is not downloaded, and check that it is there."""
        log.info("dataset=%s is your own folder, nothing to download: %d images", self.name, len(self.open()))

    def _find(self) -> formats.Found:
        return folder.image_folder(self.root, self.split)


@dataclass(frozen=True, kw_only=True)
class Downloaded(Dataset):
    """A data set in its official files, in `root` or in the official folder itself, fetched by `prepare`."""

    root: str

    FOLDER: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_root(self.root)

    def open(self) -> ImageSet:
        """Find the images; what is missing or damaged is told with the command that fetches it."""
        try:
            return super().open()
        except UserError as error:
            command = f"itae prepare dataset={self.name} {shlex.quote(f'dataset.root={self.root}')}"
            raise UserError(f"{error} To fetch it, run: {command}") from error

    def prepare(self) -> None:
        """Download into `root` what is not there or not whole, by the official checksums.

        Raises
        ------
        UserError
            When the network, the disk or the checksum fails.
        """
        from filelock import FileLock

        target = Path(self.root).expanduser()
        if target.name == self._folder():
            target = target.parent
        try:
            target.mkdir(parents=True, exist_ok=True)
            with FileLock(target / f".{self._folder()}.lock"):  # several jobs may prepare at once
                self._download(str(target))
        except (OSError, RuntimeError, EOFError) as error:  # a bad checksum is a RuntimeError
            raise UserError(
                f"dataset={self.name} could not be fetched to '{target}' ({error}): check network and disk, "
                f"or put the official folder '{self._folder()}' there by hand."
            ) from error
        log.info("dataset=%s is ready: %d images in '%s'", self.name, len(self.open()), target)

    def _folder(self) -> str:
        return self.FOLDER

    def _download(self, target: str) -> None:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Cifar(Downloaded):
    """CIFAR-10 or CIFAR-100 (`variant` 10 or 100, the latter with its fine labels), 32 x 32."""

    variant: int
    split: str = "test"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test")

    def __post_init__(self) -> None:
        if self.variant not in (10, 100):
            raise UserError(f"dataset.variant={self.variant!r} is not 10 or 100.")
        super().__post_init__()

    def _folder(self) -> str:
        return "cifar-10-batches-py" if self.variant == 10 else "cifar-100-python"

    def _find(self) -> formats.Found:
        return formats.cifar(self.root, self.variant, self.split)

    def _download(self, target: str) -> None:
        from torchvision import datasets

        (datasets.CIFAR10 if self.variant == 10 else datasets.CIFAR100)(target, download=True)


@dataclass(frozen=True, kw_only=True)
class Stl10(Downloaded):
    """STL-10, 96 x 96; split ``unlabeled`` has 100,000 images and no labels."""

    name: str = "stl10"
    split: str = "test"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test", "train+test", "unlabeled")
    FOLDER: ClassVar[str] = "stl10_binary"

    def _find(self) -> formats.Found:
        return formats.stl10(self.root, self.split)

    def _download(self, target: str) -> None:
        from torchvision.datasets import STL10

        STL10(target, download=True)


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(Downloaded):
    """Tiny-ImageNet, 200 classes, 64 x 64, in its official folders; its test split has no labels."""

    name: str = "tiny_imagenet"
    split: str = "val"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val")
    FOLDER: ClassVar[str] = "tiny-imagenet-200"
    URL: ClassVar[str] = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    MD5: ClassVar[str] = "90528d7ca1a48142e341f4ef8d21d0de"

    def _find(self) -> formats.Found:
        return formats.tiny_imagenet(self.root, self.split)

    def _download(self, target: str) -> None:
        from torchvision.datasets.utils import download_and_extract_archive

        try:
            for split in self.SPLITS:
                formats.tiny_imagenet(target, split)
        except UserError:
            download_and_extract_archive(self.URL, target, md5=self.MD5, remove_finished=True)


def _check_root(root: object) -> None:
    if not isinstance(root, str) or not root.strip():
        raise UserError(f"dataset.root={root!r} is not a folder; set dataset.root=/path/to/the/folder.")
