"""Edits of a base, looked at before they are made: the rules are the base's, and so are the sentences."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from itae.base.errors import UserError
from itae.knowledge.answers.turned import turned
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.relabelled import new_labels, relabelled
from itae.knowledge.ledger.since import ChangedSinceError
from itae.serve.desk import Desk
from itae.serve.door.guard import Who
from itae.serve.errors import RefusedError
from itae.serve.know import edit_models as models
from itae.serve.know.answers_api import chosen
from itae.serve.know.once import Once
from itae.serve.shared import failing

_KINDS = ("added", "changed", "deleted")


def routes(desk: Desk, once: Once) -> APIRouter:
    """Return the routes."""
    router, device = APIRouter(tags=["Edit"]), desk.encoder.runtime.device

    @router.post(
        "/api/edits/look", summary="What a change would do", response_model=models.Looked, responses=failing(400)
    )
    async def look(who: Who, asked: models.Change) -> Response:
        """Say what a change would do, predictions that turn among it; nothing is written.

        What the verbs of `itae knowledge` say with `--dry-run`.
        """
        change = await run_in_threadpool(_change, desk.base, asked)
        if change and len(change.before.voters):
            await chosen(once, change.before, device, desk.served.voter)
        return JSONResponse(await run_in_threadpool(_looked, change, desk.served.voter, device))

    @router.post("/api/edits", summary="Make an edit", response_model=models.Edited, responses=failing(400, 403, 409))
    def edit(who: Who, asked: models.Edit) -> Response:
        """Make an edit of a change, by the user who asks; it stands in the journal and can be undone.

        It is refused where a row of it was touched by an edit after the version that was seen, whoever made that.
        Rows that nobody has touched since are edited, wherever the base is by now.
        """
        desk.may_edit()
        try:
            return JSONResponse(_edited(desk.base, asked, who))
        except ChangedSinceError as error:
            raise RefusedError(409, str(error)) from None
        finally:
            desk.edited()

    return router


def _change(base: KnowledgeBase, asked: models.Change) -> Change:
    match asked:
        case models.Correct():
            return base.correct_each(asked.labels)
        case models.Delete():
            return base.delete(ids=asked.ids)
        case models.Undo():
            return base.undo(asked.edit)
        case models.Restore():
            return base.restore(asked.version)


def _looked(change: Change, voter: Any, device: str) -> dict[str, Any]:
    touched, position = change.touched, change.before.position
    found = turned(change.before, change.after, voter, device) if change else None
    rows = [
        row | {"number": int(change.before.numbers_M[position[row["id"]]])} for row in (found.rows if found else ())
    ]
    return {
        "version": change.before.version,
        **{kind: list(getattr(touched, kind)[: models.MOST_TOLD]) for kind in _KINDS},
        "counts": change.counts | {"rows": len(change.after)},
        "same": change.same,
        "notes": list(change.notes),
        "turned": rows,
        "turned_of": found.of if found else 0,
        "turned_note": found.note if found else "",
        "voter_note": found.voter_note if found else "",
        "labels": [
            one | {"number": int(change.before.numbers_M[position[one["id"]]])}
            for one in relabelled(change)[: models.MOST_LABELS]
        ],
        "new_labels": new_labels(change),
    }


def _edited(base: KnowledgeBase, asked: models.Edit, who: str) -> dict[str, Any]:
    try:
        change = _change(base, asked)
    except UserError:
        base.refuse_changed(_ids(base, asked), asked.seen)  # what is wrong may be that others were here
        raise
    made = base.commit(change, who, asked.why, asked.seen)
    if made is None:
        now = base.snapshot()
        nothing = dict.fromkeys(_KINDS, 0) | {"rows": len(now)}
        return {"edit": None, "version": now.version, "rows": len(now), "counts": nothing}
    return {"edit": made.edit, "version": made.edit, "rows": made.counts["rows"], "counts": made.counts}


def _ids(base: KnowledgeBase, asked: models.Edit) -> set[str]:
    match asked:
        case models.Correct():
            return set(asked.labels)
        case models.Delete():
            return set(asked.ids)
        case models.Undo() if asked.edit <= base.snapshot().version:
            return base.log(asked.edit, asked.edit)[0].touched.ids
    return set()
