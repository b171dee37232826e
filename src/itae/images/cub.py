"""CUB-200-2011, the birds of Caltech and UCSD, in its official files and with the split of metric learning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from itae.base.errors import UserError
from itae.images.dataset import OwnCopy
from itae.images.formats import Listing, official_folder
from itae.images.listed_files import Counts, cells_of, check_names, numbered_classes, once, paths_of, report
from itae.images.walk import listed

IMAGES, LABELS, CLASSES = "images.txt", "image_class_labels.txt", "classes.txt"
TRAIN = 100
"""The last class of ``train``; the classes beyond it are ``test``."""
OFFICIAL = {"all": Counts(11_788, 200), "train": Counts(5_864, 100), "test": Counts(5_924, 100)}


@dataclass(frozen=True, kw_only=True)
class Cub200(OwnCopy):
    """CUB-200-2011, 200 kinds of birds, in its official folder ``CUB_200_2011`` or what is left of it.

    `split` is that of metric learning: ``train`` are the classes 1 to 100, ``test`` the classes 101 to 200, of which no
    method has seen an image, ``all`` both. The official split of images within classes (``train_test_split.txt``) and
    the boxes are not read. Ids are paths below ``images``, and classes are called as in ``classes.txt``.
    """

    name: str = "cub200"
    split: str = "test"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test", "all")
    SOURCE: ClassVar[str] = (
        "CUB-200-2011 is not fetched: get CUB_200_2011.tgz from www.vision.caltech.edu/datasets/cub_200_2011 and "
        "unpack it, so that dataset.root holds CUB_200_2011 with images.txt, image_class_labels.txt, classes.txt and "
        "the folder images."
    )

    def _find(self) -> Listing:
        return cub200(self.root, self.split)


def cub200(root: str | Path, split: str) -> Listing:
    """Read the official lists, in the order of ``images.txt``.

    Raises
    ------
    UserError
        If a list is missing, damaged or doesn't fit the others, or an image of the split is missing.
    """
    folder = official_folder(root, "CUB_200_2011", IMAGES)
    names = _by_id(folder / IMAGES, ("image_id", "image_name"))
    class_of = _by_id(folder / LABELS, ("image_id", "class_id"))
    called = _by_id(folder / CLASSES, ("class_id", "class_name"))
    check_names(folder / IMAGES, ((int(id_), name) for id_, name in names.items()), "image")
    _check(folder, names, class_of, called)
    classes = [id_ for id_ in sorted(called, key=int) if split == "all" or (int(id_) <= TRAIN) == (split == "train")]
    there = set(classes)
    rows = [id_ for id_ in names if class_of[id_] in there]
    if not rows:
        raise UserError(f"'{folder / LABELS}' has no image of split '{split}'.")
    report(folder, split, len(rows), len(classes), OFFICIAL)
    ids = [names[id_] for id_ in rows]
    labels = numbered_classes([class_of[id_] for id_ in rows], classes)
    return Listing(ids, paths_of(folder / "images", ids, folder / IMAGES), labels, [called[id_] for id_ in classes])


def _by_id(file: Path, columns: tuple[str, str]) -> dict[str, str]:
    """Return what a list has for each number, such as ``17 001.Black_footed_Albatross/...jpg``."""
    lines = cells_of(file, columns)
    once(file, columns[0], ((line, cells[0]) for line, cells in lines))
    return {cells[0]: cells[1] for _, cells in lines}


def _check(folder: Path, names: dict[str, str], class_of: dict[str, str], called: dict[str, str]) -> None:
    """Raise a `UserError` unless the lists fit each other: of one that was cut short, the last number may be half."""
    for one, other, file in ((names, class_of, LABELS), (class_of, names, IMAGES)):
        if lost := [id_ for id_ in one if id_ not in other]:
            raise UserError(f"'{folder / file}' has no line for {len(lost)} images ({listed(lost)}): unpack it again.")
    for id_, name in names.items():
        class_ = class_of[id_]
        if class_ not in called:
            raise UserError(f"'{folder / LABELS}' gives image {id_} the class {class_}, which '{CLASSES}' lacks.")
        if name.split("/")[0] != called[class_]:
            raise UserError(
                f"'{folder / LABELS}' gives image {id_} the class {class_}, '{called[class_]}', and '{IMAGES}' has it "
                f"in another's folder: '{name}'."
            )
