"""Requests to an ASGI application: within this process, or through a server of it and a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass

from loops import run


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        return next((value for each, value in self.headers if each == name.lower()), None)

    @property
    def json(self):
        return json.loads(self.body)


def scope_of(method, target, headers=(), scheme="http", server=("127.0.0.1", 8000)):
    path, _, query = target.partition("?")
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": scheme,
            "server": server, "client": ("127.0.0.1", 1), "headers": raw, "state": {}}  # fmt: skip


async def asked(app, scope, chunks=(b"",), pause=None):
    """Return the answer to a request whose body comes in chunks; it waits after the last of them if it is to."""
    left, sent, start = list(chunks), [], {}

    async def receive():
        if left:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left) or pause is not None}
        await asyncio.sleep(0 if pause is None else pause)
        return {"type": "http.disconnect"}

    async def send(message):
        start.update(message) if message["type"] == "http.response.start" else sent.append(message.get("body", b""))

    await app(scope, receive, send)
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start.get("headers", ())]
    return Answer(start.get("status", 0), headers, b"".join(sent))


def ask(app, method, target, headers=(), **more):
    """Return the answer to one request."""
    chunks = more.pop("chunks", (b"",))
    return run(asked(app, scope_of(method, target, headers, **more), chunks))


@contextlib.contextmanager
def listening_app(make):
    """Serve what `make` returns for a port as the command does, and yield the port."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(make(port), http="h11", loop="asyncio", ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


def raw(port, data, end=False, timeout=10):
    """Return all that a server sends back for some bytes, until it closes or is silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
        link.sendall(data)
        if end:
            link.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := link.recv(65536):
                got += part
                head, _, rest = got.partition(b"\r\n\r\n")
                size = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if size and len(rest) >= int(size[0].partition(b":")[2]):
                    break
        return got


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
