"""The detectors: what can be chosen.

All of them can be had from here, wherever they are written: this is the module that ``itae.detect`` stands for.
"""

from __future__ import annotations

from itae.edits.combined import Combined
from itae.edits.detect import (
    MAD_TO_STD,
    RULE_NUMBERS,
    RULES,
    ClsAttention,
    Detector,
    Matched,
    Nothing,
    OtherEnd,
    Random,
    ResidualNorm,
    VectorNorm,
    quantile,
)
from itae.edits.singular_defect import SingularDefect

__all__ = [
    "MAD_TO_STD",
    "RULES",
    "RULE_NUMBERS",
    "ClsAttention",
    "Combined",
    "Detector",
    "Matched",
    "Nothing",
    "OtherEnd",
    "Random",
    "ResidualNorm",
    "SingularDefect",
    "VectorNorm",
    "quantile",
]
