"""What the untouched model's forward passes by, kept for the edits that are replayed from there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from itae.vit.door import Call, Door, Tape


class Stop(Exception):  # noqa: N818  (not an error: it ends a forward of which the rest isn't needed)
    """Ends a forward."""


class Record:
    """What the untouched model's forward passes by: block inputs, keyword arguments, ways to an attention call.

    Parameters
    ----------
    starts
        Blocks whose input is kept.
    stop
        Block before which the forward ends, or None to let it run.
    taped
        Blocks whose way to their attention call is kept, if a door listens.
    seen
        Called as ``seen(layer, call, x)`` for each attention call, with the tokens that entered the block, if a door
        listens.
    """

    def __init__(
        self,
        starts: set[int],
        stop: int | None,
        taped: Collection[int],
        seen: Callable[[int, Call, Tensor], None],
    ) -> None:
        self.starts, self.stop, self.taped, self.seen = starts, stop, taped, seen
        self.inputs: dict[int, Tensor] = {}
        self.tapes: dict[int, Tape] = {}
        self.tokens: Tensor | None = None
        self._kwargs: dict[int, dict[str, Any]] = {}
        self._layer = -1
        self._x: Tensor | None = None

    def hook(self, layer: int, door: Door) -> Callable[[nn.Module, tuple, dict], None]:
        """Return the pre-hook of block `layer`; the `door` is one that listens, and isn't kept: it keeps the record."""

        def before(block: nn.Module, args: tuple, kwargs: dict) -> None:
            self._layer, self._x = layer, args[0]
            self._kwargs[layer] = kwargs
            if layer in self.starts:
                self.inputs[layer] = args[0]
            if layer == self.stop:
                raise Stop
            if layer in self.taped:
                door.tape = self.tapes[layer] = Tape()

        return before

    def listen(self, q: Tensor, k: Tensor, v: Tensor, **kwargs: Any) -> Tensor:
        """Answer every call as if nobody listened."""
        assert self._x is not None
        self.seen(self._layer, Call(q, k, v, kwargs), self._x)
        return F.scaled_dot_product_attention(q, k, v, **kwargs)

    def only_inputs(self) -> Record:
        """Let go of everything but the blocks' arguments."""
        self.tokens = self._x = None
        return self

    def kwargs(self, layer: int) -> dict[str, Any]:
        """Return the keyword arguments of a block; behind `stop`, those of `stop`, which are the same."""
        return self._kwargs[layer if self.stop is None else min(layer, self.stop)]
