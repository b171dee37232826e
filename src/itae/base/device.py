"""Which device a run computes on, and in which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def forward_context(device: torch.device, precision: str) -> Iterator[None]:
    """Run forwards in `precision`: fp32 without TF32, or autocast to bf16 or fp16."""
    import torch

    low = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type == "cuda" and low is None:
        matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, conv.allow_tf32
        matmul.allow_tf32 = conv.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32, conv.allow_tf32 = before
        return
    with torch.autocast(device.type, dtype=low, enabled=low is not None):
        yield
