"""Who may ask, before anything else of a request is looked at: the host, the page it comes from, the user.

A route is told the user by `Who`. What every answer says to the browser about the page is put on here, too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders

from itae.serve.door.hosts import Hosts
from itae.serve.door.keys import Keys
from itae.serve.door.sign_in import by_itself, not_signed_in, page, signed_in, wrong_code
from itae.serve.errors import RefusedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

USER = "itae.user"
"""Where a request's scope has the user."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_READS = ("GET", "HEAD")
_METHODS = (*_READS, "POST", "PUT", "PATCH", "DELETE")
_STATIC = re.compile(r"/static/[A-Za-z0-9_-][A-Za-z0-9._-]*")
_PAGES = ("/", "/api")
_ELSEWHERE = ("cross-site", "same-site")  # other ports of this machine are of the same site
_AGAIN = {"Retry-After": "5"}


def user_of(request: Request) -> str:
    """Return the name of the user of a request."""
    user: str = request.scope[USER]
    return user


Who = Annotated[str, Depends(user_of)]
"""What a route declares to be told the user's name."""


class Guard:
    """An application that lets an other one answer those who may ask.

    Parameters
    ----------
    app
        The other one.
    hosts
        The names of the server.
    keys
        Who may ask.
    """

    def __init__(self, app: App, hosts: Hosts, keys: Keys) -> None:
        self.app, self.hosts, self.keys = app, hosts, keys
        self.cookie = f"itae_{hosts.port}"  # a browser has one jar for all ports of a name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            send = _with_headers(scope, send)
            answer = self._answer(scope)
            if isinstance(answer, str):
                await self.app({**scope, USER: answer}, receive, send)
            else:
                await answer(scope, receive, send)
        else:  # a web socket, of which there is none
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Scope) -> Response | str:
        """Return the name of the user of a request, empty where anybody may ask, or the answer to it."""
        told = _Told(scope)
        try:
            _check_form(scope, told)
            local = scope["server"][0] if scope.get("server") else None
            host = self.hosts.check_host(told.all(b"host"), scope["scheme"], local)
            bearer = told.bearer()
            self._check_page(scope, told, host, bearer is not None)
            if _STATIC.fullmatch(scope["path"]) and scope["method"] in _READS:
                return ""
            if scope["path"] == "/enter":
                return self._enter(scope, told)
            user = self.keys.of_token(bearer) if bearer is not None else self._of_cookie(told)
        except RefusedError as refused:
            more = {"Allow": ", ".join(_METHODS)} if refused.status == 405 else None
            return refusal(scope, refused.status, str(refused), more)
        return user or self._unknown(scope, told, bearer is not None)

    def _check_page(self, scope: Scope, told: _Told, host: tuple[str, int | None], has_token: bool) -> None:
        """Raise for what a page of another server had the browser ask."""
        origins, site = told.all(b"origin"), told.one(b"sec-fetch-site")
        writes = scope["method"] not in _READS
        if origins:
            self.hosts.check_origin(origins, scope["scheme"], host)
        elif writes and not has_token:
            raise RefusedError(
                403, "The request says of no page that it comes from; a script has to send its token instead, as "
                "Authorization: Bearer TOKEN, from the file that the terminal named."
            )  # fmt: skip
        if site in _ELSEWHERE and (writes or _is_data(scope)):
            raise RefusedError(
                403, "The request comes from a page of another server; open the page of this one itself."
            )

    def _enter(self, scope: Scope, told: _Told) -> Response:
        """Answer to a link that lets a browser in."""
        if scope["method"] not in _READS:
            raise RefusedError(405, f"{scope['method']} /enter: open the link in a browser, which sends a GET.")
        if scope["method"] == "HEAD":  # who only looks at what a link is hasn't opened it
            return Response(media_type="text/html")
        if "prefetch" in (told.one(b"sec-purpose") or told.one(b"purpose") or ""):
            return Response(status_code=503)  # nor has a browser that guesses what will be opened
        codes = parse_qs(scope["query_string"].decode("latin-1")).get("code", [""])
        cookie = self.keys.enter(codes[0])
        if cookie is None:
            if self._of_cookie(told) is not None:  # the page was reloaded, or is one of those from yesterday
                return signed_in()
            return self._too_many(scope) or wrong_code()
        answer = signed_in()
        secure = scope["scheme"] == "https"
        answer.set_cookie(self.cookie, cookie, path="/", httponly=True, samesite="strict", secure=secure)
        return answer

    def _of_cookie(self, told: _Told) -> str | None:
        """Return whose cookie a request has."""
        found = (self.keys.of_cookie(value) for value in told.cookies(self.cookie))
        return next((user for user in found if user is not None), None)

    def _unknown(self, scope: Scope, told: _Told, has_token: bool) -> Response:
        """Answer who isn't signed in."""
        if has_token:
            wrong = "The token is none of this server's; it makes new ones whenever it starts: read the file again."
            return self._too_many(scope) or refusal(scope, 401, wrong)
        if _is_data(scope) or scope["method"] not in _READS:
            return refusal(scope, 401, "You are not signed in; open the link that the terminal printed.")
        if told.one(b"sec-fetch-site") == "cross-site" and scope["path"] in _PAGES:
            return by_itself(scope["path"])  # which the browser then asks for as a page of ours
        return not_signed_in()

    def _too_many(self, scope: Scope) -> Response | None:
        if not self.keys.too_many_wrong():
            return None
        return refusal(scope, 429, "There were too many wrong links and tokens; try again in a few seconds.", _AGAIN)


