"""A socket that listens: whatever is wrong with a host or a port is told before a base is opened."""

from __future__ import annotations

import errno
import socket

from itae.base.checks import whole
from itae.base.errors import UserError

_WAITING = 2048  # connections that nobody has taken yet
_UNPRIVILEGED = 1024


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host
        A name or an address of this machine; ``0.0.0.0`` and ``::`` are all of them.
    port
        0 for a free one.

    Raises
    ------
    UserError
        For a host that isn't this machine's, and a port that is in use or may not be used.
    """
    whole("--port", port, low=0, high=2**16 - 1)
    family, address = _address(host, port)
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was in use a minute ago is free
        found.bind(address)
        found.listen(_WAITING)
    except OSError as error:
        found.close()
        raise UserError(_told(host, port, error)) from error
    return found


def is_loopback(found: socket.socket) -> bool:
    """Whether programs of this machine alone reach a socket."""
    host = found.getsockname()[0]
    return host == "::1" or host.startswith(("127.", "::ffff:127."))


def is_everywhere(found: socket.socket) -> bool:
    """Whether a socket listens on all addresses of this machine."""
    return found.getsockname()[0] in ("0.0.0.0", "::")


def _address(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    try:
        if not host:
            raise UnicodeError
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):  # a name with a part that is empty or too long
        raise UserError(
            f"--host {host!r} is no name or address that is known here; give 127.0.0.1, which this machine "
            "alone reaches, or an address of it."
        ) from None
    found.sort(key=lambda each: each[0] != socket.AF_INET)  # localhost may be both
    return found[0][0], found[0][4]


def _told(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"--port {port} is in use on {host}, perhaps by another itae serve: stop that, or give another port; "
            "--port 0 takes a free one."
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < _UNPRIVILEGED:
        return f"--port {port} is for programs of the system's own; give one from {_UNPRIVILEGED} on, as --port 8000."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; give 127.0.0.1, or one of its own."
    return f"--host {host} --port {port} can't be listened on ({error.strerror}); give another."
