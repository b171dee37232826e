"""Controls: what the numbers have to be held against before an edit is believed.

A control takes the detector and the attenuator of a job and returns what is run in their place, so that
``control=none,random,other_side,mean_value`` is an axis of any sweep. One that has a ``make`` is run in the place of
the whole edit. A new one is a class with a ``__call__`` and a yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.base.names import choice_of, public_name
from itae.edits import attenuate, detect, shuffle
from itae.edits.edit import READS, parse_layers
from itae.edits.register_mean import RegisterMeanEdit

if TYPE_CHECKING:
    from itae.vit.facts import Facts


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


@dataclass(frozen=True)
class Shuffle:
    """The same patches, their values replaced by those of flagged patches of other images, in the same block.

    It puts the attenuator `itae.edits.shuffle.Shuffle` in the place of the run's. The values are those of the
    detector's calibration images (``detector.calibration_images``, ``detector.calibration_seed``), whatever its rule.

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
        """Return the detector and `itae.edits.shuffle.Shuffle` at the same strength for the same rows."""
        judge = getattr(detector, "match", None) or detector  # one of somebody's own needn't have calibration images
        drawn = {
            name: getattr(judge, name) for name in ("calibration_images", "calibration_seed") if hasattr(judge, name)
        }
        return detector, shuffle.Shuffle(attenuator.strength, attenuator.queries, seed=self.seed, **drawn)


@dataclass(frozen=True)
class RegisterMean:
    """In the place of the edit: the model's trained registers are what they are on the average, in every block.

    See `itae.edits.register_mean`. Detector and attenuator are not read; ``layers=none`` is the untouched model.

    Parameters
    ----------
    calibration_images, calibration_seed
        On how many images the means are taken, and which; the authors take 10,000.
    """

    calibration_images: int = 256
    calibration_seed: int = 0

    def __post_init__(self) -> None:
        """Check both values."""
        whole("control.calibration_images", self.calibration_images, low=2)
        whole("control.calibration_seed", self.calibration_seed, low=0)

    def __call__(self, detector: Any, attenuator: attenuate.Attenuator) -> tuple[Any, attenuate.Attenuator]:
        """Return both as they are: what `make` returns reads neither."""
        return detector, attenuator

    def make(self, detector: Any, attenuator: Any, layers: Any, facts: Facts) -> RegisterMeanEdit | None:
        """Return the edit in a model of these facts, or None where no block is edited."""
        if not parse_layers(layers, facts.depth):
            return None
        drawn = {"calibration_images": self.calibration_images, "calibration_seed": self.calibration_seed}
        return RegisterMeanEdit(identity(self) | drawn, facts.depth, facts.registers)


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
    name = choice_of(public_name(type(control)))
    names = [public_name(cls) for cls in type(edit).__mro__]
    read = next((READS[name] for name in names if name in READS), ())
    if "detector" not in read:
        raise UserError(
            f"control={name} goes with edit=attention, and edit={choice_of(names[0])} reads no detector; use "
            "control=none."
        )
    instead, how = control(detector, attenuator)
    if how is not attenuator and "attenuator" not in read:
        raise UserError(
            f"control={name} changes what is done to the attention, and edit={choice_of(names[0])} "
            "does nothing to that; use control=none, random or other_side."
        )
    return instead, how


def edit_under(control: Any, edit: Any) -> Any:
    """Return what makes the edit of a job: its own, or a control that is run in its place."""
    return control if hasattr(control, "make") else edit
