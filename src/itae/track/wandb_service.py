"""W&B's service, the process ``wandb-core`` that its library starts, never keeps one of ours from ending.

When a process ends, W&B waits for its service without a limit; one that retries a request, or hangs, may take minutes
or for ever. So ours has some seconds, and is killed then. A service that somebody else started in the same process
(in a notebook, with their own ``wandb.init``) is never touched, nor is ours while another run than the one that failed
is in it: W&B has one service a process, and whoever comes later is in the first one's.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 5.0  # seconds from the end of the main thread to that of the service, which takes milliseconds
_WATCH = "wandb-watch"
_ours: set[Any] = set()  # psutil's processes
_runs: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()  # ours, and whether all is well with each
_session: list[Any] = []  # W&B's own record of this process, once there is one


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns, or raise what it raises, or TimeoutError; it is left running then."""
    outcome: list[tuple[T | None, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:  # W&B may also call sys.exit
            outcome.append((None, error))

    thread = threading.Thread(target=work, name="wandb-guard", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.3g} s")
    value, error = outcome[0]
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(repr(error))
    return value  # type: ignore[return-value]


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Take a service that starts in the body for ours, which may outlive the main thread by `GRACE`."""
    if all(thread.name != _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_watch, name=_WATCH, daemon=True).start()
    before = _services()
    try:
        yield
    finally:
        _ours.update(_services() - before)
        _remember_session()


def end(run: Any = None) -> None:
    """End our service at once, after a failure of `run` in it, unless another run goes on there.

    One that failed would be waited for when the process ends.
    """
    if run is not None:
        _runs[run] = False
    if not _ours or any(_runs.get(one, True) for one in _going_on()):
        return
    _kill()
    _ours.clear()

    def teardown() -> None:
        import wandb

        wandb.teardown()

    with contextlib.suppress(Exception):
        within(2.0, teardown)


def own(run: Any) -> None:
    """Take a run for one of ours, which is not waited for when the process ends."""
    _runs[run] = True


def _watch() -> None:
    main, theirs = threading.main_thread(), False
    while main.is_alive():
        theirs = _somebody_elses()  # asked before it ends: a run that is closed at exit is in no list while it sends
        main.join(1.0)  # W&B's hook at exit runs after this, and no thread can be started any more
    time.sleep(GRACE)
    if not theirs:
        _kill()


def _remember_session() -> None:
    """Keep what W&B keeps of this process; at its end W&B hands out none any more."""
    wandb = sys.modules.get("wandb")
    with contextlib.suppress(Exception):
        _session[:] = [within(2.0, wandb.setup)] if wandb and _services() & _ours else []


def _going_on() -> list[Any]:
    """Return the runs that are in our service now."""
    return [run for session in _session for run in getattr(session, "_active_runs", ())]


def _somebody_elses() -> bool:
    """Whether a run that is not ours is in our service: it may take its time to send what it has."""
    return any(run not in _runs for run in _going_on())


def _kill() -> None:
    import psutil

    for service in _ours & _services():
        with contextlib.suppress(psutil.Error):
            service.kill()


def _services() -> set[Any]:
    import psutil

    found = set()
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if child.name().startswith("wandb-core"):
                    found.add(child)
    return found
