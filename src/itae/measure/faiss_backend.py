"""FAISS itself: which one is installed, how many CPUs it may use, and which GPU.

FAISS comes as an optional extra, in several distributions that write over each other, and its own ``gpu=``
argument means all GPUs or, on a CPU wheel, silently none. So the choice is made here and told.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from itae.base.device import device_kind
from itae.base.errors import UserError
from itae.base.threads import omp_threads

FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss-cuda")
GPU_MOST = 2048  # what FAISS finds on a GPU for one query


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
    _refuse_two()
    return faiss


def require_faiss() -> None:
    """Raise the `UserError` of `load_faiss` as far as it can be told without importing FAISS, before any work."""
    if importlib.util.find_spec("faiss") is None:
        load_faiss()
    _refuse_two()


def _refuse_two() -> None:
    found = _installed(FAISS_PACKAGES)
    if len(found) > 1:
        raise UserError(
            f"{' and '.join(found)} are both installed and overwrite each other's faiss; "
            f"run pip uninstall -y {' '.join(found)}, then install one: pip install 'itae[cpu]' or 'itae[gpu]'."
        )


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
    """Return the number of the GPU that FAISS takes for `device`, or None for the CPU: also where it has no such GPU.

    Embeddings are made by torch, whose GPU has been asked for by then; many who have one have ``faiss-cpu``.

    Raises
    ------
    UserError
        When `device` is no device.
    """
    kind, chosen = device_kind("device", device)
    return None if kind == "cpu" or chosen >= _gpus(faiss) else chosen


def pick_gpus(faiss: Any, device: str, count: int | str) -> list[int | None]:
    """Return the numbers of `count` GPUs from that of `device` on, or those there are; ``[None]`` for the CPU.

    `count` is a whole number of at least 1, or ``all``: every one that FAISS sees, from that number on.
    """
    first = pick_gpu(faiss, device)
    if first is None:
        return [None]
    there = list(range(first, _gpus(faiss)))
    return [*(there if count == "all" else there[: int(count)])]


def why_on_cpu(device: str) -> str | None:
    """Return what a run has to say where `device` names a GPU and FAISS has worked on the CPU, else None."""
    if device_kind("device", device)[0] != "cuda" or pick_gpu(load_faiss(), device) is not None:
        return None
    gpus = _gpus(load_faiss())
    sees = f"sees {gpus} GPU(s)" if gpus else "has no GPU support or sees no GPU"
    return f"FAISS ran on the CPU, since this faiss {sees}; for runtime.device={device} install 'itae[gpu]'."


def _gpus(faiss: Any) -> int:
    # A wheel without CUDA also has get_num_gpus, and answers 0.
    return faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0


def flat_index(faiss: Any, width: int, gpu: int | None, cosine: bool = False) -> Any:
    """Return an exact index on the CPU (None) or on that one GPU, never on whichever are visible.

    By L2 distance; or, `cosine`, by inner product, which of unit vectors is the cosine.
    """
    kind = "IP" if cosine else "L2"
    if gpu is None:
        return getattr(faiss, f"IndexFlat{kind}")(width)
    config = faiss.GpuIndexFlatConfig()
    config.device = gpu
    return getattr(faiss, f"GpuIndexFlat{kind}")(_gpu_resources(gpu), width, config)


def nearest_in(faiss: Any, queries: Any, vectors: Any, k: int, gpu: int | None) -> tuple[Any, Any]:
    """Return the `k` largest inner products of each query with vectors, and their rows, largest first.

    Exactly, on the CPU (None) or on that one GPU; the vectors are searched where they lie, without the copy that an
    index would be. Float32 [q, E] and [n, E] -> float32 and int64 [q, k].
    """
    metric = faiss.METRIC_INNER_PRODUCT
    if gpu is None or k > GPU_MOST:
        with _by_products(faiss):
            return faiss.knn(queries, vectors, k, metric=metric)
    part = 2**30  # bytes of the vectors on the GPU at a time
    return faiss.knn_gpu(_gpu_resources(gpu), queries, vectors, k, metric=metric, device=gpu, vectorsMemoryLimit=part)


@contextlib.contextmanager
def _by_products(faiss: Any) -> Iterator[None]:
    """Have FAISS multiply matrices for few queries, too.

    By itself FAISS 1.15 does so where the queries have 128,000 numbers and more, and else goes pair by pair: of 50,000
    x 384 that takes 2.5 ms a query, and by products .4 to .6 from 64 queries on, 1.1 for 16.
    """
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


@contextlib.contextmanager
def threads(faiss: Any) -> Iterator[None]:
    """Let FAISS use the CPUs that this process may use, in the body, in this thread."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(omp_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def replicated_index(faiss: Any, width: int, gpus: Sequence[int | None]) -> Any:
    """Return an exact index by L2 distance that has what is added to it on each GPU, and shares out what is asked."""
    if len(gpus) == 1:
        return flat_index(faiss, width, gpus[0])
    index = faiss.IndexReplicas(width, True)
    for gpu in gpus:
        index.addIndex(flat_index(faiss, width, gpu))  # FAISS for Python keeps them alive as long as the replicas
    return index


@functools.cache
def _gpu_resources(gpu: int) -> Any:
    return load_faiss().StandardGpuResources()  # one a process and GPU: each reserves more than a GB
