"""Which collector a pass needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itae.embed.diagnostics.collect import Collector, example_rows, looked_at
from itae.embed.diagnostics.flags import FlagCollector
from itae.embed.diagnostics.outliers import OutlierCollector

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.vit.facts import Facts


def collector(
    edit: AnyEdit | None, facts: Facts, images: int, diagnostics: bool, first: int = 0, n: int | None = None
) -> Collector:
    """Return what gathers the vectors of one edit, or of the untouched model, and its diagnostics if they are wanted.

    Parameters
    ----------
    edit
        The edit, or None for the untouched model.
    facts
        Of the model.
    images
        How many will come.
    diagnostics
        Whether norms, maps and attention are wanted; counts of what is flagged are kept anyway.
    first, n
        Position of the first of them in the whole set, and how many that has (as many as will come).
    """
    from itae.edits.edit import Edit
    from itae.edits.registers import RegisterEdit
    from itae.embed.diagnostics.norms import NormCollector

    n = images if n is None else n
    wanted = np.isin(np.arange(first, first + images), looked_at(n))
    if edit is None:
        return NormCollector(facts, images, wanted) if diagnostics else Collector(images)
    if isinstance(edit, RegisterEdit):
        return OutlierCollector(edit, images, facts.prefix) if diagnostics else Collector(images)
    assert isinstance(edit, Edit)
    if not diagnostics:
        return FlagCollector(edit, images)
    height, width = facts.grid
    examples = [i - first for i in example_rows(n) if first <= i < first + images]
    return FlagCollector(edit, images, height * width, wanted, examples)
