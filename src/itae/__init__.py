"""Inference-Time Attention Engineering for frozen vision transformers.

From Python: ``itae.load_run(path)`` reads a run back; ``itae.run(cfg)`` runs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "load_run", "run"]

_HOME = {"Run": "itae.runs", "load_run": "itae.runs", "run": "itae.experiment", "UserError": "itae.errors"}

if TYPE_CHECKING:
    from itae.errors import UserError
    from itae.experiment import run
    from itae.runs import Run, load_run


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line starts faster without."""
    if name not in _HOME:
        raise AttributeError(f"module 'itae' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
