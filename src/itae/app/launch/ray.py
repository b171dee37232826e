"""Groups as tasks of a Ray cluster: one that runs, or one for this sweep on this machine.

Ray starts a lost task again, and each task has a process of its own, so that GPU memory is given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from itae.base.progress import progress
from itae.base.runtime import OnRay
from itae.base.waiting import Waiting
from itae.embed.ray_cluster import connected, lost, wait

if TYPE_CHECKING:
    from itae.app.launch.parcel import Parcel


def send(asked: OnRay, parcels: Sequence[Parcel]) -> list[str]:
    """Run the groups and return for each why it broke off, or an empty text."""
    with connected(asked, "hydra.launcher"):
        task = ray.remote(max_calls=1)(_run).options(**asked.options)
        refs = [task.remote(parcel) for parcel in parcels]
        left = list(refs)
        try:
            with progress(len(refs), "sweep", "groups") as advance:
                waiting = Waiting()
                while left:
                    _, left = wait(left, asked, "hydra.launcher", waiting)
                    advance(1)
        finally:  # after Ctrl-C
            for ref in left:
                ray.cancel(ref, force=True)
        return [_ended(ref) for ref in refs]


def _run(parcel: Parcel) -> None:
    parcel()


def _ended(ref: Any) -> str:
    try:
        ray.get(ref)
    except RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except RayError as error:
        return lost(error)
    return ""
