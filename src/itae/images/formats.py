"""The official files of CIFAR, STL-10 and Tiny-ImageNet, read without the code that made them.

Each reader returns a `Listing`: ids, images, labels and class names in one fixed order. Nothing here downloads,
decodes or trusts a file: the CIFAR pickles are read by an unpickler that knows numpy arrays and nothing else.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from itae.base.errors import UserError
from itae.base.place import at_home

log = logging.getLogger(__name__)


class Listing(NamedTuple):
    """What a reader found; one entry of `ids`, `items` and `labels` for each image."""

    ids: list[str]
    items: Sequence[str | np.ndarray]  # paths of files, or uint8 pixels [H, W] or [H, W, 3]
    labels: Sequence[int] | np.ndarray | None
    class_names: list[str]
    label_sets: Sequence[tuple[str, ...]] | None = None  # where images have several labels
    attributes: Mapping[str, Sequence[str]] = MappingProxyType({})  # texts by the name of their column


def official_folder(root: str | Path, folder: str, marker: str) -> Path:
    """Return where an official `folder` is: in `root`, or `root` itself (told by its name or by `marker`)."""
    root = at_home(root)
    if os.path.isdir(root / folder):
        return root / folder
    if os.path.isdir(root) and (root.name == folder or os.path.isfile(root / marker)):
        return root
    raise UserError(f"dataset.root='{root}' does not hold the folder '{folder}'.")


# ---------------------------------------------------------------------------------------------------- CIFAR


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings, numbers and numpy arrays; refuses to import anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            # Under either name: the official files were written in 2009.
            return np.empty(0).__reduce__()[0]
        raise UserError(f"it wants to run '{module}.{name}', which a file of images has no use for")


def _unpickle(file: Path) -> dict[bytes, Any]:
    """Read one python batch; keys stay bytes, because python 2 wrote them."""
    check_file(file)
    try:
        with file.open("rb") as stream:
            content = _ArrayUnpickler(stream, encoding="bytes").load()
    except UserError as error:
        raise UserError(f"'{file}' is refused: {error}.") from None
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise UserError(f"'{file}' is damaged or cut short ({type(error).__name__}: {error}).") from error
    if not isinstance(content, dict):
        raise UserError(f"'{file}' is not a CIFAR batch: it holds a {type(content).__name__}, not a dict.")
    return content


def cifar(root: str | Path, variant: int, split: str) -> Listing:
    """Read the python version of CIFAR-10 or, with its 100 fine labels, CIFAR-100."""
    if variant == 10:
        folder = official_folder(root, "cifar-10-batches-py", "batches.meta")
        batches = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
        meta, names_key, labels_key = "batches.meta", b"label_names", b"labels"
    else:
        folder = official_folder(root, "cifar-100-python", "meta")
        batches, meta, names_key, labels_key = [split], "meta", b"fine_label_names", b"fine_labels"
    names = _unpickle(folder / meta).get(names_key)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise UserError(f"'{folder / meta}' has no list '{names_key.decode()}'.")
    items: list[np.ndarray] = []
    labels: list[int] = []
    for batch in batches:  # images stay views of their batch, so that 50,000 are never copied
        pixels, some = _cifar_batch(folder / batch, labels_key, len(names))
        items.extend(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.extend(some)
    return Listing(numbered(split, len(items)), items, labels, [_text(name) for name in names])


def _cifar_batch(file: Path, labels_key: bytes, classes: int) -> tuple[np.ndarray, list[int]]:
    """Return pixels uint8 [n, 3072] and labels of one batch, checked against each other."""
    content = _unpickle(file)
    pixels, labels = content.get(b"data"), content.get(labels_key)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
        raise UserError(f"'{file}' has no 'data' of bytes [n, 3072].")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise UserError(f"'{file}' has no list '{labels_key.decode()}' of {len(pixels)} labels, one for each image.")
    if not all(isinstance(label, int) and 0 <= label < classes for label in labels):
        raise UserError(f"'{file}' has labels outside of 0..{classes - 1}.")
    return pixels, labels


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


# --------------------------------------------------------------------------------------------------- STL-10


def stl10(root: str | Path, split: str) -> Listing:
    """Read STL-10's binary files; the pixels stay on disk (memory-mapped) until they are asked for."""
    folder = official_folder(root, "stl10_binary", "class_names.txt")
    names = text_of(folder / "class_names.txt").split()
    ids: list[str] = []
    items: list[np.ndarray] = []
    labels: list[int] = []
    for part in split.split("+"):
        pixels = _stl10_pixels(folder / f"{part}_X.bin")
        ids.extend(numbered(part, len(pixels)))
        items.extend(pixels)
        if part != "unlabeled":
            labels.extend(_stl10_labels(folder / f"{part}_y.bin", len(pixels), len(names)))
    if split == "unlabeled":
        return Listing(ids, items, None, [])
    return Listing(ids, items, labels, names)


