"""How a run is executed: device, batch size, threads, progress. Nothing of it can change a vector."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itae.base.checks import number, one_of, true_or_false, whole
from itae.base.device import device_kind
from itae.base.errors import UserError
from itae.base.threads import cpu_count

if TYPE_CHECKING:
    import torch

_DECODERS = 16  # threads, at most: each picture costs Python a little, too, and that a single core does


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
class Runtime:
    """How a run is executed; nothing of it can change a vector, so nothing of it is in a key.

    Parameters
    ----------
    device
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``.
    batch_size
        Images a forward.
    num_workers
        Threads that decode images ahead of the model; 0 decodes in between. ``auto``: beside a GPU, which would wait
        for them, as many as there are CPUs for this process (`ray.num_cpus` for a worker of Ray), up to 16; on the CPU,
        which the model itself wants, one.
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
        ``local``: this process embeds all images, and looks for neighbours in a knowledge base. ``ray``: the workers of
        a Ray cluster share out the images of a data set, and the queries of a base.
    ray
        What each of those workers asks for.
    """

    device: str = "auto"
    batch_size: int = 32
    num_workers: int | str = "auto"
    diagnostics: bool = True
    report: bool = True
    links: bool = False
    projection: str = "pca"
    engine: str = "local"
    ray: OnRay = OnRay()

    def __post_init__(self) -> None:
        """Check every value."""
        whole("runtime.batch_size", self.batch_size, low=1)
        whole("runtime.num_workers", self.num_workers, low=0, other="auto")
        for name in ("diagnostics", "report", "links"):
            true_or_false(f"runtime.{name}", getattr(self, name))
        one_of("runtime.projection", self.projection, ("pca", "umap"))
        one_of("runtime.engine", self.engine, ("local", "ray"))
        self.ray.check("runtime.ray")
        for word, value, extra in (("engine", self.engine, "ray"), ("projection", self.projection, "umap")):
            if value == extra and importlib.util.find_spec(extra) is None:
                raise UserError(
                    f"runtime.{word}={extra} needs {extra}, which is not installed: pip install 'itae[{extra}]'"
                )
        device_kind("runtime.device", self.device)

    def check_device(self) -> None:
        """Raise a `UserError` if a GPU of this machine is named that isn't there; workers of Ray have their own."""
        if self.engine == "local" and device_kind("runtime.device", self.device)[0] == "cuda":
            self.torch_device()

    def decoders(self, device: torch.device) -> int:
        """Return how many threads decode for a model on this device."""
        if self.num_workers != "auto":
            return int(self.num_workers)
        cpus = int(self.ray.num_cpus) if self.engine == "ray" else cpu_count()
        return max(1, min(_DECODERS, cpus)) if device.type == "cuda" else 1

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
