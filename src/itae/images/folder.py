"""A folder of images as people keep them: classes as sub-folders, odd names, stray files, links.

Everything that could silently become a wrong label is an error that says so, or, where it may be meant, a warning.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from itae.base.errors import UserError, did_you_mean
from itae.base.place import at_home
from itae.base.typed import told
from itae.images.class_names import are_splits, like_no_class
from itae.images.decode import ENDINGS
from itae.images.formats import Listing
from itae.images.walk import Pair, Walk, as_utf8, entries, is_folder, listed, printable

log = logging.getLogger(__name__)

Classes = Mapping[str, Sequence[Pair]]


def image_folder(root: str | Path, split: str) -> Listing:
    """Read a folder of images: its sub-folders are the classes; without any it is one flat, unlabelled set.

    Files deeper in a class folder belong to that class. Hidden files and folders, files without the ending of an
    image and what systems keep beside images (thumbnails, wastebaskets) are left out, and counted in the log. Links
    are followed, into each folder once.

    Raises
    ------
    UserError
        If there are no images, or the sub-folders are no classes: they are splits, one holds the classes, one holds
        them all once more, or two are one folder; or if there are images beside them.
    """
    top = _top_of(root, split)
    prefix = "" if split == "all" else f"{printable(as_utf8(split))}/"
    found = Walk.through(top, prefix)
    found.report(top)
    loose, classes = found.loose, {name: files for name, files in found.classes.items() if files}
    if loose and classes:
        raise UserError(
            f"'{top}' has {len(loose)} images of its own (such as '{loose[0][0]}') and images in sub-folders "
            f"(such as '{next(iter(classes))}'): put every image into the sub-folder of its class, or "
            "all into one folder without classes."
        )
    if loose:
        return Listing([id_ for id_, _ in loose], [path for _, path in loose], None, [])
    if not classes:
        left = found.left_out()
        seen = f" (there are {left})" if left else ""
        raise UserError(f"'{top}' holds no images{seen}: an image ends in one of {' '.join(sorted(ENDINGS))}.")
    _refuse_a_wrapper(top, split, classes)
    _refuse_splits_as_classes(top, split, classes)
    inside = _sub_folders(prefix, classes)
    _refuse_a_copy(top, inside)
    _warn_of_doubtful(top, inside)
    pairs = [pair for files in classes.values() for pair in files]
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return Listing([id_ for id_, _ in pairs], [path for _, path in pairs], labels, list(classes))


def _top_of(root: str | Path, split: str) -> Path:
    """Return the folder that `split` means: `root` for "all", or a folder directly in it."""
    root = at_home(root)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"dataset.root='{root}' {what}; set dataset.root to a folder of images.")
    if split == "all":
        return root
    folders = [entry.name for name, entry in entries(str(root)) if is_folder(entry) and not name.startswith(".")]
    if split not in folders:
        raise UserError(
            f"dataset.split='{split}' is not a sub-folder of '{root}': it may be 'all' (the folder itself)"
            f"{''.join(f', {name!r}' for name in folders[:20])}.{did_you_mean(split, ['all', *folders])}"
        )
    return root / split


def _refuse_a_wrapper(top: Path, split: str, classes: Classes) -> None:
    """Stop before a folder too many, as archives unpack into, is taken for the one class of all images."""
    if len(classes) > 1:
        return
    [(name, files)] = classes.items()
    folders = {Path(folder) for folder in {os.path.dirname(path) for _, path in files}}
    if any(folder.parent == top for folder in folders):  # some lie right in it: it is a class
        return
    inner = Path(os.path.commonpath(folders))
    below = sorted({folder.relative_to(inner).parts[0] for folder in folders - {inner}})
    choice = f" dataset.split={below[0]}" if are_splits(below) else "" if split == "all" else " dataset.split=all"
    raise UserError(
        f"all images of '{top}' lie below '{inner}', so they would be of one class, '{name}'; give that folder, "
        f"{told('dataset.root', str(inner))}{choice}."
    )


def _refuse_splits_as_classes(top: Path, split: str, classes: Classes) -> None:
    """Stop before 'train' and 'val' are taken for two classes."""
    if are_splits(list(classes)):
        root = "" if split == "all" else f"{told('dataset.root', str(top))} "
        raise UserError(
            f"the sub-folders of '{top}' ({', '.join(classes)}) look like splits, not like classes: choose "
            f"one, for instance {root}dataset.split={next(iter(classes))}."
        )


def _sub_folders(prefix: str, classes: Classes) -> dict[str, Counter[str]]:
    """Return how many images lie in each sub-folder of each class."""
    starts = {name: len(f"{prefix}{name}/") for name in classes}
    ways = {name: [id_[starts[name] :].split("/", 1) for id_, _ in files] for name, files in classes.items()}
    return {name: Counter(way[0] for way in some if len(way) > 1) for name, some in ways.items()}


def _refuse_a_copy(top: Path, inside: Mapping[str, Counter[str]]) -> None:
    """Stop before a second copy of all classes, packed beside them by mistake, is taken for one class more."""
    for name, folders in inside.items():
        others = inside.keys() - {name}
        if len(others) > 1 and others <= folders.keys():
            raise UserError(
                f"'{top / name}' has sub-folders with the names of the classes beside it ({listed(sorted(others))}), "
                "so it looks like a copy of them all; move it elsewhere, or rename its sub-folders if it is a class."
            )


def _warn_of_doubtful(top: Path, inside: Mapping[str, Counter[str]]) -> None:
    """Say what is taken for a class, or for a part of one, and may not be meant to be."""
    if names := like_no_class(list(inside)):
        log.warning("'%s': each sub-folder is taken for a class, %s too", top, listed(map(repr, names)))
    if deeper := sum(folders.total() for folders in inside.values()):
        some = (f"{name}/{folder}" for name, folders in inside.items() for folder in folders)
        log.warning("'%s': %d images in sub-folders of classes (%s) are of the class above", top, deeper, listed(some))