def _stl10_pixels(file: Path) -> np.ndarray:
    """Map images stored by colour, then column, then row; return them as uint8 [n, 96, 96, 3]."""
    size, one = _file_size(file), 3 * 96 * 96
    if size == 0 or size % one:
        raise UserError(f"'{file}' is cut short: {size} bytes are not a whole number of images of {one}.")
    return np.memmap(file, np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)


def _stl10_labels(file: Path, n: int, classes: int) -> list[int]:
    """Return labels 0.. of a file that counts from 1."""
    if _file_size(file) != n:
        raise UserError(f"'{file}' has {_file_size(file)} labels for {n} images.")
    labels = np.fromfile(file, np.uint8).astype(np.int64)
    if labels.min() < 1 or labels.max() > classes:
        raise UserError(f"'{file}' has labels outside of 1..{classes}.")
    return (labels - 1).tolist()


def _file_size(file: Path) -> int:
    check_file(file)
    return file.stat().st_size


# -------------------------------------------------------------------------------------------- Tiny-ImageNet


def tiny_imagenet(root: str | Path, split: str) -> Listing:
    """Read the official folders; classes are the sorted WordNet ids, named by words.txt where it is there."""
    folder = official_folder(root, "tiny-imagenet-200", "wnids.txt")
    wnids = sorted(text_of(folder / "wnids.txt").split())
    if not wnids:
        raise UserError(f"'{folder / 'wnids.txt'}' is empty.")
    names = dict.fromkeys(wnids, "")
    if (folder / "words.txt").is_file():
        lines = text_of(folder / "words.txt").splitlines()
        known = (line.partition("\t") for line in lines)
        names.update({wnid: words for wnid, _, words in known if wnid in names})
    pairs = _tiny_train(folder, wnids) if split == "train" else _tiny_val(folder, wnids)
    ids = [name for name, _ in pairs]
    items = [str(folder / name) for name in ids]
    return Listing(ids, items, [label for _, label in pairs], [names[wnid].strip() or wnid for wnid in wnids])


def _tiny_train(folder: Path, wnids: list[str]) -> list[tuple[str, int]]:
    """Return (name under `folder`, label) of ``train/<wnid>/images/*.JPEG``."""
    pairs = []
    for label, wnid in enumerate(wnids):
        place = f"train/{wnid}/images"
        files = _jpegs(folder / place)
        if not files:
            raise UserError(f"'{folder / place}' holds no .JPEG file.")
        pairs += [(f"{place}/{name}", label) for name in files]
    counts = Counter(label for _, label in pairs)
    if len(set(counts.values())) > 1:  # the official set has 500 of each; an unpacking that broke off hasn't
        log.warning(
            "The classes of '%s' hold %d to %d images; if it was not cut down on purpose, remove it and run "
            "`itae prepare dataset=tiny_imagenet` again.", folder / "train", min(counts.values()), max(counts.values())
        )  # fmt: skip
    return pairs


def _tiny_val(folder: Path, wnids: list[str]) -> list[tuple[str, int]]:
    """Return (name under `folder`, label) of ``val/images``, with the labels of val_annotations.txt."""
    table = folder / "val" / "val_annotations.txt"
    class_of = {wnid: label for label, wnid in enumerate(wnids)}
    labels = {}
    for number, line in enumerate(text_of(table).splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in class_of:
            raise UserError(f"line {number} of '{table}' names no class of wnids.txt: {line[:60]!r}.")
        labels[fields[0]] = class_of[fields[1]]
    files = _jpegs(folder / "val" / "images")
    if lost := sorted(labels.keys() - set(files)):
        raise UserError(f"'{folder / 'val' / 'images' / lost[0]}' is missing ({len(lost)} such files).")
    if extra := sorted(set(files) - labels.keys()):
        raise UserError(f"'{table}' has no line for '{extra[0]}' ({len(extra)} such files).")
    if not files:
        raise UserError(f"'{folder / 'val' / 'images'}' holds no .JPEG file.")
    return [(f"val/images/{name}", labels[name]) for name in files]


def _jpegs(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".JPEG") and not name.startswith("."))
    except OSError as error:
        raise UserError(f"'{folder}' cannot be read ({error.strerror}).") from None


def text_of(file: Path) -> str:
    """Return the text of a file in UTF-8, or raise a `UserError`."""
    check_file(file)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{file}' cannot be read ({error}).") from None


def check_file(file: Path) -> None:
    """Raise a `UserError` unless it is a file: to open a named pipe may take for ever."""
    if not file.is_file():
        raise UserError(f"'{file}' is {'no file' if file.exists() else 'missing'}.")


def numbered(split: str, n: int) -> list[str]:
    """Return the ids of n images that have no file names: ``test/00042``."""
    return [f"{split}/{i:05d}" for i in range(n)]
