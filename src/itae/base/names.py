"""What a class is called in configs, results and keys, wherever its file lies.

A name that was ever written down is kept for ever: it stands in users' yaml, in old results and in cache keys.
"""

from __future__ import annotations

PUBLIC = {
    "itae.attenuate": "itae.edits.attenuate",
    "itae.backbone": "itae.vit.backbone",
    "itae.cluster": "itae.measure.kmeans",
    "itae.controls": "itae.edits.controls",
    "itae.data": "itae.images.datasets",
    "itae.detect": "itae.edits.detect",
    "itae.digits_vit": "itae.vit.digits_vit",
    "itae.edit": "itae.edits.edit",
    "itae.registers": "itae.edits.registers",
    "itae.tracking": "itae.track.tracking",
}
"""The public name of a module, and where it is."""
_NAMES = {place: name for name, place in PUBLIC.items()}


def public_name(cls: type) -> str:
    """Return what a class is called in a ``_target_``, a result and a key."""
    return f"{_NAMES.get(cls.__module__, cls.__module__)}.{cls.__qualname__}"


def place_of(module: str) -> str:
    """Return the module that a public name stands for; any other name stands for itself."""
    return PUBLIC.get(module, module)


def packaged(path: str) -> str:
    """Return where a packaged file is whose path, as in ``pkg://itae/weights/name``, is a public name."""
    return path.replace("itae/weights/", "itae/vit/weights/", 1) if path.startswith("itae/weights/") else path
