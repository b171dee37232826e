"""Groups as tasks of a Ray cluster: one that runs, or one for this sweep on this machine.

Ray starts a lost task again, and each task has a process of its own, so that GPU memory is given back.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from itae.errors import UserError
from itae.runtime import progress

if TYPE_CHECKING:
    from hydra_plugins.itae_sweeps import RayLauncher
    from hydra_plugins.itae_sweeps._parcel import Parcel

log = logging.getLogger(__name__)


def send(launcher: RayLauncher, parcels: Sequence[Parcel]) -> list[str]:
    """Run the groups and return for each why it broke off, or an empty text."""
    with _cluster(launcher):
        _check_resources(launcher)
        task = ray.remote(max_calls=1)(_run).options(**launcher.options)
        refs = [task.remote(parcel) for parcel in parcels]
        left = list(refs)
        try:
            with progress(len(refs), "sweep", "groups") as advance:
                while left:
                    _, left = ray.wait(left)
                    advance(1)
        finally:  # after Ctrl-C
            for ref in left:
                ray.cancel(ref, force=True)
        return [_ended(ref) for ref in refs]


@contextlib.contextmanager
def _cluster(launcher: RayLauncher) -> Iterator[None]:
    """Be connected to a cluster; one that this process is connected to already is used, and left as it is."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"include_dashboard": False} if launcher.address == "local" else {}
    try:
        ray.init(
            address=launcher.address,
            runtime_env=dict(launcher.runtime_env or {}) or None,
            log_to_driver=False,  # what jobs say is in their run.log
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"hydra.launcher.address={launcher.address}: no Ray cluster there ({reason}).") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(launcher: RayLauncher) -> None:
    """Refuse what this machine can't ever give, which Ray would wait for; another cluster may grow."""
    there = ray.cluster_resources()
    for name, key in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
        asked, has = launcher.options[name], there.get(key, 0)
        told = f"hydra.launcher.{name}={asked}: the Ray cluster has {has:g} {key}s"
        if asked > has and launcher.address == "local":
            raise UserError(f"{told}; ask for no more.")
        if asked > has:
            log.warning("%s; waiting until it has more.", told)


def _run(parcel: Parcel) -> None:
    parcel()


def _ended(ref: Any) -> str:
    try:
        ray.get(ref)
    except RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except RayError as error:
        told = str(error).strip().splitlines() or [""]
        return f"its Ray worker was lost: {type(error).__name__}, {told[0]}"
    return ""
