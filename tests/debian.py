"""Programs that tests need and pip does not have: Debian's, which CI installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


def why_not(programs: Sequence[str], packages: Sequence[str]) -> str:
    """Return why these programs can't be run here, or an empty text; in CI, as root, they are installed first."""
    if all(map(shutil.which, programs)):
        return ""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if os.environ.get("CI", "").lower() not in ("1", "true") or not root or not shutil.which("apt-get"):
        return f"needs Debian's packages {' and '.join(packages)}; with CI=true, as root, they are installed"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        try:
            done = subprocess.run(
                ["apt-get", *words], env=quiet, capture_output=True, text=True, timeout=150, check=False
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {words[0]} took too long"
    return "" if done.returncode == 0 else f"apt-get: {done.stderr.strip()[-300:]}"
