"""The steps of TEMI, with gradients by hand, head after head: what lies between the layers of one stays in the cache.

`itae.measure.cluster.temi` has the formulas. An image that is in several pairs of a batch passes through the heads
once, and pairs are put together from what came out. Up to the logits everything lies transposed, widths down and images
along, with a row of ones below for the bias.

Shapes: H heads, N images, P pairs of a batch, U different images in it, E embedding width, F = E + 1 with the bias, C
clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.measure.cluster.trained import Adam, Columns

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEMPERATURE = 0.1
_MARGINAL = 0.9  # what is kept of the marginal in a step
_TEACHER = 0.996  # what is kept of the teacher's weights in a step


class Head:
    """A perceptron, linear layers with ReLU between them, all weights in one flat tensor.

    Parameters
    ----------
    widths
        E, of what lies between the layers, and C.
    device
        Where it is.
    """

    def __init__(self, widths: Sequence[int], device: torch.device) -> None:
        import torch

        shapes = [(after, before + 1) for before, after in pairwise(widths)]
        sizes = [after * before for after, before in shapes]
        self.flat = torch.zeros(sum(sizes), device=device)
        self.layers = [part.view(shape) for part, shape in zip(self.flat.split(sizes), shapes, strict=True)]
        """[width after, width before + 1] each, the last column the bias."""

    def draw(self, generator: torch.Generator) -> None:
        """Draw every weight and bias evenly from -1/sqrt(width) to 1/sqrt(width), as fresh linear layers have them."""
        for layer in self.layers:
            bound = (layer.shape[1] - 1) ** -0.5
            layer.uniform_(-bound, bound, generator=generator)


def product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write the product of two matrices to `out`.

    In one thread of a CPU by numpy: for these shapes its OpenBLAS takes .7 to .9 of the time of the MKL in torch's
    wheels (an AMD EPYC). In several its threads and torch's would each spin for cores that the others have: four times
    the time, in two.
    """
    import torch

    if out.device.type == "cpu" and torch.get_num_threads() == 1:
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
    else:
        torch.mm(left, right, out=out)


def forward(layers: Sequence[Tensor], points_FU: Tensor, between: Sequence[Tensor]) -> Tensor:
    """Return a head's logits over the temperature, [U, C].

    Parameters
    ----------
    layers
        As of `Head`.
    points_FU
        The images.
    between
        Room for what lies between the layers, [width + 1, U] each, the last row ones.
    """
    import torch

    before = points_FU
    for layer, after in zip(layers, between, strict=False):
        product(layer, before, out=after[:-1])
        after[:-1].relu_()
        before = after
    return torch.mm(before.T, layers[-1].T).div_(TEMPERATURE)


def backward(
    layers: Sequence[Tensor],
    points_FU: Tensor,
    between: Sequence[Tensor],
    by_UC: Tensor,
    by_between: Sequence[Tensor],
    by_layers: Sequence[Tensor],
) -> None:
    """Write the gradient by each layer to `by_layers`, from `by_UC`, that by the logits over the temperature.

    Shapes as of `forward`, whose `between` it takes and overwrites: of a ReLU only the sign is needed any more.
    `by_between` is room of the same shapes, but for the ones.
    """
    by = (by_UC / TEMPERATURE).T
    for i in range(len(layers) - 1, -1, -1):
        before = between[i - 1] if i else points_FU
        product(by, before.T, out=by_layers[i])
        if i:
            product(layers[i][:, :-1].T, by, out=by_between[i - 1])
            by = by_between[i - 1].mul_(before[:-1].sign_())


