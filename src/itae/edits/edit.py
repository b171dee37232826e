"""An edit: which patches are artifacts, what is done about them, and in which blocks.

``embeddings = f(dataset, backbone, edit)``: this is the third argument. Two edits that can't give different
vectors have the same spec; no edit at all is None.

There are several kinds behind one seam, `AnyEdit`: an `Edit` changes what is attended to, an edit of tokens
(`itae.edits.registers`) what an MLP writes, with tokens to spare, and one of views (`itae.edits.augment`) what is
looked at.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from itae.base.errors import UserError, did_you_mean
from itae.base.identity import key_of

if TYPE_CHECKING:
    from torch import nn

    from itae.edits.attenuate import Attenuator
    from itae.edits.site import Flags, Site
    from itae.vit.facts import Facts

METHOD = 2
"""Raised when a mend of the method changes vectors, so that the cache forgets the old ones."""

LAYER_FORMS = "none, last, last2, last4 (any number), all, or a list such as [8,9,-1]"


class AnyDetector(Protocol):
    """What an edit needs of a detector; `itae.edits.detect.Detector` is the usual base."""

    @property
    def needs_cls(self) -> bool:
        """Whether the signal reads the CLS token."""

    @property
    def fitted(self) -> bool:
        """Whether a threshold is fitted for each layer beforehand."""

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        """Flag the patches of one attention call."""

    def spec(self) -> dict[str, Any]:
        """Return what the flags depend on, as plain values."""


class AnyEdit(Protocol):
    """What a pass over images, the store and a run need of an edit, whatever it does."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The edited blocks, ascending; none where nothing was found to edit, which is the untouched model."""

    @property
    def extra(self) -> int:
        """How many tokens follow the patches from the first block on."""

    def does(self) -> dict[int, str]:
        """Return, for each edited block, what is done there, in a form that is equal where the same is done."""

    @property
    def reads_queries(self) -> bool:
        """Whether the edit goes by the queries of patches."""

    def attends(self, layer: int) -> bool:
        """Whether the attention of a block is edited."""

    def inside(self, block: nn.Module, layer: int, prefix: int) -> contextlib.AbstractContextManager[None]:
        """Edit what else a block does, in the body."""

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if the model lacks what the edit needs."""

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on, as plain values: the edit's part of the cache key."""


@dataclass(frozen=True)
class Attention:
    """``edit=attention``: the attention paid to what `detector` flags is attenuated in `layers`."""

    def make(self, detector: Any, attenuator: Any, layers: Any, facts: Facts) -> Edit | None:
        """Return the edit, or None if it can't change anything."""
        return make_edit(detector, attenuator, layers, facts.depth)


@dataclass(frozen=True)
class Edit:
    """Attenuate the attention paid to the patches that `detector` flags, in the blocks `layers`.

    Parameters
    ----------
    detector, attenuator
        The rules.
    layers
        Indices of the edited blocks, from 0, ascending, at least one.
    thetas
        Threshold of each layer, for a detector whose rule is fitted; NaN flags nothing there.
    """

    detector: AnyDetector
    attenuator: Attenuator
    layers: tuple[int, ...]
    thetas: Mapping[int, float] | None = None

    @property
    def judge(self) -> Any:
        """The detector that has the signal and the threshold: a control goes by another's."""
        return getattr(self.detector, "match", None) or self.detector

    @property
    def found_in(self) -> int | None:
        """The block of the untouched model in which the patches are found, or None: each edited block finds its own."""
        layer: int | None = getattr(self.judge, "layer", None)  # a detector of somebody's own needn't have one
        return layer

    @property
    def calibration(self) -> str | None:
        """The file that the thresholds are from, or None."""
        path: str | None = getattr(self.judge, "calibration", None)
        return path

    @property
    def looks(self) -> tuple[int, ...]:
        """The blocks in which the detector looks, ascending."""
        return self.layers if self.found_in is None else (self.found_in,)

    @property
    def unfitted(self) -> bool:
        """Whether thresholds have to be fitted before the edit can be made."""
        return self.detector.fitted and self.thetas is None

    @property
    def extra(self) -> int:
        """No token is added."""
        return 0

    @property
    def reads_queries(self) -> bool:
        """Whether the detector reads the queries of patches; one that doesn't say may."""
        return getattr(self.detector, "reads_queries", True)

    def attends(self, layer: int) -> bool:
        """Whether a block is edited."""
        return layer in self.layers

    def inside(self, block: nn.Module, layer: int, prefix: int) -> contextlib.AbstractContextManager[None]:
        """Edit nothing but attention."""
        return contextlib.nullcontext()

    def does(self) -> dict[int, str]:
        """Return what is done in each block whose threshold is known."""
        known = [i for i in self.layers if self.thetas is None or self.found_in is not None or i in self.thetas]
        return {layer: self.at(layer) for layer in known}

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if a CLS token is needed and the model has none."""
        if facts.has_cls:
            return
        name = facts.architecture
        if self.detector.needs_cls:
            raise UserError(f"detector=cls_attention: {name} has no CLS token; choose another detector.")
        if self.attenuator.queries == "cls":
            raise UserError(f"attenuator.queries=cls: {name} has no CLS token; use attenuator.queries=all.")

    def flag(self, site: Site) -> Flags:
        """Return the flagged patches of one attention call.

        Raises
        ------
        UserError
            If a detector of somebody's own returns flags of another shape: they would be taken for other patches'.
        """
        assert self.thetas is not None or not self.detector.fitted, "used before its thresholds were fitted"
        theta = (self.thetas[site.layer],) if self.thetas is not None and self.detector.fitted else ()
        flags = self.detector(site, *theta)
        batch, heads, tokens = site.k.shape[:3]
        if tuple(flags.mask.shape) not in {(batch, count, tokens - site.prefix) for count in (1, heads)}:
            raise UserError(
                f"{type(self.detector).__name__} flags {tuple(flags.mask.shape)}; it must be [images, 1 or heads, "
                f"patches], here ({batch}, 1 or {heads}, {tokens - site.prefix}), without the {site.prefix} prefix "
                "tokens."
            )
        return flags

    def at(self, layer: int) -> str:
        """Return what is done in one edited block, in a form that is equal for two edits that do the same there."""
        look = layer if self.found_in is None else self.found_in
        return repr((self.finds(look), key_of(self.attenuator)))

    def finds(self, layer: int) -> str:
        """Return how patches are found in a block, in a form that is equal for two edits that find the same there."""
        theta = self.thetas[layer] if self.thetas is not None and self.detector.fitted else None
        return repr((key_of(self.detector), theta))

    def with_thetas(self, thetas: Mapping[int, float]) -> Edit:
        """Return the edit with its fitted thresholds."""
        return replace(self, thetas=dict(thetas))

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on, as plain values: the edit's part of the cache key."""
        attenuator = key_of(self.attenuator)
        if pool == "cls" and self.layers == (depth - 1,):
            attenuator["queries"] = "cls"  # no other row of the last block reaches the embedding
        detector = key_of(self.detector)
        if self.calibration is not None:
            assert self.thetas is not None, "a key was asked for before the calibration was read"
            detector["thetas"] = told_thetas({layer: self.thetas[layer] for layer in self.looks})
        return {
            "method": METHOD,
            "detector": detector,
            "attenuator": attenuator,
            "layers": list(self.layers),
        }


