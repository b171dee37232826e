"""Jobs of a group whose pass is done, in several processes of this machine.

They are forked from a server (``multiprocessing``'s) that has imported what jobs need. It starts while the sweep is
still being planned, so that the first job can begin as soon as it is known.

Measured on 2 shared cores with 64 cached jobs on 1,797 digits, five rounds: .86 of the time of one process (.82 to .90)
for 1.22 of its CPU, and .64 of the time (.55 to .84) and .80 of the CPU of joblib's loky, whose processes import all
anew. A ``ProcessPoolExecutor`` on the same server would do if it could lose a process without all others, and end those
at work by a public name (Python 3.14 has one).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import connection, forkserver, get_context, resource_tracker
from typing import TYPE_CHECKING

import cloudpickle
from threadpoolctl import threadpool_limits

from itae.app.launch.sending import enter, packed
from itae.base.errors import UserError
from itae.base.place import Place, socket_folder
from itae.base.progress import progress
from itae.base.threads import omp_threads

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from itae.app.launch.group import Group, Program
    from itae.embed.source import Source


log = logging.getLogger(__name__)

_WORTH, _MOST, _FEW = 16, 8, 20_000  # see `count`
_LONGEST = 107 - len("/pymp-12345678/listener-12345678")  # bytes, of the folder that multiprocessing's socket is in
_GRACE = 10  # seconds that a process has to leave word of its job when it is to end
_TRACKED = ("wandb", "wandb.apis.public", "wandb.sdk.wandb_init", "requests")


def start_server(jobs: int, n_jobs: int | None, tracked: bool) -> None:
    """Start importing, in the background, if so many jobs may run in several processes; see `count`."""
    if _at_most(jobs, n_jobs) > 1 and (os.cpu_count() or 1) > 1:
        context = get_context("forkserver")
        context.set_forkserver_preload(["itae.app.launch.server", *(_TRACKED if tracked else ())])
        resource_tracker.ensure_running()  # else it starts below, and unblocks the signal
        # Ctrl-C is for this process, which ends the others: they inherit that they don't hear it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            with contextlib.suppress(OSError), _short_names():  # told when the first process is to start
                forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _short_names() -> Iterator[None]:
    """Have multiprocessing put its socket where the name of one has room."""
    before, tempfile.tempdir = tempfile.tempdir, socket_folder(_LONGEST) or tempfile.tempdir
    try:
        yield
    finally:
        tempfile.tempdir = before


def _at_most(jobs: int, n_jobs: int | None) -> int:
    if n_jobs is None:
        return min(jobs // _WORTH, _MOST)
    return 1 if n_jobs == 1 else jobs


def count(group: Group, n_jobs: int | None) -> int:
    """Return in how many processes to run jobs whose embeddings are in the store.

    Parameters
    ----------
    group
        Jobs that share a pass.
    n_jobs
        How many at most, as joblib has it: -1 for one a core. None for as many as pay, each of which takes 0.2 GB and
        more: one for every `_WORTH` jobs, up to `_MOST`; with a GPU, or more than `_FEW` images, whose clustering keeps
        all cores busy, none beside this one.
    """
    most = _at_most(len(group.jobs), n_jobs)
    if most < 2:
        return 1
    from joblib import effective_n_jobs  # here and not above: the server is to start before all this is imported

    from itae.app.job import open_job
    from itae.app.settings import Settings
    from itae.measure.faiss_backend import load_faiss, pick_gpu

    if n_jobs is None:
        job = open_job(Settings.of(group.jobs[0].config))
        if len(job.source.images) > _FEW or pick_gpu(load_faiss(), job.settings.runtime.device) is not None:
            return 1
    return min(effective_n_jobs(-1 if n_jobs is None else n_jobs), most)


def run(
    program: Program, group: Group, n: int, ahead: Iterator[object], sources: Mapping[Hashable, Source] | None = None
) -> dict[int, str]:
    """Run jobs, so many at a time; return why those broke off that could leave no word of it, by their places.

    A job whose process dies runs once more when the others are done, by itself: memory is the usual reason. While jobs
    run, this process goes through `ahead`. What it knows of `sources` goes along: the others would read all bytes of
    weights and images to know it.

    Raises
    ------
    UserError
        If they can't be run so: the program can't be sent, or processes end before they ask for a job.
    """
    what = packed(program), packed(sources or {})
    with progress(len(group.jobs), "sweep", "jobs") as advance:
        lost, why = _serve(what, group, range(len(group.jobs)), n, advance, ahead)
        if lost:
            for i, reason in lost.items():
                log.warning("Job %s runs once more, by itself: %s.", group.jobs[i], reason)
            lost, more = _serve(what, group, lost, 1, advance, ahead)
            why |= more | lost
            advance(len(lost))
    return why


def _serve(
    what: tuple[bytes, bytes],
    group: Group,
    which: Iterable[int],
    n: int,
    advance: Callable[[int], None],
    ahead: Iterator[object],
) -> tuple[dict[int, str], dict[int, str]]:
    """Hand out jobs, one at a time to each process; return those whose process died, those that broke off, and why."""
    waiting = deque(which)
    inside: dict[Connection, tuple[BaseProcess, int | None]] = {}  # of each pipe its process, and the job in its hand
    lost: dict[int, str] = {}
    broke: dict[int, str] = {}
    context = get_context("forkserver")
    surroundings = Place.here(), {**os.environ, "OMP_NUM_THREADS": str(max(1, omp_threads() // n))}

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, *surroundings, *what))
        try:
            process.start()
        except (OSError, EOFError) as error:  # its server is gone, or there is no room for one more
            raise UserError(f"No process for them could be started ({type(error).__name__}: {error}).") from error
        theirs.close()
        inside[ours] = process, None

    try:
        for _ in range(min(n, len(waiting))):
            start()
        while inside:
            for pipe in _ready(inside, ahead):
                process, job = inside[pipe]
                try:
                    reason = pipe.recv()
                except (EOFError, OSError):
                    del inside[pipe]
                    process.join()
                    if job is not None:
                        lost[job] = f"its worker died: {_ended(process.exitcode)}"
                        if waiting:
                            start()
                    continue
                if job is not None:
                    advance(1)
                    if reason:
                        broke[job] = reason
                if waiting:
                    job = waiting.popleft()
                    inside[pipe] = process, job
                    with contextlib.suppress(OSError):  # then there is an end to read
                        pipe.send_bytes(packed(group.configs[job]))
                else:
                    del inside[pipe]
                    pipe.close()  # it ends by itself; that takes a second, and this process goes on
    except BaseException:
        _end([process for process, _ in inside.values()])
        raise
    if waiting:
        raise UserError(f"The processes for them ended at once ({_ended(process.exitcode)}).")
    return lost, broke


def _ready(pipes: Iterable[Connection], ahead: Iterator[object]) -> list[Connection]:
    """Return pipes from which something can be read, or their end, once there are any; meanwhile go on with `ahead`."""
    asked, nothing = list(pipes), object()
    while not (ready := connection.wait(asked, 0)) and next(ahead, nothing) is not nothing:
        pass
    return ready or connection.wait(asked)  # type: ignore[return-value]


def _ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _end(processes: Sequence[BaseProcess]) -> None:
    """End processes; each has some seconds to leave word of its job."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)
        process.kill()


def _work(pipe: Connection, place: Place, env: Mapping[str, str], what: bytes, sources: bytes) -> None:
    """Run jobs that come through a pipe, until it is closed. Called in another process."""
    from itae.app.job import shared
    from itae.base.place import ends_when_told

    ends_when_told()
    os.environ.clear()  # the server's is that of when it started
    os.environ.update(env)
    enter(place, logging.WARNING)  # it writes to the terminal of us all
    program = cloudpickle.loads(what)
    program.enter()
    opened = cloudpickle.loads(sources)
    gc.enable()
    gc.freeze()  # else each collection would look at all that was imported, and copy it from the server's memory
    with contextlib.suppress(EOFError, BrokenPipeError), threadpool_limits(int(env["OMP_NUM_THREADS"])), shared(opened):
        pipe.send("")
        while True:
            pipe.send(_run(program, pipe.recv_bytes()))


def _run(program: Program, config: bytes) -> str:
    """Run one job; return why it broke off, where it couldn't leave word itself."""
    try:
        program.run(cloudpickle.loads(config))
    except Exception as error:
        log.exception("the job broke off")
        return f"{type(error).__name__}: {error}"
    return ""
