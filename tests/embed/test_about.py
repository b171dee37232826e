"""What a reader is told of an edit before any number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from itae.edits.attenuate import Floor
from itae.edits.detect import Random, ResidualNorm
from itae.edits.edit import Edit
from itae.embed.about import notes_on_edit


@pytest.mark.parametrize(
    ("detector", "told"),
    [
        (ResidualNorm(side="low"), "pairs; detector.side chooses which end of the signal is flagged."),
        (Random(rate=1.0), "pairs."),
    ],
)
def test_where_all_is_flagged_the_option_for_the_other_end_is_named(detector, told):
    source = SimpleNamespace(facts=SimpleNamespace(caveats=lambda _: []), dataset=SimpleNamespace(name="d"))
    meta = {"skipped": [], "fits": {}}
    sides = [SimpleNamespace(meta=meta, vectors=np.full((2, 2), i), diagnostics={}) for i in range(2)]
    rows = [{"artifact_rate": 1.0, "tied": 0, "left_alone": 3}]
    (note,) = notes_on_edit(source, Edit(detector, Floor(), (0,)), rows, *sides)
    assert note.startswith("Every patch (or every patch of some head) was flagged in 3 (image, block) pairs")
    assert note.endswith(told)
