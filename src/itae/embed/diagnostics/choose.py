"""Which collector a pass needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from itae.embed.diagnostics.collect import Collector, example_rows, looked_at
from itae.embed.diagnostics.flags import FlagCollector
from itae.embed.diagnostics.outliers import OutlierCollector

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.vit.facts import Facts


def collector(edit: AnyEdit | None, facts: Facts, positions: Sequence[int], diagnostics: bool, n: int) -> Collector:
    """Return what gathers the vectors of one edit, or of the untouched model, and its diagnostics if they are wanted.

    Parameters
    ----------
    edit
        The edit, or None for the untouched model.
    facts
        Of the model.
    positions
        Of the images that will come in the whole set, ascending.
    diagnostics
        Whether norms, maps and attention are wanted; counts of what is flagged are kept anyway.
    n
        How many the whole set has.
    """
    from itae.edits.augment import AugmentEdit
    from itae.edits.found import ByDetector
    from itae.edits.register_mean import RegisterMeanEdit
    from itae.edits.registers import RegisterEdit
    from itae.embed.diagnostics.norms import NormCollector

    images, places = len(positions), np.asarray(positions, np.int64)
    wanted = np.isin(places, looked_at(n))
    examples = np.flatnonzero(np.isin(places, example_rows(n))).tolist()
    if edit is None:
        return NormCollector(facts, images, wanted, examples, places) if diagnostics else Collector(images)
    if isinstance(edit, RegisterEdit):
        return OutlierCollector(edit, images, facts.prefix) if diagnostics else Collector(images)
    if isinstance(edit, AugmentEdit | RegisterMeanEdit):
        return Collector(images)
    assert isinstance(edit, ByDetector)
    if not diagnostics:
        return FlagCollector(edit, images)
    height, width = facts.grid
    return FlagCollector(edit, images, height * width, wanted, examples, places)
