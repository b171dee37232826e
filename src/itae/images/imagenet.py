"""ImageNet (ILSVRC 2012) as people have it on their disks, none of its files moved or renamed.

Each layout was found in several public repositories, or stands in the devkit's readme:

- ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, as torchvision and PyTorch's examples make and read it
- ``val/*.JPEG`` or ``ILSVRC2012_img_val/*.JPEG`` as the official archive unpacks, with ``ILSVRC2012_devkit_t12/`` or
  ``ILSVRC2012_devkit_t12.tar.gz`` beside it
- Kaggle's ``ILSVRC/Data/CLS-LOC/{train,val}``, with ``LOC_val_solution.csv`` and ``LOC_synset_mapping.txt``
- ``val/*.JPEG`` with the list ``val.txt`` of Caffe or ``val_list.txt`` of PaddlePaddle, by number or by WordNet id
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.class_names import alike
from itae.images.decode import ENDINGS
from itae.images.formats import Listing
from itae.images.imagenet_lists import CLASSES, WNID, Lists
from itae.images.walk import SYSTEM_FOLDERS, Pair, entries, is_folder, listed, unique

log = logging.getLogger(__name__)

SOURCE = (
    "ImageNet can't be fetched without an account: get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from image-net.org, or the imagenet-object-localization-challenge from Kaggle, and "
    "unpack them, so that dataset.root holds train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG beside the "
    "devkit or a val.txt, or Kaggle's ILSVRC/Data/CLS-LOC beside LOC_val_solution.csv."
)
"""What `prepare` says where there is nothing."""
FOLDERS = {"train": ("train", "ILSVRC2012_img_train"), "val": ("val", "ILSVRC2012_img_val")}
KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
COUNTS = {"train": 1_281_167, "val": 50_000}
Row = tuple[str, str, str]
"""The WordNet id, file name and path of an image."""


@dataclass
class Split:
    """What lies in the folder of a split.

    Attributes
    ----------
    path
        The folder.
    classes
        The folder of each class, by its WordNet id.
    images
        The images that lie in no class folder.
    others
        Pictures that don't end in .JPEG, by their ending: they are left out.
    archives
        Files that are still to be unpacked.
    """

    path: Path
    classes: dict[str, str] = field(default_factory=dict)
    images: list[Pair] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    archives: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, pictures: Path, name: str) -> Split | None:
        """Look into the folder of a split, None if there is no such folder."""
        path = next((pictures / folder for folder in FOLDERS[name] if os.path.isdir(pictures / folder)), None)
        if path is None:
            return None
        found = cls(path)
        found.images = found._jpegs(str(path), found.classes)
        return found

    def rows(self) -> list[Row]:
        """Return all images in folders of classes, by class and name.

        Raises
        ------
        UserError
            If a class has none, or there are images beside them.
        """
        if self.images:
            raise UserError(
                f"'{self.path}' has images in folders of classes and {len(self.images)} beside them (such as "
                f"'{self.images[0][0]}'): put each into the folder of its class."
            )
        found = []
        for wnid, folder in sorted(self.classes.items()):
            files = self._jpegs(folder, None)
            if not files:
                raise UserError(f"'{folder}' holds no .JPEG file.")
            found += [(wnid, name, path) for name, path in files]
        return found

    def _jpegs(self, folder: str, classes: dict[str, str] | None) -> list[Pair]:
        """Return name and path of the images in a folder, and put its sub-folders into `classes`.

        What a name tells is not asked of the disk: there are 1.28 million of them.
        """
        kept = []
        for name, entry in entries(folder):
            if name.startswith("."):
                continue
            if name.endswith(".JPEG"):
                kept.append((name, entry.path))
            elif classes is not None and is_folder(entry):
                if WNID.fullmatch(name):
                    classes[name] = entry.path
                elif name.lower() not in SYSTEM_FOLDERS:
                    raise UserError(
                        f"'{entry.path}' is not called by a WordNet id such as n01440764; of a folder of your own "
                        "dataset=imagefolder takes any names."
                    )
            elif (ending := os.path.splitext(name)[1]).lower() in ENDINGS:
                self.others[ending] += 1
            elif ending == ".tar":
                self.archives.append(name)
        return list(zip(unique([name for name, _ in kept]), (path for _, path in kept), strict=True))


def imagenet(root: str | Path, split: str) -> Listing:
    """Read ImageNet's ``train`` or ``val`` in any of the layouts above.

    A class is a WordNet id, and its label the place of that among the sorted ids of ``train``; where that isn't there,
    among those that the lists know, or the folders of ``val``. Classes are named by the lists, else by their ids. The
    ids are ``train/<wnid>/<file>`` and, in every layout, ``val/<file>``.

    Raises
    ------
    UserError
        If folders or lists are missing, damaged or don't fit each other.
    """
    pictures, lists = _home(at_home(root))
    found = Split.of(pictures, split)
    if found is None:
        raise UserError(f"'{pictures}' holds no folder '{split}'.")
    train = found if split == "train" else Split.of(pictures, "train")
    wnids = sorted(train.classes if train else ()) or sorted(lists.words)
    rows = _of_train(found) if split == "train" else _of_val(found, lists, wnids)
    wnids = wnids or sorted({wnid for wnid, _, _ in rows})
    labels = _labels(rows, wnids, (train or found).path)
    _report(found, split, wnids, len(rows))
    ids = [f"train/{wnid}/{name}" if split == "train" else f"val/{name}" for wnid, name, _ in rows]
    return Listing(ids, [path for _, _, path in rows], labels, _names(wnids, lists.words))


def _home(root: Path) -> tuple[Path, Lists]:
    """Return the folder that holds those of the splits, and the lists beside it or, in Kaggle's layout, above it."""
    for top in (root / "imagenet", root):
        for depth in range(len(KAGGLE) + 1):
            pictures = top.joinpath(*KAGGLE[depth:])
            if any(os.path.isdir(pictures / name) for names in FOLDERS.values() for name in names):
                above = Path(os.path.abspath(pictures))
                kaggle = above.parts[-len(KAGGLE) :] == KAGGLE
                return pictures, Lists((pictures, *above.parents[: len(KAGGLE)]) if kaggle else (pictures,))
    raise UserError(
        f"dataset.root='{root}' does not hold ImageNet: there is no folder 'train' or 'val', neither in it nor in its "
        f"'imagenet' or '{'/'.join(KAGGLE)}'."
    )


