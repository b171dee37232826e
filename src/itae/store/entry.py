"""What one entry of the store is: the key it is found by, the files it consists of, how they are read back.

The disk format is this page. An entry is a folder with six files::

    vectors.npy      float32 [n, E], one embedding an image
    labels.npy       int64 [n], all -1 when the images have no labels
    ids.txt          one id a line, in the same order
    digests.npy      uint8 [n, 32], the sha256 of each image's bytes (from format 2 on)
    diagnostics.npz  small arrays by name: per image, per layer, or of the whole set
    meta.json        the whole key, n, dim, labelled, the size and sha256 of the files above, the
                     versions and what else the maker said, such as `rows`, where some are from other
                     entries; `created`, the only thing in an entry that depends on the hour; and
                     `seal`, the sha256 of everything else in meta.json

Two makings of one key give the same bytes, but for `created`, the `seal` over it, and whatever the maker says
differently. Reading trusts nothing: the key is compared field by field, then every size, checksum and shape.
Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError

FORMAT = 2
"""Version of the layout and the computation. It is part of every digest: no run takes an entry of another format.

2: digests of the images; random draws by these; ties flag nothing; pictures read as CHANGELOG.md says. Entries of
format 1 can be read for what was made of them.
"""

META = "meta.json"
FILES = ("vectors.npy", "labels.npy", "ids.txt", "diagnostics.npz", "digests.npy")
_FILES_OF = {1: FILES[:4], FORMAT: FILES}
_NOT_NOW = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ENOTCONN, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)  # what says nothing of the entry: this process has too many files open, the disk is far away and out of reach
_NO_MAPS = (errno.ENODEV, errno.EOPNOTSUPP)
_CHUNK = 1 << 20  # bytes read at a time: memory does not grow with the file, and the finiteness check stays in cache


class DamagedEntry(Exception):  # noqa: N818  a finding, not a failure: the store sets the entry aside
    """An entry's files are not what was published; the message says which and how."""


