"""Who begins a request and doesn't end it is given up, so that there are connections for others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

pytest.importorskip("uvicorn")

import uvicorn

from itae.app.serve.running import Prompt


@pytest.fixture(scope="module")
def port():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    class Brief(Prompt):
        patience = 0.5

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Brief, ws="none", lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listener.close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def is_closed(link, seconds=3.0):
    """Whether the other side ends a connection within some seconds."""
    link.settimeout(seconds)
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            if not link.recv(4096):
                return True
    return False


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_half_a_request_is_given_up(port, begun):
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(begun)
        assert is_closed(link)


def test_a_letter_at_a_time_is_no_request_either(port):
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"GET / HTTP/1.1\r\nX: ")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 3:
                link.sendall(b"a")
                time.sleep(0.05)
        assert time.monotonic() - began < 2


@pytest.mark.slow
def test_a_connection_that_asks_again_is_kept(port):
    with socket.create_connection(("127.0.0.1", port)) as link:
        for _ in range(4):
            link.sendall(GET)
            answer = b""
            while not answer.endswith(b"ok"):
                answer += link.recv(4096)
            time.sleep(0.3)  # together more than the patience with one head
        link.sendall(GET[:20])
        assert is_closed(link), "the second request on a connection has to come as well"