def _of_train(train: Split) -> list[Row]:
    if not train.classes:
        packed = (
            f": unpack '{train.archives[0]}' and the like, each into a folder of its name" if train.archives else ""
        )
        raise UserError(f"'{train.path}' holds no folder of a class, such as n01440764{packed}.")
    return train.rows()


def _of_val(val: Split, lists: Lists, wnids: Sequence[str]) -> list[Row]:
    """Return the images in the order of their names, which is the same in all layouts."""
    rows = sorted(val.rows() if val.classes else _flat(val, lists, wnids), key=lambda row: row[1])
    for (one, name, _), (other, again, _) in pairwise(rows):
        if name == again:
            raise UserError(f"'{name}' lies in two folders of val, {one} and {other}: remove it from the wrong one.")
    return rows


def _flat(val: Split, lists: Lists, wnids: Sequence[str]) -> list[Row]:
    """Return the images that lie in one folder, by the list of their classes."""
    if not val.images:
        raise UserError(f"'{val.path}' holds no .JPEG file.")
    found = lists.of_val(wnids)
    if found is None:
        raise UserError(
            f"'{val.path}' has {len(val.images)} images without folders of classes, and nothing beside it tells their "
            "classes: put the devkit (ILSVRC2012_devkit_t12.tar.gz), Kaggle's LOC_val_solution.csv or a val.txt there."
        )
    table, classes = found
    there = {name for name, _ in val.images}
    if lost := sorted(classes.keys() - there):
        raise UserError(f"'{val.path / lost[0]}' is missing ({len(lost)} such files of '{table}').")
    if extra := sorted(there - classes.keys()):
        raise UserError(f"'{table}' has no line for '{extra[0]}' ({len(extra)} such files).")
    log.info("'%s': classes by '%s'", val.path, table)
    return [(classes[name], name, path) for name, path in val.images]


def _labels(rows: Sequence[Row], wnids: Sequence[str], where: Path) -> list[int]:
    places = {wnid: place for place, wnid in enumerate(wnids)}
    if strange := [(wnid, name) for wnid, name, _ in rows if wnid not in places]:
        wnid, name = strange[0]
        raise UserError(
            f"'{name}' of val is of class {wnid}, which is none of the {len(wnids)} of '{where}' "
            f"({len(strange)} such images)."
        )
    return [places[wnid] for wnid, _, _ in rows]


def _names(wnids: Sequence[str], words: dict[str, str]) -> list[str]:
    """Return the classes' words, with the WordNet id where two look alike (there are two cranes), or that alone."""
    plain = [words.get(wnid) or wnid for wnid in wnids]
    shared = {name for group in alike(plain) for name in group}
    return [f"{name} ({wnid})" if name in shared else name for name, wnid in zip(plain, wnids, strict=True)]


def _report(found: Split, split: str, wnids: Sequence[str], n: int) -> None:
    """Log what isn't as in the official set."""
    if found.others:
        kinds = listed(f"{ending}: {count}" for ending, count in found.others.most_common())
        log.warning("'%s': left out pictures that don't end in .JPEG, as ImageNet's do (%s)", found.path, kinds)
    if len(wnids) != CLASSES:
        log.warning(
            "'%s': %d classes, where ImageNet has %d; they are numbered among themselves",
            found.path,
            len(wnids),
            CLASSES,
        )
    elif n != COUNTS[split]:
        log.warning(
            "'%s': %d images, where ImageNet has %d; if it was not cut down on purpose, unpack it again",
            found.path,
            n,
            COUNTS[split],
        )
