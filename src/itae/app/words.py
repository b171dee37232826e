r"""The words of a command line: as they are typed, as Hydra takes them, and as a shell is given them.

Hydra reads a value by a grammar of its own, in which ``2024_05`` is a number, ``a,b`` several values and ``é`` nothing
at all. A folder may have any name, so where an option is text, a number is taken as it is typed, and what can't be read
is told with the very word to type.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from itae.base.construct import NEEDS, PORTABLE
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.typed import quoted, to_type

TEXTS = frozenset(
    {
        "backbone.checkpoint", "backbone.model_name", "backbone.module",
        "blur.folder",
        "data.blurred", "data.root", "data.sharp",
        "dataset.name", "dataset.root", "dataset.split",
        "detector.calibration",
        "net.weights",
        "out",
        "paths.cache", "paths.data",
        "task.at", "task.attributes", "task.group", "task.labels", "task.truth", "task.words",
        "teacher.weights",
        "tracker.entity", "tracker.group", "tracker.name", "tracker.notes", "tracker.project", "tracker.tags",
        "hydra.job.name", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir",
        "hydra.launcher.account", "hydra.launcher.address", "hydra.launcher.partition", "hydra.launcher.qos",
        "hydra.sweeper.metric", "hydra.sweeper.storage", "hydra.sweeper.study_name",
        "runtime.ray.address",
        "user.attribute", "user.means", "user.same", "user.value",
    }
)  # fmt: skip
"""Options whose value is a name of the user's own: of a folder, a file, a model, a project."""
LISTS = frozenset({"task.words", "tracker.tags"})
"""Those of them that take several."""
OVERLAYS = ("experiment", "recipe")
"""Groups of files that set what is anywhere; none of one, one, or a list of them may be chosen."""
GROUPS = frozenset({*NEEDS, *PORTABLE, *OVERLAYS})
"""Groups, of which a file's name is chosen, which may be one's own."""

_PART = re.compile(
    r"""'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | \w+\( | [()\[\]{},] | [^()\[\]{},'"]+ | .""", re.VERBOSE | re.DOTALL
)
_SEVERAL = {"[", "choice(", "shuffle("}  # in which each value is one of the option's


def as_typed(words: Sequence[str]) -> list[str]:
    """Return the words of a command line in the form in which Hydra takes them for what is meant.

    That is with the home folder for ``~``, which a shell leaves alone after a ``=``; with ``experiment=x`` for
    ``+experiment=x``, the way of many templates (here the group has a default, and both are right); and where an option
    is text, or names a file of a group, with quotes around what Hydra would take for a number or a truth value.
    ``null`` stays none.

    Raises
    ------
    UserError
        If one has a ``~`` and there is no home folder.
    """
    words = [_with_home(word) for word in words]
    words = [re.sub(rf"^\+({'|'.join(OVERLAYS)})=", r"\1=", word) for word in words]
    return [_numbers_as_text(word) for word in words]


def key_of(word: str) -> str:
    """Return what a word of the command line sets: ``detector.k`` of ``++detector.k=3``."""
    return word.partition("=")[0].lstrip("+~")


def without_our_quotes(word: str) -> str:
    """Return a word of `as_typed` with the numbers in it as they were typed."""
    if not _is_a_name(word):
        return word
    return re.sub(r'"([^"\\]*)"', lambda found: found[1] if _is_number(found[1]) else found[0], word)


def refuse_no_texts(words: Iterable[str]) -> None:
    """Raise a `UserError` if an option that is text would be given what Hydra takes for a list or for options."""
    for word in words:
        if (key := key_of(word)) not in TEXTS:
            continue
        with contextlib.suppress(HydraException):  # told by Hydra itself when it comes to it
            value = _value(word)
            if isinstance(value, dict) or (isinstance(value, list) and key not in LISTS):
                what = "options" if isinstance(value, dict) else "a list"
                word = without_our_quotes(word)
                typed = to_type(*word.partition("=")[::2])
                raise UserError(f"{word} is {what} to Hydra, and {key} takes a text; as a text it is {typed}.")


def as_texts(word: str) -> str:
    """Return how a word is typed whose value is a text, and, if there are commas in it, whose values are several."""
    key, _, value = word.partition("=")
    several = value.split(",")
    told = to_type(key, value)
    return told if len(several) == 1 else f"{told} for one text, {to_type(key, *several)} for {len(several)}"


def _with_home(word: str) -> str:
    key, tilde, rest = word.partition("=~")
    if not tilde or rest[:1] not in ("", "/"):
        return word
    at_home(f"~{rest}")  # tells it if there is none
    return f"{key}={os.path.expanduser('~')}{rest}"


@functools.lru_cache(4096)  # many jobs of a sweep have the same words
def _numbers_as_text(word: str) -> str:
    key, _, value = word.partition("=")
    numbers = re.search(r"\d|inf|nan|true|false", value, re.IGNORECASE)
    plain = not {"\\", "{"} & set(value)  # no escapes, interpolations or options, in which a quote says something else
    if not _is_a_name(word) or not numbers or not plain or not _is_read(word):
        return word
    return f"{key}={''.join(_parts(value))}"


def _is_a_name(word: str) -> bool:
    """Return whether the value of a word is a text, or the name of a file."""
    key = key_of(word)
    return key in TEXTS or key.partition("@")[0] in GROUPS


def _parts(value: str) -> Iterator[str]:
    """Yield a value in parts, numbers in quotes, but for those that a function of Hydra counts with, as ``range``."""
    inside: list[str] = []  # of which brackets
    for part in _PART.findall(value):
        if part[-1] in "([{":
            inside.append(part)
        elif part in ")]}":
            inside = inside[:-1]
        elif set(inside) <= _SEVERAL and _is_number(part):
            part = quoted(part.strip())
        yield part


def _is_number(part: str) -> bool:
    return part.strip(", ") != "" and isinstance(_value(f"key={part}"), bool | int | float)


def _is_read(word: str) -> bool:
    try:
        _value(word)
    except HydraException:  # told when Hydra comes to it, with the word as it is typed
        return False
    return True


def _value(word: str) -> Any:
    return OverridesParser.create().parse_override(word).value()
