"""Which device a run computes on, and in which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from itae.base.errors import UserError

if TYPE_CHECKING:
    import torch


def device_kind(what: str, device: object) -> tuple[str, int]:
    """Return ``auto``, ``cpu`` or ``cuda``, and the number of the GPU, 0 where none is given.

    Raises
    ------
    UserError
        When `device` is none of these; `what` names the setting.
    """
    kind, _, number = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"{what}={device!r} is not one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    return kind, int(number or 0)


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
