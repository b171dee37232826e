"""The steps of TURTLE, with gradients by hand: they need neither a logarithm nor a graph of operations.

`itae.measure.cluster.turtle` has the formulas. Everything lies transposed, clusters down and points along.

Shapes: B points of a batch, S spaces, E embedding width, of each space its own, F = E + 1 with the bias, C clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.measure.cluster.trained import Adam, Columns, passes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Linear:
    """The classifiers of all spaces in one flat tensor, so that a step of Adam is one for all of them.

    Parameters
    ----------
    widths
        F of each space, the bias counted.
    k
        C.
    device, dtype
        Where, and in which precision.
    """

    def __init__(self, widths: Sequence[int], k: int, device: torch.device, dtype: torch.dtype | None = None) -> None:
        import torch

        sizes = [k * width for width in widths]
        self.flat = torch.zeros(sum(sizes), device=device, dtype=dtype)
        self.spaces = [part.view(k, -1) for part in self.flat.split(sizes)]

    def draw(self, generator: torch.Generator) -> None:
        """Draw every weight and bias evenly from -1/sqrt(E) to 1/sqrt(E), as a fresh linear layer has them."""
        for weights_CF in self.spaces:
            bound = 1 / math.sqrt(weights_CF.shape[1] - 1)
            weights_CF.uniform_(-bound, bound, generator=generator)


class Labelling:
    """The labelling tau: V_s of all spaces, its rows of length 1 times a gain; what is trained is their parameters."""

    def __init__(self, widths: Sequence[int], k: int, device: torch.device, dtype: torch.dtype | None = None) -> None:
        import torch

        count = k * sum(widths)
        self.flat = torch.zeros(count + len(widths) * k, device=device, dtype=dtype)
        """Directions and biases of all spaces, then their gains."""
        self.directions = [part.view(k, -1) for part in self.flat[:count].split([k * width for width in widths])]
        self.gains = self.flat[count:].view(-1, k)
        self.weights = Linear(widths, k, device, dtype)
        """What points are multiplied with, as of the last `renew`."""

    def draw(self, generator: torch.Generator) -> None:
        """Draw as `Linear.draw` does; at first a row's gain is its length."""
        self.weights.draw(generator)
        self.flat[: self.weights.flat.numel()] = self.weights.flat
        for direction_CF, gain_C in zip(self.directions, self.gains, strict=True):
            gain_C.copy_(direction_CF[:, :-1].norm(dim=1))

    def renew(self) -> None:
        """Compute the weights of these parameters."""
        for weights_CF, direction_CF, gain_C in zip(self.weights.spaces, self.directions, self.gains, strict=True):
            weights_CF.copy_(direction_CF)
            weights_CF[:, :-1] *= (gain_C / direction_CF[:, :-1].norm(dim=1))[:, None]

    def chain(self, gradient: Tensor, weights: Linear) -> Tensor:
        """Return `gradient`, written with that by the parameters, from that by the weights (Salimans and Kingma, 2016).

        Along a direction nothing changes: that is the gain's part.
        """
        gradient[: weights.flat.numel()] = weights.flat
        gain_SC = gradient[weights.flat.numel() :].view_as(self.gains)
        start = 0
        for s, direction_CF in enumerate(self.directions):
            by_CF = gradient[start : start + direction_CF.numel()].view_as(direction_CF)
            start += direction_CF.numel()
            length_C1 = direction_CF[:, :-1].norm(dim=1, keepdim=True)
            unit_CE = direction_CF[:, :-1] / length_C1
            gain_SC[s] = (by_CF[:, :-1] * unit_CE).sum(dim=1)
            by_CF[:, :-1] -= gain_SC[s][:, None] * unit_CE
            by_CF[:, :-1] *= self.gains[s][:, None] / length_C1
        return gradient


def gradient(logits: Sequence[Tensor], shares: Sequence[Tensor], gamma: float) -> list[Tensor]:
    """Return the gradient of the outer loss by V_s z_s, [C, B] for each space; `shares` are overwritten with it.

    By tau_c(x) it is -(sum over s of ln q_s,c(x)) / B, by a space's own share p_c(x) a part 1/S of that, and
    gamma (1 + ln mean p_c) / B. The softmax takes away what is the same for all c: so ln q may be q's logits, and 1 is
    left out.

    Parameters
    ----------
    logits
        W_s z_s of each space, [C, B].
    shares
        softmax(V_s z_s) of each space, [C, B].
    gamma
        Weight of the entropy.
    """
    agreed_CB = sum(logits[1:], logits[0]) / -len(logits)
    for share_CB in shares:
        by_CB = agreed_CB + gamma * _log(share_CB.mean(dim=1, keepdim=True))
        by_CB -= (share_CB * by_CB).sum(dim=0)
        share_CB.mul_(by_CB).div_(share_CB.shape[1])
    return list(shares)


