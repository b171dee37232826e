"""The routes of searches."""

from __future__ import annotations

import pathlib
import tempfile
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import FileResponse, JSONResponse, Response

from itae.base.errors import UserError
from itae.search.rounds import begun
from itae.search.session_file import read_session
from itae.search.sought import Sought, sought_row
from itae.serve.base.pictures import small
from itae.serve.desk import Desk
from itae.serve.door.bodies import body_of
from itae.serve.door.guard import Who
from itae.serve.door.uploads import upload
from itae.serve.errors import RefusedError
from itae.serve.search import search_models as models
from itae.serve.search.rounds import Rounds, query_told
from itae.serve.search.searches import Searches
from itae.serve.settings import Limits
from itae.serve.shared import failing

Sent = Annotated[bytes, Depends(body_of)]
Name = Annotated[str, Path(description="Of a search: 16 hexadecimal digits.")]
_SIDE = 320  # of the picture of a query that is kept
_LONGEST = 200  # letters of the name of a picture that is sent


def routes(desk: Desk, searches: Searches, limits: Limits) -> APIRouter:
    """Return the routes of searches."""
    router = APIRouter(prefix="/api/searches", tags=["Search"])
    _queries(router, desk, searches, limits)
    _rounds(router, Rounds(desk, searches))
    return router


def _sent(kind: str, told: str) -> dict[str, Any]:
    """Return what the API says of a body that is no JSON."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "description": told, "content": content}}


def _queries(router: APIRouter, desk: Desk, searches: Searches, limits: Limits) -> None:
    rounds = Rounds(desk, searches)

    def begin(who: str, one: Sought, picture: bytes | None = None) -> Response:
        session = begun(desk.base, one)
        name = searches.begin(who, session, picture)
        return JSONResponse(rounds.about(name, session, tuple(one.notes)), 201)

    @router.get("", summary="Your searches, the last one first", response_model=models.SearchList)
    def list_searches(who: Who) -> Response:
        snapshot = desk.snapshot()
        lines = []
        for one in searches.all(who):
            about = dict(one.about)
            kind = query_told(snapshot, about["name"], about.pop("sha256"))
            lines.append({"search": one.name, **about, **kind})
        return JSONResponse({"searches": lines})

    @router.post(
        "",
        summary="Begin a search by words or a row",
        response_model=models.SearchAbout,
        status_code=201,
        responses=failing(400, 404),
    )
    def begin_search(who: Who, asked: models.NewSearch) -> Response:
        if (asked.text is None) == (asked.id is None):
            raise UserError("A search is begun by either text or id: give one of the two.")
        if asked.text is not None:
            return begin(who, desk.sought_words(asked.text))
        snapshot = desk.snapshot()
        if asked.id not in snapshot.position:
            raise RefusedError(404, f"There is no row {asked.id!r} in version {snapshot.version}.")
        return begin(who, sought_row(snapshot, str(asked.id)))

    @router.post(
        "/picture",
        summary="Begin a search by a picture",
        response_model=models.SearchAbout,
        status_code=201,
        openapi_extra=_sent("image/*", "The bytes of its file."),
        responses=failing(400),
    )
    def begin_by_picture(
        who: Who,
        data: Sent,
        name: str = Query("picture", description="What it is called.", max_length=_LONGEST, min_length=1),
    ) -> Response:
        with upload(data, name, limits) as sent:
            one = desk.sought_picture(name, sent.path, desk.snapshot())
        return begin(who, replace(one, notes=(*one.notes, *sent.notes)), small(data, _SIDE))

    @router.post(
        "/import",
        summary="Take a session file",
        response_model=models.SearchAbout,
        status_code=201,
        openapi_extra=_sent("application/jsonl", "What an export, or itae search --session FILE, has written."),
        responses=failing(400),
    )
    def import_search(who: Who, data: Sent) -> Response:
        with tempfile.NamedTemporaryFile(prefix="itae-", suffix=".jsonl") as file:
            file.write(data)
            file.flush()
            try:
                session = read_session(pathlib.Path(file.name))
            except UserError as error:
                raise UserError(str(error).replace(file.name, "the file")) from None
        return JSONResponse(rounds.about(searches.begin(who, session), session), 201)

    @router.get(
        "/{name}",
        summary="A search, and its rounds in numbers",
        response_model=models.SearchAbout,
        responses=failing(400, 404),
    )
    def get_search(who: Who, name: Name) -> Response:
        return JSONResponse(rounds.about(name, searches.read(who, name)))

    @router.delete("/{name}", summary="Remove a search", status_code=204, responses=failing(400, 404))
    def delete_search(who: Who, name: Name) -> None:
        searches.forget(who, name)

    @router.get(
        "/{name}/picture", summary="The picture that was asked", response_class=Response, responses=failing(400, 404)
    )
    def get_query_picture(who: Who, name: Name) -> Response:
        data = searches.picture(who, name)
        if data is None:
            raise RefusedError(404, "This search was not begun by a picture that was sent.")
        return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=600"})

    @router.get(
        "/{name}/session",
        summary="The session as a file, for itae search --replay",
        response_class=Response,
        responses=failing(400, 404),
    )
    def export_search(who: Who, name: Name) -> Response:
        return FileResponse(searches.file(who, name), media_type="application/jsonl", filename=f"search-{name}.jsonl")


def _rounds(router: APIRouter, rounds: Rounds) -> None:
    def told(found: dict[str, Any]) -> Response:
        return JSONResponse(found)  # which is not held against the model once more: a page has thousands of rows

    @router.post(
        "/{name}/rounds",
        summary="The next round of a search",
        response_model=models.RoundPage,
        responses=failing(400, 404),
    )
    def next_round(who: Who, name: Name, asked: models.NewRound) -> Response:
        return told(rounds.next(who, name, asked))

    @router.post(
        "/{name}/more", summary="More of the last round", response_model=models.RoundPage, responses=failing(400, 404)
    )
    def more(who: Who, name: Name, asked: models.More) -> Response:
        return told(rounds.more(who, name, asked.count))

    @router.get(
        "/{name}/rounds/{number}",
        summary="A round as it was",
        response_model=models.RoundPage,
        responses=failing(400, 404),
    )
    def get_round(who: Who, name: Name, number: Annotated[int, Path(description="Of the round, from 0.")]) -> Response:
        return told(rounds.again(who, name, number))

    @router.post(
        "/{name}/replay", summary="Run all rounds again", response_model=models.Replay, responses=failing(400, 404)
    )
    def replay(who: Who, name: Name) -> Response:
        return told(rounds.replay(who, name))
