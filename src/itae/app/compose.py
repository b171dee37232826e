"""A command line's words and the config that Hydra composes of them."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from itae.app.words import OVERLAYS, TEXTS, as_typed, key_of, refuse_no_texts
from itae.base.construct import GROUPS_OF_TASKS, locate
from itae.base.errors import UserError
from itae.base.names import public_target
from itae.base.typed import quoted, to_type


def conf_dir() -> Path:
    """Return the folder of the configs: inside the package, or beside ``src`` in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


OmegaConf.register_new_resolver(
    "itae_token",  # two runs of one second mustn't share a folder
    lambda kind: os.urandom(3).hex(),
    use_cache=True,
    replace=True,
)


PORTABLE = "portable"
"""The folder with the root config and the groups of ``itae portable``; no group of a run."""


def compose(words: list[str], config_dir: str | None = None, part: str | None = None) -> DictConfig:
    """Return the config of a command line's words, without running anything.

    Parameters
    ----------
    words
        As on the command line: ``["backbone=dinov2_s14", "layers=last4"]``.
    config_dir
        A folder with configs of one's own, searched beside those of the package.
    part
        `PORTABLE` for the config of ``itae portable``, which finds groups that it hasn't, trackers, where a run does.
        None (default): of a run.
    """
    home = conf_dir() / part if part else conf_dir()
    further = [*([config_dir] if config_dir else []), *([str(conf_dir())] if part else [])]
    more = [searchpath(*further)] if further else []
    running = GlobalHydra.instance().hydra  # of a sweep, say, one of whose jobs has an option that isn't there
    GlobalHydra.instance().hydra = None
    try:
        with hydra.initialize_config_dir(str(home), version_base="1.3"):
            return hydra.compose("config", [*more, *as_typed(words)])
    finally:
        GlobalHydra.instance().hydra = running


def searchpath(*config_dirs: str) -> str:
    """Return the word that does what ``--config-dir`` does."""
    places = ",".join(quoted(f"file://{Path(one).absolute()}", "'") for one in config_dirs)
    return f"hydra.searchpath=[{places}]"


def choices(words: Iterable[str], part: str | None = None) -> Iterator[Override]:
    """Yield the words of a command line that choose an option of a group, which decides what options there are."""
    groups = set(groups_of(part))
    for word in words:
        with contextlib.suppress(HydraException):  # told by Hydra itself when it comes to it
            override = OverridesParser.create().parse_override(word)
            if override.key_or_group in groups and override.package is None and not override.is_delete():
                yield override


def groups_of(part: str | None = None) -> list[str]:
    """Return the groups of a run's config, Hydra's own among them, or of `part`, as in `compose`."""
    home = conf_dir() / part if part else conf_dir()
    found = {path.name for path in home.iterdir() if path.is_dir()} - {PORTABLE}
    return sorted(found | ({"tracker"} if part else set()))


def options_of(group: str, part: str | None = None) -> list[str]:
    """Return what may be chosen in a group, as far as it is shipped."""
    home = conf_dir() / part if part and (conf_dir() / part / group).is_dir() else conf_dir()
    return sorted(path.stem for path in (home / group).glob("*.yaml"))


def check_choices(words: Iterable[str], part: str | None = None) -> None:
    """Refuse a choice that Hydra would fail on, or would take for something else than what is meant."""
    words = list(words)
    if part is None and (told := next((word for word in words if key_of(word).split("/")[0] == PORTABLE), None)):
        raise UserError(f"{told}: itae portable is a command of its own; write itae portable key=value.")
    refuse_no_texts(words)
    for word in choices(words, part):
        group, value = word.key_or_group, word.value()
        if word.is_add():
            raise UserError(f"{word.input_line}: {group} is always chosen, so leave out the +.")
        several = group in OVERLAYS
        if isinstance(value, list) and not several:
            raise UserError(f"{word.input_line}: choose one; to try several, add --multirun and leave out the [ ].")
        fits = isinstance(value, str | list) or word.is_sweep_override() or (value is None and several)
        if not fits:
            own = options_of(group, part)
            told = f"a group of options; choose {' or '.join(own)}" if len(own) == 1 else f"one of {', '.join(own)}"
            raise UserError(f"{word.input_line} is not {told}.")