def refusal(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that says why there is none: JSON, or a page where a browser shows one."""
    answer: Response = page("Not possible", sentence, status=status)
    if _is_data(scope) or scope["method"] not in _READS:
        told = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        answer = JSONResponse({"error": sentence}, status, told)
    answer.headers.update(headers or {})
    return answer


class _Told:
    """The headers of a request, each as often as it was sent."""

    def __init__(self, scope: Scope) -> None:
        self._headers = [(name.lower(), value) for name, value in scope["headers"]]

    def all(self, name: bytes) -> list[bytes]:
        return [value for each, value in self._headers if each == name]

    def one(self, name: bytes) -> str | None:
        values = self.all(name)
        return values[0].decode("latin-1").lower() if values else None

    def bearer(self) -> str | None:
        """Return the token, None where there is none: a proxy may have a password of its own in that header."""
        values = [value.partition(b" ") for value in self.all(b"authorization")]
        tokens = [token.strip() for kind, _, token in values if kind.lower() == b"bearer"]
        if len(tokens) > 1:
            raise RefusedError(400, "The request has two tokens; send one.")
        return tokens[0].decode("latin-1") if tokens else None

    def cookies(self, name: str) -> list[str]:
        """Return the values of a cookie: another program of this machine may have set one of the same name."""
        pairs = [
            pair.strip().partition("=") for line in self.all(b"cookie") for pair in line.decode("latin-1").split(";")
        ]
        return [value for key, _, value in pairs if key == name]


def _check_form(scope: Scope, told: _Told) -> None:
    """Raise for a request that a proxy before this server may have understood in another way."""
    if scope["method"] not in _METHODS:
        raise RefusedError(405, f"This server answers to {', '.join(_METHODS)} alone.")
    if not scope["path"].startswith("/"):
        raise RefusedError(400, "The request has to name a path of this server that begins with /.")
    lengths, codings = told.all(b"content-length"), told.all(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise RefusedError(400, "The request says twice how long it is; send one Content-Length, or send it in chunks.")


def _is_data(scope: Scope) -> bool:
    """Whether what is asked for is data and no page."""
    path: str = scope["path"]
    return path.startswith("/api/") or path == "/openapi.json"


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            headers.update(_HEADERS)
            if not _STATIC.fullmatch(scope["path"]):
                headers.setdefault("Cache-Control", "no-store")
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending
