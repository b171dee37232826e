"""Lines for a shell that do what a page tells, whatever stands in ids and labels."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Sequence

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def shell_word(text: str) -> str:
    r"""Return text as one word of a shell.

    What can't be seen (control characters, line ends, marks that turn the direction of writing) is told by its bytes,
    in ``$'\033'`` as bash, zsh and ksh read it: pasted, it could end the word, or look like another.
    """
    if not any(unicodedata.category(one) in _HIDDEN for one in text):
        return shlex.quote(text)
    return "$'" + "".join(map(_told, text)) + "'"


def _told(one: str) -> str:
    if unicodedata.category(one) in _HIDDEN:
        kind = "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass"
        return "".join(f"\\{byte:03o}" for byte in one.encode("utf-8", kind))
    return f"\\{one}" if one in "\\'" else one


def command(verb: str, place: str, *names: str) -> str:
    """Return a line with a verb of ``itae knowledge``, a base, and labels, ids or paths, whatever they are."""
    end = ["--"] if any(map(misread, names)) else []
    return " ".join(["itae knowledge", verb, shell_word(place), *end, *map(shell_word, names)])


def relink(place: str, lost: Sequence[str]) -> str:
    """Return the line that says where pictures are now that have been at these places, from the folder of all."""
    folders = [os.path.dirname(one) for one in lost]
    known = bool(folders) and all(map(os.path.isabs, folders))
    old = shell_word(os.path.commonpath(folders)) if known else "OLD_FOLDER"
    return f"{command('relink', place)} {old} NEW_FOLDER"


def misread(name: str) -> bool:
    """Return whether a command could take this for an option, or for ``key=value``, where no ``--`` is before it."""
    return re.match(r"-|[\w.]+=", name) is not None
