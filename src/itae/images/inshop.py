"""In-Shop Clothes Retrieval, a benchmark of DeepFashion (Liu et al., CVPR 2016), as its archives unpack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.dataset import OwnCopy
from itae.images.formats import Listing, text_of
from itae.images.listed_files import (
    Counts,
    cells_of,
    check_header,
    check_names,
    numbered_classes,
    paths_of,
    report,
    whole,
)

FOLDER, LIST = "In-shop Clothes Retrieval Benchmark", "list_eval_partition.txt"
COLUMNS = ("image_name", "item_id", "evaluation_status")
BEFORE = "img/"
"""What each name in the list begins with, wherever the images lie."""
PICTURES = ("img", "Img/img", "img_highres", "Img/img_highres")
PARTS = {
    "train": ("train",),
    "query": ("query",),
    "gallery": ("gallery",),
    "test": ("query", "gallery"),
    "all": ("train", "query", "gallery"),
}
"""Which images of the list are in a split."""
OFFICIAL = {
    "train": Counts(25_882, 3_997),
    "query": Counts(14_218, 3_985),
    "gallery": Counts(12_612, 3_985),
    "test": Counts(26_830, 3_985),
    "all": Counts(52_712, 7_982),
}


@dataclass(frozen=True, kw_only=True)
class InShop(OwnCopy):
    """In-Shop Clothes Retrieval, 7,982 pieces of clothing, each in several photographs.

    `split` is ``train``, ``query`` or ``gallery`` as the official list tells; ``test`` is the latter two, which have
    the same items, and ``all`` everything. A class is an item, such as ``id_00000080``; the attribute ``category`` is
    where it hangs, such as ``WOMEN/Dresses``. Ids are paths below ``img``, in which either size of the images lies.
    """

    name: str = "inshop"
    split: str = "query"

    SPLITS: ClassVar[tuple[str, ...]] = tuple(PARTS)
    SOURCE: ClassVar[str] = (
        "In-Shop is not fetched: get the In-shop Clothes Retrieval Benchmark from "
        "mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html and unpack img.zip, so that dataset.root holds "
        "img (or Img/img) and Eval/list_eval_partition.txt."
    )

    def _find(self) -> Listing:
        return inshop(self.root, self.split)


def inshop(root: str | Path, split: str) -> Listing:
    """Read the official list, in its order.

    Raises
    ------
    UserError
        If the list or the folder of the images is missing, the list is damaged or cut short, or an image of the split
        is missing.
    """
    table, pictures = _home(at_home(root))
    lines = _lines(table)
    rows = [(name, item) for _, (name, item, status) in lines if status in PARTS[split]]
    if not rows:
        raise UserError(f"'{table}' lists no image of split '{split}'.")
    ids = [name.removeprefix(BEFORE) for name, _ in rows]
    items = sorted({item for _, item in rows})
    report(pictures, split, len(rows), len(items), OFFICIAL)
    return Listing(
        ids,
        paths_of(pictures, ids, table),
        numbered_classes([item for _, item in rows], items),
        items,
        attributes={"category": ["/".join(id_.split("/")[:-1][:2]) for id_ in ids]},
    )


def _home(root: Path) -> tuple[Path, Path]:
    """Return the list, and the folder in which the images lie."""
    for top in (root / FOLDER, root):
        tables = [top / "Eval" / LIST, top / "Anno" / LIST, top / LIST]
        pictures = [top / folder for folder in PICTURES]
        table = next((file for file in tables if os.path.isfile(file)), None)
        found = next((folder for folder in pictures if os.path.isdir(folder)), None)
        if table and found:
            return table, found
        if table or found:
            lost = f"no folder '{PICTURES[0]}' or '{PICTURES[1]}'" if table else f"no 'Eval/{LIST}'"
            raise UserError(f"there is '{table or found}', and '{top}' has {lost}.")
    raise UserError(f"dataset.root='{root}' does not hold In-Shop: there is neither 'Eval/{LIST}' nor a folder 'img'.")


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of images: behind their count, and the names of the columns."""
    count = text_of(table).split("\n")[0].strip()
    if not whole(count):
        raise UserError(f"line 1 of '{table}' is not the count of its images: {count[:60]!r}.")
    check_header(table, 2, COLUMNS)
    lines = cells_of(table, ("image_name", "item", "evaluation_status"), header=2)
    for line, (name, _, status) in lines:
        if not name.startswith(BEFORE) or status not in PARTS["all"]:
            raise UserError(
                f"line {line} of '{table}' is not an image 'img/...', its item and one of {', '.join(PARTS['all'])}."
            )
    check_names(table, ((line, cells[0]) for line, cells in lines))
    if len(lines) != int(count):
        raise UserError(
            f"'{table}' says that it has {count} images and lists {len(lines)}: get it again, or write their number "
            "into its first line."
        )
    return lines
