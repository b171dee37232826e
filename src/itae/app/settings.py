"""From plain values to the objects of a run, every mistake found before any work.

A config node is a constructor call: ``_target_`` names the class, the other keys are its options. There is no
registry; a class of anybody's will do, if it has what its group needs. Neither Hydra nor torch is needed here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.base.checks import one_of, whole
from itae.base.construct import GROUPS_OF_TASKS, NEEDS, call, check_options, construct
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.base.names import public_target
from itae.base.place import at_home
from itae.base.runtime import OnRay, Runtime
from itae.edits.controls import controlled, edit_under
from itae.edits.edit import ATTENTION, READS, parse_layers
from itae.images.dataset import Dataset
from itae.vit.backbone import Backbone

SELECTIONS = ("fixed", "proxy", "dev_labels", "oracle")
"""How the settings were chosen; whatever looked at labels is ``dev_labels`` or ``oracle``."""
KEYS = (*NEEDS, "layers", "seed", "selection", "paths", "runtime")
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
    tracker: Any
    parts: Mapping[str, Any]
    layers: str | Sequence[int]
    seed: int
    selection: str
    cache: Path
    runtime: Runtime
    plain: Mapping[str, Any]

    def as_text(self, *keys: str) -> str:
        """Return some of the settings as text, equal for equal settings."""
        return json.dumps([self.plain[key] for key in keys], sort_keys=True)

    @property
    def code(self) -> dict[str, dict[str, Any]]:
        """What code somebody's own task and its parts come from, by group; nothing of ours, nor of a notebook's."""
        found = {}
        for group, one in {"task": self.task, **self.parts}.items():
            with contextlib.suppress(UserError):  # it has no file
                found[group] = identity(one)
        return {group: told for group, told in found.items() if "source" in told}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Settings:
        """Make the objects of a resolved config.

        Raises
        ------
        UserError
            For an unknown or missing key, an unknown option, or a value that is not allowed.
        """
        check_options("", plain, KEYS)
        plain = {**plain, "edit": plain.get("edit") or {"_target_": ATTENTION}}
        missing = [key for key in KEYS if plain.get(key) is None and key not in GROUPS_OF_TASKS]
        if missing:
            raise UserError(f"{missing[0]} is not set, and a run needs it; the keys are {', '.join(KEYS)}.")
        whole("seed", plain["seed"], low=0)
        one_of("selection", plain["selection"], SELECTIONS)
        parse_layers(plain["layers"])
        made = {group: construct(group, plain[group]) for group in NEEDS if group not in GROUPS_OF_TASKS}
        parts = {group: construct(group, plain.get(group)) for group in made["task"].groups}
        control = made.pop("control")
        made["detector"], made["attenuator"] = controlled(made["edit"], control, made["detector"], made["attenuator"])
        made["edit"] = edit_under(control, made["edit"])
        return cls(
            **made,
            parts=parts,
            layers=plain["layers"],
            seed=plain["seed"],
            selection=plain["selection"],
            cache=cache_folder(plain["paths"]),
            runtime=runtime_of(plain["runtime"]),
            plain=plain,
        )


def is_wandb(plain: Mapping[str, Any]) -> bool:
    """Whether a config's tracker is Weights & Biases."""
    return str((plain.get("tracker") or {}).get("_target_")) == "itae.tracking.Wandb"


def reads(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a config's edit reads of it beside its own group: detector, attenuator and layers, some or none."""
    return READS.get(public_target((plain.get("edit") or {}).get("_target_", ATTENTION)), ())


def runtime_of(node: Any) -> Runtime:
    """Return how a run is executed, of the config's node for it."""
    if isinstance(node, Mapping) and "ray" in node:
        node = {**node, "ray": call("runtime.ray", OnRay, node["ray"])}
    return call("runtime", Runtime, node)


def cache_folder(paths: Any) -> Path:
    """Return the store's folder, of the config's node of paths."""
    check_options("paths", paths, ("cache", "data"))
    cache = paths.get("cache")
    if not isinstance(cache, str) or not cache.strip():
        raise UserError(f"paths.cache={cache!r} is not a folder; set paths.cache=/path/to/the/folder.")
    return at_home(cache).absolute()
