"""Models and tolerances of the tests that run on a CPU and on a GPU.

Tolerances, for numbers of the size of 1 unless said otherwise:

fp32    1e-4   as far from fp64 as sums in another order may be; TF32, which is off, would be off by 1e-3 and more
bf16    cosine .99 of embeddings, of a model of random weights, which magnifies what is rounded
fp16    cosine .999
FAISS   1 % of the inertia, 1e-4 of a cosine

A patch whose signal is near its threshold may fall to either side, so tests of embeddings have none: see `in_fp64`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import families
import torch

from itae.edits.edit import AnyEdit
from itae.embed.replay import SharedPass, Watch

FP32 = 1e-4
COSINE = {"bf16": 0.99, "fp16": 0.999}
_MARGIN = 3e-5  # of a signal, relative: ten times what fp32 is off by


def model_of(family: str) -> torch.nn.Module:
    """Return the small model of a family with heads of 64, as real ones have: for these a GPU has kernels."""
    model = families.small(family, embed_dim=128, num_heads=2)
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and ".attn." in name:
            weight.mul_((24 / 128) ** 0.5)  # as uneven an attention as with 24
    return model


def in_fp64(
    model: torch.nn.Module, pool: str, edits: Sequence[AnyEdit | None], count: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return images of noise whose flags are beyond doubt, and their embeddings by a pass on the CPU in fp64."""
    double = families.double(copy.deepcopy(model))
    for seed in range(2, 30):
        least = [1.0]

        def see(position, layer, flags, paid, least=least):
            gap = ((flags.signal - flags.threshold).abs() / flags.signal.abs().clamp(min=1e-12)).nan_to_num(nan=1.0)
            least.append(float(gap.where(gap > 0, 1.0).min()))

        pixels = families.pixels(model, count, seed)
        shared = SharedPass(double, model.num_prefix_tokens, pool, edits, Watch(see))  # type: ignore[arg-type]
        out = shared(pixels.double(), families.digests(count))
        if min(least) > _MARGIN:
            return pixels, out
    raise AssertionError("in all images some patch is too near its threshold to be flagged alike on every machine")


def near(found: torch.Tensor, want: torch.Tensor, tolerance: float = FP32) -> None:
    """Have two tensors be the same but for rounding."""
    torch.testing.assert_close(found.double().cpu(), want.double().cpu(), atol=tolerance, rtol=tolerance)


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a.double().cpu(), b.double().cpu(), dim=-1)
