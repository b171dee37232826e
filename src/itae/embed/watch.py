"""Who looks on at a pass, and what they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from itae.edits.site import Flags, Paid, Site
from itae.vit.door import Call


def _nobody(*_: object) -> None:
    """Look at nothing."""


@dataclass(frozen=True)
class Watch:
    """Who looks on at a pass.

    Parameters
    ----------
    flags
        Called as ``flags(position, layer, flags, paid)`` for every edited block of the edit at that position, in their
        order.
    attention
        Whether `paid` is wanted there; it is None otherwise. The model needs a CLS token.
    values
        Called as ``values(position, flags, site)`` before `flags` is, where whoever looks on is shown operands.
    calls
        Called as ``calls(layer, call)`` for every block of the untouched model.
    operands, output
        Called as ``operands(layer, q, k, v)`` and ``output(layer, tokens)`` for every block of the untouched model.
    longer
        Called as ``longer(position, layer, tokens)`` with what leaves a block under an edit that adds tokens, these
        included; not where only the CLS row of the last block is computed.
    """

    flags: Callable[[int, int, Flags, Paid | None], None] = _nobody
    attention: bool = False
    operands: Callable[[int, Tensor, Tensor, Tensor], None] | None = None
    output: Callable[[int, Tensor], None] | None = None
    longer: Callable[[int, int, Tensor], None] = _nobody
    values: Callable[[int, Flags, Site], None] | None = None
    calls: Callable[[int, Call], None] | None = None
