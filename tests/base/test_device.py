"""Devices: fp32 that is fp32, copies that come all at once, and too little memory in a sentence."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from itae.base.device import device_kind, forward_context, memory_told, on_device, out_of_memory, to_host
from itae.base.errors import UserError

CPU = torch.device("cpu")
PLACES = [
    place
    for backend in (torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn)
    for name in ("matmul", "conv", "rnn")
    if hasattr(place := getattr(backend, name, None), "fp32_precision")
]


def asked():
    """Return what a user may have asked for, by each of torch's ways to ask."""
    found = [place.fp32_precision for place in PLACES]
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:  # the other way was used
            found.append("unread")
    return found


@contextlib.contextmanager
def as_before():
    new, old, conv = [place.fp32_precision for place in PLACES], "highest", torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(old)
        torch.backends.cudnn.allow_tf32 = conv
        for place, was in zip(PLACES, new, strict=True):
            place.fp32_precision = was


def set_tf32():
    torch.backends.cuda.matmul.allow_tf32 = True


def set_new():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def set_new_of_the_cpu():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


ASKED = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": set_tf32,
    "new": set_new,
    "new, of the CPU": set_new_of_the_cpu,
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("way", ASKED)
def test_numbers_in_fp32_are_so_whatever_was_asked_for_and_that_is_put_back(way, precision):
    if way.startswith("new") and not PLACES:
        pytest.skip("this torch has the old way alone")
    with as_before():
        ASKED[way]()
        before = asked()
        with contextlib.suppress(KeyError), forward_context(CPU, precision):
            assert {place.fp32_precision for place in PLACES} <= {"ieee"}
            assert torch.get_float32_matmul_precision() == "highest", "by the old way, too"
            assert torch.backends.cudnn.allow_tf32 is False
            assert torch.is_autocast_enabled("cpu") == (precision == "bf16")
            raise KeyError
        assert asked() == before


def test_what_was_asked_for_is_put_back_by_the_last_of_two_threads():
    with as_before():
        torch.set_float32_matmul_precision("high")
        before, first = asked(), forward_context(CPU, "fp32")
        with first:
            inside = asked()
            with ThreadPoolExecutor(1) as pool:
                other = forward_context(CPU, "fp32")
                pool.submit(other.__enter__).result()
                pool.submit(other.__exit__, None, None, None).result()
            assert asked() == inside
        assert asked() == before


def test_a_product_is_the_same_under_a_users_medium():
    """A CPU with instructions for bf16 takes them for fp32 then; the numbers are of fp32's key."""
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0)).unbind()
    with as_before():
        with forward_context(CPU, "fp32"):
            want = a @ b
        torch.set_float32_matmul_precision("medium")
        with forward_context(CPU, "fp32"):
            assert torch.equal(a @ b, want)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_tensors_of_all_dtypes_come_to_the_host_as_they_are_in_one_copy_each(device, monkeypatch):
    x = torch.arange(24.0, device=device).view(2, 3, 4)
    tensors = [x, x[0].double(), x > 3, x.long(), x.transpose(0, 2), x[1, 2, 3], x, x[:0], x.half()]
    packed = []
    cat = torch.cat
    monkeypatch.setattr(torch, "cat", lambda some: packed.append(len(some)) or cat(some))
    arrays = to_host(tensors)()
    assert sum(packed) == len(tensors) - 1, "the same one twice is copied once"
    assert len(packed) == 5
    for array, tensor in zip(arrays, tensors, strict=True):
        assert array.shape == tuple(tensor.shape)
        assert array.dtype == tensor.cpu().numpy().dtype
        assert np.array_equal(array, tensor.cpu().numpy())
    assert to_host([])() == []


@pytest.mark.parametrize("device", DEVICES)
def test_what_comes_later_is_what_was_there_when_it_was_sent(device):
    x = torch.zeros(1000, device=device)
    arrays = to_host([x])
    x += 1
    assert not arrays()[0].any()


@pytest.mark.parametrize("device", DEVICES)
def test_what_goes_to_a_device_is_there(device):
    there = on_device(torch.arange(5), torch.device(device))
    assert there.device.type == device
    assert there.tolist() == [0, 1, 2, 3, 4]


def test_a_device_is_named_as_torch_names_it():
    assert [device_kind("x", name) for name in ("auto", "cpu", "cuda", "cuda:3")] == [
        ("auto", 0), ("cpu", 0), ("cuda", 0), ("cuda", 3)
    ]  # fmt: skip


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:113] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                 "to allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)"),
    RuntimeError("Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const AllocRequest&) at "
                 "/faiss/gpu/StandardGpuResources.cpp:530: Error: 'err == cudaSuccess' failed: StandardGpuResources: "
                 "alloc fail type FlatData dev 0 space Device stream 0x1 size 3072000000 bytes (cudaMalloc error out "
                 "of memory [2])"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("std::bad_alloc"),
    MemoryError("Unable to allocate 3.00 TiB for an array"),
]  # fmt: skip


@pytest.mark.parametrize("error", FULL, ids=lambda error: f"{type(error).__name__} {str(error)[:12]}")
def test_too_little_memory_is_one_sentence_with_what_to_lower(error):
    assert out_of_memory(error)
    with pytest.raises(UserError) as told, memory_told("for batches of 8; set 4"):
        raise error
    machine = "The GPU" if any(word in str(error).lower() for word in ("cuda", "cudnn")) else "This machine"
    assert str(told.value) == f"{machine} has too little memory for batches of 8; set 4."


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_left_alone(error):
    assert not out_of_memory(error)
    with pytest.raises(type(error), match=str(error)), memory_told("for x"):
        raise error


def test_a_tensor_that_no_machine_holds_is_told_by_torch_as_expected():
    def ask():
        with memory_told("for x"):
            torch.empty(2**52)

    # A thread of its own: where malloc has failed once, glibc gives a thread another arena for good.
    with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match="This machine has too little memory for x"):
        pool.submit(ask).result()
