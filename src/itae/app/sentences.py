"""One sentence for each mistake, ours or one that Hydra or OmegaConf found."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from itae.app.compose import PORTABLE, choices, compose, conf_dir, options_of
from itae.app.verbs import VERBS
from itae.app.words import TEXTS, as_texts, key_of, without_our_quotes
from itae.base.errors import UserError, did_you_mean
from itae.base.typed import to_type


def before_the_job(error: Exception) -> str:
    """Say what is wrong when Hydra itself fails: only the user's words and configs have a part in that."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; set hydra.run.dir or hydra.sweep.dir to a folder you may write to"
    cause = error.__cause__ or error
    return f"Hydra can't run this ({type(cause).__name__}: {_paragraph(cause)}); see itae --help and itae --hydra-help"


def sentence_of(error: Exception) -> str:
    """Return what a user is told of a mistake, ours or one that Hydra found."""
    if isinstance(error, UserError):
        return str(error)
    text = _paragraph(error)
    if isinstance(error, MissingConfigException):
        return _no_such_config(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    key = re.search(r"Could not (?:override|find a match for|locate)\D*?'([^']+)'|'([^']+)' does not exist", text)
    if key:
        return _unknown_key(key[1] or key[2])
    if text.startswith("Ambiguous value"):
        told = re.search(r"'(.*)'", text)
        word = without_our_quotes(told[1]) if told else "key=a,b"
        name, _, values = word.partition("=")
        ways = f"to sweep over it add --multirun; a list is {name}=[{values}], and one text {to_type(name, values)}"
        return f"Ambiguous value for argument '{word}'; {ways}."
    merged = re.match(r"Error merging override (.*)", str(error))
    if merged and (kind := _of_another_kind(merged[1], str(error.__cause__))):
        return kind
    if isinstance(error, ConfigCompositionException) and error.__cause__ is not None:
        return f"{text} ({_paragraph(error.__cause__)})."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key} can't be resolved: {text}."
    return f"{text}."


def _of_another_kind(word: str, cause: str) -> str | None:
    """Return what is wrong with options where a list belongs, or the other way round; None if it is something else."""
    key, value = key_of(word), word.partition("=")[2].lstrip()
    if not re.fullmatch(r"Cannot merge (?:Dict|List)Config with (?:Dict|List)Config", cause.splitlines()[0]):
        return None
    if value.startswith("{"):
        return f"{key}={value} is options, and {key} takes a list; write {key}=[a,b], or leave it out."
    return f"{key}={value} is a list, and {key} takes options; write {key}={{KEY: value}}, or leave it out."


def _paragraph(error: BaseException) -> str:
    """Return the first paragraph of a message in one line, less what Hydra and OmegaConf add for debugging."""
    first = re.split(r"\n\s*\n|\n\s*(?:full_key|See https|1\. )", str(error).strip())[0]
    return " ".join(first.split()).rstrip(".") or type(error).__name__


def _no_such_config(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None:
        return f"{_paragraph(error)}."
    name = error.missing_cfg_file.removesuffix(".yaml")
    # A value with a / in it belongs to one of our groups whole, as in dataset=photos/holidays.
    group, _, option = name.rpartition("/") if name.startswith("hydra/") or "/" not in name else name.partition("/")
    if not group:
        return f"There is no config {option!r}; leave out --config-name, or give its folder with --config-dir."
    configs, _ = _own_configs()
    options = options_of(group, _part()) if group == "experiment" or not error.options else error.options
    hint = did_you_mean(option, options)
    if group == "dataset" and "/" in option:
        hint = f" A folder of pictures is dataset=imagefolder dataset.root={option}."
    elif configs is None:
        hint += f" One of your own needs --config-dir FOLDER, with {group}/{option}.yaml in it."
    return f"{group}={option} is not one of {', '.join(options)}.{hint}"


def _own_configs() -> tuple[str | None, list[str]]:
    """Return the folder that the command line names with ``--config-dir``, or None, and the rest of it."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--config-dir", "-cd")
    options, words = own.parse_known_args(sys.argv[2:] if _part() else sys.argv[1:])
    return options.config_dir, words


def _part() -> str | None:
    """Return what `compose` takes for the command line's part: ``itae portable`` has a config of its own."""
    return PORTABLE if sys.argv[1:2] == [PORTABLE] else None


def _unreadable(error: OverrideParseException) -> str:
    word = str(error.override)
    if "=" not in word:
        return f"{word!r} is not key=value; the commands, {', '.join(VERBS)}, come first; see itae --help."
    reason = re.sub(r"^Error parsing override '.*?'(?=$| )| expecting .*", "", _paragraph(error)).strip()
    told = f"{word!r} can't be read as key=value{f' ({reason})' if reason else ''}"
    return f"{told}; quote special characters{_exactly(word)}."


def _exactly(word: str) -> str:
    """Return the word to type if the value is a text, where it may be one."""
    mistyped = word.partition("=")[2][:1] in ("=", "[", "{") and key_of(word) not in TEXTS
    return "" if mistyped else f": as a text it is {as_texts(word)}"


def _unknown_key(key: str) -> str:
    if key.startswith("hydra."):
        return f"There is no option {key!r}; see itae --cfg hydra."
    configs, words = _own_configs()
    part = _part()
    chosen = [f"{word.key_or_group}={word.value()}" for word in choices(words, part) if isinstance(word.value(), str)]
    known = list(_flat(OmegaConf.to_container(compose(chosen, configs, part))))
    if inside := [name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")]:
        told = f"what stands in braces is merged into it, and a key that it doesn't have is added by +{key}.KEY=value"
        return f"{key} has {', '.join(inside)}; {told}."
    parent, _, last = key.rpartition(".")
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    allowed = f" {parent or 'The config'} has {', '.join(siblings)}." if siblings else ""
    home = conf_dir() / part if part else conf_dir()
    owners = [file.stem for file in sorted((home / parent).glob("*.yaml")) if last in list(OmegaConf.load(file))]
    if parent and owners:
        return f"There is no option {key!r} as things are; it belongs to {parent}={f', {parent}='.join(owners)}."
    return f"There is no option {key!r}.{allowed}{did_you_mean(key, known)}"


def _flat(node: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _flat(value, f"{prefix}{key}.")
