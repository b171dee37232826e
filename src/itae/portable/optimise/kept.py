"""Weights that steps make, kept by content: a .safetensors file each, there whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from itae.base.disk import disk_trouble_told, replace_file

if TYPE_CHECKING:
    import torch

_PLACE = Path("portable", "optimised")


def kept(weights: Mapping[str, torch.Tensor], cache: Path) -> Path:
    """Write weights into the cache unless they are there, and return their file; its name is their sha256."""
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    path = cache / _PLACE / f"{hashlib.sha256(data).hexdigest()}.safetensors"
    with disk_trouble_told(path):
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
    return path
