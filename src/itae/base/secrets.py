"""What a run is given and nobody is to read in its folder: keys, passwords, and addresses that hold them.

The run itself gets them. What it writes and sends, settings, words, errors and logs, has ``***`` in their place.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HIDDEN = "***"
_PASSWORDS = r"(?:passw(?:or)?d|passphrase|secret|api_?key|access_?key|private_?key|credential)s?"
_TOKENS = r"(?<![^\W_])(?:token|pwd|auth)"
_SECRET = re.compile(rf"[\w.-]*(?:{_PASSWORDS}|{_TOKENS})(?![^\W_])[\w-]*", re.IGNORECASE)
_RULES = ("backbone", "detector", "attenuator", "control", "edit", "task", "clusterer", "voter", "corruption",
          "repair", "feedback", "user", "net", "measure", "teacher", "data", "blur", "noise", "pairs", "train",
          "steps", "space", "supernet", "search")  # fmt: skip
"""Groups that decide a result. A token is a transformer's there: two hidden alike would be one setting in a table."""
_SECRET_IN_RULES = re.compile(rf"[\w.-]*{_PASSWORDS}(?![^\W_])[\w-]*", re.IGNORECASE)
_VARIABLES = ("env_vars",)  # what stands there may be anything
# A password may hold a slash; what follows a port isn't one.
_USER = re.compile(r"(?<=://)([^\s/'\"@:]*)(?:(:)(?!\d+/)[^\s'\"@]*)?(?:@[^\s/'\"@]*)*@")
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:token|sig|signature|key|password|secret|credential)=)[^\s&'\"]+")
_GIVEN = {  # by a name, with what stands before and after it
    names: re.compile(
        rf"((?:^|(?<=[\s{{,.+~'\"]))(?<!\$\{{){names.pattern}['\"]?\s*[:=]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,}}\]'\"]+)",
        re.IGNORECASE,
    )
    for names in (_SECRET, _SECRET_IN_RULES)
}
_GROUP = re.compile(rf"((?:{'|'.join(_VARIABLES)})\s*[:=]\s*)\{{[^}}]*\}}")


def hidden(node: Any, every: bool = False, names: re.Pattern[str] = _SECRET) -> Any:
    """Return plain values with ``***`` for each secret: by the name of its key, or inside an address.

    Parameters
    ----------
    node
        Mappings, sequences and values.
    every
        Whether each value is taken for one.
    names
        What secrets are called here.
    """
    if isinstance(node, Mapping):
        return {
            key: hidden(value, every or _is_secret(str(key), names), _names_in(str(key), names))
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [hidden(value, every, names) for value in node]
    if every and node is not None:
        return HIDDEN
    return hidden_address(node) if isinstance(node, str) else node


def hidden_address(text: str) -> str:
    """Return text with what an address in it would let somebody in with hidden."""
    text = _USER.sub(lambda found: f"{found[1]}:{HIDDEN}@" if found[2] else f"{HIDDEN}@", text)
    return _QUERY.sub(rf"\g<1>{HIDDEN}", text)


def hidden_word(word: str) -> str:
    """Return a word of a command line, ``key=value``, without the secrets in its value."""
    key, equals, _ = word.partition("=")
    parts = key.lstrip("+~").split(".")
    names = _names_in(parts[0], _SECRET)
    if equals and any(_is_secret(part, names) for part in parts):
        return f"{key}={HIDDEN}"  # of several values, each
    word = _GROUP.sub(rf"\g<1>{HIDDEN}", word)
    return hidden_address(_GIVEN[names].sub(rf"\g<1>{HIDDEN}", word))


def restored(words: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return words that `hidden_word` returned as they were given, where one of those became them."""
    known = {hidden_word(word): word for word in given}
    return [known.get(word, word) for word in words]


def _is_secret(key: str, names: re.Pattern[str]) -> bool:
    return key in _VARIABLES or names.fullmatch(key) is not None


def _names_in(key: str, names: re.Pattern[str]) -> re.Pattern[str]:
    """Return what secrets are called below a key."""
    return _SECRET_IN_RULES if key.partition(".")[0] in _RULES else names


def _replaced(node: Any, after: Any) -> Iterator[tuple[str, str]]:
    """Yield each text that `hidden` has changed, and what it became."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _replaced(value, after[key])
    elif isinstance(node, list | tuple):
        for one, other in zip(node, after, strict=True):
            yield from _replaced(one, other)
    elif isinstance(node, str) and len(node) > 2 and after != node:
        yield node, after


class Veil:
    """Hides the secrets of some settings in whatever is said: an error, a log."""

    def __init__(self, node: Any) -> None:
        self._pairs = sorted(set(_replaced(node, hidden(node))), key=lambda pair: -len(pair[0]))

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        for before, after in self._pairs:
            text = text.replace(before, after)
        return hidden_address(text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Have a record of a log say what it says without them."""
        record.msg, record.args = self(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self(logging.Formatter().formatException(record.exc_info))
        return True

    @contextlib.contextmanager
    def over_logs(self) -> Iterator[None]:
        """Hide them in all that is logged in the body."""
        handlers = list(logging.getLogger().handlers) if self._pairs else []
        for handler in handlers:
            handler.addFilter(self.filter)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self.filter)


def hide_in_files(files: Sequence[Path]) -> None:
    """Write yaml files of Hydra's once more, without the secrets in them; others stay as they are."""
    import yaml

    for file in files:
        with contextlib.suppress(OSError, yaml.YAMLError):
            text = file.read_text(encoding="utf-8")
            if not _GIVEN[_SECRET].search(text) and all(
                hidden_word(line) == line and f"{_VARIABLES[0]}:" not in line for line in text.splitlines()
            ):
                continue  # most have none, and yaml is read slowly
            node = yaml.safe_load(text)
            clean = hidden_words(hidden(node))
            if clean != node:
                file.write_text(yaml.safe_dump(clean, sort_keys=False, allow_unicode=True), encoding="utf-8")


def hidden_words(node: Any) -> Any:
    """Return plain values with each text that is words of a command line without their secrets."""
    if isinstance(node, Mapping):
        return {key: hidden_words(value) for key, value in node.items()}
    if isinstance(node, list):
        return [hidden_words(value) for value in node]
    return hidden_word(node) if isinstance(node, str) and "=" in node else node
