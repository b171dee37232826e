"""An edit: which patches are artifacts, what is done about them, and in which blocks.

``embeddings = f(dataset, backbone, edit)``: this is the third argument. Two edits that can't give different
vectors have the same spec; no edit at all is None.

There are several kinds behind one seam, `AnyEdit`: an `Edit` changes what is attended to, `itae.edits.neighbour_mean`
what enters a block, `itae.edits.registers` what an MLP writes, with tokens to spare, and `itae.edits.augment` what is
looked at.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from itae.base.errors import UserError, did_you_mean
from itae.base.identity import key_of
from itae.edits.found import AnyDetector, ByDetector, flags_nothing, resolved

if TYPE_CHECKING:
    from torch import nn

    from itae.edits.attenuate import Attenuator
    from itae.edits.gathered import Gathered
    from itae.vit.facts import Facts

METHOD = 2
"""Raised when a mend of the method changes vectors, so that the cache forgets the old ones."""

LAYER_FORMS = "none, last, last2, last4 (any number), all, or a list such as [8,9,-1]"


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
class Edit(ByDetector):
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

    def attends(self, layer: int) -> bool:
        """Whether a block is edited."""
        return layer in self.layers

    def does(self) -> dict[int, str]:
        """Return what is done in each block for which all is known: threshold, and what is gathered."""
        lacking = self.lacking()
        return {layer: told for layer, told in super().does().items() if layer not in lacking}

    def lacking(self) -> tuple[int, ...]:
        """Return the blocks for which the attenuator needs something that is yet to be gathered."""
        return self.attenuator.lacking(self.layers)

    def check(self, facts: Facts) -> None:
        """Raise a `UserError` if a CLS token is needed and the model has none."""
        super().check(facts)
        if self.attenuator.queries == "cls" and not facts.has_cls:
            raise UserError(
                f"attenuator.queries=cls: {facts.architecture} has no CLS token; use attenuator.queries=all."
            )

    def at(self, layer: int) -> str:
        """Return what is done in one edited block, in a form that is equal for two edits that do the same there."""
        return repr((self.finds(self.look(layer)), key_of(self.attenuator), self.attenuator.known(layer)))

    def with_gathered(self, found: Gathered) -> Edit:
        """Return the edit with what was gathered for its attenuator."""
        return replace(self, attenuator=self.attenuator.with_gathered(found))  # type: ignore[attr-defined]

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on, as plain values: the edit's part of the cache key."""
        attenuator = key_of(self.attenuator)
        if pool == "cls" and self.layers == (depth - 1,):
            attenuator["queries"] = "cls"  # no other row of the last block reaches the embedding
        return {
            "method": METHOD,
            "detector": self.detector_spec(),
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
    chosen = parse_layers(layers, depth)
    if flags_nothing(detector) or not chosen or attenuator.strength == 0:
        return None
    return Edit(resolved(detector, chosen, depth), attenuator, chosen)


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
READS = {ATTENTION: ("detector", "attenuator", "layers"), "itae.neighbour_mean.NeighbourMean": ("detector", "layers")}
"""What an edit of ours reads of a config beside its own group, by its public name; any other nothing of these."""
