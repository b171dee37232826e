"""A desk over a base, and the routes of it as a client sees them who has been let in."""

from __future__ import annotations

from types import SimpleNamespace

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient

from itae.base.errors import UserError
from itae.knowledge.ledger.changes import positions_of
from itae.serve.app import _refused, _wrong
from itae.serve.desk import Desk, Served
from itae.serve.know.know_api import routes


def desk_of(kb, **more):
    """Return a desk over a base that is never asked for a model."""

    def text():
        raise UserError("This base is never asked in words.")

    encoder = SimpleNamespace(
        runtime=SimpleNamespace(device="cpu"), facts=SimpleNamespace(architecture="toy"), edit=None
    )
    served = {
        "base": kb,
        "encoder": encoder,
        "text": text,
        "open_snapshot": kb.snapshot,
        "rules": {},
        "rule_texts": {},
        "rule": "none",
    }
    return Desk(Served(**(served | more)))


def queries_of(desk):
    """Return a function that gives the query of a search: the name of one is here the row that is its query."""

    def query_of(_, sid):
        snapshot = desk.snapshot()
        (i,) = positions_of(snapshot, [sid.removeprefix("words ")]).tolist()
        return snapshot.vectors_ME[i], snapshot.digests_M32[i].tobytes(), sid.startswith("words ")

    return query_of


def app_of(desk) -> FastAPI:
    """Return an application with what is known beside searches, and with the errors of the whole."""
    app = FastAPI()
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.include_router(routes(desk, queries_of(desk)))
    return app


def client_of(app, user="ada"):
    """Return a client of an application for a user."""

    async def let_in(scope, receive, send):
        scope["itae.user"] = user
        await app(scope, receive, send)

    return TestClient(let_in, base_url="http://127.0.0.1")
