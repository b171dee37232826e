"""A supernet's gains and biases at first, by which a signal keeps its size in each of its networks.

Formulas of moments hold for pictures about 0. Real ones are bright, and what is bright in a feature drowns what
differs. A supernet that was drawn by formulas alone did harm with whatever its networks said, and learned to say
nothing; one that began here learned. Only what trains imports this.

Letters: C channels of what a layer says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.func import functional_call

from itae.portable.nets.draw import SHIFT, probe
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet_module import CORRECTION
from itae.portable.search.parts import Part
from itae.portable.search.supernet import Supernet, covering, parts_of, skeleton
from itae.portable.train.start import TAIL

SIDE = 4
"""Places a side at the bottom of the deepest network, of the pictures that are looked at."""


def settle(supernet: Supernet, seed: int) -> None:
    """Set gains and biases, layer by layer as pictures pass through networks that have all parts of all.

    Each output channel is divided by its standard deviation over pictures, and its bias takes its mean away, as
    `itae.portable.nets.draw.draw` does for one network. What several share is set by the widest of them. The last
    convolution has no gain: its weight is set, once. All is computed in float64, so that machines begin alike.

    Parameters
    ----------
    supernet
        As it was drawn; changed in place.
    seed
        Of pictures and of what is left of the biases.
    """
    generator = torch.Generator().manual_seed(seed)
    pictures = probe(SIDE * supernet.space.multiple, generator)
    known: set[str] = set()
    supernet.double()
    with torch.no_grad():
        for spec in sorted(covering(supernet.space), key=lambda spec: -spec.channels / spec.unshuffle):
            _pass(supernet, spec, pictures, known, generator)
    supernet.float()


def _pass(supernet: Supernet, spec: Spec, pictures: torch.Tensor, known: set[str], generator: torch.Generator) -> None:
    """Run pictures through a network, and settle what isn't known of it."""
    module, parts = skeleton(spec), parts_of(spec)

    def hook(name: str) -> Callable[..., torch.Tensor | None]:
        def settled(layer: nn.Module, given: object, said: torch.Tensor) -> torch.Tensor | None:
            return _settled(supernet, name, parts, said, known, generator)

        return settled

    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, convolutions)}
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        functional_call(module, supernet.weights(spec), (pictures,))
    finally:
        for handle in handles:
            handle.remove()


def _settled(
    supernet: Supernet, name: str, parts: Mapping[str, Part], said: torch.Tensor, known: set[str],
    generator: torch.Generator,
) -> torch.Tensor | None:  # fmt: skip
    """Return what a layer says once it is settled, from what it said, [B, C, H, W]; None if it was."""
    weight, bias = parts[f"{name}.weight"], parts[f"{name}.bias"]
    if bias.slot in known:
        return None
    last = weight.private is None
    wanted = TAIL * CORRECTION if last else 1.0
    mean_C, std_C = said.mean((0, 2, 3)), said.std((0, 2, 3)).clamp(min=torch.finfo(torch.float32).tiny)
    scale_C = torch.ones_like(std_C) if last and weight.slot in known else wanted / std_C
    if weight.private is not None:
        supernet.private[weight.private].mul_(scale_C)
    else:
        supernet.shared[weight.slot].mul_(scale_C[:, None, None, None])
    shift_C = SHIFT * wanted * torch.randn(mean_C.shape, generator=generator, dtype=torch.float64)
    supernet.private[bias.slot].copy_(shift_C - mean_C * scale_C)
    known.update((bias.slot, weight.slot))
    return (said - mean_C[:, None, None]) * scale_C[:, None, None] + shift_C[:, None, None]
