"""Stanford Online Products (Song et al., CVPR 2016), as its archive unpacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from itae.base.errors import UserError
from itae.images.dataset import OwnCopy
from itae.images.formats import Listing, official_folder
from itae.images.listed_files import (
    Counts,
    cells_of,
    check_header,
    check_names,
    numbered_classes,
    once,
    paths_of,
    report,
)

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
COLUMNS = ("image_id", "class_id", "super_class_id", "path")
OFFICIAL = {"all": Counts(120_053, 22_634), "train": Counts(59_551, 11_318), "test": Counts(60_502, 11_316)}


@dataclass(frozen=True, kw_only=True)
class Sop(OwnCopy):
    """Stanford Online Products, 22,634 things that were sold on eBay, in the folder ``Stanford_Online_Products``.

    `split` is ``train`` or ``test``, which share no class, as ``Ebay_train.txt`` and ``Ebay_test.txt`` tell, or
    ``all``: both. A class is a thing, called by its number; the attribute ``super_class`` is its kind, one of twelve,
    such as ``bicycle``. Ids are paths.
    """

    name: str = "sop"
    split: str = "test"

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "test", "all")
    SOURCE: ClassVar[str] = (
        "Stanford Online Products is not fetched: get Stanford_Online_Products.zip from "
        "cvgl.stanford.edu/projects/lifted_struct and unpack it, so that dataset.root holds Stanford_Online_Products "
        "with Ebay_train.txt, Ebay_test.txt and the folders of images, such as bicycle_final."
    )

    def _find(self) -> Listing:
        return sop(self.root, self.split)


def sop(root: str | Path, split: str) -> Listing:
    """Read the official lists, in their order.

    Raises
    ------
    UserError
        If a list is missing or damaged, or an image of the split is missing.
    """
    folder = official_folder(root, "Stanford_Online_Products", LISTS["train"])
    rows = [row for part in (LISTS if split == "all" else (split,)) for row in _rows(folder / LISTS[part])]
    tables = " and ".join(LISTS.values()) if split == "all" else LISTS[split]
    once(folder / tables, "image_id", ((i, row[0]) for i, row in enumerate(rows, start=2)))
    ids = [path for _, _, path in rows]
    classes = sorted({class_ for _, class_, _ in rows}, key=int)
    report(folder, split, len(rows), len(classes), OFFICIAL)
    return Listing(
        ids,
        paths_of(folder, ids, folder / tables),
        numbered_classes([class_ for _, class_, _ in rows], classes),
        classes,
        attributes={"super_class": [path.split("/")[0].removesuffix("_final") for path in ids]},
    )


def _rows(file: Path) -> list[tuple[str, str, str]]:
    """Return the number, class and path of each image of a list."""
    check_header(file, 1, COLUMNS)
    lines = cells_of(file, COLUMNS, header=1)
    check_names(file, ((line, cells[3]) for line, cells in lines))
    if not lines:
        raise UserError(f"'{file}' lists no image.")
    return [(image, class_, path) for _, (image, class_, _, path) in lines]
