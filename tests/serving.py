"""A base as it is served, and who asks it, for tests."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from itae.app.knowledge.words import config
from itae.app.serve.choices import rule_texts
from itae.base.runtime import Runtime
from itae.knowledge.base import open_knowledge
from itae.knowledge.exchange.recipe import encoder_of
from itae.search.text import text_encoder
from itae.serve.app import application
from itae.serve.desk import Desk, Served
from itae.serve.settings import Settings
from itae.store.store import Store

RULES = tuple(rule_texts())


def desk_of(kb: Path, cache: Path, **more) -> Desk:
    """Return a base as it is served."""
    base, store, runtime = open_knowledge(kb), Store(cache), Runtime("cpu")
    encoder = encoder_of(base.about.words, store, runtime)
    rules = {name: config([f"feedback={name}"])["feedback"] for name in RULES}

    def tower():
        return text_encoder(base.about.words, runtime, store)

    return Desk(Served(base, encoder, tower, base.snapshot, rules, rule_texts(), "nearest", **more))


def client_of(desk: Desk, state: Path, user: str = "anna") -> TestClient:
    """Return who asks a base, signed in already."""
    inner = application(desk, Settings(state, (user,)))

    async def app(scope, receive, send):
        if scope["type"] == "http":
            scope["itae.user"] = user
        await inner(scope, receive, send)

    return TestClient(app, raise_server_exceptions=True)
