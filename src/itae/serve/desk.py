"""A base as it is served: the newest version of it, its model, and what was found to be alike.

All requests of all users share one desk. A base that others edit is looked at again before each answer, but not more
often than once in a while, which an object store is grateful for.

Shapes: E embedding width.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.embed.encoder import Encoder
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.text import TextEncoder

_FRESH = 1.0  # seconds for which the newest version is taken for that, unless this process makes another


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
    rule
        The name of the one that a search begins with.
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
    rule: str
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
        self.served, self.base, self.encoder = served, served.base, served.encoder
        self._guard, self._model = threading.RLock(), threading.Lock()
        self._newest: Snapshot | None = None
        self._until = 0.0
        self._alike: Alike | None = None
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
                return self.served.open_snapshot(at)
            if self._newest is None or (at is None and time.monotonic() > self._until):
                self._newest = self.served.open_snapshot(at)
                self._until = time.monotonic() + _FRESH
            return self._newest

    def edited(self) -> None:
        """Have the next `snapshot` look for a newer one at once: this process has made an edit."""
        self._until = 0.0

    def alike(self, snapshot: Snapshot) -> Alike:
        """Return the similarities that are kept of a version: those of the last one that was asked for."""
        with self._guard:
            if self._alike is None or self._alike.snapshot is not snapshot:
                self._alike = Alike(snapshot)
            return self._alike

    def may_edit(self) -> None:
        """Raise where nothing can be edited."""
        if self.served.read_only is not None:
            from itae.serve.errors import RefusedError

            raise RefusedError(403, self.served.read_only)

    def text(self) -> TextEncoder:
        """Return the text tower of the space; a `UserError` says why there is none."""
        with self._model:
            if self._no_text is not None:
                raise UserError(self._no_text)
            if self._text is None:
                try:
                    self._text = self.served.text()
                except UserError as error:
                    self._no_text = str(error)
                    raise
            return self._text

    def texts(self, words: str) -> np.ndarray:
        """Return the vector of some words, float32 [E]."""
        tower = self.text()
        with self._model:
            return tower.encode([words])[0]
