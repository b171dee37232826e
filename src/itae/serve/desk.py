"""A base as it is served: the newest version of it, its model, and what was found to be alike.

All requests of all users share one desk. A base that others edit is looked at again before each answer, but not more
often than once in a while, which an object store is grateful for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.embed.encoder import Encoder
from itae.images.image_set import ImageSet
from itae.knowledge.answers.classify import rows_of_bytes
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.curate.duplicates import near_duplicate
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.judged import Query
from itae.search.sought import Sought
from itae.search.text import TextEncoder, text_queries
from itae.serve.apart import conditions_apart
from itae.serve.errors import RefusedError

_FRESH = 1.0  # seconds for which the newest version is taken for that, unless this process makes another

_ALIKE = "similarities"


@dataclass(frozen=True)
class Served:
    """What is served.

    Parameters
    ----------
    base
        The base.
    encoder
        Of its space.
    text
        Makes its text tower; raises a `UserError` where there is none.
    open_snapshot
        Returns a version, the newest for None, with its index if it has one.
    rules
        The nodes of the group ``feedback`` by their names.
    rule_texts
        What each rule and each of its options does, see `itae.serve.rows.rules`.
    rule
        The name of the one that a search begins with.
    voter
        Of `itae.knowledge.answers.vote`, for answers; by default all is chosen inside the base.
    at
        A version or tag that is shown in place of the newest.
    read_only
        Why nothing can be edited, a sentence, or None.
    """

    base: KnowledgeBase
    encoder: Encoder
    text: Callable[[], TextEncoder]
    open_snapshot: Callable[[int | str | None], Snapshot]
    rules: Mapping[str, Mapping[str, Any]]
    rule_texts: Mapping[str, Mapping[str, str]]
    rule: str
    voter: Any = None
    at: int | str | None = None
    read_only: str | None = None


class Desk:
    """One base for all who ask; safe to use from several threads.

    Parameters
    ----------
    served
        What is served.
    """

    def __init__(self, served: Served) -> None:
        self.served, self.base, self.encoder = served, conditions_apart(served.base), served.encoder
        self._guard, self._model, self._words = threading.RLock(), threading.Lock(), threading.Lock()
        self._newest: Snapshot | None = None
        self._until = 0.0
        self._earlier: Snapshot | None = None
        self._text: TextEncoder | None = None
        self._no_text: str | None = None

    def snapshot(self, at: int | str | None = None) -> Snapshot:
        """Return a version: by default the newest, or the one that is shown in its place.

        Raises
        ------
        UserError
            When there is none, or it is damaged.
        """
        if at is None:
            at = self.served.at
        with self._guard:
            if at is not None and self._newest is not None and at == self._newest.version:
                return self._newest
            if at is not None and at != self.served.at:
                if self._earlier is None or self._earlier.version != at:
                    self._earlier = None  # two beside the newest need not fit into memory
                    self._earlier = self.served.open_snapshot(at)
                return self._earlier
            if self._newest is None or (at is None and time.monotonic() > self._until):
                self._newest = self.served.open_snapshot(at)
                self._until = time.monotonic() + _FRESH
            return self._newest

    def edited(self) -> None:
        """Have the next `snapshot` look for a newer one at once: this process has made an edit."""
        self._until = 0.0

    def alike(self, snapshot: Snapshot) -> Alike:
        """Return the similarities that are kept of a version, for all who search it."""
        with self._guard:
            found = snapshot.memo.get(_ALIKE)
            if found is None:
                found = snapshot.memo[_ALIKE] = Alike(snapshot)
            return found

    @cached_property
    def near_identical(self) -> float:
        """The cosine from which two rows are nearly the same image; found once, edits hardly change it."""
        return near_duplicate(self.snapshot())

    def may_edit(self) -> None:
        """Raise where nothing can be edited."""
        if self.served.read_only is not None:
            raise RefusedError(403, self.served.read_only)

    def no_text(self) -> str | None:
        """Return why words can't be asked here, None where they can."""
        try:
            self._tower()
        except UserError as error:
            return str(error)
        return None

    def sought_words(self, words: str) -> Sought:
        """Return words as a query.

        Raises
        ------
        UserError
            Where the space has no text tower, and for words that it doesn't know.
        """
        if not words.strip():
            raise UserError("The words are empty: say what to look for.")
        tower = self._tower()
        with self._model:
            (query,) = text_queries(tower, [words], judging=True)
        return Sought(words, query, notes=tower.notes(words))

    def sought_picture(self, name: str, path: str, snapshot: Snapshot) -> Sought:
        """Return a picture as a query.

        Parameters
        ----------
        name
            What it is called.
        path
            Its file.
        snapshot
            A version, whose rows of these bytes are the query itself.

        Raises
        ------
        UserError
            When it can't be read, or its vector is not finite.
        """
        try:
            images = self.encoder.pictures([path])
            with self._model:
                vector_E = self.encoder(images)[0]
        except UserError as error:
            raise UserError(str(error).replace(path, name)) from None
        sha256 = images.digests[0]
        rows = rows_of_bytes(snapshot, [sha256], 1)[0]
        return Sought(name, Query(vector_E, rows=rows), sha256)

    def warm(self) -> None:
        """Do what the first one who asks would wait for: read the newest version, build the model and its tower."""
        with contextlib.suppress(UserError):  # told to whoever asks
            self.alike(self.snapshot())
            _ = self.near_identical
            with self._model:
                self.encoder(ImageSet("files", "all", ["warm"], [np.zeros((8, 8, 3), np.uint8)], None, []))
        with contextlib.suppress(UserError):
            self.sought_words("picture")

    def _tower(self) -> TextEncoder:
        with self._words:  # the page asks whether there is one while the model is built
            if self._no_text is not None:
                raise UserError(self._no_text)
            if self._text is None:
                try:
                    self._text = self.served.text()
                except UserError as error:
                    self._no_text = str(error)
                    raise
            return self._text