def plain(value: Any, where: str = "key") -> Any:
    """Return `value` as plain JSON data in which equal settings look equal.

    Tuples become lists, numpy values Python's own, and a float without a fraction an int (strength 1 and 1.0
    are one setting; `True` stays itself).

    Raises
    ------
    UserError
        For a number that is not finite.
    TypeError
        For anything that JSON has no plain form for, keys that aren't text included.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{where}={value!r} is not a finite number; give one that is.")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"{where} has a key that is not text: {list(value)}")
        return {str.__str__(name): plain(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}, which is not plain data")


def canonical(value: Any) -> str:
    """Return the one JSON text of `value`: plain data, sorted keys, no spaces, floats by `repr`."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def render(meta: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON file, for people to read; the same data gives the same bytes."""
    return (json.dumps(meta, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def seal_of(meta: Mapping[str, Any]) -> str:
    """Return the sha256 that guards `meta` itself, of everything in it but the seal."""
    return hashlib.sha256(render({k: v for k, v in meta.items() if k != "seal"})).hexdigest()


@dataclass(frozen=True, eq=False)
class Key:
    """What embeddings are a function of, and so what they are found by.

    Whatever could change a vector is in here; whatever can't (device, batch size, workers, paths) is not.

    Parameters
    ----------
    space
        Plain values: model name, weights sha256, transform, image size, pooling, precision, edit (None for
        the untouched model). Vectors of one space may be compared, others may not.
    dataset
        Plain values: fingerprint of the content, split, limit.
    folder
        The two names under which a person finds it, as ``("digits-all", "dinov2_s14")``. Not part of the
        digest. Characters that make poor file names become ``-``.
    format
        Of the entry: `FORMAT`, or an earlier one to read an old entry by.
    """

    space: dict[str, Any]
    dataset: dict[str, Any]
    folder: tuple[str, str]
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "space", plain(self.space, "space"))
        object.__setattr__(self, "dataset", plain(self.dataset, "dataset"))
        first, second = self.folder
        object.__setattr__(self, "folder", (_file_name(first), _file_name(second)))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The data that the digest is of, and that `meta.json` repeats."""
        return {"format": self.format, "space": self.space, "dataset": self.dataset}

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical JSON of `identity`, 64 hex digits."""
        return hashlib.sha256(canonical(self.identity).encode("ascii")).hexdigest()

    @property
    def name(self) -> str:
        """The folder that holds the entry: the first 16 digits of the digest."""
        return self.digest[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and (self.digest, self.folder) == (other.digest, other.folder)

    def __hash__(self) -> int:
        return hash((self.digest, self.folder))


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:80] or "unnamed"


def differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the fields in which two identities differ: dotted name to JSON (asked, there)."""
    left, right = _leaves(asked), _leaves(there)
    names = sorted(left.keys() | right.keys())
    pairs = {name: (left.get(name, "nothing"), right.get(name, "nothing")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(value: Any, where: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for name, item in value.items():
            found |= _leaves(item, f"{where}.{name}" if where else name)
        return found
    return {where: json.dumps(value, sort_keys=True)}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A whole entry, verified.

    Attributes
    ----------
    path
        Its folder.
    vectors
        float32 [n, E], mapped read-only from the disk.
    ids
        n ids, in the order of the vectors.
    labels
        int64 [n], or None for unlabelled images.
    digests
        uint8 [n, 32], the sha256 of each image's bytes; None in an entry of format 1.
    meta
        What `meta.json` says.
    diagnostics
        Small arrays by name.
    fresh
        Whether this process has just computed it.
    passed
        How many of its images have gone through the model for that; the others' rows are from other entries, or from
        a run that broke off.
    """

    path: Path
    vectors: np.ndarray
    ids: list[str]
    labels: np.ndarray | None
    digests: np.ndarray | None
    meta: dict[str, Any]
    diagnostics: dict[str, np.ndarray]
    fresh: bool = False
    passed: int = 0


def read_entry(path: Path, key: Key | None = None) -> Embeddings:
    """Read the entry in the folder `path`, verifying every byte of it.

    Parameters
    ----------
    path
        The folder.
    key
        What it must be the entry of; without it, the entry, of any format, must agree with the digest it gives itself.

    Raises
    ------
    DamagedEntry
        When a file is missing, or anything in one is not what was published under this key.
    UserError
        When the folder may not be read.
    """
    with _damage_told(path):
        meta = read_meta(path)
        _check_key(path, meta, key)
        return _read_files(path, meta)


def look_up(path: Path, key: Key | None = None) -> dict[str, Any]:
    """Return what `meta.json` of the entry in `path` says; seal, key and sizes are verified, and no more.

    `key` is as in `read_entry`.

    Raises
    ------
    DamagedEntry, UserError
        As `read_entry` does.
    """
    with _damage_told(path):
        meta = read_meta(path)
        _check_key(path, meta, key)
        return meta


def read_digests(path: Path, meta: dict[str, Any]) -> np.ndarray:
    """Return the sha256 of each image in the entry whose `meta.json` says `meta`, uint8 [n, 32], verified.

    Raises
    ------
    DamagedEntry, UserError
        As `read_entry` does.
    """
    with _damage_told(path):
        return _checked(_read_array(path, "digests.npy", meta), "digests.npy", np.uint8, (meta["n"], 32))


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Raise what is wrong with an entry as `DamagedEntry`, what is wrong elsewhere as a `UserError`."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"The cache entry {path} may not be read ({error.strerror}): "
            "ask its owner, or choose another folder with paths.cache."
        ) from error
    except FileNotFoundError as error:
        raise DamagedEntry(f"{Path(error.filename or path).name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno in _NOT_NOW:
            raise UserError(
                f"The cache entry {path} can't be read now ({error.strerror}); see to that, and run the same once more."
            ) from error
        raise DamagedEntry(f"it can't be read: {error or type(error).__name__}") from error


def read_meta(path: Path) -> dict[str, Any]:
    """Return what `meta.json` in the folder `path` says, its seal verified; the sizes of the files as well.

    This much is quick, and is all that a listing looks at.
    """
    for name in (META, *FILES):
        if (path / name).exists() and not (path / name).is_file():  # a pipe would be waited for
            raise DamagedEntry(f"{name} is no file")
    data = (path / META).read_bytes()
    try:
        meta = json.loads(data)
        whole = isinstance(meta, dict) and meta.get("seal") == seal_of(meta) and data == render(meta)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise DamagedEntry(f"{META} is not as it was written")
    for name in _FILES_OF.get(meta["format"], ()):
        size = (path / name).stat().st_size
        if size != meta["bytes"][name]:
            raise DamagedEntry(f"{name} has {size:,} bytes, {meta['bytes'][name]:,} were written")
    return meta


def _check_key(path: Path, meta: dict[str, Any], key: Key | None) -> None:
    identity = {name: meta[name] for name in ("format", "space", "dataset")}
    if key is None:
        if meta["format"] not in _FILES_OF:
            raise DamagedEntry(f"it is of format {meta['format']!r}, which this version of itae can't read")
        key = Key(meta["space"], meta["dataset"], (path.parent.parent.name, path.parent.name), meta["format"])
        if key.name != path.name:
            raise DamagedEntry(f"{META} belongs to the entry {key.name}")
    for field, (asked, there) in differences(key.identity, identity).items():
        raise DamagedEntry(f"{META} is of another key: {field} is {there}, not {asked}")
    if meta["digest"] != key.digest:
        raise DamagedEntry(f"{META} gives another digest than its key has")


def _read_files(path: Path, meta: dict[str, Any]) -> Embeddings:
    n, dim = meta["n"], meta["dim"]
    _scan_vectors(path, meta)
    vectors = _mapped(path / "vectors.npy")
    labels = _read_array(path, "labels.npy", meta)
    digests = _read_array(path, "digests.npy", meta) if meta["format"] > 1 else None
    ids = _read_checked(path, "ids.txt", meta).decode("utf-8", "surrogateescape").split("\n")[:-1]
    with np.load(io.BytesIO(_read_checked(path, "diagnostics.npz", meta)), allow_pickle=False) as archive:
        diagnostics = {name: archive[name] for name in archive.files}
    _checked(vectors, "vectors.npy", np.float32, (n, dim))
    _checked(labels, "labels.npy", np.int64, (n,))
    if digests is not None:
        _checked(digests, "digests.npy", np.uint8, (n, 32))
    if len(ids) != n:
        raise DamagedEntry(f"ids.txt has {len(ids):,} lines, not {n:,}")
    return Embeddings(path, vectors, ids, labels if meta["labelled"] else None, digests, meta, diagnostics)


def _checked(array: np.ndarray, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype != dtype or array.shape != shape:
        raise DamagedEntry(f"{name} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    return array


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        if error.errno not in _NO_MAPS:
            raise
    vectors: np.ndarray = np.load(file, allow_pickle=False)
    vectors.setflags(write=False)
    return vectors


def _read_array(path: Path, name: str, meta: dict[str, Any]) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(_read_checked(path, name, meta)), allow_pickle=False)
    return array


def _read_checked(path: Path, name: str, meta: dict[str, Any]) -> bytes:
    data = (path / name).read_bytes()
    _check_sum(name, hashlib.sha256(data).hexdigest(), meta)
    return data


def _check_sum(name: str, found: str, meta: dict[str, Any]) -> None:
    if found != meta["checksums"][name]:
        raise DamagedEntry(f"{name} has other bytes than were written (its sha256 differs)")


def _scan_vectors(path: Path, meta: dict[str, Any]) -> None:
    """Check the bytes and the numbers of vectors.npy in one pass, without holding the file in memory."""
    file = path / "vectors.npy"
    checksum, finite = hashlib.sha256(), True
    with file.open("rb") as data:
        checksum.update(data.read(meta["bytes"][file.name] - 4 * meta["n"] * meta["dim"]))  # the npy header
        while chunk := data.read(_CHUNK):
            checksum.update(chunk)
            finite = finite and bool(np.isfinite(np.frombuffer(chunk, "<f4")).all())
    _check_sum(file.name, checksum.hexdigest(), meta)
    if not finite:
        raise DamagedEntry(f"{file.name} holds numbers that are not finite")
