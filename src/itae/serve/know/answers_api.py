"""What a row or a query is, and why: the answer of `itae knowledge why`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from itae.base.errors import UserError
from itae.knowledge.answers.choose import choose, refuse_unlabelled
from itae.knowledge.answers.vote import Auto
from itae.knowledge.answers.why import why
from itae.knowledge.ledger.changes import positions_of
from itae.knowledge.near.held_out import held_out
from itae.knowledge.records.snapshot import Snapshot, after
from itae.serve.desk import Desk
from itae.serve.door.guard import Who
from itae.serve.know.know_models import RowAsked, WhyAbout
from itae.serve.know.once import Once
from itae.serve.shared import Sent, failing

QueryOf = Callable[[str, str], tuple[np.ndarray, bytes | None, bool]]
"""Returns, by a user and the name of a search, its query's vector, its picture's sha256, and whether it is words."""


def routes(desk: Desk, query_of: QueryOf, once: Once, voter: Any = None) -> APIRouter:
    """Return the routes."""
    router, device = APIRouter(tags=["Know"]), desk.encoder.runtime.device

    @router.post("/api/classify", summary="What a row is, and why", response_model=WhyAbout, responses=failing(400))
    async def classify_row(who: Who, asked: RowAsked) -> Response:
        """Say what a row is, asked as if it were not there.

        All rows of its bytes stay out of the vote, so that its label can be held against what the others say.
        """
        snapshot = await run_in_threadpool(desk.snapshot)
        (i,) = positions_of(snapshot, [asked.id]).tolist()
        query = {"kind": "row", "id": asked.id, "number": int(snapshot.numbers_M[i])}
        rest = snapshot if snapshot.digests_M32[i].any() else await run_in_threadpool(_without, snapshot, i)
        return await answer(rest, snapshot.vectors_ME[i], snapshot.digests_M32[i].tobytes(), query)

    @router.post(
        "/api/searches/{name}/classify",
        summary="What the query of a search is, and why",
        response_model=WhyAbout,
        responses=failing(400, 404),
    )
    async def classify_query(
        who: Who, name: Annotated[str, Path(description="The search.")], asked: Sent | None = None
    ) -> Response:
        """Say what a picture or a row that is searched for is; words can't be classified."""
        vector_E, digest, is_words = await run_in_threadpool(query_of, who, name)
        if is_words:
            raise UserError("Words can't be classified, pictures can: begin a search with a picture or a row.")
        snapshot = await run_in_threadpool(desk.snapshot)
        return await answer(snapshot, vector_E, digest, {"kind": "search", "search": name})

    async def answer(snapshot: Snapshot, query_E: np.ndarray, digest: bytes | None, query: dict[str, Any]) -> Response:
        await chosen(once, snapshot, device, voter)
        found = await run_in_threadpool(why, snapshot, query_E, digest, voter, device)
        return JSONResponse(_numbered(snapshot, {"query": query, **found.plain()}))

    return router


async def chosen(once: Once, snapshot: Snapshot, device: str, voter: Any = None) -> None:
    """Find out what all answers of a version hang on: the voter, and how far rows are from each other."""

    def work() -> None:
        refuse_unlabelled(snapshot)
        choose(snapshot, Auto() if voter is None else voter, device)
        held_out(snapshot, 1, voters=False, device=device)

    await once.of(snapshot, f"voter {voter!r}", work)


def _without(snapshot: Snapshot, i: int) -> Snapshot:
    """Return a version without a row, which has no bytes by which it could be left out."""
    return after(snapshot, np.array([i]), {}, None, snapshot.version, snapshot.root)


def _numbered(snapshot: Snapshot, told: dict[str, Any]) -> dict[str, Any]:
    """Give rows that an answer names the numbers by which their pictures are found."""
    rows = [*told["known"], *told["neighbours"], *(told["turn"]["rows"] if told["turn"] else ())]
    for row in rows:
        row["number"] = int(snapshot.numbers_M[snapshot.position[row["id"]]])
    return told
