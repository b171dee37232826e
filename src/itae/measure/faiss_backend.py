"""FAISS itself: which one is installed, how many CPUs it may use, and which GPU.

FAISS comes as an optional extra, in several distributions that write over each other, and its own ``gpu=``
argument means all GPUs or, on a CPU wheel, silently none. So the choice is made here and told.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from itae.base.device import device_kind
from itae.base.errors import UserError
from itae.base.threads import omp_threads

FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss-cuda")


@functools.cache
def load_faiss() -> Any:
    """Import FAISS and return the module.

    Raises
    ------
    UserError
        When it is missing or broken, or when two distributions have written over each other.
    """
    try:
        import faiss
    except (ImportError, OSError) as error:
        raise UserError(
            f"Clustering needs faiss, which could not be imported ({error}); run pip install 'itae[cpu]', "
            "or pip install 'itae[gpu]' on a machine with an NVIDIA GPU."
        ) from error
    found = _installed(FAISS_PACKAGES)
    if len(found) > 1:
        raise UserError(
            f"{' and '.join(found)} are both installed and overwrite each other's faiss; "
            f"run pip uninstall -y {' '.join(found)}, then install one: pip install 'itae[cpu]' or 'itae[gpu]'."
        )
    return faiss


def _installed(names: Sequence[str]) -> list[str]:
    from importlib import metadata

    def there(name: str) -> bool:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            return False
        return True

    return [name for name in names if there(name)]


def pick_gpu(faiss: Any, device: str) -> int | None:
    """Return the number of the GPU that `device` asks for, or None for the CPU.

    Raises
    ------
    UserError
        When `device` is no device, or FAISS can't use it; ``auto`` never raises.
    """
    kind, chosen = device_kind("device", device)
    # A wheel without CUDA also has get_num_gpus, and answers 0.
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if kind == "cpu" or (kind == "auto" and not gpus):
        return None
    if chosen >= gpus:
        why = f"faiss sees {gpus} GPU(s)" if gpus else "this faiss has no GPU support or sees no GPU"
        raise UserError(f"device={device} can't cluster: {why}; set runtime.device=cpu or install 'itae[gpu]'.")
    return chosen


def flat_index(faiss: Any, width: int, gpu: int | None, cosine: bool = False) -> Any:
    """Return an exact index on the CPU (None) or on that one GPU, never on whichever are visible.

    By L2 distance; or, `cosine`, by inner product, which of unit vectors is the cosine.
    """
    kind = "IP" if cosine else "L2"
    if gpu is None:
        return getattr(faiss, f"IndexFlat{kind}")(width)
    config = faiss.GpuIndexFlatConfig()
    config.device = gpu
    return getattr(faiss, f"GpuIndexFlat{kind}")(_gpu_resources(), width, config)


@contextlib.contextmanager
def threads(faiss: Any) -> Iterator[None]:
    """Let FAISS use the CPUs that this process may use, in the body, in this thread."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(omp_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@functools.cache
def _gpu_resources() -> Any:
    return load_faiss().StandardGpuResources()  # one a process: each reserves more than a GB
