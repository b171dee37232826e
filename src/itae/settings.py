"""From plain values to the objects of a run, every mistake found before any work.

A config node is a constructor call: ``_target_`` names the class, the other keys are its options. There is no
registry; a class of anybody's will do, if it has what its group needs. Neither Hydra nor torch is needed here.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae import data
from itae.backbone import Backbone
from itae.controls import NoControl
from itae.data import Dataset
from itae.edit import Attention, parse_layers
from itae.errors import UserError, did_you_mean, one_of
from itae.runtime import OnRay, Runtime

SELECTIONS = ("fixed", "proxy", "dev_labels", "oracle")
"""How the settings were chosen; whatever looked at labels is ``dev_labels`` or ``oracle``."""

# What the class of each group has to have.
_NEEDS: dict[str, tuple[str, ...]] = {
    "backbone": ("facts", "space", "build"),
    "dataset": ("open", "prepare"),
    "detector": ("__call__", "spec", "needs_cls", "fitted"),
    "attenuator": ("operands", "logits", "spec"),
    "control": ("__call__",),
    "edit": ("make",),
    "task": ("__call__",),
    "clusterer": ("fit", "check", "seed_list"),
    "tracker": ("run",),
}
ATTENTION = "itae.edit.Attention"
"""The edit of a config that names none, as all did before there were others."""
KEYS = (*_NEEDS, "layers", "seed", "selection", "paths", "runtime")
"""The top-level keys of a config, all of them."""


@dataclass(frozen=True)
class Settings:
    """All settings of one run, as objects."""

    backbone: Backbone
    dataset: Dataset
    detector: Any
    attenuator: Any
    edit: Any
    task: Any
    clusterer: Any
    tracker: Any
    layers: str | Sequence[int]
    seed: int
    selection: str
    cache: Path
    runtime: Runtime
    plain: Mapping[str, Any]

    def told(self, *keys: str) -> str:
        """Return some of the settings as text, equal for equal settings."""
        return json.dumps([self.plain[key] for key in keys], sort_keys=True)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Settings:
        """Make the objects of a resolved config.

        Raises
        ------
        UserError
            For an unknown or missing key, an unknown option, or a value that is not allowed.
        """
        _known("", plain, KEYS)
        plain = {**plain, "edit": plain.get("edit") or {"_target_": ATTENTION}}
        missing = [key for key in KEYS if plain.get(key) is None]
        if missing:
            raise UserError(f"{missing[0]} is not set, and a run needs it; the keys are {', '.join(KEYS)}.")
        seed = plain["seed"]
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed={seed!r} must be a whole number of at least 0.")
        one_of("selection", plain["selection"], SELECTIONS)
        parse_layers(plain["layers"])
        made = {group: construct(group, plain[group]) for group in _NEEDS}
        control = made.pop("control")
        if not isinstance(made["edit"], Attention) and not isinstance(control, NoControl):
            raise UserError(f"control={type(control).__name__} goes with edit=attention; use control=none.")
        made["detector"], made["attenuator"] = control(made["detector"], made["attenuator"])
        return cls(
            **made,
            layers=plain["layers"],
            seed=seed,
            selection=plain["selection"],
            cache=_cache_folder(plain["paths"]),
            runtime=_runtime(plain["runtime"]),
            plain=plain,
        )


def is_wandb(plain: Mapping[str, Any]) -> bool:
    """Whether a config's tracker is Weights & Biases."""
    return str((plain.get("tracker") or {}).get("_target_")) == "itae.tracking.Wandb"


def is_attention(plain: Mapping[str, Any]) -> bool:
    """Whether a config's edit is one of attention, which reads detector, attenuator and layers."""
    return (plain.get("edit") or {}).get("_target_", ATTENTION) == ATTENTION


def _runtime(node: Any) -> Runtime:
    if isinstance(node, Mapping) and "ray" in node:
        node = {**node, "ray": _call("runtime.ray", OnRay, node["ray"])}
    return _call("runtime", Runtime, node)


def _cache_folder(paths: Any) -> Path:
    _known("paths", paths, ("cache", "data"))
    cache = paths.get("cache")
    if not isinstance(cache, str) or not cache.strip():
        raise UserError(f"paths.cache={cache!r} is not a folder; set paths.cache=/path/to/the/folder.")
    return Path(cache).expanduser().absolute()


def construct(group: str, node: Any) -> Any:
    """Call the class that `node` names with the options that it holds.

    Raises
    ------
    UserError
        If there is no such class, it lacks what `group` needs, or has no such option.
    """
    if not isinstance(node, Mapping) or not node.get("_target_"):
        raise UserError(f"{group}._target_ is not set: choose an option of the group, or name a class there.")
    cls = _locate(group, node["_target_"])
    return _call(group, cls, {key: value for key, value in node.items() if key != "_target_"})


def refuse_foreign(node: Mapping[str, Any]) -> None:
    """Raise a `UserError` unless `node` names one of itae's own data sets and nothing else that would be imported.

    Nothing is imported to find out: what the name stands for has to be there, whoever wrote it.
    """
    for target in (str(one.get("_target_")) for one in (node, *_inner(node))):
        module, _, name = target.rpartition(".")
        cls = vars(data).get(name) if module == data.__name__ else None
        ours = isinstance(cls, type) and issubclass(cls, Dataset) and cls.__module__ == data.__name__
        if not ours:
            raise UserError(
                f"the run's data set is {target[:200]!r}, which is not one of itae's own, and nothing is imported on "
                "the word of a file; for a run that you trust, add --trust (from Python: trust=True)"
            )


def _inner(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what `construct` would call on the way to calling `node`, however deep."""
    for value in filter(_is_call, node.values()):
        yield value
        yield from _inner(value)


def _locate(group: str, target: str) -> type:
    module, _, name = str(target).rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{group}._target_={target}: there is no such class ({error}); write package.module.Class, and have the "
            "package installed or on PYTHONPATH."
        ) from error
    if not isinstance(cls, type):
        raise UserError(f"{group}._target_={target} can't be a {group}: it is no class.")
    # Not hasattr, by which every class has a __call__, its own constructor.
    needs = _NEEDS[group.partition(".")[0]]
    missing = [need for need in needs if not any(need in vars(base) for base in cls.__mro__)]
    if missing:
        raise UserError(f"{group}._target_={target} can't be a {group}: it has no {missing[0]!r}.")
    return cls


def _call(group: str, cls: type, options: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(cls).parameters.values()
    named = {each.name: each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        _known(group, options, named, cls.__name__)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in options:
            raise UserError(f"{group}.{name} is not set, and {cls.__name__} needs it; set {group}.{name}=...")
    nested = {name: construct(f"{group}.{name}", node) for name, node in options.items() if _is_call(node)}
    return cls(**{**options, **nested})


def _is_call(node: Any) -> bool:
    return isinstance(node, Mapping) and bool(node.get("_target_"))


def _known(group: str, options: Any, allowed: Any, owner: str = "") -> None:
    if not isinstance(options, Mapping):
        raise UserError(f"{group}={options!r} is not a group of options; set one of them, as in {group}.key=value.")
    for name in options:
        if name not in allowed:
            full = f"{group}.{name}" if group else name
            owner = owner or group or "the config"
            known = ", ".join(allowed) or "no options at all"
            raise UserError(
                f"{full}={options[name]!r}: {owner} has no option {name!r}; it has {known}."
                f"{did_you_mean(name, allowed)}"
            )