def pair_loss(
    student_PC: Tensor, teacher_PC: Tensor, marginal_C: Tensor, weight_P: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of each pair, and its gradient by the student's logits.

    With r_c = (p_c q_c)^beta / m_c the loss is -w ln sum of r; its gradient is w beta (p - r / sum of r).

    Parameters
    ----------
    student_PC, teacher_PC
        Logarithms of p at one image of each pair, and of q at the other.
    marginal_C
        m, the mean of q.
    weight_P
        w.
    beta
        As of `itae.measure.cluster.temi.Temi`.
    """
    import torch

    ratio_PC = (student_PC + teacher_PC).mul_(beta).sub_(marginal_C.log())
    loss_P = torch.logsumexp(ratio_PC, 1).mul_(weight_P).neg_()
    return loss_P, student_PC.exp().sub_(torch.softmax(ratio_PC, 1)).mul_((weight_P * beta)[:, None])


def agreement(shares_HUC: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
    """Return the weight of each pair: the mean over heads of the chance that both images fall into one cluster."""
    weight_P = shares_HUC.new_zeros(len(first_P))
    for shares_UC in shares_HUC:
        weight_P += (shares_UC[first_P] * shares_UC[second_P]).sum(1)
    return weight_P / len(shares_HUC)


def next_marginal(marginal_HC: Tensor, batch_HC: Tensor) -> Tensor:
    """Return the running mean of assignments after a batch whose own mean is `batch_HC`."""
    return marginal_HC.lerp(batch_HC, 1 - _MARGINAL)


class Fit:
    """One fit from one seed.

    Parameters
    ----------
    settings
        A `Temi`.
    points
        The images' columns.
    near_NK
        int64 [N, K], the neighbours of each image.
    k, seed
        C, and what all is drawn from.
    device
        Where it is computed.
    """

    def __init__(
        self, settings: Any, points: Columns, near_NK: np.ndarray, k: int, seed: int, device: torch.device
    ) -> None:
        import torch

        self._of, self._points, self._k, self._device = settings, points, k, device
        self._near = torch.from_numpy(near_NK)
        self._generator = torch.Generator().manual_seed(seed)  # which pairs: on the host, where the neighbours are
        widths = [points.width, *settings.hidden, k]
        self._students, self._teachers = ([Head(widths, device) for _ in range(settings.heads)] for _ in range(2))
        draws = torch.Generator(device).manual_seed(seed)
        for student, teacher in zip(self._students, self._teachers, strict=True):
            student.draw(draws)
            teacher.flat.copy_(student.flat)
        self._by = Head(widths, device)  # a gradient
        self._adams = [Adam(student.flat, settings.lr) for student in self._students]
        self._marginal = torch.full((settings.heads, k), 1 / k, device=device)
        self._losses = torch.zeros(settings.heads, device=device)
        most = min(points.n, 2 * settings.batch)
        self._room = [torch.empty(2, (width + 1) * most, device=device) for width in settings.hidden]

    def run(self, advance: Callable[[int], None]) -> tuple[np.ndarray, float]:
        """Take all steps.

        Returns
        -------
        labels_N, loss
            int64, the label of every image by the head of least loss; and that, the mean of a pair over the last epoch.
        """
        for _ in range(self._of.epochs):
            self._losses.zero_()
            for first_P, second_P in self._pairs():
                self._step(first_P, second_P)
            advance(1)
        best = int(self._losses.argmin())
        return self._labels(best), float(self._losses[best]) / self._points.n

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, with one of its neighbours, in batches of about one size."""
        import torch

        n, k = self._near.shape
        order = torch.randperm(n, generator=self._generator)
        other = self._near[order, torch.randint(k, (n,), generator=self._generator)]
        count = -(-n // self._of.batch)
        yield from zip(order.tensor_split(count), other.tensor_split(count), strict=True)

    def _between(self, u: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return room for what lies between the layers, for `u` images, and for gradients by that."""
        values, gradients = [], []
        for width, room in zip(self._of.hidden, self._room, strict=True):
            values.append(room[0][: (width + 1) * u].view(width + 1, u))
            values[-1][-1] = 1
            gradients.append(room[1][: width * u].view(width, u))
        return values, gradients

    def _step(self, first_P: Tensor, second_P: Tensor) -> None:
        """Take a step for the mean loss over pairs, both ways round, with every head; count the losses."""
        import torch

        different, where = torch.unique(torch.cat([first_P, second_P]), return_inverse=True)
        points_FU, where = self._points.of(different), where.to(self._device)
        first, second = where.tensor_split(2)
        between, by_between = self._between(len(different))
        logits_HUC = torch.stack([forward(teacher.layers, points_FU, between) for teacher in self._teachers])
        logs_HUC = torch.log_softmax(logits_HUC, 2)
        shares_HUC = logs_HUC.exp()
        times_U1 = torch.bincount(where)[:, None] / len(where)
        self._marginal = next_marginal(self._marginal, (shares_HUC * times_U1).sum(1))
        weight_P = agreement(shares_HUC, first, second)
        for h, student in enumerate(self._students):
            own_UC = torch.log_softmax(forward(student.layers, points_FU, between), 1)
            by_UC = torch.zeros_like(own_UC)
            for one, other in ((first, second), (second, first)):
                loss_P, by_PC = pair_loss(own_UC[one], logs_HUC[h][other], self._marginal[h], weight_P, self._of.beta)
                by_UC.index_add_(0, one, by_PC, alpha=0.5 / len(first))
                self._losses[h] += loss_P.sum() / 2
            backward(student.layers, points_FU, between, by_UC, by_between, self._by.layers)
            self._adams[h].step(self._by.flat)
            self._teachers[h].flat.lerp_(student.flat, 1 - _TEACHER)

    def _labels(self, head: int) -> np.ndarray:
        """Return the largest output of one head's teacher for every image."""
        found = np.empty(self._points.n, np.int64)
        for part, points_FU in self._points.blocks():
            u = points_FU.shape[1]
            between = [points_FU.new_ones(width + 1, u) for width in self._of.hidden]
            found[part] = forward(self._teachers[head].layers, points_FU, between).argmax(1).cpu().numpy()
        return found
