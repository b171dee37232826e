"""A sub-net of a supernet as a network of its own: what is exported, measured, and trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save

from itae.base.disk import disk_trouble_told, replace_file
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.nets.unet_module import UNetModule
from itae.portable.search.supernet import Supernet, plain

_PLACE = Path("portable", "sliced")


def sliced(supernet: Supernet, spec: Spec) -> UNetModule:
    """Return a sub-net with weights of its own, in eval mode: its output is the supernet's, to the bit.

    Raises
    ------
    ValueError
        When the network isn't one of the supernet's space.
    """
    module = UNetModule(plain(spec), None)
    with torch.no_grad():
        module.load_state_dict({name: weight.float() for name, weight in supernet.weights(spec).items()})
    return module.eval()


def kept(supernet: Supernet, spec: Spec, store_root: Path, name: str) -> UNet:
    """Return a sub-net with its weights in a file of the cache, which is named by the sha256 of what it holds.

    Parameters
    ----------
    supernet, spec
        Whose, and which.
    store_root
        Of the cache (paths.cache).
    name
        What tables call it.

    Raises
    ------
    UserError
        If the disk is in trouble.
    """
    state = sliced(supernet, spec).state_dict()
    data = save({each: weight.contiguous() for each, weight in state.items()})
    path = store_root / _PLACE / f"{hashlib.sha256(data).hexdigest()}.safetensors"
    with disk_trouble_told(path.parent):
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
    return UNet(**plain(spec).architecture(), weights=str(path), name=name)
