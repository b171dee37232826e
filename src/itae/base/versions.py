"""What numbers depend on beside this code: Python and the packages that are installed."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Mapping

__version__ = "0.1.0"

_PACKAGES = (
    "itae",
    "torch",
    "timm",
    "numpy",
    "scikit-learn",
    "pillow",
    "hydra-core",
    "wandb",
    "faiss-cpu",
    "faiss-gpu",
)


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions of what numbers depend on: Python and the packages that are installed."""
    out = {"python": platform.python_version(), "platform": sys.platform}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out[name] = importlib.metadata.version(name)
    return out
