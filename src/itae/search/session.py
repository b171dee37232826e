"""A session: JSON lines that say what was asked, shown and judged, and from which the same comes again.

The first line is the query with its vector, so that to go on, or to replay it, needs neither picture nor model. Each
further line is a round: version, rule, condition, all marks so far, and the ids that were shown. It names no place of a
file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from itae.base.errors import UserError

FORMAT = 1
KIND = "itae search session"


@dataclass(frozen=True)
class Round:
    """One round of a session.

    Parameters
    ----------
    version, root
        Of the base.
    rule
        The node of the group ``feedback``.
    where
        The condition on rows, or None.
    count
        How many rows were asked for.
    yes, no
        Ids of all that was judged so far.
    shown
        The ids of the page.
    diverse
        Whether it was to be unlike what was shown before, and not by the rule.
    time
        When, in UTC.
    """

    version: int
    root: str
    rule: Mapping[str, Any]
    where: str | None
    count: int
    yes: Sequence[str]
    no: Sequence[str]
    shown: Sequence[str]
    diverse: bool = False
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True, eq=False)
class Session:
    """What was asked of one base, and all rounds.

    Parameters
    ----------
    base
        The random name of the base, see `itae.knowledge.ledger.about.About`.
    name
        Of the query, for people: its text, or the name of its file.
    is_text
        Whether the query is words.
    sha256
        Of the picture's bytes, hex, None for words.
    vector_E
        Of the query, float32.
    among_images_E
        Of words, what stands for them beside images, see `itae.search.judged.Query`; else None.
    rounds
        The first first.
    """

    base: str
    name: str
    is_text: bool
    sha256: str | None
    vector_E: np.ndarray
    among_images_E: np.ndarray | None = None
    rounds: tuple[Round, ...] = ()

    @property
    def shown(self) -> set[str]:
        """All ids that were shown."""
        return {id_ for each in self.rounds for id_ in each.shown}

    def marked(self, yes: Sequence[str], no: Sequence[str], forget: Sequence[str] = ()) -> tuple[list[str], list[str]]:
        """Return all marks: those of the last round, and new ones, which take the place of old ones of the same id.

        Raises
        ------
        UserError
            For a mark on what was never shown in this session, and one to forget that isn't marked.
        """
        shown = self.shown
        for id_ in (*yes, *no):
            if id_ not in shown:
                raise UserError(
                    f"{id_!r} was never shown in this session, so it can't be marked; mark what was shown, or search "
                    "without a session."
                )
        before = self.rounds[-1] if self.rounds else None
        marks = dict.fromkeys(before.yes, "yes") | dict.fromkeys(before.no, "no") if before else {}
        for id_ in forget:
            if marks.pop(id_, None) is None:
                raise UserError(f"{id_!r} is not marked in this session; --forget takes a mark back.")
        marks |= dict.fromkeys(yes, "yes") | dict.fromkeys(no, "no")
        found = [[id_ for id_, mark in marks.items() if mark == kind] for kind in ("yes", "no")]
        return found[0], found[1]

    def refuse_another_base(self, base: str, told: str) -> None:
        """Raise a `UserError` if the session is of another base; `told` is what the one at hand is called."""
        if self.base != base:
            raise UserError(
                f"This session is of another base than {told} (that one is called {self.base[:8]}, this one "
                f"{base[:8]}); give the base that it was made with, or begin a new session."
            )

    def text(self) -> str:
        """Return what stands in the file."""
        head = {"kind": KIND, "format": FORMAT, "base": self.base, "name": self.name, "is_text": self.is_text}
        head |= {"sha256": self.sha256, "vector": _coded(self.vector_E), "among_images": _coded(self.among_images_E)}
        lines = [head, *({"round": n} | vars(each) for n, each in enumerate(self.rounds))]
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _coded(vector_E: np.ndarray | None) -> str | None:
    return None if vector_E is None else base64.b64encode(np.ascontiguousarray(vector_E, "<f4").tobytes()).decode()
