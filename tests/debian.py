"""Programs that tests need and pip does not have: Debian's, which `.ci/run` installs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def why_not(programs: Sequence[str], packages: Sequence[str]) -> str:
    """Return why these programs can't be run here, or an empty text."""
    if all(map(shutil.which, programs)):
        return ""
    return f"needs Debian's packages {' and '.join(packages)}"
