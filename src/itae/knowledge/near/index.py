"""Past memory: an index on the disk that says which rows may be near, and vectors that stay on the disk.

An index (FAISS's, by a factory string such as ``IVF1024,PQ64``; Lance's, as ``lance:IVF_PQ``; or whatever else has
`Candidates`) gives candidates; `itae.knowledge.near.neighbours` computes their similarities anew from the vectors
themselves and puts them in order, so what is found is told exactly, and only what is missed is the index's doing. How
much that is has been measured: the recall against exact search on a fixed draw of rows stands in the index and in
every answer.

An index belongs to one content of a base, its root, and one order of its rows; for any other it is refused.

Shapes: M positions of a snapshot, N live rows, Q queries, L candidates, E embedding width.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itae.knowledge.near.faiss_index import FaissIndex
from itae.knowledge.near.held_out import draw
from itae.knowledge.near.index_kind import ROWS, Kind, Search
from itae.knowledge.near.lance_index import LanceIndex
from itae.knowledge.near.neighbours import INDEX, MISSING, Candidates, Excluded, nearest
from itae.knowledge.records.sealed import Damaged, sealed, unsealed
from itae.knowledge.records.snapshot import Snapshot

log = logging.getLogger(__name__)

_FORMAT = 3
_ABOUT = "index.json"
_LANCE = "lance:"  # begins what names an index of Lance
_RECALL_OF, _RECALL_AT = 100, 20  # queries and neighbours


@dataclass
class DiskIndex:
    """An index of a snapshot's live rows, on the disk, which reads what it looks at.

    Parameters
    ----------
    search
        Its library's.
    rows
        The position of each of its rows, int64 [N].
    about
        What stands beside it: root, factory, search, and ``recall`` with ``k``, ``queries``, ``recall`` and seconds.
    """

    search: Search
    rows: np.ndarray
    about: dict[str, Any]

    def candidates(self, queries_QE: np.ndarray, count: int) -> np.ndarray:
        """Return the positions of `count` rows that may be near each query, `MISSING` where it found fewer."""
        at_QL = self.search(np.ascontiguousarray(queries_QE, np.float32), min(count, len(self.rows)))
        return np.where(at_QL < 0, MISSING, self.rows[at_QL])

    @property
    def note(self) -> str:
        """How many of the nearest it finds, in words."""
        seen = self.about["recall"]
        return (
            f"found by the index {self.about['factory']} ({self.about['search'] or 'all of it'}), which has "
            f"{seen['recall']:.1%} of the {seen['k']} nearest that exact search finds, seen on {seen['queries']} rows"
        )


def use_index(snapshot: Snapshot, index: Candidates) -> None:
    """Have all answers of a snapshot look for neighbours among what an index gives."""
    snapshot.memo[INDEX] = index


def open_index(snapshot: Snapshot, folder: Path, factory: str, search: str | None = None) -> DiskIndex:
    """Return the index of a snapshot in a folder, made anew where there is none that fits.

    Parameters
    ----------
    snapshot
        The base; its vectors may be an `itae.knowledge.disk.vector_file.VectorFile`.
    folder
        Where indexes of this base are: each in a folder named by root and factory. Those of other roots go once a new
        one stands.
    factory
        FAISS's index factory string, as ``IVF1024,PQ64``; or a type of Lance's, as ``lance:IVF_PQ``, one of
        `itae.knowledge.near.lance_index.TYPES`.
    search
        Parameters of a search: FAISS's, as ``nprobe=32``, or Lance's, as ``nprobes=32``. By default an IVF looks into
        an eighth of its lists, at least 8.

    Raises
    ------
    UserError
        When the library knows no such index, or no such search; when there are too few rows for it.
    """
    kind = _kind(factory)
    place = folder / f"{snapshot.root[:16]}-{hashlib.sha256(f'{factory}|{search}'.encode()).hexdigest()[:8]}"
    why = why_not(snapshot, place)
    if why:
        log.info("The index in %s %s: it is made anew.", place, why)
        build(snapshot, place, factory, search)
        for other in folder.iterdir():
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
    about = _about(place)
    return DiskIndex(kind.read(place, about["search"]), snapshot.live, about)


def _about(place: Path) -> dict[str, Any]:
    return unsealed((place / _ABOUT).read_bytes(), _ABOUT)[0]


def _kind(factory: str) -> Kind:
    return LanceIndex(factory.removeprefix(_LANCE)) if factory.startswith(_LANCE) else FaissIndex(factory)


def why_not(snapshot: Snapshot, place: Path) -> str | None:
    """Return why an index can't be used for a snapshot, as "is of another root"; None if it can."""
    try:
        about = _about(place)
    except OSError:
        return "isn't there"
    except Damaged as damage:
        return f"is damaged ({damage})"
    if about.get("format") != _FORMAT or about["made_by"] != _kind(about["factory"]).version:
        return "is of another version of itae or of its library"
    if about["root"] != snapshot.root:
        return "is of another version of the base"
    if about["order"] != _order(snapshot):
        return "has the rows in another order"
    damaged = [name for name, digest in about["files"].items() if _digest(place / name) != digest]
    return f"is damaged ({', '.join(damaged)})" if damaged else None


def build(snapshot: Snapshot, place: Path, factory: str, search: str | None = None) -> None:
    """Make an index of a snapshot's live rows in the folder `place`."""
    kind = _kind(factory)
    unfinished = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        usual = kind.make(snapshot, unfinished)
        search = search or usual
        about = {"format": _FORMAT, "made_by": kind.version, "root": snapshot.root, "order": _order(snapshot)}
        about |= {"factory": factory, "search": search, "rows": len(snapshot)}
        made = DiskIndex(kind.read(unfinished, search), snapshot.live, about)
        about["recall"] = recall(snapshot, made)
        del made
        about["files"] = {str(path.relative_to(unfinished)): _digest(path) for path in _files(unfinished)}
        (unfinished / _ABOUT).write_bytes(sealed(about)[0])
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def recall(snapshot: Snapshot, index: Candidates, queries: int = _RECALL_OF, k: int = _RECALL_AT) -> dict[str, Any]:
    """Return how many of the `k` nearest rows an index has, of a fixed draw of rows, each one left out itself.

    ``{recall, k, queries, seconds, exact_seconds}``: the mean share over `queries`, and what a search took.
    """
    drawn = draw(snapshot, snapshot.live, queries)
    itself = Excluded(np.arange(len(snapshot.alive_M)), drawn)
    vectors, found, seconds = snapshot.vectors_ME[drawn], [], []
    for some in (index, None):
        began = time.perf_counter()
        found.append(nearest(snapshot, vectors, k, excluded=itself, index=some)[0])
        seconds.append(time.perf_counter() - began)
    same = [len(set(a) & set(b) - {MISSING}) / max(1, (b != MISSING).sum()) for a, b in zip(*found, strict=True)]
    share = float(np.mean(same)) if len(drawn) > 1 else 1.0
    told = {"recall": share, "k": k, "queries": len(drawn)}
    return told | {"seconds": round(seconds[0], 3), "exact_seconds": round(seconds[1], 3)}


def _order(snapshot: Snapshot) -> str:
    """Return a hash of the ids of the live rows in their order, by which an index counts them."""
    hashed = hashlib.sha256()
    ids: Sequence[str] = snapshot.ids
    for start in range(0, len(snapshot), ROWS):
        hashed.update("\0".join(ids[i] for i in snapshot.live[start : start + ROWS].tolist()).encode() + b"\0")
    return hashed.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
