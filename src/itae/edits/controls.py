"""Controls: what the numbers have to be held against before an edit is believed.

A control takes the detector and the attenuator of a job and returns what is run in their place, so that
``control=none,random,other_side,mean_value`` is an axis of any sweep. A new one is a class with a ``__call__`` and a
yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.edits import attenuate, detect


@dataclass(frozen=True)
class NoControl:
    """The edit itself."""

    def __call__(self, detector: Any, attenuator: attenuate.Attenuator) -> tuple[Any, attenuate.Attenuator]:
        """Return both as they are."""
        return detector, attenuator


@dataclass(frozen=True)
class Random:
    """As many patches of each image, drawn at random from those that the detector does not flag.

    It puts the detector `itae.edits.detect.Random` in the place of the run's; the name, which stands in keys and
    settings, is that of both.

    What this moves, attenuating any patches moves; an edit has to move more.

    Parameters
    ----------
    seed
        Seed of the draw, at least 0.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        """Check the seed."""
        whole("control.seed", self.seed, low=0)

    def __call__(self, detector: Any, attenuator: attenuate.Attenuator) -> tuple[Any, attenuate.Attenuator]:
        """Return a matched random detector and the attenuator."""
        return detect.Random(match=detector, seed=self.seed), attenuator


@dataclass(frozen=True)
class OtherSide:
    """As many patches of each image, from the other end of the detector's signal."""

    def __call__(self, detector: Any, attenuator: attenuate.Attenuator) -> tuple[Any, attenuate.Attenuator]:
        """Return a detector of the other end and the attenuator."""
        if not hasattr(detector, "side"):
            raise UserError(
                f"control=other_side: {type(detector).__name__} has no side; choose a detector with one, or another "
                "control."
            )
        return detect.OtherEnd(match=detector), attenuator


@dataclass(frozen=True)
class MeanValue:
    """The same patches, their values replaced by the mean of the others: nothing but their content goes.

    It puts the attenuator `itae.edits.attenuate.MeanValue` in the place of the run's; the name, which stands in keys
    and settings, is that of both.
    """

    def __call__(self, detector: Any, attenuator: attenuate.Attenuator) -> tuple[Any, attenuate.Attenuator]:
        """Return the detector and `itae.edits.attenuate.MeanValue` at the same strength for the same rows."""
        return detector, attenuate.MeanValue(strength=attenuator.strength, queries=attenuator.queries)
