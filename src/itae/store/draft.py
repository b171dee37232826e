"""Work in progress for one entry: shards on the disk until all are there, then the entry, published whole.

A long extraction may be killed at any moment. A shard is a file that appears by rename and carries a seal
over its content and its place, so one that is there is whole, belongs here, and need not be made again.
`publish` reads the shards in their order whether or not they were made in one go, which is why an interrupted
run ends with the bytes of an undisturbed one.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.disk import disk_trouble_told, flush_folder, replace_file, write_file
from itae.base.errors import UserError
from itae.store.arrays import Gathered, npy, npy_header, pack
from itae.store.entry import META, Embeddings, Key, plain, render, seal_of

log = logging.getLogger(__name__)


DRAFT = "draft.json"
_SHARDS = 3  # what is in a shard; those of another version of itae with other arrays are not taken up
Finish = Callable[[dict[str, np.ndarray]], tuple[dict[str, np.ndarray], dict[str, Any]]]


def _as_they_are(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return arrays, {}


@dataclass(frozen=True)
class Begun:
    """What a draft that is there was begun with.

    Attributes
    ----------
    n, shard
        How many images there are, and how many a shard holds.
    settled
        What its shards were made with beside the key.
    written
        How many shards are there, unread.
    """

    n: int
    shard: int
    settled: dict[str, Any]
    written: int


def begun(path: Path) -> Begun | None:
    """Return what the draft in `path` was begun with, None where there is none to go on with."""
    try:
        told = json.loads((path / DRAFT).read_bytes())
        found = Begun(told["n"], told["shard"], dict(told["settled"]), sum(1 for _ in path.glob("*.shard")))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    whole = all(isinstance(size, int) and size >= 1 for size in (found.n, found.shard))
    return found if whole else None


def check_ids(ids: Sequence[str]) -> None:
    """Raise a `UserError` for an id that does not fit on one line of ids.txt."""
    for name in ids:
        if "\n" in name or "\r" in name:
            raise UserError(f"The image id {name!r} holds a line break; rename that file and run again.")


class Draft:
    """The unfinished entry of one key; `Store.draft` makes it, inside a claim.

    Parameters
    ----------
    path
        Its folder, beside the folder that the entry will have.
    key
        What it will be the entry of.
    n
        How many images there are.
    shard
        How many images a shard holds; the last one holds the rest.
    place
        Moves the finished folder to where the store keeps it and reads it back.
    settled
        What else the shards must have been made with.
    """

    def __init__(
        self,
        path: Path,
        key: Key,
        n: int,
        shard: int,
        place: Callable[[Path, Key], Embeddings],
        settled: Mapping[str, Any] | None = None,
    ) -> None:
        assert n >= 1
        assert shard >= 1
        self.path, self.key, self.n, self.shard = path, key, n, shard
        self._place = place
        self.settled = plain(dict(settled or {}), "settled")

    @property
    def shards(self) -> int:
        """How many shards there are to write."""
        return -(-self.n // self.shard)

    def span(self, i: int) -> range:
        """Return the positions of the images in shard `i`."""
        return range(i * self.shard, min((i + 1) * self.shard, self.n))

    def open(self) -> None:
        """Take up the shards that are there, if they were made with the same key, `n`, shard size and `settled`."""
        header, file = self._header(), self.path / DRAFT
        with disk_trouble_told(self.path):
            if not file.is_file() or file.read_bytes() != header:
                if old := len(list(self.path.glob("*.shard"))):
                    log.warning(
                        "%d shards of %s were made of other images or with other settings; they start afresh.",
                        old,
                        self.path,
                    )
                shutil.rmtree(self.path, ignore_errors=True)
                self.path.mkdir(parents=True, exist_ok=True)
                replace_file(file, header)
            for left in self.path.glob(".*.tmp"):
                left.unlink()
        done = len(self.written())
        if done:
            log.info("Going on from %d of %d shards of %s.", done, self.shards, self.key.name)

    def written(self) -> set[int]:
        """Return the shards that are there by name, unread; on a shared disk perhaps from another machine."""
        return {int(file.stem) for file in self.path.glob("*.shard")}

    def has(self, i: int) -> bool:
        """Whether shard `i` is written and whole; a damaged one is reported and counts as missing."""
        return self._read(i) is not None

    def write(
        self,
        i: int,
        rows: Mapping[str, np.ndarray],
        sums: Mapping[str, np.ndarray],
        some: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write shard `i`, at once or not at all.

        Parameters
        ----------
        i
            Its place; it holds the images of `span`.
        rows
            Arrays with one row an image: ``vectors`` float32 [b, E], and others such as ``flagged`` [b, L].
        sums
            Arrays that add up over the shards: histograms, counts.
        some
            Arrays with one row for some of the images, or none; they are put one behind the other.

        Raises
        ------
        UserError
            When the disk is full or can't be written; the shards before this one stay.
        """
        assert 0 <= i < self.shards
        count = len(self.span(i))
        assert all(len(array) == count for array in rows.values()), f"shard {i} has {count} images"
        assert rows["vectors"].ndim == 2
        assert rows["vectors"].dtype == np.float32
        kinds = {"row": rows, "sum": sums, "some": some or {}}
        named = {f"{kind}.{name}": array for kind, arrays in kinds.items() for name, array in arrays.items()}
        body = pack(named)

        def needed() -> int:
            missing = self.shards - len(self.written())
            return missing * len(body) + self.shards * rows["vectors"].nbytes

        with disk_trouble_told(self.path, needed):
            replace_file(self._file(i), self._seal(i, body) + body)

    def publish(
        self,
        ids: Sequence[str],
        labels: np.ndarray | None,
        digests: Sequence[bytes],
        extra: Mapping[str, Any],
        finish: Finish = _as_they_are,
    ) -> Embeddings:
        """Make the entry of the shards, put it in its place, and remove the draft.

        Memory holds one shard of vectors at a time. Float sums are added in the order of the shards.

        Parameters
        ----------
        ids
            n different ids.
        labels
            Integers [n], or None for unlabelled images.
        digests
            The sha256 of each image's bytes, n of 32 bytes.
        extra
            Plain values to add to `meta.json`, such as the versions.
        finish
            Called with all that the shards hold but vectors, put together, by name; returns the arrays of
            diagnostics.npz, and plain values to add to `meta.json`.

        Raises
        ------
        UserError
            When vectors are not finite (their shards are dropped, to be made again), when an id holds a line
            break, or when the disk is full or can't be written (the shards stay).
        """
        assert len(ids) == len(set(ids)) == self.n
        assert labels is None or (np.shape(labels) == (self.n,) and np.asarray(labels).dtype.kind in "iu")
        assert len(digests) == self.n
        check_ids(ids)
        folder = self.path / "entry"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with disk_trouble_told(self.path, self._bytes_of_shards):
                folder.mkdir()
                self._write_entry(folder, ids, labels, digests, extra, finish)
                flush_folder(folder)
                entry = self._place(folder, self.key)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(self.path, ignore_errors=True)
        return entry

    def _write_entry(
        self,
        folder: Path,
        ids: Sequence[str],
        labels: np.ndarray | None,
        digests: Sequence[bytes],
        extra: Mapping[str, Any],
        finish: Finish,
    ) -> None:
        gathered = Gathered()
        numbers = np.full(self.n, -1, np.int64) if labels is None else np.asarray(labels).astype(np.int64)
        written = {
            "vectors.npy": write_file(folder / "vectors.npy", self._vectors(ids, gathered)),
            "labels.npy": write_file(folder / "labels.npy", [npy(numbers)]),
            "ids.txt": write_file(folder / "ids.txt", [("\n".join(ids) + "\n").encode("utf-8", "surrogateescape")]),
            "digests.npy": write_file(
                folder / "digests.npy", [npy(np.frombuffer(b"".join(digests), np.uint8).reshape(self.n, 32))]
            ),
        }
        arrays, more = finish(gathered.arrays())
        written["diagnostics.npz"] = write_file(folder / "diagnostics.npz", [pack(arrays)])
        extra = {**extra, **more}
        meta = {
            **self.key.identity,
            "digest": self.key.digest,
            "folder": list(self.key.folder),
            "n": self.n,
            "dim": gathered.dim,
            "labelled": labels is not None,
            "bytes": {name: size for name, (size, _) in written.items()},
            "checksums": {name: checksum for name, (_, checksum) in written.items()},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        assert not meta.keys() & extra.keys(), f"extra can't say {sorted(meta.keys() & extra.keys())}"
        meta |= plain(extra, "extra")
        write_file(folder / META, [render({**meta, "seal": seal_of(meta)})])

    def _vectors(self, ids: Sequence[str], gathered: Gathered) -> Iterator[bytes]:
        """Yield the bytes of vectors.npy shard by shard, and hand on what else the shards hold.

        Plain writes, no memory map: on a full disk a map ends in SIGBUS, a write in an error to be told.
        """
        bad: list[str] = []
        for i in range(self.shards):
            arrays = self._read(i)
            if arrays is None:
                raise UserError(f"Shard {i} in {self.path} is gone or damaged; run the same command again.")
            vectors = arrays.pop("row.vectors")
            gathered.take(vectors.shape[1], arrays)
            wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            if len(wrong):
                bad += [ids[i * self.shard + j] for j in wrong.tolist()]
                self._file(i).unlink()
            if i == 0:
                yield npy_header(self.n, gathered.dim)
            yield vectors.astype("<f4", order="C", copy=False).tobytes()
        if bad:
            some = ", ".join(map(repr, bad[:3])) + (f" and {len(bad) - 3:,} more" if len(bad) > 3 else "")
            raise UserError(
                f"{len(bad):,} of {self.n:,} embeddings hold numbers that are not finite (images {some}): "
                "nothing was stored. Try backbone.precision=fp32 or a weaker edit, and look at these images."
            )

    def _file(self, i: int) -> Path:
        return self.path / f"{i:06d}.shard"

    def _seal(self, i: int, body: bytes) -> bytes:
        return hashlib.sha256(self._header() + f"\n{i}\n".encode("ascii") + body).digest()

    def _header(self) -> bytes:
        """Return what every shard of this draft was made with."""
        return render({**self.key.identity, "n": self.n, "shard": self.shard, "settled": self.settled,
                       "shards": _SHARDS})  # fmt: skip

    def _read(self, i: int) -> dict[str, np.ndarray] | None:
        try:
            data = self._file(i).read_bytes()
        except FileNotFoundError:
            return None
        seal, body = data[:32], data[32:]
        if seal != self._seal(i, body):
            log.warning("Shard %d in %s is damaged; it will be made again.", i, self.path)
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def _bytes_of_shards(self) -> int:
        return sum(file.stat().st_size for file in self.path.glob("*.shard"))
