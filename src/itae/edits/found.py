"""What edits have in common that go by a detector: where it looks, its thresholds, and what it flags.

`itae.edits.edit.Edit` attenuates the attention that is paid to what is flagged, `itae.edits.neighbour_mean` replaces
its tokens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.detect import EACH, Nothing, Random

if TYPE_CHECKING:
    from torch import nn

    from itae.edits.site import Flags, Site
    from itae.vit.facts import Facts


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


class ByDetector:
    """An edit that goes by a detector: a frozen dataclass with these fields, `at` and `spec`.

    Parameters
    ----------
    detector
        The rule.
    layers
        Indices of the edited blocks, from 0, ascending, at least one.
    thetas
        Threshold of each layer, for a detector whose rule is fitted; NaN flags nothing there.
    """

    detector: AnyDetector
    layers: tuple[int, ...]
    thetas: Mapping[int, float] | None

    @property
    def judge(self) -> Any:
        """The detector that has the signal and the threshold: a control goes by another's."""
        return getattr(self.detector, "match", None) or self.detector

    @property
    def found_in(self) -> int | None:
        """The block of the untouched model in which the patches are found, or None: in each edited block its own."""
        layer: int | str | None = getattr(self.judge, "layer", None)  # a detector of somebody's own needn't have one
        return layer if isinstance(layer, int) else None

    @property
    def in_untouched(self) -> bool:
        """Whether patches are found in the untouched model, in one block or in each; else as blocks before leave it."""
        return getattr(self.judge, "layer", None) is not None

    def look(self, layer: int) -> int:
        """Return the block in which the patches of an edited block are found."""
        return layer if self.found_in is None else self.found_in

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

    def to_fit(self, layer: int) -> bool:
        """Whether the threshold of a block has to be fitted, and isn't yet."""
        return self.detector.fitted and layer in self.looks and layer not in (self.thetas or {})

    def unfitted_from(self, layer: int) -> bool:
        """Whether a block from `layer` on has to be fitted."""
        return any(self.to_fit(look) for look in self.looks if look >= layer)

    def lacking(self) -> tuple[int, ...]:
        """Return the blocks for which something is yet to be gathered of calibration images."""
        return ()

    @property
    def ungathered(self) -> bool:
        """Whether something has to be gathered of calibration images before the edit can be made."""
        return bool(self.lacking())

    @property
    def extra(self) -> int:
        """No token is added."""
        return 0

    @property
    def reads_queries(self) -> bool:
        """Whether the detector reads the queries of patches; one that doesn't say may."""
        return getattr(self.detector, "reads_queries", True)

    def does(self) -> dict[int, str]:
        """Return what is done in each block whose threshold is known."""
        known = [i for i in self.layers if self.thetas is None or self.found_in is not None or i in self.thetas]
        return {layer: self.at(layer) for layer in known}

    def at(self, layer: int) -> str:
        """Return what is done in one edited block, in a form that is equal for two edits that do the same there."""
        raise NotImplementedError

    def attends(self, layer: int) -> bool:
        """Whether the attention of a block is edited: of none."""
        return False

    def inside(self, block: nn.Module, layer: int, prefix: int) -> contextlib.AbstractContextManager[None]:
        """Edit nothing else inside a block."""
        return contextlib.nullcontext()

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on, as plain values: the edit's part of the cache key."""
        raise NotImplementedError

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if the detector needs a CLS token that isn't there, or weights that can't be read."""
        if facts.unreadable and getattr(self.judge, "reads_weights", False):
            raise UserError(
                f"detector=singular_defect: {facts.architecture} has a block that can't be taken for linear "
                f"({facts.unreadable}), so no direction can be read from its weights; choose another detector, or "
                "another backbone."
            )
        if self.detector.needs_cls and not facts.has_cls:
            raise UserError(f"detector=cls_attention: {facts.architecture} has no CLS token; choose another detector.")

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

    def finds(self, layer: int) -> str:
        """Return how patches are found in a block, in a form that is equal for two edits that find the same there."""
        theta = self.thetas[layer] if self.thetas is not None and self.detector.fitted else None
        return repr((key_of(self.detector), theta))

    def with_thetas(self, thetas: Mapping[int, float]) -> Self:
        """Return the edit with its fitted thresholds."""
        return replace(self, thetas=dict(thetas))  # type: ignore[type-var]

    def detector_spec(self) -> dict[str, Any]:
        """Return what the flags depend on, as plain values: the detector's part of the cache key."""
        told = key_of(self.detector)
        if self.calibration is not None:
            assert self.thetas is not None, "a key was asked for before the calibration was read"
            told["thetas"] = told_thetas({layer: self.thetas[layer] for layer in self.looks})
        return told


def flags_nothing(detector: Any) -> bool:
    """Return whether a detector is known to flag no patch of any image."""
    judge = getattr(detector, "match", None) or detector
    return isinstance(judge, Nothing) or (isinstance(judge, Random) and judge.rate == 0)


def resolved(detector: Any, chosen: tuple[int, ...], depth: int) -> Any:
    """Return the detector with its `layer` counted from the first block, and none where it makes no difference."""
    if (match := getattr(detector, "match", None)) is not None:
        return replace(detector, match=resolved(match, chosen, depth))
    layer = getattr(detector, "layer", None)
    if layer is None:
        return detector
    if layer == EACH:
        return replace(detector, layer=EACH if len(chosen) > 1 else None)  # nothing is edited before the first
    if not -depth <= layer < depth:
        raise UserError(
            f"detector.layer={layer}: there is no such block in a model of {depth} blocks; use {-depth} to {depth - 1}."
        )
    return replace(detector, layer=None if chosen == (layer % depth,) else layer % depth)


def told_thetas(thetas: Mapping[int, float]) -> dict[str, float | None]:
    """Return fitted thresholds, by layer, as JSON has them: None for one that is no number."""
    return {str(layer): None if math.isnan(theta) else theta for layer, theta in thetas.items()}
