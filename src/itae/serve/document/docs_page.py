"""The page of the API: every route, what it takes and gives, and a line that asks it. It has no script.

It is made of the OpenAPI document (``/openapi.json``), and so of the models that requests are held against.
"""

from __future__ import annotations

import json
import re
import shlex
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from itae.serve.document.api_document import GENERAL, SENDING, WRITING, document
from itae.serve.document.api_fields import Line, Schema, found, lines, parameter

_TOKEN = '-H "Authorization: Bearer $(cat TOKENFILE)"'
_GENERAL = {**GENERAL, **WRITING, **SENDING}
_JSON = "application/json"
_ROOMS = ("Rows", "Search", "Know", "Edit")  # in this order; others come behind


def routes(app: FastAPI) -> APIRouter:
    """Return the route of the page of an application; its document has what all routes share from then on."""
    router = APIRouter()
    app.openapi = lambda: document(app)  # type: ignore[method-assign]

    @router.get("/api", include_in_schema=False)
    def get_api(request: Request) -> Response:
        told = page(app.openapi(), str(request.base_url).rstrip("/"))
        return HTMLResponse(told, headers={"Cache-Control": "no-cache"})

    return router


def page(told: dict[str, Any], server: str) -> str:
    """Return the page of a document.

    Parameters
    ----------
    told
        The document.
    server
        Where it is served, as in ``http://127.0.0.1:8000``.
    """
    parts = told["components"]["schemas"]
    rooms: dict[str, list[dict[str, Any]]] = {room: [] for room in _ROOMS}
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            room = (route.get("tags") or ["More"])[0]
            rooms.setdefault(room, []).append(_route(path, method, route, parts, server))
    rooms = {room: some for room, some in rooms.items() if some}
    return _template().render(info=told["info"], rooms=rooms, general=_GENERAL, server=server, token=_TOKEN)


@lru_cache(1)
def _template() -> Any:
    import jinja2

    text = resources.files("itae.serve").joinpath("static", "api.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["code"] = _with_code
    return environment.from_string(text)


def _with_code(text: str) -> Any:
    """Return a text, escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick without its twin
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _route(path: str, method: str, route: dict[str, Any], parts: dict[str, Schema], server: str) -> dict[str, Any]:
    parameters = route.get("parameters", [])
    kind, body = _content(route.get("requestBody", {}))
    statuses = {
        status: answer["description"]
        for status, answer in route["responses"].items()
        if answer["description"] != _GENERAL.get(status)
    }
    done = next(status for status in route["responses"] if status.startswith("2"))
    answer_kind, answer = _content(route["responses"][done])
    return {
        "name": re.sub(r"\W+", "-", f"{method}{path}").strip("-"),
        "method": method.upper(),
        "path": path,
        "summary": route.get("summary", ""),
        "says": route.get("description", "").split("\n\n"),
        "parameters": [parameter(each, parts) for each in parameters],
        "kind": kind,
        "bodies": _bodies(body, parts),
        "answer_kind": answer_kind,
        "answer": list(lines(answer, parts, asked=False)),
        "statuses": statuses,
        "curl": _curl(path, method, parameters, kind, body, parts, server),
    }


def _content(told: dict[str, Any]) -> tuple[str, Schema]:
    """Return in which form something comes, and its schema."""
    for kind, content in told.get("content", {}).items():
        return kind, content.get("schema", {})
    return "", {}


def _variants(body: Schema, parts: dict[str, Schema]) -> list[Schema]:
    """Return the objects that a body may be."""
    body = found(body, parts)
    several = body.get("oneOf") or body.get("anyOf") or [body]
    return [each for each in (found(one, parts) for one in several) if each.get("type") != "null"]


def _bodies(body: Schema, parts: dict[str, Schema]) -> list[tuple[str, list[Line]]]:
    """Return what each kind of a body says of itself, and its fields."""
    told = [(one.get("description", ""), list(lines(one, parts, asked=True))) for one in _variants(body, parts)]
    return [each for each in told if each[1] or each[0]]


def _curl(
    path: str,
    method: str,
    parameters: list[dict[str, Any]],
    kind: str,
    body: Schema,
    parts: dict[str, Schema],
    server: str,
) -> str:
    """Return a line that asks a route, with a word in capitals in each place that has to be filled."""
    asked = []
    for each in parameters:
        name = each["name"]
        if each["in"] == "path":
            path = path.replace(f"{{{name}}}", name.upper())
        elif each.get("required"):
            asked.append(f"{name}={name.upper()}")
    words = ["curl", _TOKEN]
    if method not in ("get", "post") or (method == "post" and not kind):
        words.append(f"-X {method.upper()}")
    if kind == _JSON:
        sent = _example(_variants(body, parts)[0], parts)
        words += [f"-H 'Content-Type: {kind}'", f"-d {shlex.quote(json.dumps(sent))}"]
    elif kind:
        sort = "application/octet-stream" if kind.endswith("/*") else kind
        words += [f"-H 'Content-Type: {sort}'", "--data-binary @FILE"]
    address = f"{server}{path}" + (f"?{'&'.join(asked)}" if asked else "")
    return " ".join([*words, shlex.quote(address)])


def _example(schema: Schema, parts: dict[str, Schema]) -> Any:
    """Return something that a schema takes: only what it needs, or the first that it has where it needs nothing."""
    schema = found(schema, parts)
    if "const" in schema:
        return schema["const"]
    for names in ("anyOf", "oneOf"):
        if names in schema:
            return _example(schema[names][0], parts)
    if "properties" in schema:
        needed = schema.get("required") or list(schema["properties"])[:1]
        return {name: _named(name, schema["properties"][name], parts) for name in needed}
    if schema.get("type") == "array":
        return [_example(schema["items"], parts)]
    if isinstance(values := schema.get("additionalProperties"), dict):
        return {"ID": _example(values, parts)}
    return {"string": "TEXT", "integer": 1, "number": 1.0, "boolean": True}.get(str(schema.get("type")), {})


def _named(name: str, schema: Schema, parts: dict[str, Schema]) -> Any:
    made = _example(schema, parts)
    if made == "TEXT":
        return name.upper()
    if name == "labels" and isinstance(made, dict):
        return {"ID": ["LABEL"]}
    return [name.rstrip("s").upper()] if made == ["TEXT"] else made
