"""How large the body of a request may be, and all of them together; what is a picture is `itae.serve.door.uploads`.

A body is received as a whole before anybody works on it, and counted while it comes: what a request says of its length
may be a lie, or nothing. All that are there at a time have so many bytes, those of one user half as many; the others
wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from itae.serve.door.guard import USER, App, Message, Receive, Scope, Send, refusal
from itae.serve.errors import RefusedError
from itae.serve.settings import Limits

_READS = ("GET", "HEAD")
_PICTURE, _SESSION = "/api/searches/picture", "/api/searches/import"
_MORE = {503: {"Retry-After": "2"}, 408: {"Connection": "close"}}


async def body_of(request: Request) -> bytes:
    """Return the bytes of a request, which are within the limits: ``data: Annotated[bytes, Depends(body_of)]``."""
    return await request.body()


class Bodies:
    """An application that hands whole bodies to an other one, and refuses those that are too large.

    Parameters
    ----------
    app
        The other one.
    limits
        What is too large.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._rooms = [self._room(1), self._room(1)]
        self._of: dict[tuple[str | None, bool], Room] = {}

    def _room(self, part: int) -> Room:
        limits = self.limits
        return Room(limits.held // part, limits.waiting // part, limits.patience)

    def _own(self, user: str | None, is_file: bool) -> Room:
        """Return the room of a user, all of it where there is none."""
        return self._of.setdefault((user, is_file), self._room(1 if user is None else 2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on with its body."""
        if scope["type"] != "http" or scope["method"] in _READS:
            await self.app(scope, receive, send)
            return
        try:
            most = {_PICTURE: self.limits.picture, _SESSION: self.limits.session}.get(scope["path"], self.limits.json)
            is_file, size = scope["path"] in (_PICTURE, _SESSION), _expected(scope, most)
            # A click waits for nobody's pictures, and nobody for one who begins bodies and never ends them.
            async with self._own(scope.get(USER), is_file).taken(size), self._rooms[is_file].taken(size):
                body = await self._received(receive, most)
                await self.app(scope, _again(body, receive), send)
        except RefusedError as refused:
            await refusal(scope, refused.status, str(refused), _MORE.get(refused.status))(scope, receive, send)
        except ClientDisconnect:
            return

    async def _received(self, receive: Receive, most: int) -> bytes:
        """Return the body, which is counted while it comes."""
        parts, size = [], 0
        while True:
            try:
                async with asyncio.timeout(self.limits.silence):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"Nothing more of the request came for {self.limits.silence:g} seconds; send it again."
                ) from None
            if message["type"] != "http.request":
                raise ClientDisconnect
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _too_large(None, most)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


class Room:
    """So many bytes, of which requests take some for a while, the first to come first.

    Parameters
    ----------
    size
        Bytes.
    waiting
        How many requests may wait for some.
    patience
        For how many seconds each.
    """

    def __init__(self, size: int, waiting: int, patience: float) -> None:
        self.size = self.free = size
        self.waiting, self.patience = waiting, patience
        self._turn, self._changed, self._queue = asyncio.Lock(), asyncio.Condition(), 0

    @contextlib.asynccontextmanager
    async def taken(self, wanted: int) -> AsyncIterator[None]:
        """Wait until so many bytes are free, all of them if that is more than there are, and hold them.

        Raises
        ------
        RefusedError
            With status 503, when too many wait, or it takes too long.
        """
        wanted = min(wanted, self.size)
        if self._turn.locked() or self.free < wanted:
            await self._wait(wanted)
        else:
            self.free -= wanted
        try:
            yield
        finally:
            self.free += wanted
            async with self._changed:
                self._changed.notify_all()

    async def _wait(self, wanted: int) -> None:
        if self._queue >= self.waiting:
            raise RefusedError(503, "The server is busy with what others have sent; try again in a few seconds.")
        self._queue += 1
        try:
            async with asyncio.timeout(self.patience), self._turn, self._changed:
                await self._changed.wait_for(lambda: self.free >= wanted)
                self.free -= wanted
        except TimeoutError:
            raise RefusedError(
                503, f"The server was busy with what others have sent for {self.patience:g} seconds; try again."
            ) from None
        finally:
            self._queue -= 1


def _expected(scope: Scope, most: int) -> int:
    """Return how many bytes a body may have, by what the request says of it.

    Raises
    ------
    RefusedError
        When it says that it is too large, or packed.
    """
    told = {name.lower(): value for name, value in scope["headers"]}
    packing = told.get(b"content-encoding", b"identity").decode("latin-1").lower()
    if packing != "identity":
        raise RefusedError(415, "The body of the request is compressed; send it as it is, without Content-Encoding.")
    if b"content-length" in told:
        length = told[b"content-length"]
        if not length.isdigit() or len(length) > 20:
            raise RefusedError(400, "Content-Length is no size; send that of the body in bytes.")
        if int(length) > most:
            raise _too_large(int(length), most)
        return int(length)
    return most if b"transfer-encoding" in told else 0


def _too_large(size: int | None, most: int) -> RefusedError:
    told = "The body of the request" if size is None else f"A body of {size / 1e6:,.1f} MB"
    return RefusedError(413, f"{told} is too large: at most {most / 1e6:g} MB are read here; send less.")


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what hands a body out that has been received, and then what the client does."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return whole.pop() if whole else await receive()

    return receiving
