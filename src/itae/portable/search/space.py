"""Which U-Nets a search may choose from: of each option of a spec, the values that it may take.

All of them share the weights of one supernet, and how is told in `parts`. What a supernet carries well is what only
takes some of the same weights (channels, blocks, depth, unshuffle) or exchanges one small part (up, down, skip,
activation); dense and depthwise blocks share nothing but what is between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.portable.nets.costs import cost
from itae.portable.nets.spec import ACTIVATIONS, CONVS, DOWNS, KERNELS, SKIPS, UNSHUFFLES, UPS, WIDEST, Spec

if TYPE_CHECKING:
    import numpy as np

_WORDS = {"up": UPS, "skip": SKIPS, "down": DOWNS, "activation": ACTIVATIONS, "conv": CONVS}
_NUMBERS = {"kernel": KERNELS, "unshuffle": UNSHUFFLES}
_RANGES = {"channels": (1, WIDEST), "depth": (1, 8), "blocks": (1, 16), "expansion": (1, 16)}
_SIZES = ("channels", "depth", "blocks", "kernel", "conv", "expansion", "unshuffle")
"""Options that make a network larger or smaller; the others exchange one operator for another."""
_SIDE = 256
"""Height and width of the picture by whose MACs networks are called larger and smaller."""


@dataclass(frozen=True)
class Space:
    """The U-Nets of a search; each option is a list of values, of which one is enough. All are residual.

    Parameters
    ----------
    channels
        Of scale 0. Default 4, 8, 12, 16, 24: runtimes hold channels in blocks of 4, 8 or 16, and widths that fill none
        of those take longer than their size says, which no prediction of times knows of.
    depth
        Default 2, 3.
    blocks
        Default 1, 2.
    kernel
        Default 3 alone. Another kernel has weights of its own.
    up
        Default ``transposed``, ``nearest``, ``pixel_shuffle``.
    skip
        Default ``concat``, ``add``.
    down
        Default ``stride``, ``max_pool``, ``space_to_depth``.
    activation
        Default ``relu``, ``leaky_relu``.
    conv
        Default ``dense``, ``depthwise``.
    expansion
        Of ``inverted``; else it does nothing, and has one value. Default 2.
    unshuffle
        Default 1, 2.

    Raises
    ------
    UserError
        When a list is empty, has a value twice, or one that `Spec` doesn't allow.
    """

    channels: tuple[int, ...] = (4, 8, 12, 16, 24)
    depth: tuple[int, ...] = (2, 3)
    blocks: tuple[int, ...] = (1, 2)
    kernel: tuple[int, ...] = (3,)
    up: tuple[str, ...] = ("transposed", "nearest", "pixel_shuffle")
    skip: tuple[str, ...] = ("concat", "add")
    down: tuple[str, ...] = ("stride", "max_pool", "space_to_depth")
    activation: tuple[str, ...] = ("relu", "leaky_relu")
    conv: tuple[str, ...] = ("dense", "depthwise")
    expansion: tuple[int, ...] = (2,)
    unshuffle: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        """Check every list, and make tuples of those that a yaml gave."""
        for name in _names():
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        if len(self.expansion) > 1 and "inverted" not in self.conv:
            raise UserError(
                f"space.expansion={list(self.expansion)} changes nothing without space.conv=[inverted]; give one value."
            )
        widest = max(self.channels) << max(self.depth)
        if widest > WIDEST:
            raise UserError(
                f"space.channels={max(self.channels)} and space.depth={max(self.depth)} make {widest:,} channels at "
                f"the lowest scale, and {WIDEST:,} are allowed; lower one of them."
            )

    def __contains__(self, spec: object) -> bool:
        """Tell whether a network is one of these, whatever its weights."""
        return isinstance(spec, Spec) and spec.residual and all(getattr(spec, n) in getattr(self, n) for n in _names())

    def __len__(self) -> int:
        """Return how many networks there are."""
        return math.prod(len(getattr(self, name)) for name in _names())

    def __iter__(self) -> Iterator[Spec]:
        """Give all of them, in the order of the lists."""
        for values in itertools.product(*(getattr(self, name) for name in _names())):
            yield Spec(**dict(zip(_names(), values, strict=True)))

    @property
    def multiple(self) -> int:
        """What height and width have to be multiples of, for any of them."""
        return max(self.unshuffle) << max(self.depth)

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return the options that have a choice, and their values: what an optimiser is to suggest."""
        return {name: getattr(self, name) for name in _names() if len(getattr(self, name)) > 1}

    def spec(self, values: Mapping[str, Any]) -> Spec:
        """Return the network of one value for each of `choices`.

        Raises
        ------
        UserError
            When a value isn't in its list, or an option is missing or unknown.
        """
        choices = self.choices()
        if values.keys() != choices.keys():
            odd = ", ".join(sorted(values.keys() ^ choices.keys()))
            raise UserError(f"A network of this space is one value for each of {', '.join(choices)}; see to {odd}.")
        for name, value in values.items():
            if value not in choices[name]:
                allowed = ", ".join(map(str, choices[name]))
                raise UserError(f"net.{name}={value!r} is not in the space; one of {allowed} is.")
        return Spec(**{name: values.get(name, getattr(self, name)[0]) for name in _names()})

    def values(self, spec: Spec) -> dict[str, Any]:
        """Return the value of each of `choices` that a network has: `spec` gives the network back."""
        return {name: getattr(spec, name) for name in self.choices()}

    def suggest(self, trial: Any) -> Spec:
        """Return the network that an Optuna trial suggests.

        Of numbers with more than two values it is asked for the place among them in ascending order, as
        ``channels_at``: so samplers know that 8 lies between 6 and 12.
        """
        values = {}
        for name, allowed in self.choices().items():
            if name in _RANGES and len(allowed) > 2:
                values[name] = sorted(allowed)[trial.suggest_int(f"{name}_at", 0, len(allowed) - 1)]
            else:
                values[name] = trial.suggest_categorical(name, allowed)
        return self.spec(values)

    def sample(self, generator: np.random.Generator) -> Spec:
        """Return a network, each with the same chance."""
        return Spec(**{name: _drawn(getattr(self, name), generator) for name in _names()})

    @property
    def largest(self) -> Spec:
        """The network of most MACs; of several, the first."""
        return self._ends[1]

    @property
    def smallest(self) -> Spec:
        """The network of fewest MACs; of several, the first."""
        return self._ends[0]

    def varied(self, spec: Spec, generator: np.random.Generator) -> Spec:
        """Return a network of this one's size whose operators are drawn: up, skip, down and activation."""
        size = {name: getattr(spec, name) for name in _SIZES}
        operators = {n: _drawn(getattr(self, n), generator) for n in _names() if n not in _SIZES}
        return Spec(**size, **operators)

    def settings(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: list(getattr(self, name)) for name in _names()}

    @cached_property
    def _ends(self) -> tuple[Spec, Spec]:
        """The smallest and the largest; more channels, depth and blocks always cost more, so only ends are counted."""
        ends = {name: sorted({min(getattr(self, name)), max(getattr(self, name))}) for name in _RANGES}
        ends |= {name: list(getattr(self, name)) for name in _names() if name not in _RANGES}
        specs = [Spec(**dict(zip(ends, values, strict=True))) for values in itertools.product(*ends.values())]
        macs = [cost(spec, _SIDE, _SIDE).macs for spec in specs]
        return specs[macs.index(min(macs))], specs[macs.index(max(macs))]


def _names() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Space))


def _drawn(values: tuple[Any, ...], generator: np.random.Generator) -> Any:
    return values[int(generator.integers(len(values)))]


def _checked(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str | int):
        values = (values,)
    values = tuple(values)
    if not values:
        raise UserError(f"space.{name}=[] leaves no network; give one value or several.")
    for value in values:
        if name in _RANGES:
            low, high = _RANGES[name]
            whole(f"space.{name}", value, low=low, high=high)
        elif name in _NUMBERS:
            if isinstance(value, bool) or value not in _NUMBERS[name]:
                raise UserError(f"space.{name}={value!r} is not one of {', '.join(map(str, _NUMBERS[name]))}.")
        else:
            one_of(f"space.{name}", value, _WORDS[name])
    if len(set(values)) < len(values):
        raise UserError(f"space.{name}={list(values)} has a value twice; give each once.")
    return values
