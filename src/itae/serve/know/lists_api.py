"""Work lists: rows that are likely labelled wrongly, that are there twice, that are like no other."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from itae.knowledge.curate.duplicates import Group, duplicates
from itae.knowledge.curate.outliers import Outlier, outliers
from itae.knowledge.curate.suspects import suspects
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.snapshot import Snapshot
from itae.serve.desk import Desk
from itae.serve.door.guard import Who
from itae.serve.know.know_models import DuplicatesAbout, OutliersAbout, SuspectsAbout
from itae.serve.know.once import Once
from itae.serve.rows import row
from itae.serve.shared import failing

MOST = 1000
"""Rows or groups that a list has."""
_NEAR = 6  # neighbours of a suspect
_COUNT = Query(ge=1, le=MOST, description=f"How many, {MOST:,} at most.")
_SAME = Query(description="Look at bytes alone, which is quick; otherwise pictures that are nearly alike count too.")


def routes(desk: Desk, once: Once) -> APIRouter:
    """Return the routes."""
    router, device = APIRouter(tags=["Know"]), desk.encoder.runtime.device

    @router.get(
        "/api/lists/suspects",
        summary="Rows that are likely labelled wrongly",
        response_model=SuspectsAbout,
        responses=failing(400, 503),
    )
    async def suspected(who: Who, count: Annotated[int, _COUNT] = 50) -> Response:
        """List rows that are likely labelled wrongly, the likeliest first, and why.

        What `itae knowledge suspects` lists. The first who asks for a version waits until all its rows were looked at.
        """
        snapshot = await run_in_threadpool(desk.snapshot)
        rows = await once.of(snapshot, "suspects", lambda: _suspects(snapshot, device))
        return JSONResponse({"version": snapshot.version, "rows": rows[:count]})

    @router.get(
        "/api/lists/duplicates",
        summary="Pictures that are there twice, or nearly",
        response_model=DuplicatesAbout,
        responses=failing(400, 503),
    )
    async def twice(
        who: Who, count: Annotated[int, _COUNT] = 50, same_bytes: Annotated[bool, _SAME] = False
    ) -> Response:
        """List groups of rows that are the same picture, or nearly, those of different labels first.

        What `itae knowledge duplicates` lists.
        """
        snapshot, name = await run_in_threadpool(desk.snapshot), "twins" if same_bytes else "duplicates"
        threshold = None if same_bytes else desk.near_identical
        found = await once.of(snapshot, name, lambda: duplicates(snapshot, threshold))
        groups = [_group(snapshot, one) for one in found[:count]]
        return JSONResponse({"version": snapshot.version, "total": len(found), "groups": groups})

    @router.get(
        "/api/lists/outliers",
        summary="Rows that are like no other",
        response_model=OutliersAbout,
        responses=failing(400, 503),
    )
    async def far(who: Who, count: Annotated[int, _COUNT] = 50) -> Response:
        """List rows that are like no other: of all rows, and of those of a label of theirs.

        What `itae knowledge outliers` lists.
        """
        snapshot = await run_in_threadpool(desk.snapshot)
        both = await once.of(snapshot, "outliers", lambda: outliers(snapshot, MOST, device))
        over_all, in_class = ([_outlier(snapshot, one) for one in some[:count]] for some in both)
        return JSONResponse({"version": snapshot.version, "all": over_all, "labels": in_class})

    return router


def _suspects(snapshot: Snapshot, device: str) -> list[dict[str, Any]]:
    if not len(snapshot.voters):
        return []
    found = suspects(snapshot, MOST, device=device)
    rows = np.array([one.position for one in found])
    groups = Excluded(snapshot.groups_M, snapshot.groups_M[rows])
    near, similar = nearest(snapshot, snapshot.vectors_ME[rows], _NEAR, snapshot.voters, groups, device)
    return [
        row(snapshot, one.position)
        | one.plain(snapshot)
        | {"neighbours": [row(snapshot, j) | {"similarity": s} for j, s in zip(*both, strict=True) if j != MISSING]}
        for one, both in zip(found, zip(near.tolist(), similar.tolist(), strict=True), strict=True)
    ]


def _group(snapshot: Snapshot, group: Group) -> dict[str, Any]:
    told = group.plain(snapshot)
    rows = zip(told["rows"], group.positions, strict=True)
    return told | {"rows": [one | {"number": int(snapshot.numbers_M[i])} for one, i in rows]}


def _outlier(snapshot: Snapshot, one: Outlier) -> dict[str, Any]:
    told = row(snapshot, one.position) | one.plain(snapshot)
    return told | {"nearest": row(snapshot, one.nearest)}
