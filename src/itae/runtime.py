"""How a run is executed: device, batch size, threads, progress. Nothing of it can change a vector."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import logging
import math
import mmap
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.detect import number, whole
from itae.errors import UserError, one_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import DTypeLike

log = logging.getLogger(__name__)

_TOLD_EVERY = 30.0  # seconds between two lines of progress in a log file
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of malloc.h
_QUICK = 1.0  # seconds; what is done by then shows no bar
_PACKAGES = (
    "itae",
    "torch",
    "timm",
    "numpy",
    "scikit-learn",
    "pillow",
    "hydra-core",
    "wandb",
    "faiss-cpu",
    "faiss-gpu",
)


@dataclass(frozen=True)
class OnRay:
    """What each worker asks of a Ray cluster.

    Parameters
    ----------
    address
        ``local`` (a cluster of this process on this machine), ``auto``, ``host:port`` or ``ray://host:port``.
    num_cpus, num_gpus
        Of each worker; its threads are as many as its CPUs.
    max_retries
        How often the work of a lost worker is started again.
    runtime_env
        Ray's own, such as ``{"env_vars": {...}}``.
    """

    address: str | None = "local"
    num_cpus: float = 1
    num_gpus: float = 0
    max_retries: int = 3
    runtime_env: Mapping[str, Any] | None = None

    def check(self, word: str) -> None:
        """Raise a `UserError` for a number that can't be meant; the settings are called `word` on the command line."""
        number(f"{word}.num_cpus", self.num_cpus, low=0.0)
        number(f"{word}.num_gpus", self.num_gpus, low=0.0)
        whole(f"{word}.max_retries", self.max_retries, low=0)

    @property
    def options(self) -> dict[str, float]:
        """What a Ray task is given."""
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "max_retries": self.max_retries}


@dataclass(frozen=True)
class Place:
    """Where a command was started: relative paths and modules of the user's own are found from there."""

    cwd: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> Place:
        """Return the place of this process."""
        return cls(os.getcwd(), tuple(os.path.abspath(each) for each in sys.path))

    def enter(self) -> None:
        """Have a process that starts elsewhere, perhaps on another machine, find what is found there.

        Raises
        ------
        UserError
            If the folder is not on this machine.
        """
        if not Path(self.cwd).is_dir():
            raise UserError(f"{self.cwd} is not there on {os.uname().nodename}: a shared file system is needed.")
        os.chdir(self.cwd)
        sys.path += [each for each in self.path if each not in sys.path]


@dataclass(frozen=True)
class Runtime:
    """How a run is executed; nothing of it can change a vector, so nothing of it is in a key.

    Parameters
    ----------
    device
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``.
    batch_size
        Images a forward.
    num_workers
        Threads that decode images ahead of the model; 0 decodes in between.
    diagnostics
        Whether norms in all blocks, maps of what is flagged and the CLS token's attention on it are kept beside the
        vectors. Embeddings that were made without them are made again.
    report
        Whether a run, and a sweep, ends with a page, ``report.html``; ``itae report`` makes it later.
    links
        Whether a run makes a folder for each cluster, ``clusters/<number>/``, with links to its images.
    projection
        How pictures show embeddings in two dimensions: ``pca``, or ``umap`` (``pip install 'itae[umap]'``).
    engine
        ``local``: this process embeds all images. ``ray``: the workers of a Ray cluster share them.
    ray
        What each of those workers asks for.
    """

    device: str = "auto"
    batch_size: int = 32
    num_workers: int = 1
    diagnostics: bool = True
    report: bool = True
    links: bool = False
    projection: str = "pca"
    engine: str = "local"
    ray: OnRay = OnRay()

    def __post_init__(self) -> None:
        """Check every value."""
        whole("runtime.batch_size", self.batch_size, low=1)
        whole("runtime.num_workers", self.num_workers, low=0)
        for name in ("diagnostics", "report", "links"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"runtime.{name}={getattr(self, name)!r} must be true or false.")
        one_of("runtime.projection", self.projection, ("pca", "umap"))
        one_of("runtime.engine", self.engine, ("local", "ray"))
        self.ray.check("runtime.ray")
        for word, value, extra in (("engine", self.engine, "ray"), ("projection", self.projection, "umap")):
            if value == extra and importlib.util.find_spec(extra) is None:
                raise UserError(
                    f"runtime.{word}={extra} needs {extra}, which is not installed: pip install 'itae[{extra}]'"
                )
        kind, _, number = str(self.device).partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
            raise UserError(f"runtime.device={self.device!r} is not one of auto, cpu, cuda, cuda:0, cuda:1, ...")

    def torch_device(self) -> torch.device:
        """Return the device.

        Raises
        ------
        UserError
            If a GPU is asked for that torch can't see.
        """
        import torch

        count = torch.cuda.device_count()
        if self.device == "auto":
            return torch.device("cuda" if count else "cpu")
        device = torch.device(self.device)
        if device.type == "cuda" and (device.index or 0) >= count:
            raise UserError(
                f"runtime.device={self.device}: torch sees {count} GPUs on this machine; use runtime.device=auto."
            )
        return device


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


@contextlib.contextmanager
def progress(total: int, what: str, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far a work is, once it takes longer than a second.

    A bar on a terminal, a line in the log every half minute elsewhere.

    Parameters
    ----------
    total, done
        How much there is to do, and how much of it was done before.
    what, unit
        What is being done, to what.

    Yields
    ------
    Callable
        Takes the number of units just done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total, completed=done)
    began = told = time.monotonic()
    fresh = 0

    def advance(count: int) -> None:
        nonlocal fresh, told
        fresh += count
        bar.advance(task, count)
        now = time.monotonic()
        if console.is_terminal and not bar.live.is_started and now - began > _QUICK:
            bar.start()
        elif not console.is_terminal and now - told > _TOLD_EVERY:
            told = now
            log.info("%s: %d of %d %s, %.1f a second", what, done + fresh, total, unit, fresh / (now - began))

    try:
        yield advance
    finally:
        if bar.live.is_started:  # else it would print an empty line
            bar.stop()


@contextlib.contextmanager
def memory_reused() -> Iterator[None]:
    """Have glibc keep what a forward frees for the next one, and return it to the system at the end.

    By default every block of 32 MB or more is mapped anew in each forward and its pages are faulted in one by
    one, a fifth of a ViT-S's time on 2 cores, and what lies below that bound can pile up batch by batch.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):  # another C library has other habits
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:  # where glibc's own bounds end up in a process that used large blocks
        mallopt(_M_MMAP_MAX, 65536)
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)
        trim(0)


def own_memory(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array of zeros in a map of its own, for what outlives a batch while `memory_reused`.

    In the heap, each small thing that stays parts the room that the next batch's activations need: a pass with many
    edits grew to ten times its size.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8)[:size].view(dtype).reshape(shape)


def peak_rss_mb() -> float:
    """Return the most memory that this process has held, in MB (10**6 bytes).

    From /proc where there is one: ``getrusage`` also counts what the parent held when it forked.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions of what numbers depend on: Python and the packages that are installed."""
    out = {"python": platform.python_version(), "platform": sys.platform}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out[name] = importlib.metadata.version(name)
    return out
