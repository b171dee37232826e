"""Which neurons make the outliers: searched for once on images without labels, and kept.

As the authors do it (arXiv 2506.08010, their ``shared/algorithms.py``): the patches whose token is long behind one
block are outliers; a neuron's score is its mean absolute activation at an image's outliers, and the mean of that over
the images that have any; the `top_k` of the first blocks are register neurons. There CLS may be an outlier, too; here
only patches may.

What was found lies at ``<cache>/.registers/<digest>.json`` (`itae.embed.kept`), found by all that the search depends
on: the model's space, the images, and the settings but `top_k`, so that a sweep of it searches once.

Letters: B images of a batch, n images, T patches, L blocks, M neurons of a block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itae.base.device import on_device
from itae.base.errors import UserError
from itae.edits.bimodal import fit_threshold
from itae.edits.registers import MOST, RegisterEdit, RegisterNeurons, TestTimeRegisters
from itae.embed.record import Stop

Batches = Callable[[], Iterable[tuple[Tensor, Sequence[bytes]]]]


def search(model: nn.Module, prefix: int, settings: TestTimeRegisters, batches: Batches) -> RegisterNeurons:
    """Find the outliers of the images and the neurons that make them.

    Parameters
    ----------
    model
        A frozen vision transformer whose blocks have ``mlp.fc2``.
    prefix
        How many tokens before the first patch.
    settings
        With layers counted from the first block.
    batches
        Gives pixels [b, 3, S, S] and digests (b of 32 bytes) of the calibration images, anew each time it is called.

    Raises
    ------
    UserError
        If norms are not finite in this precision.
    """
    with torch.inference_mode():
        norms_LnT = _norms(model, prefix, settings.outlier_layer, batches())
        if not np.isfinite(norms_LnT).all():
            raise UserError(
                "edit=test_time_registers: the model's tokens are not finite in this precision; use "
                "backbone.precision=bf16 or fp32."
            )
        last_nT = norms_LnT[-1]
        theta, reason = _theta(settings, last_nT)
        outliers_nT = RegisterEdit(settings, theta=theta).outliers(torch.from_numpy(last_nT)).numpy()
        known = None if np.isnan(theta) else float(theta)
        some = int(outliers_nT.any(axis=1).sum())
        if not some:
            return RegisterNeurons((), f"no outliers: {reason}", known, None, len(last_nT), 0, 0.0)
        highest = settings.highest_layer
        if highest is None:
            highest = emergence(norms_LnT, outliers_nT)
        scores_LM = _scores(model, prefix, highest, outliers_nT, batches())
    best = np.argsort(-scores_LM, axis=None, kind="stable")[: min(MOST, int(np.isfinite(scores_LM).sum()))]
    neurons = tuple((int(i // scores_LM.shape[1]), int(i % scores_LM.shape[1]), float(scores_LM.flat[i])) for i in best)
    return RegisterNeurons(neurons, reason, known, highest, len(last_nT), some, float(outliers_nT.mean()))


def _theta(settings: TestTimeRegisters, norms_nT: np.ndarray) -> tuple[float, str]:
    """Return the threshold, NaN for one of each image's own or for none, and how it came about."""
    if settings.rule == "absolute":
        assert settings.threshold is not None
        return float(settings.threshold), f"norm >= {settings.threshold:g}"
    if settings.rule == "mad":
        return float("nan"), f"norm >= median + {settings.k:g} * 1.4826 * MAD of the image"
    fit = fit_threshold(norms_nT, "high")
    return fit.theta, fit.reason


def emergence(norms_LnT: np.ndarray, outliers_nT: np.ndarray) -> int:
    """Return the block behind which outliers' norm has risen most against the others', in the log domain.

    Where they come to be, register neurons are at work; behind it, whatever is active there is so because they are.
    """
    logs = np.log(np.maximum(norms_LnT, 1e-12))
    if outliers_nT.all():
        return len(logs) - 1
    apart_L = logs[:, outliers_nT].mean(axis=1) - logs[:, ~outliers_nT].mean(axis=1)
    return int(np.diff(apart_L, prepend=0.0).argmax())


def _norms(model: nn.Module, prefix: int, last: int, batches: Iterable[tuple[Tensor, Sequence[bytes]]]) -> np.ndarray:
    """Return the norm of each patch token behind each block up to `last`, fp32 [L, n, T]."""
    found: list[list[Tensor]] = [[] for _ in range(last + 1)]

    def behind(layer: int) -> Callable[..., None]:
        def see(block: nn.Module, args: Any, y: Tensor) -> None:
            found[layer].append(y[:, prefix:].float().norm(dim=-1))
            if layer == last:
                raise Stop

        return see

    with contextlib.ExitStack() as stack:
        for layer, block in enumerate(list(model.blocks)[: last + 1]):  # type: ignore[arg-type]
            stack.callback(block.register_forward_hook(behind(layer)).remove)
        for pixels, _ in batches:
            with contextlib.suppress(Stop):
                model.forward_features(pixels)  # type: ignore[operator]
    return torch.stack([torch.cat(some) for some in found]).cpu().numpy()


def _scores(
    model: nn.Module, prefix: int, last: int, outliers_nT: np.ndarray, batches: Iterable[tuple[Tensor, Sequence[bytes]]]
) -> np.ndarray:
    """Return each neuron's mean absolute activation at an image's outliers, mean over images with any: [L, M]."""
    sums: list[Tensor | None] = [None] * (last + 1)
    batch = np.zeros((0, 0), bool)  # the outliers of the one under way

    def before(layer: int) -> Callable[..., None]:
        def see(fc2: nn.Module, args: Any) -> None:
            image, patch = (on_device(torch.from_numpy(places), args[0].device) for places in batch.nonzero())
            acts = args[0][:, prefix:][image, patch].float().abs()  # image by image, so that they split
            means = [some.mean(dim=0) for some in acts.split(batch.sum(axis=1).tolist()) if len(some)]
            if means:
                some = torch.stack(means).double().sum(dim=0)
                so_far = sums[layer]
                sums[layer] = some if so_far is None else so_far + some
            if layer == last:
                raise Stop

        return see

    done = 0
    with contextlib.ExitStack() as stack:
        for layer, block in enumerate(list(model.blocks)[: last + 1]):  # type: ignore[arg-type]
            stack.callback(block.mlp.fc2.register_forward_pre_hook(before(layer)).remove)
        for pixels, _ in batches:
            batch = outliers_nT[done : done + len(pixels)]
            done += len(pixels)
            with contextlib.suppress(Stop):
                model.forward_features(pixels)  # type: ignore[operator]
    found = [some.cpu().numpy() for some in sums if some is not None]
    scores_LM = np.full((last + 1, max(map(np.size, found))), -np.inf)  # blocks may differ in width
    for row, some in zip(scores_LM, found, strict=True):
        row[: np.size(some)] = some / outliers_nT.any(axis=1).sum()
    return scores_LM