def make_edit(detector: AnyDetector, attenuator: Attenuator, layers: str | Sequence[int], depth: int) -> Edit | None:
    """Return the edit of these settings in a model of `depth` blocks, or None if it can't change anything.

    Raises
    ------
    UserError
        If `layers` can't be read or a layer is outside the model.
    """
    from itae.edits.detect import Nothing, Random

    chosen = parse_layers(layers, depth)
    judge = getattr(detector, "match", None) or detector
    idle = isinstance(judge, Nothing) or (isinstance(judge, Random) and judge.rate == 0)
    if idle or not chosen or attenuator.strength == 0:
        return None
    return Edit(_resolved(detector, chosen, depth), attenuator, chosen)


def _resolved(detector: Any, chosen: tuple[int, ...], depth: int) -> Any:
    """Return the detector with its `layer` counted from the first block, and none where it makes no difference."""
    if (match := getattr(detector, "match", None)) is not None:
        return replace(detector, match=_resolved(match, chosen, depth))
    layer = getattr(detector, "layer", None)
    if layer is None:
        return detector
    if not -depth <= layer < depth:
        raise UserError(
            f"detector.layer={layer}: there is no such block in a model of {depth} blocks; use {-depth} to {depth - 1}."
        )
    return replace(detector, layer=None if chosen == (layer % depth,) else layer % depth)


def told_thetas(thetas: Mapping[int, float]) -> dict[str, float | None]:
    """Return fitted thresholds, by layer, as JSON has them: None for one that is no number."""
    return {str(layer): None if math.isnan(theta) else theta for layer, theta in thetas.items()}


def parse_layers(layers: str | Sequence[int] | int, depth: int | None = None) -> tuple[int, ...]:
    """Return the indices of the edited blocks, ascending, each once.

    Parameters
    ----------
    layers
        ``none``, ``last``, ``lastN``, ``all``, an index or a list of them; negative ones count from the end.
    depth
        Number of blocks of the model. None checks the form alone.

    Raises
    ------
    UserError
        If the form is none of these, or a layer is outside the model.
    """
    span = depth if depth is not None else 10**6
    if isinstance(layers, str):
        return _named_layers(layers, span)
    values: list[Any] = list(layers) if isinstance(layers, Sequence) else [layers]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"layers={layers!r} has {value!r} in it, which is no index; allowed are {LAYER_FORMS}.")
        if not -span <= value < span:
            raise UserError(
                f"layers={layers!r}: there is no block {value} in a model of {span} blocks; use {-span} to {span - 1}."
            )
    return tuple(sorted({value % span for value in values}))


def _named_layers(layers: str, depth: int) -> tuple[int, ...]:
    named = re.fullmatch(r"last([1-9]\d*)?", layers)
    if layers == "none":
        return ()
    if layers == "all":
        return tuple(range(depth)) if depth < 10**6 else (0,)
    if not named:
        hint = did_you_mean(layers, ["none", "last", "last4", "all"])
        raise UserError(f"layers={layers!r} can't be read; allowed are {LAYER_FORMS}.{hint}")
    count = int(named[1] or 1)
    if count > depth:
        raise UserError(f"layers={layers}: the model has {depth} blocks only; use last{depth} at most, or all.")
    return tuple(range(depth - count, depth))


def passes_of(edit: AnyEdit | None) -> int:
    """Return how many forward passes an image takes under an edit; one that doesn't say takes one."""
    return getattr(edit, "passes", 1)


ATTENTION = "itae.edit.Attention"
"""The edit of a config that names none, as all did before there were others."""
