"""How a number is told in a table."""

from __future__ import annotations

import pytest

from itae.results.report import with_std


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"mean": 0.93, "std": 0.005}, "0.9300 ± 0.0050"),
        ({"mean": 25.0, "std": None}, "25"),  # clusters that were found: a count
        ({"mean": 25.5, "std": 0.5}, "25.5000 ± 0.5000"),
        ({"mean": 1.0, "std": None}, "1.0000"),  # a score
        ({"mean": None, "std": None}, "none"),
        (None, ""),
    ],
)
def test_a_count_has_no_decimals_and_a_score_has_four(value, told):
    assert with_std(value) == told
