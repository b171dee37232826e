"""What a search looks for: pictures, rows that are in the base, words."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from itae.app.knowledge.opened import Opened, opened
from itae.app.knowledge.words import OF_A_SPACE, Asked
from itae.base.errors import UserError
from itae.knowledge.answers.classify import rows_of_bytes
from itae.knowledge.records.snapshot import Snapshot
from itae.search.judged import Query
from itae.search.session import Session
from itae.search.text import text_encoder, text_queries


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


def sought(asked: Asked, snapshot: Snapshot, check: Callable[[int], object]) -> list[Sought]:
    """Return the queries of a command line: rows, pictures, and words.

    Parameters
    ----------
    asked, snapshot
        The command line, and the version of its base.
    check
        Is given how many there are, before a picture is embedded.

    Raises
    ------
    UserError
        Where there is none, for what is neither a file nor an id, for a picture that can't be read, and for words where
        the space of the base has no text tower.
    """
    texts = asked.options.text or []
    if not asked.others and not texts:
        raise UserError(
            "itae search KB QUERY..., or KB --text WORDS: give what to look for, a picture, an id or words."
        )
    files = [path for path in asked.others if path not in snapshot.position or os.path.lexists(path)]
    found = {id_: _row(snapshot, id_) for id_ in asked.others if id_ not in files}
    for path in files:
        if not os.path.lexists(os.path.expanduser(path)):
            raise UserError(
                f"{path}: there is no such file, and no row of version {snapshot.version} has this id; give a picture, "
                "a folder of pictures, or an id as itae search tells it."
            )
    if not files and not texts and not asked.given(*OF_A_SPACE):
        check(len(found))
        return list(found.values())
    with opened(asked) as here:
        if here.encoder.runtime.engine == "ray":
            raise UserError("runtime.engine=ray: itae search ranks in one process; leave it out.")
        pictures = here.encoder.pictures(files) if files else None
        check(len(found) + len(texts) + (len(pictures) if pictures else 0))
        if pictures is not None:
            vectors = here.encoder(pictures)
            rows = rows_of_bytes(snapshot, pictures.digests, len(pictures))
            told = zip(pictures.ids, vectors, pictures.digests, rows, strict=True)
            found |= {name: Sought(name, Query(vector, rows=of), sha) for name, vector, sha, of in told}
        return [*found.values(), *_words(asked, here, texts)]


def _row(snapshot: Snapshot, id_: str) -> Sought:
    """Return a row of the base as a query; other rows of its bytes are the query itself, too."""
    i = snapshot.position[id_]
    sha256 = snapshot.digests_M32[i].tobytes()
    return Sought(id_, Query(np.array(snapshot.vectors_ME[i]), rows=_itself(snapshot, id_, sha256)), sha256)


def _itself(snapshot: Snapshot, id_: str, sha256: bytes) -> np.ndarray:
    """Return the rows that are a query: those of its bytes, and the one of its id, if it is that one's image."""
    rows = rows_of_bytes(snapshot, [sha256], 1)[0]
    i = snapshot.position.get(id_)  # of a row without an image no bytes are known
    return rows if i is None or snapshot.digests_M32[i].tobytes() != sha256 else np.union1d(rows, [i])


def _words(asked: Asked, here: Opened, texts: Sequence[str]) -> list[Sought]:
    if not texts:
        return []
    encoder = text_encoder(here.base.about.words, here.encoder.runtime, here.encoder.store)
    options = asked.options
    queries = text_queries(encoder, texts, judging=bool(options.yes or options.no or options.session))
    return [Sought(text, query, notes=encoder.notes(text)) for text, query in zip(texts, queries, strict=True)]


def sought_again(session: Session, snapshot: Snapshot) -> Sought:
    """Return the query of a session; its rows are those of this version that have its bytes."""
    sha256 = bytes.fromhex(session.sha256) if session.sha256 else None
    rows = np.zeros(0, np.int64) if sha256 is None else _itself(snapshot, session.name, sha256)
    return Sought(session.name, Query(session.vector_E, session.is_text, rows, session.among_images_E), sha256)
