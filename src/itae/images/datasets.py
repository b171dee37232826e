"""The data sets: what can be chosen, and where it lies.

Nothing in here decodes an image. Only `prepare` ever uses the network, and a run never calls it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.typed import to_type
from itae.images import folder, formats, imagenet
from itae.images.class_names import alike, told_apart
from itae.images.image_set import ImageSet
from itae.images.transform import DECODES, RESIZES
from itae.images.walk import listed

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


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
    decode
        Whether all pixels of a JPEG are decoded where far fewer are needed; see there, too.
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
    decode: str = "full"
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
        one_of("dataset.decode", self.decode, DECODES)
        one_of("dataset.bad_image", self.bad_image, ("error", "skip"))

    def open(self) -> ImageSet:
        """Find the images, without decoding any; a `UserError` says what is missing and what to do."""
        images = ImageSet(self.name, self.split, *self._find())  # type: ignore[arg-type]
        n = len(images)
        if self.limit is not None and self.limit < n:
            images = images.take([i * n // self.limit for i in range(self.limit)])
        _warn_of_classes(images, "" if len(images) == n else f" of dataset.limit={self.limit}")
        return images

    def prepare(self) -> None:
        """Fetch what can be fetched, once and ahead of any run; say so when there is nothing to fetch."""
        log.info("dataset=%s needs no download", self.name)

    def _find(self) -> formats.Listing:
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
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey, light strokes on black.

    `split` is ``all``, ``train`` (the first 1,157 images) or ``test`` (the last 640); ids are those of ``all``.

    scikit-learn has them as the test set of UCI's optical digits, which 13 people wrote. They lie form after form: the
    labels are 14 times the ten digits in a row, thrice, and then about a hundred in one order, so every form has all
    classes alike. A digit looks like others of its form: by pixels, the nearest image is of the same one for 53 %, 7 %
    by chance. So whole forms are on one side, nine in ``train`` and five in ``test``, and the nearest image of
    ``train`` names .964 of ``test`` rightly; of images drawn at random .986, by their writers' others. Which two forms
    are of one person, if two are, nothing tells.
    """

    name: str = "digits"
    split: str = "all"

    SPLITS: ClassVar[tuple[str, ...]] = ("all", "train", "test")
    TRAIN: ClassVar[int] = 1157  # where the tenth form begins

    def _find(self) -> formats.Listing:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        names = [str(name) for name in digits.target_names]
        some = {"all": slice(None), "train": slice(self.TRAIN), "test": slice(self.TRAIN, None)}[self.split]
        ids = formats.numbered("all", len(pixels))
        return formats.Listing(ids[some], list(pixels[some]), digits.target[some], names)


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

    def _find(self) -> formats.Listing:
        return folder.image_folder(self.root, self.split)


@dataclass(frozen=True, kw_only=True)
class Official(Dataset):
    """A data set in its official files, in `root` or in the official folder itself."""

    root: str

    PREPARE: ClassVar[str] = ""  # what `prepare` does, as in a sentence before its command

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_root(self.root)

    def open(self) -> ImageSet:
        """Find the images; what is missing or damaged is told with the command that helps."""
        try:
            return super().open()
        except UserError as error:
            command = f"itae prepare dataset={self.name} {to_type('dataset.root', self.root)}"
            raise UserError(f"{error} {self.PREPARE}: {command}") from error


@dataclass(frozen=True, kw_only=True)
class Downloaded(Official):
    """One that `prepare` fetches."""

    FOLDER: ClassVar[str] = ""
    PREPARE: ClassVar[str] = "To fetch it, run"

    def prepare(self) -> None:
        """Download into `root` what is not there or not whole, by the official checksums.

        Raises
        ------
        UserError
            When the network, the disk or the checksum fails.
        """
        from itae.base.lock import Lock

        target = at_home(self.root)
        if target.name == self._folder():
            target = target.parent
        try:
            target.mkdir(parents=True, exist_ok=True)
            file = target / f".{self._folder()}.lock"  # several jobs may prepare at once
            with Lock(file).held(f"another process that fetches {self._folder()} to {target}"):
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

    def _find(self) -> formats.Listing:
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

    def _find(self) -> formats.Listing:
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

    def _find(self) -> formats.Listing:
        return formats.tiny_imagenet(self.root, self.split)

    def _download(self, target: str) -> None:
        from torchvision.datasets.utils import download_and_extract_archive

        try:
            for split in self.SPLITS:
                formats.tiny_imagenet(target, split)
        except UserError:
            download_and_extract_archive(self.URL, target, md5=self.MD5, remove_finished=True)


@dataclass(frozen=True, kw_only=True)
class ImageNet(Official):
    """ImageNet (ILSVRC 2012), 1,000 classes or some of them, in any layout that `itae.images.imagenet` names.

    It has no free download. `root` holds the folders ``train`` and ``val``, or ``imagenet`` or Kaggle's ``ILSVRC`` with
    them in it.
    """

    name: str = "imagenet"
    split: str = "val"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val")
    PREPARE: ClassVar[str] = "What is read, and where to get it, is told by"

    def prepare(self) -> None:
        """Check that it is there, and say what to get from where if it isn't.

        Raises
        ------
        UserError
            If it isn't, or is damaged.
        """
        try:
            images = super(Official, self).open()  # without the command that is running
        except UserError as error:
            raise UserError(f"{error} {imagenet.SOURCE}") from error
        log.info("dataset=%s is ready: %d images in '%s'", self.name, len(images), at_home(self.root))

    def _find(self) -> formats.Listing:
        return imagenet.imagenet(self.root, self.split)


def _check_root(root: object) -> None:
    if not isinstance(root, str) or not root.strip():
        hint = f", or, if it is called so, root: '{root}' in a yaml" if isinstance(root, int | float) else ""
        raise UserError(f"dataset.root={root!r} is not a folder; set dataset.root=/path/to/the/folder{hint}.")
