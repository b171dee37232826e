"""The routes of all rooms in one application, its page, and what an error looks like."""

from __future__ import annotations

from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from itae.base.errors import UserError
from itae.base.versions import __version__
from itae.serve.base import base_api, pictures
from itae.serve.desk import Desk
from itae.serve.document import docs_page
from itae.serve.errors import RefusedError
from itae.serve.know import know_api
from itae.serve.search import search_api
from itae.serve.search.searches import Searches
from itae.serve.settings import Settings

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def application(desk: Desk, settings: Settings) -> FastAPI:
    """Return the application that answers for a base; who may ask is another's business (`itae.serve.door.guard`).

    Parameters
    ----------
    desk
        The base.
    settings
        Where searches are kept, and what may be sent.
    """
    app = FastAPI(title="itae", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(MemoryError, _disk)
    app.add_exception_handler(Exception, _defect)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _wrong)
    searches = Searches(settings, desk.base.about.name, desk.base.path)
    app.include_router(base_api.routes(desk, settings.limits))
    app.include_router(pictures.routes(desk))
    app.include_router(search_api.routes(desk, searches, settings.limits))
    app.include_router(know_api.routes(desk, searches.query, desk.served.voter))
    app.include_router(docs_page.routes(app))
    files = _files()

    @app.get("/", include_in_schema=False)
    def get_page() -> Response:
        return HTMLResponse(files["page.html"], headers={"Cache-Control": "no-cache"})

    @app.get("/static/{name}", include_in_schema=False)
    def get_file(name: str) -> Response:
        kind = _KINDS.get(f".{name.rpartition('.')[2]}")
        if kind is None or name not in files:
            raise RefusedError(404, f"There is no file {name!r} here.")
        return Response(files[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    return app


def _files() -> dict[str, bytes]:
    """Return the files of the page, those of the pages of reports among them."""
    ours = resources.files("itae.serve").joinpath("static")
    found = {file.name: file.read_bytes() for file in ours.iterdir() if file.is_file()}
    return found | {"frame.css": resources.files("itae.look.page").joinpath("frame.css").read_bytes()}


def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


def _disk(_: Request, error: Exception) -> JSONResponse:
    """Tell what this machine fails at, without the place, which is nobody's business who asks."""
    reason = getattr(error, "strerror", None) or "too little memory"
    told = f"The server's machine fails at this ({reason}): try again, or have the one who runs it see to that."
    return JSONResponse({"error": told}, 503)


def _defect(_: Request, error: Exception) -> JSONResponse:
    """Say that itae is wrong; how, its terminal tells."""
    told = (
        f"This is a defect of itae ({type(error).__name__}); what was asked may be all right. The terminal says more."
    )
    return JSONResponse({"error": told}, 500)


def _no_route(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told: Any = error.detail
    if error.status_code == 404:
        told = f"There is nothing at {request.url.path!r}; /api lists what there is."
    return JSONResponse({"error": str(told)}, error.status_code)


def _wrong(_: Request, error: Exception) -> JSONResponse:
    """Tell the first thing that is wrong with a body or a parameter, as a sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return JSONResponse({"error": f"{where}: {first['msg']}{more}; /api tells what is taken."}, 400)
