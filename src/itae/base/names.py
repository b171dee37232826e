"""What a class is called in configs, results and keys, wherever its file lies.

A name that was ever written down is kept for ever: it stands in users' yaml, in old results, in cache keys, and in the
imports of somebody's own rules.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

PUBLIC = {
    "itae.attenuate": "itae.edits.attenuate",
    "itae.augment": "itae.edits.augment",
    "itae.backbone": "itae.vit.backbone",
    "itae.clock": "itae.portable.clock.measure",
    "itae.cluster": "itae.measure.cluster.clusterers",
    "itae.controls": "itae.edits.controls",
    "itae.corrupt": "itae.tasks.editing.corrupt",
    "itae.data": "itae.images.datasets",
    "itae.deblur": "itae.portable.named",
    "itae.detect": "itae.edits.detectors",
    "itae.device": "itae.portable.devices.devices",
    "itae.digits_clip": "itae.vit.digits_clip",
    "itae.digits_vit": "itae.vit.digits_vit",
    "itae.edit": "itae.edits.edit",
    "itae.errors": "itae.base.errors",
    "itae.feedback": "itae.search.rules",
    "itae.local_outlier": "itae.edits.local_outlier",
    "itae.neighbour_mean": "itae.edits.neighbour_mean",
    "itae.registers": "itae.edits.registers",
    "itae.repair": "itae.tasks.editing.repair",
    "itae.shuffle": "itae.edits.shuffle",
    "itae.tracking": "itae.track.tracking",
    "itae.users": "itae.search.users",
    "itae.vote": "itae.knowledge.answers.vote",
}
"""The public name of a module, and where it is."""
EXPORTED = {
    "itae.tasks.clustering": "itae.tasks.clustering.task",
    "itae.tasks.editing": "itae.tasks.editing.task",
    "itae.tasks.feedback": "itae.tasks.feedback.task",
    "itae.tasks.incremental": "itae.tasks.incremental.task",
    "itae.tasks.knn": "itae.tasks.knn.task",
}
"""A package that exports a class by its own name, and the module where that is written."""
GATHERED = {
    "itae.edits.combined": "itae.detect",
    "itae.edits.detect": "itae.detect",
    "itae.edits.singular_defect": "itae.detect",
    "itae.images.cars": "itae.data",
    "itae.images.cub": "itae.data",
    "itae.images.dataset": "itae.data",
    "itae.images.digits": "itae.data",
    "itae.images.inshop": "itae.data",
    "itae.images.sop": "itae.data",
    "itae.measure.cluster.agglomerative": "itae.cluster",
    "itae.measure.cluster.gmm": "itae.cluster",
    "itae.measure.cluster.hdbscan": "itae.cluster",
    "itae.measure.cluster.kmeans": "itae.cluster",
    "itae.measure.cluster.spectral": "itae.cluster",
    "itae.measure.cluster.temi": "itae.cluster",
    "itae.measure.cluster.turtle": "itae.cluster",
    "itae.portable.data.debian": "itae.deblur",
    "itae.portable.data.frames": "itae.deblur",
    "itae.portable.data.layouts": "itae.deblur",
    "itae.portable.data.noise": "itae.deblur",
    "itae.portable.data.objects": "itae.deblur",
    "itae.portable.data.photographs": "itae.deblur",
    "itae.portable.data.shake": "itae.deblur",
    "itae.portable.data.wanted": "itae.deblur",
    "itae.portable.nets.spandrel_net": "itae.deblur",
    "itae.portable.nets.unet": "itae.deblur",
    "itae.portable.optimise.aware": "itae.deblur",
    "itae.portable.optimise.post_training": "itae.deblur",
    "itae.portable.optimise.prune": "itae.deblur",
    "itae.portable.optimise.swap": "itae.deblur",
    "itae.portable.search.options": "itae.deblur",
    "itae.portable.search.sandwich": "itae.deblur",
    "itae.portable.search.space": "itae.deblur",
    "itae.portable.train.options": "itae.deblur",
    "itae.search.rule": "itae.feedback",
    "itae.search.trained": "itae.feedback",
}
"""A module whose classes go by a name of `PUBLIC`, and that name; the module that it stands for has them all."""
_NAMES = {place: name for name, place in (PUBLIC | EXPORTED).items()} | GATHERED


def public_name(cls: type) -> str:
    """Return what a class is called in a ``_target_``, a result and a key."""
    return f"{_NAMES.get(cls.__module__, cls.__module__)}.{cls.__qualname__}"


def public_target(target: str) -> str:
    """Return the public name of the class that a ``_target_`` names; any other name stays as it is."""
    module, dot, name = target.rpartition(".")
    return f"{_NAMES.get(module, module)}{dot}{name}"


def choice_of(target: str) -> str:
    """Return what a class is called on a command line, by its name alone or with its module: ``residual_norm``."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", target.rpartition(".")[2]).lower()
    return "none" if snake in ("no_control", "unchanged") else snake


def place_of(module: str) -> str:
    """Return the module that a public name stands for; any other name stands for itself."""
    return PUBLIC.get(module, module)


def packaged(path: str) -> str:
    """Return where a packaged file is whose path, as in ``pkg://itae/weights/name``, is a public name."""
    return path.replace("itae/weights/", "itae/vit/weights/", 1) if path.startswith("itae/weights/") else path


class Importer:
    """Import a module by its public name: the very module, under both names. Asked where Python finds none itself."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return how to load a module that `PUBLIC` names."""
        return ModuleSpec(name, self) if name in PUBLIC else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that the name stands for."""
        module = importlib.import_module(PUBLIC[spec.name])
        spec.loader_state = module.__spec__
        return module

    def get_code(self, name: str) -> object:
        """Return the code of the module, for ``python -m``."""
        spec = importlib.util.find_spec(PUBLIC[name])
        return spec.loader.get_code(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it was: Python has just put the spec of the other name into it."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def importable() -> None:
    """Have public names imported from here on, once."""
    if not any(isinstance(finder, Importer) for finder in sys.meta_path):
        sys.meta_path.append(Importer())
