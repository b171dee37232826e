"""What makes a program wait for a GPU, counted where there is none: numbers and shapes that are asked of tensors.

A kernel is started and not waited for. What can't go on without a number from the device waits for all that was started
before: ``item``, a copy to the host, a mask as an index (how many rows has the answer?), and what a list of the host's
is copied from. On a CPU the same calls are made, and cost nothing; here they are counted.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
SIZED_BY_VALUES = {
    aten._local_scalar_dense,  # item, float(), int(), bool(), if
    aten.nonzero,  # and where with one argument
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.equal,
    aten.multinomial,
}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
COPIES = {"cpu", "numpy", "tolist", "new_tensor", "cuda"}
MADE = {"tensor", "as_tensor"}  # of a list, on a device


class _Operations(TorchDispatchMode):
    def __init__(self, found: Counter) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet = func.overloadpacket
        if packet in INDEXED:
            wait = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        elif packet is aten.repeat_interleave:
            wait = (kwargs or {}).get("output_size") is None
        else:
            wait = packet in SIZED_BY_VALUES
        if wait:
            self.found[str(packet)] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, found: Counter) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in COPIES or (name in MADE and kwargs.get("device") is not None):
            self.found[name] += 1
        elif func is Tensor.to and not kwargs.get("non_blocking"):
            target = args[1] if len(args) > 1 else kwargs.get("device")
            if isinstance(target, str | torch.device):
                self.found["to"] += 1
        return func(*args, **kwargs)


class Stalls(ExitStack):
    """Count, in the body, what would wait for a GPU; `found` has how often, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __enter__(self):
        super().__enter__()
        self.enter_context(_Operations(self.found))
        self.enter_context(_Calls(self.found))
        return self
