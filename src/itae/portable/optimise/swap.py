"""Operators of a trained U-Net are replaced by others, with the weights that fit, and what is left is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of
from itae.base.construct import named
from itae.base.errors import UserError
from itae.portable.devices.device import Device, Net
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.optimise.kept import kept
from itae.portable.optimise.pruned import Pruned, widths_from
from itae.portable.optimise.state import State
from itae.portable.optimise.tune import tuned

if TYPE_CHECKING:
    from itae.portable.train.options import Train

SWAPPED = ("up", "skip", "down", "activation", "kernel", "conv")
"""Options of a U-Net that another may take the place of; others make another net, to be trained from nothing."""


@dataclass(frozen=True)
class Swap:
    """Operators of a U-Net are replaced: a device that is slow at one gets the net without it.

    Weights are kept where their meaning fits: what goes up or down is rewritten (a 1x1 convolution before a shuffle is
    a 2x2 transposed one), kernels are cut or held in larger ones, and what skips is split or joined. The rest is drawn.

    Parameters
    ----------
    options
        Of `Spec`: any of up, skip, down, activation, kernel and conv; one that is None stays as it is.
    tune
        The training on; None (default) for none.

    Raises
    ------
    UserError
        When an option isn't one of those, or isn't what it may be.
    """

    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tune: Train | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if isinstance(self.options, Mapping):
            given = {name: value for name, value in self.options.items() if value is not None or name not in SWAPPED}
            object.__setattr__(self, "options", given)
        if not isinstance(self.options, Mapping) or not self.options:
            raise UserError(
                f"steps.swap.options={self.options!r} names no operator; give some of {', '.join(SWAPPED)}, as "
                "{up: nearest}."
            )
        for name in self.options:
            one_of("steps.swap.options", name, SWAPPED)
        with named("steps.swap.options", "net"):
            Spec(channels=1, depth=1, **self.options)

    def check(self, net: Net, devices: Sequence[Device]) -> None:
        """Raise a `UserError` when a net isn't a U-Net of this package."""
        if not isinstance(net, UNet):
            raise UserError(
                f"The step swap takes U-Nets, and {net.name} is none; take net=unet, or leave swap out of optimise."
            )

    def apply(self, state: State) -> State:
        """Return the state with a net of other operators.

        Raises
        ------
        UserError
            When the net isn't a U-Net of this package; when it was pruned to widths that don't go with the operators.
        """
        self.check(state.net, state.devices)
        net: Any = state.net
        begun, anew = _begun(net, self.options, state)
        made, facts = tuned(state, begun, self.tune)
        return state.then("swap", {"options": dict(self.options), "drawn": anew, "tune": facts}, net=made)


def _begun(net: UNet, options: Mapping[str, Any], state: State) -> tuple[UNet, list[str]]:
    """Return the net with other operators, and the names of its weights that had to be drawn."""
    from itae.portable.optimise.carried import carried

    architecture = net.architecture() | dict(options)
    found = carried(net.build().state_dict(), net, Spec(**architecture))
    if isinstance(net, Pruned):
        made: UNet = Pruned(
            **architecture, seed=net.seed, name=net.name, widths=widths_from(Spec(**architecture), found)
        )
    else:
        made = UNet(**architecture, seed=net.seed, name=net.name)
    try:
        drawn = made.build().state_dict()
    except UserError as error:
        raise UserError(
            f"steps.swap.options={dict(options)}: {net.name} was pruned to widths that don't go with these "
            f"({error}); swap before pruning."
        ) from error
    if (net.conv, made.activation) == (made.conv, "prelu") and net.activation != "prelu":
        slope = {"leaky_relu": 0.2}.get(net.activation, 0.0)  # that of the others is about none
        found |= {name: each * 0 + slope for name, each in drawn.items() if name not in found and each.dim() == 1}
    anew = sorted(name for name, each in drawn.items() if name not in found or found[name].shape != each.shape)
    weights = {name: drawn[name] if name in anew else found[name] for name in drawn}
    return replace(made, weights=str(kept(weights, state.cache))), anew
