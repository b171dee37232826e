"""What tests need and pip does not have: Debian's programs, which `.ci/run` installs, and npm's axe-core."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

AXE = Path(sys.prefix) / "npm/node_modules/axe-core/axe.min.js"
"""Which `make setup` installs where there is npm."""


def why_not(programs: Sequence[str], packages: Sequence[str]) -> str:
    """Return why these programs can't be run here, or an empty text."""
    if all(map(shutil.which, programs)):
        return ""
    return f"needs Debian's packages {' and '.join(packages)}"
