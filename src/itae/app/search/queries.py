"""What a search looks for: pictures, rows that are in the base, words."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from itae.app.knowledge.opened import Opened, opened
from itae.app.knowledge.words import OF_A_SPACE, Asked
from itae.base.errors import UserError
from itae.knowledge.answers.classify import rows_of_bytes
from itae.knowledge.records.snapshot import Snapshot
from itae.search.judged import Query
from itae.search.sought import Sought, sought_row
from itae.search.text import text_encoder, text_queries


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
    found = {id_: sought_row(snapshot, id_) for id_ in asked.others if id_ not in files}
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


def _words(asked: Asked, here: Opened, texts: Sequence[str]) -> list[Sought]:
    if not texts:
        return []
    encoder = text_encoder(here.base.about.words, here.encoder.runtime, here.encoder.store)
    options = asked.options
    queries = text_queries(encoder, texts, judging=bool(options.yes or options.no or options.session))
    return [Sought(text, query, notes=encoder.notes(text)) for text, query in zip(texts, queries, strict=True)]
