"""``assignments.csv`` holds what was written."""

from __future__ import annotations

import numpy as np
import pytest

from itae.base.errors import UserError
from itae.results.assignments import read_assignments, write_assignments


def test_noise_is_read_as_it_was_written(tmp_path):
    path, ids = tmp_path / "assignments.csv", ["a", "b", "c"]
    before, after = np.array([0, -1, 12]), np.array([-1, -1, -1])
    write_assignments(path, ids, None, before, after, np.zeros(3))
    found = read_assignments(path, ids)
    np.testing.assert_array_equal(found.baseline, before)
    np.testing.assert_array_equal(found.edited, after)
    path.write_text(path.read_text().replace("b,-1", "b,-2"))
    with pytest.raises(UserError, match="can't be read"):
        read_assignments(path, ids)