def outer_loss(logits: Sequence[Tensor], shares: Sequence[Tensor], gamma: float) -> float:
    """Return the outer loss; shapes as of `gradient`."""
    import torch

    tau_CB = sum(shares[1:], shares[0]) / len(shares)
    total = 0.0
    for logits_CB, share_CB in zip(logits, shares, strict=True):
        total -= float((tau_CB * torch.log_softmax(logits_CB, 0)).sum() / tau_CB.shape[1])
        mean_C = share_CB.mean(dim=1)
        total += gamma * float((mean_C * _log(mean_C)).sum())  # minus the entropy
    return total


def _log(shares: Tensor) -> Tensor:
    """Return the logarithm, of 0 a finite one."""
    return shares.clamp_min(1e-38).log()


class Fit:
    """One fit from one seed.

    Parameters
    ----------
    settings
        A `Turtle`.
    spaces
        The points in each space.
    k, seed
        C, and what all is drawn from.
    device
        Where it is computed.
    """

    def __init__(self, settings: Any, spaces: Sequence[Columns], k: int, seed: int, device: torch.device) -> None:
        import torch

        self._of, self._spaces, self._k = settings, spaces, k
        self._generator = torch.Generator(device).manual_seed(seed)
        widths = [space.width + 1 for space in spaces]
        self._labelling, self._learner = Labelling(widths, k, device), Linear(widths, k, device)
        self._by = Linear(widths, k, device)  # gradients by weights
        self._by_parameters = torch.empty_like(self._labelling.flat)
        self._size = min(settings.batch, spaces[0].n)
        room = [torch.empty(k, self._size, device=device) for _ in range(3 * len(spaces))]
        self._logits, self._shares, self._errors = (room[i::3] for i in range(3))

    def run(self, advance: Callable[[int], None]) -> tuple[np.ndarray, float]:
        """Take all steps; return int64 [N], the label of every point, and the outer loss of the last step."""
        import torch

        self._labelling.draw(self._generator)
        outer, inner = Adam(self._labelling.flat, self._of.lr), Adam(self._learner.flat, self._of.lr)
        loss = math.nan
        for step, points in zip(range(self._of.steps), self._batches(), strict=False):
            self._learn(points, self._share(points), inner)
            if step == self._of.steps - 1:
                loss = outer_loss(self._logits, self._shares, self._of.gamma)
            by_logits = gradient(self._logits, self._shares, self._of.gamma)
            for by_CB, points_FB, by_CF in zip(by_logits, points, self._by.spaces, strict=True):
                torch.mm(by_CB, points_FB.T, out=by_CF)
            outer.step(self._labelling.chain(self._by_parameters, self._by))
            advance(1)
        return self._labels(), loss

    def _batches(self) -> Iterator[list[Tensor]]:
        """Yield the columns of each space's points, for ever."""
        n = self._spaces[0].n
        if self._size == n:
            yield from repeat([space.of() for space in self._spaces])
        for numbers_B in passes(n, self._size, self._generator):
            yield [space.of(numbers_B) for space in self._spaces]

    def _share(self, points: list[Tensor]) -> Tensor:
        """Compute every space's labelling; return tau, their mean."""
        import torch

        self._labelling.renew()
        for weights_CF, points_FB, logits_CB, share_CB in zip(
            self._labelling.weights.spaces, points, self._logits, self._shares, strict=True
        ):
            torch.mm(weights_CF, points_FB, out=logits_CB)
            torch.softmax(logits_CB, 0, out=share_CB)
        return self._shares[0] if len(points) == 1 else sum(self._shares[1:], self._shares[0]) / len(points)

    def _learn(self, points: list[Tensor], tau_CB: Tensor, adam: Adam) -> None:
        """Train fresh classifiers on tau; leave their logits.

        The gradient of the cross-entropy by the logits is softmax - tau.
        """
        import torch

        self._learner.draw(self._generator)
        adam.restart()
        each = list(zip(self._learner.spaces, self._by.spaces, points, self._logits, self._errors, strict=True))
        for _ in range(self._of.inner):
            for weights_CF, by_CF, points_FB, logits_CB, errors_CB in each:
                torch.mm(weights_CF, points_FB, out=logits_CB)
                torch.softmax(logits_CB, 0, out=errors_CB)
                torch.mm(errors_CB.sub_(tau_CB), points_FB.T, out=by_CF)
            adam.step(self._by.flat.div_(self._size))
        for weights_CF, _, points_FB, logits_CB, _ in each:
            torch.mm(weights_CF, points_FB, out=logits_CB)

    def _labels(self) -> np.ndarray:
        """Return the largest entry of tau of every point."""
        import torch

        self._labelling.renew()
        found = np.empty(self._spaces[0].n, np.int64)
        for several in zip(*(space.blocks() for space in self._spaces), strict=True):
            tau_CB: Tensor | int = 0
            for (_, points_FB), weights_CF in zip(several, self._labelling.weights.spaces, strict=True):
                tau_CB = tau_CB + torch.softmax(weights_CF @ points_FB, 0)
            assert not isinstance(tau_CB, int)
            found[several[0][0]] = tau_CB.argmax(0).cpu().numpy()
        return found
