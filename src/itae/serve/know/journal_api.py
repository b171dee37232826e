"""The journal of a base, and the names of its versions."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from itae.knowledge.base import KnowledgeBase
from itae.serve.desk import Desk
from itae.serve.door.guard import Who
from itae.serve.errors import RefusedError
from itae.serve.know.edit_models import JournalAbout, Tags, TagTo
from itae.serve.rows import edit
from itae.serve.shared import failing

_MOST = 500
_BEFORE = Query(ge=1, description="Only edits before this one; without it, from the newest on.")
_COUNT = Query(ge=1, le=_MOST, description=f"How many, {_MOST} at most.")
_NAME = Path(description="A text that is no whole number.")


def routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    router, journal = APIRouter(tags=["Edit"]), Journal(desk.base)

    @router.get("/api/journal", summary="The edits of the base", response_model=JournalAbout, responses=failing(400))
    def get_journal(
        who: Who, before: Annotated[int | None, _BEFORE] = None, count: Annotated[int, _COUNT] = 50
    ) -> Response:
        """List edits, the newest first: who, when, what, why, and what has undone it."""
        version = desk.snapshot().version
        return JSONResponse({"version": version, "edits": journal.told(version, before, count)})

    def told() -> Response:
        return JSONResponse({"tags": desk.base.tags()})

    @router.get("/api/tags", summary="The names of versions", response_model=Tags)
    def get_tags(who: Who) -> Response:
        return told()

    @router.put("/api/tags/{name:path}", summary="Name a version", response_model=Tags, responses=failing(400, 403))
    def put_tag(who: Who, name: Annotated[str, _NAME], asked: TagTo) -> Response:
        """Give a version a name; one that is there is moved."""
        desk.may_edit()
        desk.base.tag(name, asked.version)
        return told()

    @router.delete(
        "/api/tags/{name:path}",
        summary="Take the name of a version away",
        response_model=Tags,
        responses=failing(400, 403, 404),
    )
    def delete_tag(who: Who, name: Annotated[str, _NAME]) -> Response:
        """Take a name away; the version stays."""
        desk.may_edit()
        tags = desk.base.tags()
        if name not in tags:
            raise RefusedError(404, f"There is no tag {name!r}: there are {', '.join(sorted(tags)) or 'none'}.")
        desk.base.untag(name)
        return told()

    return router


class Journal:
    """The edits of a base as a list tells them.

    Parameters
    ----------
    base
        The base.
    """

    def __init__(self, base: KnowledgeBase) -> None:
        self.base = base
        self._guard = threading.Lock()
        self._floor, self._undone = 0, dict[int, int | None]()  # which edit each edit puts back

    def told(self, newest: int, before: int | None = None, count: int = _MOST) -> list[dict[str, Any]]:
        """Return some edits, the newest first.

        Parameters
        ----------
        newest
            The last that there is.
        before, count
            As many before this one, before the first that isn't there by default.
        """
        last = newest if before is None else min(newest, before - 1)
        first = max(1, last - count + 1)
        by = self._undone_by(first, newest)
        some = reversed(self.base.log(first, last))
        return [edit(one) | {"undone_by": by.get(one.edit)} for one in some]

    def _undone_by(self, first: int, newest: int) -> dict[int, int]:
        """Return by which edit others from `first` on are undone; an undo that was undone itself doesn't count."""
        if not newest:
            return {}
        with self._guard:
            floor = self.base.log(newest, newest)[0].floor
            if floor != self._floor:  # a purge has made earlier edits forget what they put back
                self._floor, self._undone = floor, {}
            unknown = [n for n in range(first, newest + 1) if n not in self._undone]
            for one in self.base.log(unknown[0], unknown[-1]) if unknown else ():
                self._undone[one.edit] = one.asked.get("edit") if one.verb == "undo" else None
            back = {n: self._undone[n] for n in range(newest, first - 1, -1)}
        by: dict[int, int] = {}
        for number, undone in back.items():  # the newest first: what undoes it is known by then
            if undone is not None and number not in by:
                by[undone] = number
        return by
