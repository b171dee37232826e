"""What a run is called at W&B: by the settings, else by W&B's own variables, each checked before any work.

W&B itself refuses a name when a run starts, or, of an offline run, when it is sent: too late. Its limits are those of
``wandb.Settings`` (projects, tags) and of its server (128 letters, 64 of a job type).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from itae.base.checks import one_of
from itae.base.errors import UserError

VARIABLES = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "name": "WANDB_NAME",
    "notes": "WANDB_NOTES",
    "tags": "WANDB_TAGS",
}
"""The variable that counts where a setting is not given."""
DEFAULT_PROJECT = "itae"
LONGEST, LONGEST_TAG, LONGEST_JOB_TYPE = 128, 64, 64
MODES = ("online", "offline", "disabled", "dryrun", "run", "shared")
_NO_ADDRESS = "/\\#?%:"  # of what becomes a part of an address


def chosen(name: str, given: Any) -> Any:
    """Return one label: the setting if it is given, else W&B's variable, else None.

    Parameters
    ----------
    name
        One of `VARIABLES`.
    given
        The value of ``tracker.<name>``.

    Raises
    ------
    UserError
        If W&B would refuse it.
    """
    if given is not None:
        return _checked(f"tracker.{name}", name, given)
    said = os.environ.get(VARIABLES[name], "")
    value = [tag.strip() for tag in said.split(",") if tag.strip()] if name == "tags" else said
    return _checked(VARIABLES[name], name, value) if value else None


def project_of(given: str | None, word: str = "tracker.project") -> str:
    """Return the project: what is given under the name `word`, else that of WANDB_PROJECT, else ``itae``."""
    if given is not None:
        address(word, given)
        return given
    return chosen("project", None) or DEFAULT_PROJECT


def mode_of_environment() -> str:
    """Return what WANDB_MODE and WANDB_DISABLED ask for: a mode, or nothing."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
        return "disabled"
    said = os.environ.get("WANDB_MODE", "").lower()
    if said:
        one_of("WANDB_MODE", said, MODES)
    return {"dryrun": "offline", "run": "online", "shared": "online"}.get(said, said)


def address(word: str, value: object) -> None:
    """Raise a `UserError` unless `value` can be a part of an address at W&B: a project, or an entity."""
    _text(word, value, LONGEST)
    wrong = [letter for letter in _NO_ADDRESS if letter in str(value)]
    if wrong:
        raise UserError(f"{word}={value!r} can't hold {wrong[0]!r}: W&B takes none of {' '.join(_NO_ADDRESS)} there.")


def _checked(word: str, name: str, value: Any) -> Any:
    if name == "tags":
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(tag, str) for tag in value):
            raise UserError(f"{word}={value!r} must be a list of words, e.g. tracker.tags=[paper].")
        for tag in value:
            _text(f"A tag of {word}", tag, LONGEST_TAG)
    elif name in ("project", "entity"):
        address(word, value)
    else:
        _text(word, value, None if name == "notes" else LONGEST)
    return value


def _text(word: str, value: object, longest: int | None) -> None:
    """Raise a `UserError` unless `value` is text with something in it, no longer than `longest`."""
    if isinstance(value, bool | int | float):
        raise UserError(f"{word}={value!r} is no text; for these letters write '{word}=\"{value}\"', or null for none.")
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{word}={value!r} is no name; give one, or null for none.")
    if longest is not None and len(value) > longest:
        raise UserError(
            f"{word}={value[:20]}... has {len(value)} letters, and W&B takes {longest}; give a shorter one."
        )
