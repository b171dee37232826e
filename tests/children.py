"""Processes that tests start, and that import what lies beside the tests."""

from __future__ import annotations

import os
from pathlib import Path


def with_tests() -> dict[str, str]:
    """Return the environment of such a process."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
