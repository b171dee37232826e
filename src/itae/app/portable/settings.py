"""From the config of ``itae portable`` to objects; every mistake that can be found before any work is found here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.app.portable.deploy_study import DATA, deploy_study
from itae.app.portable.operators_study import operators_study
from itae.app.portable.search_study import SEARCH, search_study
from itae.app.portable.study import Study
from itae.app.words import key_of
from itae.base.checks import number, one_of, true_or_false, whole
from itae.base.construct import check_options, construct, named
from itae.base.errors import UserError, did_you_mean
from itae.base.place import at_home
from itae.portable.cells.asked import Measuring
from itae.portable.devices.exports import check_root

STUDIES: Mapping[str, Callable[[Mapping[str, Any], Callable[[], Measuring]], Study]] = {
    "deploy": deploy_study,
    "operators": operators_study,
    "search": search_study,
}
"""What may be done, and what makes it of a config."""
READS: Mapping[str, tuple[str, ...]] = {
    "deploy": ("net", "teacher", *DATA, "steps", "optimise"),
    "operators": ("net", "changes"),
    "search": (*DATA, *SEARCH),
}
"""Keys of the config that one study reads and another may not; all read those of `COMMON`."""
COMMON = ("study", "devices", "device", "measure", "tracker", "out", "seed", "paths", "runtime")
KEYS = (*dict.fromkeys(key for reads in READS.values() for key in reads), *COMMON)
"""The top-level keys of the config, all of them."""
GROUPS = ("net", *DATA, "steps", *SEARCH, "measure", "tracker", "paths", "runtime")
"""Those that are mappings of options."""


@dataclass(frozen=True)
class PortableSettings:
    """All settings of one run, as objects."""

    study: Study
    measure: Any
    tracker: Any
    report: bool

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> PortableSettings:
        """Make the objects of a resolved config.

        Raises
        ------
        UserError
            For an unknown key or option, a value that is not allowed, or a device that isn't installed.
        """
        check_options("", plain, KEYS)
        study: Any = plain.get("study")
        if study is None:
            raise UserError(f"study={study} says nothing of what to do; set study to {' or '.join(STUDIES)}.")
        one_of("study", study, STUDIES)
        if not plain.get("devices") or not isinstance(plain["devices"], Mapping):
            raise UserError(f"devices={plain.get('devices')!r} must be a mapping with at least one device: NAME: node.")
        for key in (key for key in GROUPS if key in (*COMMON, *READS[study])):
            if not isinstance(plain.get(key), Mapping):
                raise UserError(f"{key}={plain.get(key)!r} is not a group of options; see itae portable --help.")
        whole("seed", plain["seed"], low=0)
        check_options("runtime", plain["runtime"], ("report",))
        true_or_false("runtime.report", plain["runtime"].get("report"))
        tracker, measure = construct("tracker", plain["tracker"]), construct("measure", plain["measure"])
        measure.check()

        def common() -> Measuring:
            devices, left_out = devices_of(plain["devices"], plain.get("device"))
            return Measuring(devices, left_out, measure, cache, plain["seed"])

        cache = _cache(plain["paths"])
        made = STUDIES[study](plain, common)
        check_root(cache)  # last, since that makes the folder
        return cls(made, measure, tracker, plain["runtime"]["report"])


def read_alone(plain: Mapping[str, Any], words: Sequence[str] = ()) -> dict[str, Any]:
    """Return a config less what its study doesn't read; if it names no study, all of it.

    Raises
    ------
    UserError
        For a word that sets some of that.
    """
    study = plain.get("study")
    if not isinstance(study, str) or study not in READS:  # told by who makes its settings
        return dict(plain)
    reads = (*READS[study], *COMMON)
    for word in words:
        key = re.split(r"[.@=]", key_of(word), maxsplit=1)[0]
        if key in KEYS and key not in reads:
            raise UserError(
                f"{word}: study={study} has no use for {key}; it reads {', '.join(READS[study])} and what all studies "
                "read: leave it out, or set study=..."
            )
    return {key: value for key, value in plain.items() if key in reads or key not in KEYS}


def devices_of(nodes: Mapping[str, Any], wanted: object) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the devices to run on by name, and why each other one is not run on.

    Parameters
    ----------
    nodes
        The config's ``devices``: a node for each name.
    wanted
        ``all`` for those that are installed, or one name or several, which have to be.

    Raises
    ------
    UserError
        For a name that is none, for one whose runtime is missing, and if nothing is left.
    """
    every = wanted == "all"
    names = list(nodes) if every else _named(wanted)
    for name in names:
        if name not in nodes:
            raise UserError(
                f"device={name}: there is no such device; the devices are {', '.join(nodes)}, and all."
                f"{did_you_mean(name, nodes)}"
            )
    made = {name: _made(name, nodes[name]) for name in names}
    if not every and (why := {name: why for name, one in made.items() if (why := one.missing())}):
        name = next(iter(why))
        install = f"; install it: {made[name].pip}" if made[name].pip else ""
        raise UserError(f"device={name} can't be run on here: {_ended(why[name])}{install}")
    left_out = {name: why for name, one in made.items() if every and (why := getattr(one, "only_by_name", None))}
    left_out |= {name: _told(why, one.pip) for name, one in made.items() if (why := one.missing())}
    left_out |= {name: "not asked for" for name in nodes if name not in names}
    there = {name: _usable(name, one) for name, one in made.items() if name not in left_out}
    if not there:
        raise UserError(f"No device is installed here: {'; '.join(left_out.values()) or 'devices is empty'}.")
    return there, left_out


def _made(name: str, node: Any) -> Any:
    """Return a device of the config; a `UserError` names an option by the word that sets it."""
    with named(f"devices.{name}", "device"):
        made = construct(f"devices.{name}", node)
    for need in ("name", "pip", "budget_db"):
        if not hasattr(made, need):
            raise UserError(f"devices.{name}._target_={node['_target_']} can't be a device: it has no {need!r}.")
    return made


def _usable(name: str, made: Any) -> Any:
    """Return a device whose facts can be written and whose budget can be held; its class may be anybody's."""
    told = f"devices.{name}: {type(made).__name__}"
    facts = made.facts()
    try:
        json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{told}.facts() returned {facts!r}, where a mapping of plain values is right.") from error
    if made.budget_db is not None:
        number(f"{told}.budget_db", made.budget_db)
    return made


def _named(wanted: object) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"device={wanted!r} must be all, the name of a device, or a list of them, as in [torch,ort].")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"device={list(names)} names {twice[0]} twice; name each once.")
    return list(names)


def _told(why: str, pip: str) -> str:
    return f"{_ended(why)}; {pip}" if pip else _ended(why)


def _ended(text: str) -> str:
    return text.rstrip(".; ")


def _cache(paths: Mapping[str, Any]) -> Path:
    check_options("paths", paths, ("cache",))
    cache = paths.get("cache")
    if not isinstance(cache, str) or not cache.strip():
        raise UserError(f"paths.cache={cache!r} is not a folder; set paths.cache=/path/to/the/folder.")
    return at_home(cache).absolute()
