"""W&B's service, the process ``wandb-core`` that its library starts, never keeps one of ours from ending.

When a process ends, W&B waits for its service without a limit; one that retries a request, or hangs, may take minutes
or for ever. So ours has some seconds, and is killed then. A service that somebody else started in the same process
(in a notebook, with their own ``wandb.init``) is never touched.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 5.0  # seconds from the end of the main thread to that of the service, which takes milliseconds
_WATCH = "wandb-watch"
_ours: set[Any] = set()  # psutil's processes


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


def end() -> None:
    """End our service at once. One that failed would be waited for by the next run in this process."""
    if not _ours:
        return
    _kill()
    _ours.clear()

    def teardown() -> None:
        import wandb

        wandb.teardown()

    with contextlib.suppress(Exception):
        within(2.0, teardown)


def _watch() -> None:
    threading.main_thread().join()  # W&B's hook at exit runs after this, and no thread can be started any more
    time.sleep(GRACE)
    _kill()


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
