"""Which device a run computes on, in which precision, and how tensors get there and back without waiting.

What a GPU is given is done in order, behind the back of the program that gives it. The program waits for it where a
number comes to the host: so all of a batch's come at once, and go on their way while the next batch is computed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
    """Run forwards in `precision`: fp32, or autocast to bf16 or fp16; what stays in fp32 is really so."""
    import torch

    low = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with _whole_fp32, torch.autocast(device.type, dtype=low, enabled=low is not None):
        yield


class _WholeFp32:
    """Have products and convolutions of fp32 numbers be in fp32, neither in TF32 nor in bf16, whatever was asked for.

    What was asked for holds in the whole process, and is put back when the last of its threads is through.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._put_back: Callable[[], None] = lambda: None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._put_back = _ask_for_fp32()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._put_back()


_whole_fp32 = _WholeFp32()


def _ask_for_fp32() -> Callable[[], None]:
    """Ask for fp32, and return what asks for what was asked for before.

    torch has two ways to ask, old and new, and refuses to read the one where the other was used.
    """
    import torch

    places = [torch.backends.cuda.matmul]
    for name in ("cudnn", "mkldnn"):
        backend = getattr(torch.backends, name)
        places += [getattr(backend, part) for part in ("conv", "rnn", "matmul") if hasattr(backend, part)]
    places = [place for place in places if hasattr(place, "fp32_precision")]  # the new way, since torch 2.9
    before = [place.fp32_precision for place in places]
    products = convolutions = None
    with contextlib.suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    with contextlib.suppress(RuntimeError):
        convolutions = torch.backends.cudnn.allow_tf32

    def put_back() -> None:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = convolutions
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for place in places:
        place.fp32_precision = "ieee"
    return put_back


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on `device`, without waiting for what a GPU is at."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # taken as it is where it is so already; of other memory a copy is waited for
    return tensor.to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> Callable[[], list[np.ndarray]]:
    """Begin to copy tensors of one device to the host; return what waits for them and gives the arrays.

    All tensors of one dtype are one copy; one that comes several times is copied once.
    """
    import torch

    alike: dict[torch.dtype, dict[int, Tensor]] = {}
    for tensor in tensors:
        alike.setdefault(tensor.dtype, {})[id(tensor)] = tensor
    packed = [torch.cat([tensor.reshape(-1) for tensor in some.values()]) for some in alike.values()]
    arrived: Callable[[], object] = tuple
    if packed and packed[0].is_cuda:
        pinned = [torch.empty(whole.shape, dtype=whole.dtype, pin_memory=True) for whole in packed]
        packed = [room.copy_(whole, non_blocking=True) for room, whole in zip(pinned, packed, strict=True)]
        arrived = torch.cuda.current_stream(tensors[0].device).record_event().synchronize
    shapes = [[(name, tensor.shape) for name, tensor in some.items()] for some in alike.values()]
    order = [id(tensor) for tensor in tensors]

    def arrays() -> list[np.ndarray]:
        arrived()
        found: dict[int, np.ndarray] = {}
        for whole, some in zip(packed, shapes, strict=True):
            ends = np.cumsum([shape.numel() for _, shape in some])
            parts = np.split(whole.numpy(), ends[:-1])
            found |= {name: part.reshape(shape) for (name, shape), part in zip(some, parts, strict=True)}
        return [found[name] for name in order]

    return arrays


def free_gpu_memory(device: torch.device) -> None:
    """Give a GPU the memory back that torch keeps for itself, for others such as FAISS; there is little on a CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()


_FULL = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "alloc fail", "ALLOC_FAILED")
"""As torch, its allocator on a CPU, CUDA, C++, FAISS, and cuBLAS, cuDNN and their like say it."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory, of a GPU or of the machine."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
    )


@contextlib.contextmanager
def memory_told(what: str) -> Iterator[None]:
    """Have an error of too little memory in the body be a `UserError`, which begins with where that is.

    Parameters
    ----------
    what
        What it was too little for, and the number to lower, to go after "... has too little memory".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        gpu = any(word in str(error) for word in ("CUDA", "cuda", "GPU", "Gpu", "ALLOC_FAILED"))
        raise UserError(f"{'The GPU' if gpu else 'This machine'} has too little memory {what}.") from error
