"""A folder of images as people keep them: classes as sub-folders, odd names, stray files, links.

Everything that could silently become a wrong label is an error that says so.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from itae.data.decode import ENDINGS
from itae.data.formats import Found
from itae.errors import UserError, did_you_mean

log = logging.getLogger(__name__)

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"})


def image_folder(root: str | Path, split: str) -> Found:
    """Read a folder of images: its sub-folders are the classes; without any it is one flat, unlabelled set.

    Files deeper in a class folder belong to that class. Hidden files and files without the ending of an image
    are left out, and counted in the log. Links are followed.
    """
    top = _top_of(root, split)
    prefix = "" if split == "all" else f"{_printable(split)}/"
    ignored: Counter[str] = Counter()
    loose: list[tuple[str, str]] = []
    classes: dict[str, list[tuple[str, str]]] = {}
    for entry in _entries(str(top)):
        if _is_folder(entry):
            name = _printable(entry.name)
            files = _walk(entry.path, f"{prefix}{name}", ignored, (_key(str(top)),))
            classes.setdefault(name, []).extend(files)
        elif _is_image(entry, ignored):
            loose.append((f"{prefix}{_printable(entry.name)}", entry.path))
    _report(top, ignored, [name for name, files in classes.items() if not files])
    classes = {name: files for name, files in classes.items() if files}
    if loose and classes:
        raise UserError(
            f"'{top}' has {len(loose)} images of its own (such as '{loose[0][0]}') and images in sub-folders "
            f"(such as '{next(iter(classes))}'): put every image into the sub-folder of its class, or "
            "all into one folder without classes."
        )
    if loose:
        return Found([id_ for id_, _ in loose], [path for _, path in loose], None, [])
    if not classes:
        seen = f" (there are {_counted(ignored)})" if ignored else ""
        raise UserError(f"'{top}' holds no images{seen}: an image ends in one of {' '.join(sorted(ENDINGS))}.")
    _refuse_splits_as_classes(top, classes)
    pairs = [pair for files in classes.values() for pair in files]
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return Found([id_ for id_, _ in pairs], [path for _, path in pairs], labels, list(classes))


def _top_of(root: str | Path, split: str) -> Path:
    """Return the folder that `split` means: `root` for "all", or a folder directly in it."""
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"dataset.root='{root}' {what}; set dataset.root to a folder of images.")
    if split == "all":
        return root
    folders = [entry.name for entry in _entries(str(root)) if _is_folder(entry)]
    if split not in folders:
        raise UserError(
            f"dataset.split='{split}' is not a sub-folder of '{root}': it may be 'all' (the folder itself)"
            f"{''.join(f', {name!r}' for name in folders[:20])}.{did_you_mean(split, ['all', *folders])}"
        )
    return root / split


def _refuse_splits_as_classes(top: Path, classes: dict[str, list[tuple[str, str]]]) -> None:
    """Stop before 'train' and 'val' are taken for two classes."""
    if SPLIT_NAMES.issuperset(name.lower() for name in classes):
        raise UserError(
            f"the sub-folders of '{top}' ({', '.join(classes)}) look like splits, not like classes: choose "
            f"one, for instance dataset.split={next(iter(classes))}."
        )


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name, without what is hidden."""
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be read ({error.strerror}).") from None


def _walk(
    folder: str, id_: str, ignored: Counter[str], above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, str]]:
    """Yield (id, path) of the images below `folder`; a link back to a folder above is not entered."""
    here = _key(folder)
    if here in above:
        return
    for entry in _entries(folder):
        name = f"{id_}/{_printable(entry.name)}"
        if _is_folder(entry):
            yield from _walk(entry.path, name, ignored, (*above, here))
        elif _is_image(entry, ignored):
            yield name, entry.path


def _key(folder: str) -> tuple[int, int]:
    """Return what tells a folder from another, however it is reached."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be read ({error.strerror}).") from None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(entry: os.DirEntry[str], ignored: Counter[str]) -> bool:
    """Tell by the ending, in any case; count what is left out. A broken link is an image, a bad one."""
    ending = os.path.splitext(entry.name)[1].lower()
    if ending in ENDINGS:
        return True
    ignored[ending or "no ending"] += 1
    return False


def _report(top: Path, ignored: Counter[str], empty: list[str]) -> None:
    if ignored:
        log.warning("'%s': left out %s, which are not images by their ending", top, _counted(ignored))
    if empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        log.warning("'%s': left out %d sub-folders without images (%s)", top, len(empty), shown)


def _counted(ignored: Counter[str]) -> str:
    kinds = ", ".join(f"{_printable(ending)}: {n}" for ending, n in ignored.most_common(5))
    return f"{ignored.total()} other files ({kinds}{', ...' if len(ignored) > 5 else ''})"


def _printable(name: str) -> str:
    r"""Return a file name as one line of UTF-8: line breaks and bytes that are not text become ``\x0a``."""
    name = re.sub(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", lambda m: ascii(m[0])[1:-1], name)
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
