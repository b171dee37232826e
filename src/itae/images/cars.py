"""Cars196 (Krause et al., 2013), which is Stanford Cars with the split of metric learning, in either official layout.

Its annotations are MATLAB files, which `itae.images.matlab` reads and holds against what is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.dataset import OwnCopy
from itae.images.formats import Listing
from itae.images.listed_files import Counts, bytes_of, check_names, paths_of, report
from itae.images.matlab import struct_array, texts

TRAIN = 98
"""The last class of ``train``; the classes beyond it are ``test``."""
OFFICIAL = {"all": Counts(16_185, 196), "train": Counts(8_054, 98), "test": Counts(8_131, 98)}
FOLDERS = ("cars196", "stanford_cars")
"""What the folder may be called below `dataset.root`."""
ANNOTATIONS, META = "cars_annos.mat", "cars_meta.mat"
PARTS = {"cars_train": "cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
"""The two folders of images of the other layout, and what tells their classes."""
_LARGEST = 1 << 26  # bytes: the official file, were it not compressed, would have seven million


@dataclass(frozen=True, kw_only=True)
class Cars196(OwnCopy):
    """Cars196, 196 makes of cars.

    `split` is that of metric learning: ``train`` are the classes 1 to 98, ``test`` the classes 99 to 196, of which no
    method has seen an image, ``all`` both; they are gathered from the training and the test images of Stanford Cars
    alike. `root` holds ``car_ims`` with ``cars_annos.mat``, or ``cars_train`` and ``cars_test`` with ``devkit``
    (torchvision's ``stanford_cars``, Kaggle's), or one of `FOLDERS` with them in it. Ids are paths.
    """

    name: str = "cars196"
    split: str = "test"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test", "all")
    SOURCE: ClassVar[str] = (
        "Cars196 is not fetched, and its official page (ai.stanford.edu/~jkrause/cars/car_dataset.html) is gone: find "
        "a copy, such as Kaggle's jessicali9530/stanford-cars-dataset with the devkit that github.com/pytorch/vision/"
        "issues/7545 tells of, so that dataset.root holds car_ims and cars_annos.mat, or cars_train, cars_test, "
        "devkit (cars_meta.mat, cars_train_annos.mat) and cars_test_annos_withlabels.mat."
    )

    def _find(self) -> Listing:
        return cars196(self.root, self.split)


def cars196(root: str | Path, split: str) -> Listing:
    """Read the official annotations, in their order.

    Raises
    ------
    UserError
        If annotations are missing or damaged, or an image of the split is missing.
    """
    folder = _home(at_home(root))
    names, parts = _layout(folder)
    classes = [i for i in range(len(names)) if split == "all" or (i < TRAIN) == (split == "train")]
    label_of = {class_: label for label, class_ in enumerate(classes)}
    ids: list[str] = []
    paths: list[str] = []
    labels: list[int] = []
    for part in parts:
        some = [(name, label_of[class_]) for name, class_ in _rows(part, len(names)) if class_ in label_of]
        ids += [f"{part.before}{name}" for name, _ in some]
        paths += paths_of(part.pictures, [name for name, _ in some], part.table)
        labels += [label for _, label in some]
    if not ids:
        raise UserError(f"'{parts[0].table}' has no image of split '{split}'.")
    report(folder, split, len(ids), len(set(labels)), OFFICIAL)
    return Listing(ids, paths, labels, [names[class_] for class_ in classes])


class _Part(NamedTuple):
    """Annotations: the file, its field of names, what stands before these in ids, and the folder that they are in."""

    table: Path
    field: str
    before: str
    pictures: Path


def _layout(folder: Path) -> tuple[list[str], list[_Part]]:
    """Return what the classes are called, and where the annotations are."""
    if os.path.isdir(folder / "car_ims") and (os.path.exists(folder / ANNOTATIONS) or not _parted(folder)):
        return _texts(folder / ANNOTATIONS), [_Part(folder / ANNOTATIONS, "relative_im_path", "", folder)]
    return _texts(_first(folder, META)), [
        _Part(_first(folder, file), "fname", f"{part}/", _pictures(folder, part)) for part, file in PARTS.items()
    ]


def _parted(folder: Path) -> bool:
    return os.path.isdir(folder / "cars_train")


def _home(root: Path) -> Path:
    for folder in (*(root / name for name in FOLDERS), root):
        if os.path.isdir(folder / "car_ims") or _parted(folder):
            return folder
    raise UserError(
        f"dataset.root='{root}' does not hold Cars196: there is no folder 'car_ims' or 'cars_train', neither in it nor "
        f"in its {' or '.join(repr(name) for name in FOLDERS)}."
    )


def _first(folder: Path, name: str) -> Path:
    """Return where a file of the devkit lies: in its folder, or beside it as torchvision has one of them."""
    beside = folder / name
    return beside if os.path.exists(beside) else folder / "devkit" / name


def _pictures(folder: Path, part: str) -> Path:
    """Return the folder of the images, which Kaggle's archive has in another of the same name."""
    return folder / part / part if os.path.isdir(folder / part / part) else folder / part


def _texts(file: Path) -> list[str]:
    try:
        return texts(bytes_of(file, _LARGEST), "class_names")
    except ValueError as error:
        raise UserError(f"'{file}' is damaged, or not the official file: {error}.") from None


def _rows(part: _Part, classes: int) -> Iterator[tuple[str, int]]:
    """Yield the name of each image, and its class from 0."""
    file = part.table
    try:
        rows = struct_array(bytes_of(file, _LARGEST), "annotations")
    except ValueError as error:
        raise UserError(f"'{file}' is damaged, or not the official file: {error}.") from None
    names = [name for name in (row.get(part.field) for row in rows) if isinstance(name, str)]
    if len(names) != len(rows):
        raise UserError(f"'{file}' is not the official file: of {len(rows)} annotations {len(names)} have a "
                        f"'{part.field}'.")  # fmt: skip
    check_names(file, enumerate(names, start=1), "annotation")
    for i, (name, row) in enumerate(zip(names, rows, strict=True), start=1):
        class_ = row.get("class")
        if not isinstance(class_, int) or not 1 <= class_ <= classes:
            other = "; take cars_test_annos_withlabels.mat" if class_ is None else ""
            raise UserError(
                f"annotation {i} of '{file}' has the class {class_}, which is none of the {classes} that have names"
                f"{other}."
            )
        yield name, class_ - 1
