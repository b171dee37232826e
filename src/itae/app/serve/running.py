"""The server while it runs, and how it stops: what is being answered is answered, the rest is not begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

INTERRUPTED = 130
_GRACE = 5  # seconds in which what is being answered may end
_LAST = 1.0  # seconds for threads that have nothing to do any more
_IDLE = 30  # seconds for which a browser's connection is kept
_CONNECTIONS = (64, 4096)  # at least and at most: a browser has up to six
_FILES = 2 * _CONNECTIONS[1]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def server_of(app: Any, behind_proxy: bool, at_once: Callable[[], object]) -> Iterator[uvicorn.Server]:
    """Yield a server that SIGINT, SIGTERM and SIGHUP stop from now on; a second of them ends this process.

    Parameters
    ----------
    app
        An ASGI application.
    behind_proxy
        Whether a proxy on this machine may say that a browser asked it by https.
    at_once
        What is to be done before the process is ended by a second signal.
    """
    config = uvicorn.Config(
        app,
        http=Prompt,
        loop="asyncio",
        ws="none",
        log_config=None,
        log_level="error",  # what a stranger sends that is no request would push the links off the terminal
        access_log=False,  # it would have the codes of links
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        limit_concurrency=_connections(),
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, at_once)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if number != signal.SIGHUP or handler != signal.SIG_IGN:  # as nohup has it
                signal.signal(number, server.handle_exit)
        yield server
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_busy(status: int) -> None:
    """End this process if a thread still works for a request that was given up: its end would wait for that one."""
    until = time.monotonic() + _LAST
    for one in threading.enumerate():
        if one is not threading.main_thread() and (not one.daemon or one.name.startswith("itae")):
            one.join(max(0.0, until - time.monotonic()))
            if one.is_alive():
                end(status)


def end(status: int) -> None:
    """End this process as it is."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Prompt(H11Protocol):
    """Connections whose requests have to come: the head of each within some seconds from its first byte on.

    Of those that wait for one there are so many, and then none is left for anybody else. (h11, because other parsers,
    which might be installed, let more pass.)
    """

    patience = 15.0

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting if that was not the whole head."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._wait(over=True)

    def _wait(self, over: bool = False) -> None:
        if over or self.conn.their_state is not h11.IDLE:
            if self._late is not None:
                self._late.cancel()
            self._late = None
        elif self._late is None:
            self._late = self.loop.call_later(self.patience, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self.transport.close()


class _Server(uvicorn.Server):
    """A server that a signal stops, and that doesn't pass the signal on when it has."""

    def __init__(self, config: uvicorn.Config, at_once: Callable[[], object]) -> None:
        super().__init__(config)
        self._at_once = at_once

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._at_once()
            end(INTERRUPTED)
        # Whatever is given up when the time is over would be told with a traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True


def _connections() -> int:
    """Return how many connections there may be, and let this process have as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    least, limit = _CONNECTIONS
    return limit if soft == resource.RLIM_INFINITY else max(least, min(limit, soft // 2))
