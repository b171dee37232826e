"""Inference-Time Attention Engineering for frozen vision transformers.

From Python: ``itae.run(itae.compose(words))`` runs what the command line runs; ``itae.load_run(path)`` reads a run
back, ``itae.load_runs(path)`` many of them as one table; ``itae.open_knowledge(path)`` opens a knowledge base.

Rooms, each of which imports those before it alone:

``base``     errors, checks, identity of classes, devices, progress, atomic files
``images``   folders and formats, decoding, transforms
``vit``      the backbones, and the door through which their attention is seen
``edits``    detectors, attenuators, controls: which patches are artifacts and what is done about them
``store``    embeddings on the disk
``embed``    embeddings = f(dataset, backbone, edit): the pass that many edits share, and what it saw
``measure``  k-means, neighbours, scores, intervals
``results``  runs on the disk, and tables of many
``look``     figures and pages
``knowledge``  rows that are added, corrected and unlearned; answers by their neighbours
``search``   images by similarity, and again by what was judged on the way
``tasks``    what is done with embeddings
``serve``    a base in a browser
``track``    Weights & Biases
``portable``  deblurring networks over devices
``app``      the command line, Hydra, sweeps
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("itae needs a POSIX system, Linux for one, and does not run on Windows; install it in WSL there.")

from itae.base.names import importable
from itae.base.versions import __version__

importable()

__all__ = ["Run", "UserError", "__version__", "compose", "load_run", "load_runs", "open_knowledge", "run"]

_HOME = {
    "Run": ("itae.look.view", "RunView"),
    "UserError": ("itae.base.errors", "UserError"),
    "compose": ("itae.app.compose", "compose"),
    "load_run": ("itae.look.view", "load_run"),
    "load_runs": ("itae.results.many", "load_runs"),
    "open_knowledge": ("itae.knowledge.base", "open_knowledge"),
    "run": ("itae.app.experiment", "run"),
}

if TYPE_CHECKING:
    from itae.app.compose import compose
    from itae.app.experiment import run
    from itae.base.errors import UserError
    from itae.knowledge.base import open_knowledge
    from itae.look.view import RunView as Run
    from itae.look.view import load_run
    from itae.results.many import load_runs


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line starts faster without."""
    if name not in _HOME:
        raise AttributeError(f"module 'itae' has no attribute {name!r}")
    import importlib

    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)
