"""The OpenAPI document of what is served, with what holds for all routes: who may ask, and how errors look.

FastAPI promises an error 422 of a form of its own for whatever it checks; here that is 400 and a sentence, as for all
else that is wrong with a request.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from itae.serve.shared import Failed

TOKEN = "token"
"""What the way to sign in is called: the other is the cookie of a browser, which is no script's business."""
GENERAL = {
    "401": "Nobody is signed in: send the token.",
    "421": "The server doesn't answer to this name.",
}
WRITING = {"403": "The request comes from another page, or nothing can be edited here."}
SENDING = {
    "408": "Nothing more of the body came.",
    "413": "The body is too large.",
    "415": "The body is compressed, or is no picture where it should be one.",
    "503": "The server is busy: try again in a few seconds.",
}
_DONE = {"200": "Here it is.", "201": "It was made.", "204": "It was done; the answer has no body."}
_WRONG = "What is asked is wrong; the sentence names it."
_NONE = "There is no such thing, or it is gone."
_FAILED = {"application/json": {"schema": {"$ref": "#/components/schemas/Failed"}}}
_SAYS = """What the page of a base does, for scripts. Every request but those for its own files needs a token, which
`itae serve` writes into a file for each user, and which is sent as `Authorization: Bearer TOKEN`. Rows are named by
their ids, which may be any text, pictures by the numbers of their rows. An error has a status and one sentence."""


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application; it is made once."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        made["info"]["description"] = _SAYS.replace("\n", " ")
        parts = made.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        schemas.setdefault("Failed", Failed.model_json_schema())
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        parts["securitySchemes"] = {TOKEN: {"type": "http", "scheme": "bearer"}}
        made["security"] = [{TOKEN: []}]
        for path, methods in made["paths"].items():
            for method, route in methods.items():
                _complete(path, method, route)
    return app.openapi_schema or {}


def _complete(path: str, method: str, route: dict[str, Any]) -> None:
    """Tell the errors of a route that come from what all share."""
    told = dict(GENERAL)
    own = route["responses"]
    if own.pop("422", None) is not None:
        told["400"] = _WRONG
    if method != "get":
        told |= WRITING
    if "requestBody" in route:
        told |= SENDING
    if "{" in path and method != "put":
        told["404"] = _NONE
    for status, says in _DONE.items():
        if status in own and own[status]["description"] == "Successful Response":
            own[status]["description"] = says
    for status, says in told.items():
        own.setdefault(status, {"description": says, "content": _FAILED})
    route["responses"] = dict(sorted(own.items()))
