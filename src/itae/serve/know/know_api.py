"""Knowing: what rows are, which of them are worth a look, edits and their journal."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from itae.serve.desk import Desk
from itae.serve.know import answers_api, edits_api, journal_api, lists_api
from itae.serve.know.answers_api import QueryOf
from itae.serve.know.once import Once


def routes(desk: Desk, query_of: QueryOf, voter: Any = None) -> APIRouter:
    """Return the routes of this side.

    Parameters
    ----------
    desk
        What is served.
    query_of
        Returns, by a user and the name of a search, its query's vector, the sha256 of its picture, and whether it is
        words; raises where the user has no such search.
    voter
        Of `itae.knowledge.answers.vote`, for answers; by default all is chosen inside the base.
    """
    router, answers = APIRouter(), Once()
    router.include_router(answers_api.routes(desk, query_of, answers, voter))
    router.include_router(lists_api.routes(desk, Once()))  # an answer doesn't wait for a list
    router.include_router(edits_api.routes(desk, answers))
    router.include_router(journal_api.routes(desk))
    return router
