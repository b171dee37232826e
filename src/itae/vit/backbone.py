"""A frozen vision transformer: which one, its weights, its input, its readout.

A `Backbone` is the settings. Its `Facts` (depth, prefix tokens, preprocessing, ...) are read from the model
built without weights, which also shows whether its attention can be edited at all; they are kept beside the
cache, so that a run that finds everything there neither builds the model nor imports torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of, whole
from itae.base.code import code_of, origin, sha256
from itae.base.errors import UserError, did_you_mean
from itae.base.names import packaged
from itae.base.place import at_home
from itae.base.weights import refuse_damaged, refuse_other_formats
from itae.vit.facts import Facts, recall, remember
from itae.vit.hub import OF_BOTH_TOWERS, OF_IMAGES, from_hub
from itae.vit.timm_import import compiler_asleep, import_timm

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

POOLS = ("cls", "mean", "head", "projection", "cls_registers")
PRECISIONS = ("fp32", "bf16", "fp16")
_SMALL = 10_000_000  # weights; a forward of so many is sooner done than SymPy is imported for one on meta
_FACTS_FORMAT = 6


@dataclass(frozen=True)
class Backbone:
    """A timm vision transformer, frozen.

    Parameters
    ----------
    model_name
        Any vision transformer of timm, with or without the tag of its weights.
    checkpoint
        A local safetensors file with the weights; ``pkg://package/path`` is one inside a Python package.
        None takes timm's from the hub.
    image_size
        Height and width of the input in pixels, a multiple of the patch size.
    pool
        The embedding: ``cls`` is the CLS token after the final norm, ``mean`` the mean patch token after it,
        ``head`` the model's own pooling (what its classifier would see), ``projection`` that through the head which
        CLIP has in a classifier's place: the space that it shares with its texts. ``cls_registers`` is [CLS ; mean of
        the trained register tokens] after the final norm, twice as wide (arXiv 2501.04784).
    precision
        ``fp32``, or autocast to ``bf16`` or ``fp16``.
    module
        A Python module to import first, for a model that it registers with ``timm.models.register_model``. What it
        comes from is in the cache key; see `itae.base.code`.

    Raises
    ------
    UserError
        If a value is none of these.
    """

    model_name: str
    checkpoint: str | None = None
    image_size: int = 224
    pool: str = "cls"
    precision: str = "fp32"
    module: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the model."""
        one_of("backbone.pool", self.pool, POOLS)
        one_of("backbone.precision", self.precision, PRECISIONS)
        whole("backbone.image_size", self.image_size, low=1)
        if not isinstance(self.model_name, str) or not self.model_name:
            raise UserError(
                "backbone.model_name is empty; name a timm vision transformer, for example "
                "backbone.model_name=vit_base_patch14_dinov2.lvd142m."
            )
        for name in ("checkpoint", "module"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise UserError(f"backbone.{name}={value!r} is not a name; give one, or null for none.")
        if self.checkpoint is not None:
            self.local_checkpoint()

    # --- weights

    def local_checkpoint(self) -> Path:
        """Return the file that `checkpoint` names.

        Raises
        ------
        UserError
            If there is no such file, or it isn't a whole safetensors file.
        """
        assert self.checkpoint is not None
        path = at_home(self.checkpoint)
        if self.checkpoint.startswith("pkg://"):
            package, _, inner = packaged(self.checkpoint[len("pkg://") :]).partition("/")
            inside = origin(package)
            if inside is None:
                raise UserError(f"backbone.checkpoint={self.checkpoint}: there is no package {package!r}.")
            path = inside.parent / inner
        if not path.is_file():
            raise UserError(
                f"backbone.checkpoint={self.checkpoint}: there is no such file; give a .safetensors file, or null."
            )
        refuse_other_formats(path, f"backbone.checkpoint={self.checkpoint}")
        refuse_damaged(path, f"backbone.checkpoint={self.checkpoint}")
        return path

    def weights(self, facts: Facts) -> Path:
        """Return the file with the weights, from the hub's local cache or the hub if it isn't a local one.

        Raises
        ------
        UserError
            If the file isn't there and the hub can't be reached, or has no safetensors for this model.
        """
        if self.checkpoint is not None:
            return self.local_checkpoint()
        if facts.hub_repo is None:
            raise UserError(
                f"timm has no weights for backbone.model_name={self.model_name}; set backbone.checkpoint to a "
                "safetensors file, or choose a name with a tag (timm.list_pretrained())."
            )
        named = [Path(facts.hub_file).with_suffix(".safetensors").name] if facts.hub_file else []
        return from_hub(facts.hub_repo, [*named, OF_IMAGES, OF_BOTH_TOWERS])

    def space(self, facts: Facts) -> dict[str, Any]:
        """Return what the vectors depend on beside the images and the edit: a part of the cache key."""
        return {
            "model": facts.architecture,
            "code": _source(self.module),
            "weights": sha256(self.weights(facts)),
            "image_size": self.image_size,
            "pool": self.pool,
            "precision": self.precision,
        }

    def width(self, facts: Facts) -> int:
        """Return how many numbers an embedding has; a projection, told by its weights alone, may have others."""
        return (2 if self.pool == "cls_registers" else 1) * facts.width

    # --- the model

    def facts(self, memo: Path) -> Facts:
        """Return the model's `Facts`, from the folder `memo` if they were read before.

        Raises
        ------
        UserError
            If timm has no such model, the image size doesn't fit, the pooling needs a token that isn't
            there, or the model's attention can't be edited.
        """
        timm = importlib.metadata.version("timm")
        name = [_FACTS_FORMAT, self.model_name, self.image_size, _source(self.module), timm]
        digest = hashlib.sha256(json.dumps(name).encode()).hexdigest()[:16]
        path = memo / f"{self.model_name.replace('/', '_')}-{digest}.json"
        facts = recall(path)
        if facts is None:
            facts = self._read_facts()
            remember(path, facts)
        if self.pool == "cls" and not facts.has_cls:
            raise UserError(f"backbone.pool=cls: {self.model_name} has no CLS token; use backbone.pool=mean or head.")
        if self.pool == "cls_registers" and not (facts.has_cls and facts.registers):
            lacks = "register tokens" if facts.has_cls else "CLS token"
            raise UserError(
                f"backbone.pool=cls_registers: {self.model_name} has no {lacks}; use backbone.pool="
                f"{'cls, ' if facts.has_cls else ''}mean or head, or a model with both (backbone=dinov2_s14_reg4, "
                "dinov3_s16)."
            )
        if self.pool == "projection" and not facts.projects:
            raise UserError(
                f"backbone.pool=projection: {self.model_name} has no projection into a space of images and texts; use "
                "backbone.pool=cls, mean or head (which is SigLIP's own space of both), or a CLIP (backbone=clip_b16)."
            )
        return facts

    def _read_facts(self) -> Facts:
        with compiler_asleep():
            return self._facts_without_weights()

    def _facts_without_weights(self) -> Facts:
        import torch

        from itae.vit.reachable import reachable

        self._register()  # out here: what a module makes when it is imported would have no data on meta
        with torch.device("meta"):
            model = self._create(pretrained=False)
        if sum(weight.numel() for weight in model.parameters()) < _SMALL:
            model = self._create(pretrained=False)
        patch = reachable(model, self.model_name)
        if self.image_size % patch:
            near = max(1, round(self.image_size / patch)) * patch
            raise UserError(
                f"backbone.image_size={self.image_size} isn't a multiple of {self.model_name}'s patch size {patch}; "
                f"use {near}, for example."
            )
        return _facts_of(model, self.model_name, self.image_size // patch)

    def build(self, facts: Facts, device: torch.device) -> nn.Module:
        """Return the model with its weights, in eval mode and without gradients, on `device`.

        Raises
        ------
        UserError
            If the weights don't fit the model, or aren't numbers. A classifier that doesn't fit, or isn't there, does
            not matter, nor does a pooling that isn't the embedding. If the embedding is the projection, and they have
            none.
        """
        from itae.vit.checkpoint import check_projection, check_weights, projection_width

        path = self.weights(facts)
        overlay: dict[str, Any] = {"file": str(path), "custom_load": False}
        wide: dict[str, Any] = {}
        if self.pool == "projection":  # timm drops a head that isn't as wide as its name promises
            wide["num_classes"] = overlay["num_classes"] = projection_width(path)
        try:
            model = self._create(pretrained=True, pretrained_cfg_overlay=overlay, **wide)
        except UserError:
            raise
        except Exception as error:
            model = self._fitted(path, overlay, wide, error)
        check_weights(model.requires_grad_(False), path, self.pool)
        if self.pool == "projection":
            check_projection(model, path, facts.architecture)
        return model.eval().to(device)

    def _fitted(self, path: Path, overlay: dict[str, Any], wide: dict[str, Any], error: Exception) -> nn.Module:
        """Return the model with those weights of a file that embeddings depend on; timm refused it, with `error`."""
        import torch

        from itae.vit.checkpoint import fitted

        reason = " ".join(str(error).split())[:300]
        try:
            with torch.device("meta"):
                model = self._create(pretrained=False, **wide)
            state = fitted(path, model, self.pool)
            model = self._create(pretrained=True, pretrained_cfg_overlay=overlay | {"state_dict": state}, **wide)
        except Exception as second:
            reason = str(second) if isinstance(second, UserError) else reason
            raise UserError(
                f"The weights in {path} don't fit backbone.model_name={self.model_name}: {reason}. "
                "Give the architecture that they were saved from."
            ) from error
        model.pretrained_cfg.pop("state_dict", None)  # type: ignore[operator,union-attr]
        return model

    def _register(self) -> ModuleType:
        """Import timm, and the module that registers a model of one's own with it."""
        timm = import_timm()
        if self.module is not None:
            _import(self.module)
        return timm

    def _create(self, **options: Any) -> nn.Module:
        timm = self._register()
        options["img_size"] = self.image_size
        if not timm.is_model(self.model_name.partition(".")[0]):
            hint = did_you_mean(self.model_name.partition(".")[0], timm.list_models())
            raise UserError(f"backbone.model_name={self.model_name}: timm has no such model.{hint}")
        from itae.vit.blank import blank, without_draws

        # Of timm's own, each number is in the file or of no use; somebody's own model may have random ones.
        make = blank if options.get("pretrained") and self.module is None else without_draws
        try:
            return make(lambda: _create_plain(self.model_name, options))
        except (TypeError, RuntimeError) as error:
            if options.get("pretrained"):
                raise
            raise UserError(
                f"backbone.model_name={self.model_name} can't be built at backbone.image_size={self.image_size} "
                f"({' '.join(str(error).split())[:200]}); itae works on plain and RoPE vision transformers."
            ) from error


def _create_plain(name: str, options: dict[str, Any]) -> nn.Module:
    """Build a model of timm, and not the NaFlex class that an environment variable may put behind every vit_*."""
    import timm

    if not name.startswith("vit_"):
        return timm.create_model(name, **options)
    try:
        return timm.create_model(name, use_naflex=False, **options)
    except TypeError as error:
        if "use_naflex" not in str(error):
            raise
        return timm.create_model(name, **options)  # one that has no such variant


def _facts_of(model: Any, name: str, side: int) -> Facts:
    from itae.vit.linear import unreadable
    from itae.vit.reachable import neurons
    from itae.vit.tokens import registers

    cfg = model.pretrained_cfg
    return Facts(
        architecture=name.partition(".")[0],
        depth=len(model.blocks),
        width=model.embed_dim,
        heads=model.blocks[0].attn.num_heads,
        prefix=model.num_prefix_tokens,
        has_cls=getattr(model, "cls_token", None) is not None,
        grid=(side, side),
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        interpolation=cfg["interpolation"],
        hub_repo=cfg.get("hf_hub_id"),
        hub_file=cfg.get("hf_hub_filename"),
        neurons=neurons(model),
        projects=hasattr(getattr(model, "head", None), "out_features"),
        unreadable=unreadable(model),
        registers=registers(model),
    )


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"backbone.module={module} can't be imported ({error}).") from error


def _source(module: str | None) -> str | None:
    """Return what tells the code of a model of somebody's own, which may change under its name."""
    if module is None:
        return None
    if origin(module) is None:
        raise UserError(f"backbone.module={module}: there is no such module; have it installed or on PYTHONPATH.")
    return code_of([module])
