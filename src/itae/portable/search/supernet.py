"""All U-Nets of a space in one set of weights: what one training gives for every device.

A sub-net is the plain module of its spec, called with its parts of the shared weights: there is no second forward that
could differ from it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn
from torch.func import functional_call

from itae.portable.nets.spec import Spec
from itae.portable.nets.unet_module import UNetModule
from itae.portable.search.parts import Part, parts, taken
from itae.portable.search.space import Space

QUIET = 0.01
"""What the last convolution's weights are multiplied by at first: what a network adds to the picture begins small."""
_SLOPE = 0.25
"""Of PReLU at first, as in torch."""


class Supernet(nn.Module):
    """The weights that all U-Nets of a space share: sharp picture = supernet(blurred picture, spec), [B, 3, H, W].

    Parameters
    ----------
    space
        Its U-Nets.
    seed
        Weights are drawn from it, so that a signal keeps its size in a network of any width (He et al. 2015, arXiv
        1502.01852).
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__()
        self.space = space
        found = _found(space)
        slots: dict[str, Part] = {}
        for part in found:
            if len(part.shape) == 4:
                known = slots.setdefault(part.slot, part)
                slots[part.slot] = replace(
                    part, shape=tuple(map(max, part.shape, known.shape)), fan_in=max(part.fan_in, known.fan_in)
                )
        generator = torch.Generator().manual_seed(seed)
        drawn = {slot: _drawn(part, generator) for slot, part in sorted(slots.items())}
        self.shared = nn.ParameterDict({slot: nn.Parameter(weight) for slot, weight in drawn.items()})
        private = [part for part in found if part.private is not None or part.slot not in slots]
        first = {part.private or part.slot: _first(part, slots.get(part.slot)) for part in private}
        self.private = nn.ParameterDict({key: nn.Parameter(first[key]) for key in sorted(first)})

    def weights(self, spec: Spec) -> dict[str, torch.Tensor]:
        """Return the weights of a sub-net, by their names in its module; gradients go through them to the shared ones.

        Raises
        ------
        ValueError
            When the network isn't one of the space.
        """
        if spec not in self.space:
            raise ValueError(f"{spec} is not in the space of this supernet")
        return {name: self._weight(part) for name, part in parts_of(plain(spec)).items()}

    def forward(self, blurred: torch.Tensor, spec: Spec) -> torch.Tensor:
        """Return the sharp picture that a sub-net makes."""
        return functional_call(skeleton(plain(spec)), self.weights(spec), (blurred,))

    def _weight(self, part: Part) -> torch.Tensor:
        if part.slot in self.private:
            return self.private[part.slot]
        whole = self.shared[part.slot]
        if part.private is None:
            gain: torch.Tensor | float = math.sqrt(whole.numel() / math.prod(part.shape))
        else:
            gain = self.private[part.private].view([-1 if axis == part.outputs else 1 for axis in range(4)])
        return (taken(whole, part) * gain).contiguous()


@functools.lru_cache(maxsize=512)
def skeleton(spec: Spec) -> UNetModule:
    """Return the module of a spec whose weights are to come from elsewhere."""
    return UNetModule(spec, None).requires_grad_(False).eval()


def plain(spec: Spec) -> Spec:
    """Return the architecture alone of a spec that may be a network with weights and a name."""
    return Spec(**spec.architecture())


@functools.lru_cache(maxsize=512)
def parts_of(spec: Spec) -> dict[str, Part]:
    """Return where each parameter of a network of this architecture lies, by its name in its module."""
    like = spec if spec.activation == "prelu" else replace(spec, activation="relu")  # the others have no weights either
    return parts(spec, {name: tuple(each.shape) for name, each in skeleton(like).named_parameters()})


def _found(space: Space) -> list[Part]:
    """Return each part that any network of a space takes, at least once in each shape that it has."""
    seen: dict[tuple[str | None, ...], Part] = {}
    for spec in covering(space):
        seen |= {(part.slot, part.private): part for part in parts_of(spec).values()}
    return list(seen.values())


def covering(space: Space) -> Iterator[Spec]:
    """Give networks that have all parts of all: only a block and what it is given have to meet each other."""
    blocks = max(space.blocks)
    met = list(itertools.product(space.kernel, space.conv, space.expansion, space.skip))
    rows = max(len(met), len(space.up), len(space.down))
    for channels, depth, unshuffle, activation in itertools.product(
        space.channels, space.depth, space.unshuffle, space.activation
    ):
        for row in range(rows):
            kernel, conv, expansion, skip = met[row % len(met)]
            up, down = space.up[row % len(space.up)], space.down[row % len(space.down)]
            yield Spec(
                channels, depth, blocks, kernel, up, skip, down, activation, conv, expansion, unshuffle, residual=True
            )


def _drawn(part: Part, generator: torch.Generator) -> torch.Tensor:
    """Return a shared weight, in all its channels."""
    quiet = QUIET if part.slot.startswith("tail/") else 1
    return torch.randn(part.shape, generator=generator) * quiet * math.sqrt(_power(part) / part.fan_in)


def _power(part: Part) -> float:
    """Return what the square of a signal is to grow by: 2 where an activation comes next, which takes half of it."""
    place, last = part.slot.partition("/")[0], part.slot.rpartition("/")[2]
    if place not in ("head", "encoder", "decoder", "bottom"):
        return 1
    linear = ("/depthwise" in part.slot and last.endswith("_0_weight")) or last.endswith("inside_4_weight")
    return 1 if linear else 2


def _first(part: Part, slot: Part | None) -> torch.Tensor:
    """Return what is private to a width, at first: gains that make up for the terms that a narrow sum lacks."""
    if part.private is None:
        slopes = part.slot.split("/")[-3].endswith("weight")
        return torch.full(part.shape, _SLOPE if slopes else 0.0)
    assert slot is not None
    return torch.full((part.shape[part.outputs],), math.sqrt(slot.fan_in / part.fan_in))
