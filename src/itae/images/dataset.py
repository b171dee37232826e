"""What all data sets have in common: what can be asked of one, and how one in official files is found or fetched.

Nothing in here decodes an image. Only `prepare` ever uses the network, and a run never calls it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import ClassVar

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.typed import to_type
from itae.images import formats
from itae.images.class_names import alike, told_apart
from itae.images.image_set import ImageSet
from itae.images.transform import DECODES, RESIZES
from itae.images.walk import listed

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
class Official(Dataset):
    """A data set in its official files, in `root` or in the official folder itself."""

    root: str

    PREPARE: ClassVar[str] = ""  # what `prepare` does, as in a sentence before its command

    def __post_init__(self) -> None:
        super().__post_init__()
        check_root(self.root)

    def open(self) -> ImageSet:
        """Find the images; what is missing or damaged is told with the command that helps."""
        try:
            return super().open()
        except UserError as error:
            command = f"itae prepare dataset={self.name} {to_type('dataset.root', self.root)}"
            raise UserError(f"{error} {self.PREPARE}: {command}") from error


@dataclass(frozen=True, kw_only=True)
class OwnCopy(Official):
    """One that a person has to get: `prepare` says from where."""

    PREPARE: ClassVar[str] = "What is read, and where to get it, is told by"
    SOURCE: ClassVar[str] = ""  # what to get from where, as sentences

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
            raise UserError(f"{error} {self.SOURCE}") from error
        log.info("dataset=%s is ready: %d images in '%s'", self.name, len(images), at_home(self.root))


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


def check_root(root: object) -> None:
    """Raise a `UserError` unless it may be a folder's name."""
    if not isinstance(root, str) or not root.strip():
        hint = f", or, if it is called so, root: '{root}' in a yaml" if isinstance(root, int | float) else ""
        raise UserError(f"dataset.root={root!r} is not a folder; set dataset.root=/path/to/the/folder{hint}.")
