"""The command that gives what a page shows, as a line to paste."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from itae.search.session import Round, Session


def line(
    path: str, session: Session, done: Round, name: str, node: Mapping[str, Any], usual: Mapping[str, Any], file: str
) -> str:
    """Return the line of ``itae search`` that shows the same ids.

    Parameters
    ----------
    path
        Of the base, as it was given to the server.
    session, done
        The search, and one round of it.
    name, node, usual
        That round's rule: what it is called, its node, and the node of that name as it is by default.
    file
        What an export of the session is called: a page unlike all that was shown needs it, as do a name, an id and a
        condition with what can't be seen: in a terminal that it is pasted into it may end the paste, and be a command.
    """
    if done.diverse or not "".join([session.name, *done.yes, *done.no, done.where or ""]).isprintable():
        return shlex.join(["itae", "search", path, "--replay", file])
    words = ["itae", "search", path]
    words += [f"--yes={id_}" for id_ in done.yes] + [f"--no={id_}" for id_ in done.no]
    words += [f"--where={done.where}"] if done.where else []
    words += [f"--text={session.name}"] if session.is_text else []
    words += [f"feedback={name}"]
    words += [f"feedback.{key}={_told(node[key])}" for key in usual if key in node and node[key] != usual[key]]
    words += ["-n", str(done.count), "--at", str(done.version)]
    words += [] if session.is_text else ["--", session.name]
    return shlex.join(words)


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
