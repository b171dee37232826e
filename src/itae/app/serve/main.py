"""``itae serve``: a base in a browser. Who has its link searches, judges, explains and corrects."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from itae.app.knowledge.opened import NEEDED, Opened, opened, snapshot_of
from itae.app.knowledge.words import Asked, ask, parser
from itae.app.serve.choices import rule_texts, rules_of
from itae.app.serve.listening import is_everywhere, is_loopback, listening
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.knowledge.disk.folder import is_url
from itae.knowledge.ledger.writing import user
from itae.serve.settings import Settings, check_users, state_folder

if TYPE_CHECKING:
    from itae.serve.desk import Served
    from itae.serve.door.hosts import Hosts

READS = ("feedback", "voter", "knowledge", *NEEDED)


def main(argv: Sequence[str]) -> int:
    """Run ``itae serve`` with what stands after it; return the exit status."""
    asked = ask(_parser(), argv, READS)
    options = asked.options
    _needed()
    users = tuple(options.user or [user()])
    check_users(users)
    state_folder("", options.state)  # which is told before the base is opened
    with contextlib.closing(listening(options.host, options.port)) as listener:
        hosts = _hosts(options, listener)
        with opened(asked) as here:
            if here.encoder.runtime.engine == "ray":
                raise UserError("runtime.engine=ray: itae serve answers in one process; leave it out.")
            settings = Settings(state_folder(here.base.about.name, options.state), users)
            _serve(asked, here, settings, hosts, listener)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("serve", "Show a base in a browser, to search, judge, explain and correct.", prog="itae ")
    made.add_argument("--at", metavar="VERSION", help="show this version or tag (the newest); nothing can be edited")
    made.add_argument("--port", type=int, default=8000, metavar="N", help="where it listens (8000); 0 is a free one")
    told = "the address it listens on (127.0.0.1, which this machine alone reaches)"
    made.add_argument("--host", default="127.0.0.1", metavar="HOST", help=told)
    told = "a name that it answers to besides, with any port: that of a proxy or a tunnel"
    made.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=told)
    told = "who may ask; each gets a link, and edits under this name (the login name)"
    made.add_argument("--user", action="append", metavar="NAME", help=told)
    made.add_argument("--read-only", action="store_true", help="let nobody edit the base")
    told = "where searches and tokens are kept (~/.local/state/itae/serve)"
    made.add_argument("--state", metavar="FOLDER", help=told)
    return made


def _needed() -> None:
    """Refuse where what makes a server isn't installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UserError(
            "itae serve needs fastapi and uvicorn, which are not installed: pip install 'itae[serve]'"
        ) from None


def _hosts(options: argparse.Namespace, listener: socket.socket) -> Hosts:
    from itae.serve.door.hosts import Hosts, check_allowed, host_name

    name = socket.gethostname() if is_everywhere(listener) else options.host
    return Hosts(listener.getsockname()[1], (host_name(name),), check_allowed(options.allow_host))


def _serve(asked: Asked, here: Opened, settings: Settings, hosts: Hosts, listener: socket.socket) -> None:
    """Say what there is to say, and answer until a signal comes."""
    from itae.app.serve.running import end_if_busy, server_of
    from itae.serve.app import application
    from itae.serve.desk import Desk
    from itae.serve.door.bodies import Bodies
    from itae.serve.door.guard import Guard
    from itae.serve.door.keys import Keys
    from itae.serve.door.token_files import token_files

    desk = Desk(_served(asked, here))
    snapshot = desk.snapshot()
    keys = Keys(settings.users, lambda name, code: _tell(hosts, name, code))
    app = Guard(Bodies(application(desk, settings), settings.limits), hosts, keys)
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(token_files(settings.state, hosts.port, keys.tokens))
        server = stack.enter_context(server_of(app, bool(hosts.allowed), stack.close))
        say(f"base       {here.base.path}, version {snapshot.version}, {len(snapshot):,} rows")
        if desk.served.read_only is not None:
            say(f"read only  {desk.served.read_only}")
        _say_who_reaches(hosts, listener)
        for name, file in files.items():
            say(f"token      {name}  {file}")
        keys.begin()
        say("Ctrl-C stops it.")
        threading.Thread(target=desk.warm, name="itae warm", daemon=True).start()
        server.run([listener])
    say("stopped")
    end_if_busy(0)


def _served(asked: Asked, here: Opened) -> Served:
    from itae.search.text import text_encoder
    from itae.serve.desk import Served

    options, encoder, words = asked.options, here.encoder, here.base.about.words
    rules, rule = rules_of(asked, here.config["feedback"])
    return Served(
        here.base,
        encoder,
        lambda: text_encoder(words, encoder.runtime, encoder.store),
        lambda at: snapshot_of(here.base, here.config, encoder.store.root, at),
        rules,
        rule_texts(),
        rule,
        construct("voter", here.config["voter"]),
        options.at,
        _read_only(options, here.base.path),
    )


def _read_only(options: argparse.Namespace, where: str) -> str | None:
    """Return why nothing can be edited, None where it can."""
    if options.at is not None:
        return f"This is version {options.at} of the base, as --at has it: nothing can be edited."
    if options.read_only:
        return "The base is served with --read-only: nothing can be edited."
    if not is_url(where) and not os.access(where, os.W_OK | os.X_OK):
        return f"{user()} may not write to the folder of the base: nothing can be edited."
    return None


def _tell(hosts: Hosts, name: str, code: str) -> None:
    """Print the link that lets the next browser of a user in."""
    with contextlib.suppress(OSError):  # whoever read it has gone
        say(f"link       {name}  http://{hosts.bound[0]}:{hosts.port}/enter?code={code}")


def _say_who_reaches(hosts: Hosts, listener: socket.socket) -> None:
    if not is_loopback(listener):
        say(
            f"note       --host {hosts.bound[0]}: others of this network can reach it, and nothing that is sent is "
            "encrypted, links and cookies neither; put a proxy with TLS before it, or use ssh -L and leave --host out."
        )
    for name in hosts.allowed:
        say(
            f"note       where {name} is asked, a link begins with that in place of http://{hosts.bound[0]}:{hosts.port}"
        )
