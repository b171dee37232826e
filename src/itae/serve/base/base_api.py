"""The routes of the base itself: what it is, what changed, its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from itae.base.versions import __version__
from itae.search.filters import condition
from itae.search.search import rows_where
from itae.serve.desk import Desk
from itae.serve.door.guard import Who
from itae.serve.errors import RefusedError
from itae.serve.rows import MOST_EDITS, edit, edits_since, row, rules, whole_row
from itae.serve.settings import Limits
from itae.serve.shared import RowAbout, failing

_MOST = 1000  # rows at a time


class Counted(BaseModel):
    """A name, and how many rows have it."""

    name: str = Field(description="Any text.")
    rows: int = Field(description="How many.")


class Option(BaseModel):
    """An option of a rule."""

    name: str = Field(description="Its name.")
    default: Any = Field(description="What it is where nothing is said.")
    type: str = Field(description="number, integer, true or false, one of, or text.")
    choices: list[str] = Field(description="What it may be, where it is one of some.")
    says: str = Field(description="What it does.")


class RuleAbout(BaseModel):
    """A rule of feedback."""

    name: str = Field(description="Its name.")
    says: str = Field(description="What it does.")
    options: list[Option] = Field(description="Its options.")


class BaseAbout(BaseModel):
    """A base, and what can be asked of it."""

    name: str = Field(description="Of its folder.")
    path: str = Field(description="As it was given to itae serve.")
    version: int = Field(description="How many edits made it.")
    root: str = Field(description="Checksum of all that is in it.")
    rows: int = Field(description="How many.")
    labels: list[Counted] = Field(description="Its labels, those of most rows first.")
    unlabelled: int = Field(description="How many rows have no label.")
    sources: list[Counted] = Field(description="Where its rows are from, those of most rows first.")
    backbone: str = Field(description="What makes a vector of an image.")
    edit: str = Field(description="What is done about artifacts: untouched or edited.")
    text: str | None = Field(description="Why words can't be asked, a sentence; null where they can.")
    read_only: str | None = Field(description="Why nothing can be edited, a sentence; null where it can.")
    pinned: str | None = Field(description="The version or tag that is shown in place of the newest.")
    user: str = Field(description="Who you are signed in as.")
    itae: str = Field(description="The version of itae.")
    keeps_images: bool = Field(description="Whether the base keeps images, or refers to where they lie.")
    rules: list[RuleAbout] = Field(description="Rules of feedback.")
    default_rule: str = Field(description="The one that a search begins with.")
    limits: dict[str, int] = Field(description="Of a picture that is sent: bytes and pixels.")


class News(BaseModel):
    """What was done to a base since a version."""

    version: int = Field(description="The newest.")
    root: str = Field(description="Checksum of all that is in it.")
    rows: int = Field(description="How many.")
    edits: list[dict[str, Any]] = Field(description="Edits since then, the last one first, at most 20.")


class RowList(BaseModel):
    """Rows in the base's own order."""

    version: int = Field(description="Of the base.")
    total: int = Field(description="How many rows meet the conditions.")
    rows: list[RowAbout] = Field(description="Some of them.")


class WholeRow(RowAbout):
    """A row with all that is known of it."""

    source: str | None = Field(description="Where it is from.")
    place: str | None = Field(description="Where its image lies.")
    group: str | None = Field(description="What it belongs together with.")
    time: str | None = Field(description="When it was added, in UTC.")
    metadata: dict[str, Any] = Field(description="What else was said of it.")
    picture: str = Field(description="kept in the base, there at its place, or gone.")
    edits: list[dict[str, Any]] = Field(description="Edits that touched it, the last one first.")


def routes(desk: Desk, limits: Limits) -> APIRouter:
    """Return the routes of a base; `limits` are told, and held by another."""
    router = APIRouter(prefix="/api", tags=["Rows"])

    @router.get("/base", summary="The base, and what can be asked of it", response_model=BaseAbout)
    def get_base(who: Who) -> Response:
        return JSONResponse(_base(desk) | {"user": who, "limits": {"bytes": limits.picture, "pixels": limits.pixels}})

    @router.get("/version", summary="What was done since a version", response_model=News, responses=failing(400))
    def get_version(
        who: Who, seen: int | None = Query(None, ge=0, description="The version that you know.")
    ) -> Response:
        snapshot = desk.snapshot()
        told = {"version": snapshot.version, "root": snapshot.root, "rows": len(snapshot)}
        return JSONResponse(told | {"edits": edits_since(desk.base, seen, snapshot.version)})

    @router.get("/rows", summary="Rows in the base's own order", response_model=RowList, responses=failing(400))
    def get_rows(
        who: Who,
        label: Annotated[list[str], Query(description="Only rows with one of these labels.")] = [],  # noqa: B006
        source: Annotated[list[str], Query(description="Only rows from one of these sources.")] = [],  # noqa: B006
        where: str | None = Query(None, description="Only rows that meet this condition, SQL as itae search --where."),
        offset: int = Query(0, ge=0, description="How many rows come before."),
        count: int = Query(120, ge=1, le=_MOST, description="How many rows."),
    ) -> Response:
        snapshot, asked = desk.snapshot(), condition(label, source, where)
        rows = snapshot.live if asked is None else rows_where(desk.base, snapshot, asked)
        assert rows is not None
        some = [row(snapshot, i) for i in rows[offset : offset + count].tolist()]
        return JSONResponse({"version": snapshot.version, "total": len(rows), "rows": some})

    @router.get(
        "/row", summary="A row with all that is known of it", response_model=WholeRow, responses=failing(400, 404)
    )
    def get_row(who: Who, id: str = Query(description="Its id.")) -> Response:  # noqa: A002
        snapshot = desk.snapshot()
        i = snapshot.position.get(id)
        if i is None:
            raise RefusedError(404, f"There is no row {id!r} in version {snapshot.version}.")
        kept = desk.base.about.images == "embed"
        picture = "gone" if desk.base.image(snapshot, i) is None else "kept" if kept else "there"
        told = [edit(one) for one in reversed(desk.base.log()) if id in one.touched.ids]
        return JSONResponse(whole_row(snapshot, i) | {"picture": picture, "edits": told[:MOST_EDITS]})

    return router


def _base(desk: Desk) -> dict[str, Any]:
    snapshot, base, served = desk.snapshot(), desk.base, desk.served
    return {
        "name": PurePosixPath(base.path.rstrip("/")).name or base.path,
        "path": base.path,
        "version": snapshot.version,
        "root": snapshot.root,
        "rows": len(snapshot),
        "labels": _counted(snapshot.label_counts),
        "unlabelled": len(snapshot) - len(snapshot.voters),
        "sources": _counted(snapshot.source_counts),
        "backbone": desk.encoder.facts.architecture,
        "edit": "untouched" if desk.encoder.edit is None else "edited",
        "text": desk.no_text(),
        "read_only": served.read_only,
        "pinned": None if served.at is None else str(served.at),
        "itae": __version__,
        "keeps_images": base.about.images == "embed",
        "rules": rules(served.rules, served.rule_texts),
        "default_rule": served.rule,
    }


def _counted(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return names with their rows, those of most rows first."""
    return [{"name": name, "rows": n} for name, n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
