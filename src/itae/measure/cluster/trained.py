"""What clusterers that are trained have in common: the rows they are given, their optimiser, their device.

Shapes: N points, B points of a batch, E embedding width.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from itae.base.device import forward_context, memory_told, on_device
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.measure.cluster.points import BLOCK, Scaled

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Trained(Scaled):
    """A clusterer that is trained, and whose rows may be brought to length sqrt(E): a frozen dataclass with this field.

    A number of a row is then about 1 whatever the width, and an edit that changes lengths alone changes nothing.

    Parameters
    ----------
    scale
        ``unit`` or ``none``.
    """

    def rows(self, vectors_NE: np.ndarray) -> np.ndarray:
        """Return float32 rows of length sqrt(E) for ``unit``, and as they come for ``none``; raises as `checked`."""
        rows_NE = super().rows(vectors_NE)
        if self.scale == "unit":
            rows_NE *= np.float32(math.sqrt(rows_NE.shape[1]))  # in place: it is a copy
        return rows_NE


@contextlib.contextmanager
def training(device: str, what: str) -> Iterator[torch.device]:
    """Compute in fp32 without autograd in the body, on the device that is yielded.

    Raises
    ------
    UserError
        When there is no such device, and, naming `what` to lower, when memory is too little.
    """
    import torch

    where = Runtime(device).torch_device()
    lower = what if where.type == "cpu" else f"{what}, or set runtime.device=cpu, the embeddings are kept"
    with memory_told(lower), forward_context(where, "fp32"), torch.no_grad():
        yield where


class Columns:
    """Rows as the columns of a matrix, below them a row of ones by which a bias is a weight like the others.

    Products of few rows with wide matrices are what the clusterers compute, and this way round both they and their
    gradients run along the memory.

    Parameters
    ----------
    rows_NE
        float32, as `Trained.rows` returns them. On a CPU they are used where they lie, and a GPU gets a copy.
    device
        Where the columns are to be.
    """

    def __init__(self, rows_NE: np.ndarray, device: torch.device) -> None:
        self._rows, self._device = rows_NE, device
        self._there: Tensor | None = None
        self.n, self.width = rows_NE.shape

    def of(self, numbers_B: Tensor | None = None) -> Tensor:
        """Return [E + 1, B] of some rows, or of all."""
        import torch

        if self._device.type != "cpu" and self._there is None:
            self._there = on_device(torch.from_numpy(np.array(self._rows)), self._device)
        n = self.n if numbers_B is None else len(numbers_B)
        found = torch.ones(self.width + 1, n, device=self._device)
        if self._there is not None:
            found[:-1] = (self._there if numbers_B is None else self._there[numbers_B]).T
            return found
        for start in range(0, n, BLOCK):  # a map on the disk is read some rows at a time, and no whole copy made
            part = slice(start, start + BLOCK)
            rows_BE = self._rows[part] if numbers_B is None else self._rows[numbers_B[part].numpy()]
            found[:-1, part] = torch.from_numpy(np.array(rows_BE)).T
        return found

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield all rows' columns, some at a time, and which they are."""
        import torch

        for start in range(0, self.n, BLOCK):
            part = slice(start, min(start + BLOCK, self.n))
            yield part, self.of(torch.arange(part.start, part.stop, device=self._device))


def passes(n: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield numbers of `batch` points for ever: all points in a drawn order, before any comes again.

    What is left at the end of a pass is less than a batch, and is left out of it.
    """
    import torch

    while True:
        order = torch.randperm(n, generator=generator, device=generator.device)
        yield from order[: n - n % batch].split(batch)


class Adam:
    """Adam (Kingma and Ba, 2015) in place on one tensor, whose gradient is given: no autograd, nothing allocated."""

    def __init__(self, parameters: Tensor, lr: float) -> None:
        import torch

        self._parameters, self._lr, self._t = parameters, lr, 0
        self._mean, self._square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._room = torch.empty_like(parameters)

    def restart(self) -> None:
        """Forget all steps."""
        self._t = 0
        self._mean.zero_()
        self._square.zero_()

    def step(self, gradient: Tensor) -> None:
        """Take one step, with the published betas .9 and .999."""
        import torch

        self._t += 1
        self._mean.lerp_(gradient, 0.1)
        self._square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        torch.sqrt(self._square, out=self._room)
        self._room.div_(math.sqrt(1 - 0.999**self._t)).add_(1e-8)
        self._parameters.addcdiv_(self._mean, self._room, value=-self._lr / (1 - 0.9**self._t))


def several(vectors: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the spaces that a clusterer is given, one or more, of the same points.

    Raises
    ------
    UserError
        When they are of different numbers of points.
    """
    spaces = [vectors] if isinstance(vectors, np.ndarray) else list(vectors)
    if len(counts := {len(one) for one in spaces}) != 1:
        raise UserError(f"The spaces to cluster have {sorted(counts)} points; give the same points of each.")
    return spaces
