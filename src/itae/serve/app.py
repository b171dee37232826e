"""The routes of all rooms in one application, and what an error looks like."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from itae.base.errors import UserError
from itae.base.versions import __version__
from itae.serve.desk import Desk


def application(desk: Desk) -> FastAPI:
    """Return the application that answers for a base; who may ask is another's business (`itae.serve.guard`)."""
    app = FastAPI(title="itae", version=__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(RequestValidationError, _wrong)
    return app


def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


def _wrong(_: Request, error: Exception) -> JSONResponse:
    """Tell the first thing that is wrong with a body or a parameter, as a sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    more = f" ({len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return JSONResponse({"error": f"{where}: {first['msg']}{more}; see the page of the API."}, 400)
