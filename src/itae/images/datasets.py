"""The data sets: what can be chosen, and where it lies.

All of them can be had from here, wherever they are written: this is the module that ``itae.data`` stands for.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import ClassVar

from itae.base.errors import UserError
from itae.images import folder, formats, imagenet
from itae.images.cars import Cars196
from itae.images.cub import Cub200
from itae.images.dataset import Dataset, Downloaded, Official, OwnCopy, check_root
from itae.images.digits import DigitPairs, Digits, DigitsConditions
from itae.images.inshop import InShop
from itae.images.sop import Sop

__all__ = [
    "Cars196",
    "Cifar",
    "Cub200",
    "Dataset",
    "DigitPairs",
    "Digits",
    "DigitsConditions",
    "Downloaded",
    "ImageFolder",
    "ImageNet",
    "InShop",
    "Official",
    "OwnCopy",
    "Sop",
    "Stl10",
    "TinyImageNet",
]

log = logging.getLogger(__name__)


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
        check_root(self.root)
        if not isinstance(self.split, str) or not self.split or re.search(r"[/\\]|^\.", self.split):
            raise UserError(f"dataset.split={self.split!r} is not 'all' or the name of a sub-folder of dataset.root.")

    def prepare(self) -> None:
        """Say that a folder of one's own is not downloaded, and check that it is there."""
        log.info("dataset=%s is your own folder, nothing to download: %d images", self.name, len(self.open()))

    def _find(self) -> formats.Listing:
        return folder.image_folder(self.root, self.split)


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
class ImageNet(OwnCopy):
    """ImageNet (ILSVRC 2012), 1,000 classes or some of them, in any layout that `itae.images.imagenet` names.

    It has no free download. `root` holds the folders ``train`` and ``val``, or ``imagenet`` or Kaggle's ``ILSVRC`` with
    them in it.
    """

    name: str = "imagenet"
    split: str = "val"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val")
    SOURCE: ClassVar[str] = imagenet.SOURCE

    def _find(self) -> formats.Listing:
        return imagenet.imagenet(self.root, self.split)