def plain_config(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a run as `plain_values` does, less the groups that its task doesn't read.

    Where no class can be found for the task, all groups are there: who makes its object says what is wrong.
    """
    plain = plain_values(cfg)
    unread = _unread_groups(plain)
    return {key: value for key, value in plain.items() if key not in unread}


def _unread_groups(plain: Mapping[str, Any]) -> set[str]:
    """Return the groups of a config that only tasks read, and this one doesn't."""
    try:
        task: Any = locate("task", (plain.get("task") or {})["_target_"])
        return set(GROUPS_OF_TASKS) - set(task.groups)
    except (UserError, KeyError, AttributeError, TypeError):
        return set()


def refuse_unread(words: Iterable[str], plain: Mapping[str, Any]) -> None:
    """Raise a `UserError` for a word that sets something of a group that the task doesn't read."""
    for word in words:
        group = re.split(r"[.@=]", word.lstrip("+~"), maxsplit=1)[0]
        if group in GROUPS_OF_TASKS and group not in plain:
            task = plain["task"]["_target_"].rpartition(".")[2]
            reads = ", ".join(key for key in GROUPS_OF_TASKS if key in plain) or "none of such groups"
            raise UserError(f"{word}: {task} has no use for a {group}; it reads {reads}: leave it out, or set task=...")


def plain_values(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as plain values, everything resolved, every class under its public name.

    Raises
    ------
    UserError
        If a value that must be given is missing, or an interpolation can't be resolved.
    """
    try:
        made = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
        plain: Any = OmegaConf.to_container(made, resolve=True, throw_on_missing=True, enum_to_str=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is not set, and it has no default; set {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        key = error.full_key or "The config"
        raise UserError(f"{key} can't be resolved: {reason}; give it a value{_as_a_text(made, key)}.") from error
    for group in OVERLAYS:
        plain.pop(group, None)
    _finite(plain)
    named: dict[str, Any] = _named(plain)
    return named


def _as_a_text(config: DictConfig, key: str) -> str:
    """Return how an option is typed whose value has ``${`` in it and is a text."""
    if key not in TEXTS:
        return ""
    group, _, option = key.partition(".")
    typed: Any = OmegaConf.to_container(config[group], resolve=False)
    return f", or, as a text, {to_type(key, typed[option])}"


def _named(node: Any) -> Any:
    """Return a node with the public name in each ``_target_``: results and comparisons go by it."""
    if isinstance(node, Mapping):
        return {key: public_target(value) if key == "_target_" and isinstance(value, str) else _named(value)
                for key, value in node.items()}  # fmt: skip
    return [_named(value) for value in node] if isinstance(node, list) else node


def _finite(node: Any, name: str = "") -> None:
    """Raise a `UserError` for a number that is none: no setting takes it, and JSON has no word for it."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            _finite(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for value in node:
            _finite(value, name)
    elif isinstance(node, float) and not math.isfinite(node):
        raise UserError(f"{name}={node} is not a finite number; give it one.")


def verb_words(name: str, told: str) -> argparse.ArgumentParser:
    """Return the parser of a verb that takes the words of a run."""
    parser = argparse.ArgumentParser(prog=f"itae {name}", description=told)
    parser.add_argument("--config-dir", "-cd", help="a folder with configs of your own")
    return parser


def verb_config(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, DictConfig]:
    """Return a verb's options and the config of its words."""
    parser.add_argument("words", nargs="*", metavar="key=value", help="for example dataset=cifar10 paths.data=data")
    options = parser.parse_args(argv)
    words = as_typed(options.words)
    check_choices(words)
    config = compose(words, options.config_dir)
    refuse_unread(words, plain_config(config))
    return options, config
