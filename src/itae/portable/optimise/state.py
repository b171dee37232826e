"""What steps of optimisation take and return: a net, how it came about, and what its conversion needs.

Steps are applied in any order. None changes a net in place: each makes another, whose weights are a file in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from itae.portable.devices.device import Device, Net

if TYPE_CHECKING:
    import numpy as np

    from itae.portable.data.pairs import Splits


def _silent(told: str) -> None:
    """Take a line about progress, and say nothing."""


@dataclass(frozen=True, eq=False)
class State:
    """A net on its way to devices.

    Parameters
    ----------
    net
        As it is now: ``net.build()`` is its module.
    splits
        Steps learn from the first, decide by the second, and leave the third alone.
    cache
        Where weights and exports are kept (paths.cache).
    devices
        Those that it is for: what quantises for them asks them.
    lineage
        What each step did, in order, as plain values.
    calibration
        Pictures for what is quantised at conversion, float32 [1, 3, H, W] in 0..1; empty until a step has chosen them.
        They are cut or mirrored to the size of an export.
    advance
        Told what is being done, a line each.
    """

    net: Net
    splits: Splits
    cache: Path
    devices: tuple[Device, ...] = ()
    lineage: tuple[Mapping[str, Any], ...] = ()
    calibration: tuple[np.ndarray, ...] = field(default=(), repr=False)
    advance: Callable[[str], None] = _silent

    def then(self, step: str, facts: Mapping[str, Any], **changed: Any) -> State:
        """Return the state after a step: what it changed, and what it says of it."""
        return replace(self, lineage=(*self.lineage, {"step": step, **facts}), **changed)

    def description(self) -> dict[str, Any]:
        """Return what the net is and how it came about, as plain values."""
        return {
            "net": dict(self.net.settings()),
            "name": self.net.name,
            "lineage": [dict(each) for each in self.lineage],
        }


class Step(Protocol):
    """One way to make a net cheaper on devices; a small frozen dataclass of plain values."""

    def check(self, net: Net, devices: Sequence[Device]) -> None:
        """Raise a `UserError` where a net can't be optimised so for devices, before it is trained."""

    def apply(self, state: State) -> State:
        """Return the state after it.

        Raises
        ------
        UserError
            Where the net of the state can't be optimised so.
        """


def applied(steps: Iterable[Step], state: State) -> State:
    """Return the state after steps, one after the other."""
    for step in steps:
        state = step.apply(state)
    return state
