"""Inference-Time Attention Engineering for frozen vision transformers.

From Python: ``itae.run(itae.compose(words))`` runs what the command line runs; ``itae.load_run(path)`` reads a run
back, ``itae.load_runs(path)`` many of them as one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "compose", "load_run", "load_runs", "run"]

_HOME = {
    "Run": "itae.runs",
    "UserError": "itae.errors",
    "compose": "itae.cli",
    "load_run": "itae.runs",
    "load_runs": "itae.runs",
    "run": "itae.experiment",
}

if TYPE_CHECKING:
    from itae.cli import compose
    from itae.errors import UserError
    from itae.experiment import run
    from itae.runs import Run, load_run, load_runs


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line starts faster without."""
    if name not in _HOME:
        raise AttributeError(f"module 'itae' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
