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
from itae.base.names import choice_of, public_name
from itae.edits import attenuate, detect
from itae.edits.edit import READS


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


def controlled(
    edit: Any, control: Any, detector: Any, attenuator: attenuate.Attenuator
) -> tuple[Any, attenuate.Attenuator]:
    """Return what is run in the place of the detector and the attenuator of a job.

    Parameters
    ----------
    edit
        What the group ``edit`` names, before it is made.
    control, detector, attenuator
        Of the job.

    Raises
    ------
    UserError
        If the edit would not read what the control changes: the run would be the edit itself.
    """
    if isinstance(control, NoControl):
        return detector, attenuator
    names = [public_name(cls) for cls in type(edit).__mro__]
    read = next((READS[name] for name in names if name in READS), ())
    if "detector" not in read:
        raise UserError(f"control={type(control).__name__} goes with edit=attention; use control=none.")
    instead, how = control(detector, attenuator)
    if how is not attenuator and "attenuator" not in read:
        raise UserError(
            f"control={type(control).__name__} changes what is done to the attention, and edit={choice_of(names[0])} "
            "does nothing to that; use control=none, random or other_side."
        )
    return instead, how
