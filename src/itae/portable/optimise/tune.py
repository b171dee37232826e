"""Training on after a step, where one is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from itae.portable.devices.device import Net
from itae.portable.optimise.state import State

if TYPE_CHECKING:
    from itae.portable.train.options import Train


def tuned(state: State, net: Any, options: Train | None, seen: Net | None = None) -> tuple[Any, dict[str, Any]]:
    """Return a net, trained on from its weights, and what is told of that; as it is where `options` is None.

    Parameters
    ----------
    seen
        What is trained in its place, with weights of the same names and shapes; None: the net.
    """
    if options is None:
        return net, {"steps": 0}
    from itae.portable.train.loop import trained

    state.advance(f"{net.name} is trained on for {options.steps} steps")
    done = trained(seen or net, state.splits, options, state.cache, lambda steps: None)
    return replace(net, weights=str(done.weights)), {"steps": options.steps}
