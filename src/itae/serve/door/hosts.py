"""Which names a server answers to, and which pages may write to it: the request says both, in Host and in Origin.

A page of a stranger can have a browser on this machine ask this server. It comes with its own Origin, or, where its
name has been turned to this machine's address (DNS rebinding), with its own Host; neither is ours. Who comes through a
tunnel or a proxy has another name or port than the one that was bound, which has to be allowed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from itae.base.errors import UserError
from itae.serve.errors import RefusedError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_NETLOC = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT = {"http": 80, "https": 443}
_SHOWN = 80  # letters of a header in a sentence


@dataclass(frozen=True)
class Hosts:
    """What a server is called.

    Parameters
    ----------
    port
        That it is bound to.
    bound
        The names that go with that port, beside those of loopback; see `host_name`.
    allowed
        Names of proxies and tunnels, with any port.
    """

    port: int
    bound: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def check_host(self, values: Sequence[bytes], scheme: str, local: str | None = None) -> tuple[str, int | None]:
        """Return the name and port of a request's Host header; raise unless it is one of ours.

        Parameters
        ----------
        values
            Of all Host headers.
        scheme
            ``http`` or ``https``.
        local
            The address of this machine that the connection came to. A page can't have it for a name of its own.
        """
        if len(values) != 1:
            told = "no Host header" if not values else f"{len(values)} Host headers"
            raise RefusedError(421, f"The request has {told}; send one, with the name and port of this server.")
        found = _parts(values[0])
        if found is None:
            raise RefusedError(421, f"Host {_shown(values[0])} is no name with a port; {self._told}.")
        name, port = found
        ours = (*LOOPBACK, *self.bound, *([host_name(local)] if local else []))
        if name in self.allowed or (name in ours and (port or _DEFAULT.get(scheme)) == self.port):
            return name, port
        raise RefusedError(
            421, f"This server does not answer to {_shown(values[0])}; {self._told}, or start it with --allow-host "
            f"{_shown(name.encode())}."
        )  # fmt: skip

    def check_origin(self, values: Sequence[bytes], scheme: str, host: tuple[str, int | None]) -> None:
        """Raise unless an Origin header is that of a page of this server.

        Parameters
        ----------
        values
            Of all Origin headers, one at least.
        scheme
            Of the request. A proxy may have taken https off and not said so: for its names, http may be either.
        host
            As `check_host` returned it.
        """
        name, port = host
        schemes = ("http", "https") if name in self.allowed and scheme == "http" else (scheme,)
        theirs, _, netloc = values[0].decode("latin-1").lower().partition("://")
        found = _parts(netloc.encode("latin-1"))
        default = _DEFAULT.get(theirs)  # a proxy may say that it was asked by something else than http
        one = found if len(values) == 1 and default is not None and theirs in schemes else None
        if one is not None and one[0] == name and (one[1] or default) == (port or default):
            return
        raise RefusedError(
            403, f"The request comes from a page of {_shown(b', '.join(values))}, not of this server; open the page "
            "itself. (A proxy has to hand on the Host that it was asked by.)"
        )  # fmt: skip

    @property
    def _told(self) -> str:
        names = dict.fromkeys((*LOOPBACK[:2], *self.bound))
        told = [*(f"{name}:{self.port}" for name in names), *self.allowed]
        return f"ask it as {', '.join(told[:-1])} or {told[-1]}"


def host_name(host: str) -> str:
    """Return a name or address as it stands in a Host header: in lower case, one of IPv6 in brackets."""
    try:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return host.lower()
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address}]"
    return str(address)


def check_allowed(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of proxies as they stand in a Host header.

    Raises
    ------
    UserError
        For one that no request can have.
    """
    for name in names:
        found = _parts(host_name(name).encode("utf-8", "surrogateescape"))
        if found is None or found[1] is not None:
            raise UserError(
                f"--allow-host {name!r} is no name of a host; give it as a browser shows it, without http:// "
                "and port, as in --allow-host photos.example.org."
            )
    return tuple(dict.fromkeys(host_name(name) for name in names))


def _parts(netloc: bytes) -> tuple[str, int | None] | None:
    """Return the name and port of a Host, None for what is none."""
    found = _NETLOC.fullmatch(netloc.decode("latin-1").lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 2**16:
        return None
    name = found["name"]
    try:
        return (host_name(name) if name.startswith("[") else name), port
    except ValueError:
        return None


def _shown(value: bytes) -> str:
    text = value.decode("latin-1")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
