"""Groups on this machine, some at a time: joblib's loky processes, which share the cores out among them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky import get_reusable_executor

from itae.base.progress import progress

if TYPE_CHECKING:
    from itae.app.launch.parcel import Parcel

log = logging.getLogger(__name__)


def send(n_jobs: int, parcels: Sequence[Parcel]) -> list[str]:
    """Run the groups and return for each why it broke off, or an empty text.

    When a worker dies, loky ends all of them. What is left then runs one group at a time: memory is the usual
    reason, and what dies alone has nobody else to blame.
    """
    ended: dict[int, str] = {}
    try:
        with progress(sum(parcel.jobs for parcel in parcels), "sweep", "jobs") as advance:
            died = _run(parcels, range(len(parcels)), n_jobs, ended, advance)
            left = [i for i in range(len(parcels)) if i not in ended]
            if died:
                log.warning("A worker died (%s); the %d groups left run one at a time.", died, len(left))
            for i in left:
                died = _run(parcels, [i], 1, ended, advance)
                if died:
                    ended[i] = f"its worker died: {died}"
    finally:
        # They hold memory, and take a second to end: in the meantime this process goes on.
        get_reusable_executor(reuse=True).shutdown(wait=False)
    return [ended[i] for i in range(len(parcels))]


def _run(
    parcels: Sequence[Parcel],
    which: Sequence[int],
    n_jobs: int,
    ended: dict[int, str],
    advance: Callable[[int], None],
) -> str:
    """Run some groups, note how they ended, and return what killed a worker, or an empty text."""
    at_a_time = max(1, min(effective_n_jobs(n_jobs), len(which)))
    # Two where one will do: with one, joblib would run it in this process.
    pool = Parallel(n_jobs=max(2, at_a_time), backend="loky", return_as="generator_unordered", pre_dispatch=at_a_time)
    try:
        for i, reason in pool(delayed(_guarded)(i, parcels[i]) for i in which):
            ended[i] = reason
            advance(parcels[i].jobs)
    except BrokenProcessPool as error:
        return " ".join(str(error).split())
    return ""


def _guarded(i: int, parcel: Parcel) -> tuple[int, str]:
    try:
        parcel(logging.WARNING)  # it writes to the terminal of us all
    except Exception as error:
        log.exception("the group broke off")
        return i, f"{type(error).__name__}: {error}"
    return i, ""
