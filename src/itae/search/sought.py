"""What a search looks for, and which rows of a base are that themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itae.knowledge.answers.classify import rows_of_bytes
from itae.knowledge.records.snapshot import Snapshot
from itae.search.judged import Query
from itae.search.session import Session


@dataclass(frozen=True, eq=False)
class Sought:
    """One query, and what it is called.

    Parameters
    ----------
    name
        Its words, the name of its file, or its id.
    query
        Its vector, and the rows that are it.
    sha256
        Of the picture's bytes, None for words.
    notes
        What to know of it.
    """

    name: str
    query: Query
    sha256: bytes | None = None
    notes: Sequence[str] = ()


def sought_row(snapshot: Snapshot, id_: str) -> Sought:
    """Return a row of a version as a query; other rows of its bytes are the query itself, too."""
    i = snapshot.position[id_]
    sha256 = snapshot.digests_M32[i].tobytes()
    return Sought(id_, Query(np.array(snapshot.vectors_ME[i]), rows=_itself(snapshot, id_, sha256)), sha256)


def sought_again(session: Session, snapshot: Snapshot) -> Sought:
    """Return the query of a session; its rows are those of this version that have its bytes."""
    sha256 = bytes.fromhex(session.sha256) if session.sha256 else None
    rows = np.zeros(0, np.int64) if sha256 is None else _itself(snapshot, session.name, sha256)
    return Sought(session.name, Query(session.vector_E, session.is_text, rows, session.among_images_E), sha256)


def _itself(snapshot: Snapshot, id_: str, sha256: bytes) -> np.ndarray:
    """Return the rows that are a query: those of its bytes, and the one of its id, if it is that one's image."""
    rows = rows_of_bytes(snapshot, [sha256], 1)[0]
    i = snapshot.position.get(id_)  # of a row without an image no bytes are known
    return rows if i is None or snapshot.digests_M32[i].tobytes() != sha256 else np.union1d(rows, [i])
