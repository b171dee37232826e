"""Channels that say little are taken out, and what is left is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from itae.base.checks import number, one_of, whole
from itae.base.errors import UserError
from itae.portable.devices.device import Device, Net
from itae.portable.devices.library import absent
from itae.portable.nets.unet import UNet
from itae.portable.optimise.kept import kept
from itae.portable.optimise.pruned import Pruned
from itae.portable.optimise.state import State
from itae.portable.optimise.tune import tuned

if TYPE_CHECKING:
    from itae.portable.train.options import Train

PIP = "pip install torch-pruning==1.6.1"
IMPORTANCES = ("group_norm", "magnitude")


@dataclass(frozen=True)
class Prune:
    """Channels of a U-Net are taken out until it costs a share of its MACs.

    Channels that depend on each other, through sums, concatenations and convolutions of each channel, go together
    (Fang et al. 2023, DepGraph, arXiv 2301.12900; the library torch-pruning); all layers are ranked as one.

    Parameters
    ----------
    macs
        Share of the multiply-accumulates that is left, at most, above 0. Default .5.
    importance
        Of a group of channels: ``group_norm`` (default), the mean over all weights that belong to it of their norms;
        ``magnitude``, the norm of the filters alone that compute it.
    round_to
        Channels of a layer come out as a multiple of this where the library can; runtimes compute several at once.
        Default 4.
    tune
        The training on; None (default) for none.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    macs: float = 0.5
    importance: str = "group_norm"
    round_to: int = 4
    tune: Train | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        number("steps.prune.macs", self.macs, low=0.01, high=1)
        one_of("steps.prune.importance", self.importance, IMPORTANCES)
        whole("steps.prune.round_to", self.round_to, low=1, high=64)

    def check(self, net: Net, devices: Sequence[Device]) -> None:
        """Raise a `UserError` when a net isn't a U-Net of this package, or the library isn't installed."""
        if not isinstance(net, UNet):
            raise UserError(
                f"The step prune takes U-Nets, whose channels it can follow, and {net.name} is none; take net=unet, or "
                "leave prune out of optimise."
            )
        if gone := absent("The step prune", ("torch_pruning",)):
            raise UserError(f"{gone}; install it: {PIP}, or leave prune out of optimise.")

    def apply(self, state: State) -> State:
        """Return the state with a narrower net.

        Raises
        ------
        UserError
            When the net isn't a U-Net of this package; when so few MACs can't be had.
        """
        self.check(state.net, state.devices)
        from itae.portable.optimise.channels import pruned

        net: Any = state.net
        side = 8 * net.multiple
        before = net.cost(side, side).macs

        def share(widths: dict[str, list[int]]) -> float:
            return _of(net, widths).cost(side, side).macs / before

        found = pruned(net.build(), net, self.importance, self.round_to, lambda widths: share(widths) <= self.macs)
        if found is None:
            raise UserError(
                f"steps.prune.macs={self.macs} of {net.name} can't be had: its narrowest layers are left before; "
                "set more, or lower steps.prune.round_to."
            )
        weights, widths = found
        made = replace(_of(net, widths), weights=str(kept(weights, state.cache)))
        facts: dict[str, Any] = {"macs": share(widths), "importance": self.importance, "round_to": self.round_to}
        facts["parameters"] = made.cost(side, side).parameters / net.cost(side, side).parameters
        done, facts["tune"] = tuned(state, made, self.tune)
        return state.then("prune", facts, net=done)


def _of(net: UNet, widths: dict[str, list[int]]) -> Pruned:
    """Return a net of other widths and no weights of its own."""
    return Pruned(**net.architecture(), seed=net.seed, name=net.name, widths=widths)
