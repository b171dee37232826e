"""A model built without the random numbers that its weights are loaded over: most of the time of building it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# The steps of a truncated normal too; on the meta device they would call in torch's compiler, a second of imports.
_DRAWS = {"uniform_", "normal_", "trunc_normal_", "erfinv_", "clamp_", "kaiming_uniform_", "kaiming_normal_"}
_DRAWS |= {"xavier_uniform_", "xavier_normal_"}


class _NoDraws(TorchFunctionMode):
    """Have parameters filled with NaN where they would be with random numbers."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, nn.Parameter):
                with torch.no_grad():
                    return tensor.fill_(torch.nan)
        return func(*args, **kwargs)


def blank(create: Callable[[], nn.Module]) -> nn.Module:
    """Return the model that `create` makes and loads weights into; what would be random and none came to is NaN.

    Where anything fails, the model is made once more, random numbers and all.
    """
    try:
        with _NoDraws():
            return create()
    except Exception:
        return create()


def without_draws(create: Callable[[], nn.Module]) -> nn.Module:
    """Return the model that `create` makes and loads weights into, each of which it would have anyway.

    Where a number is left that no weight came to, or anything fails, the model is made once more, random numbers and
    all: what was not in the file, and what is wrong with it, is as it always was.
    """
    model = blank(create)
    return create() if any(_unwritten(tensor) for tensor in (*model.parameters(), *model.buffers())) else model


def _unwritten(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not tensor.is_meta and bool(tensor.isnan().any())
