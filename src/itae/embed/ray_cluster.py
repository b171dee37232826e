"""Being connected to a Ray cluster, one that runs or one of this process on this machine, and tasks on it.

What a lost worker had in hand is given to another, so a task has to be one that may be done twice.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from itae.base.errors import UserError
from itae.base.place import socket_folder
from itae.base.runtime import OnRay
from itae.base.waiting import FIRST, Waiting

_LONGEST = 107 - len("/ray/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store")  # bytes
_PATIENCE = 10.0  # seconds for a cluster to answer


@contextlib.contextmanager
def connected(asked: OnRay, word: str) -> Iterator[None]:
    """Be connected to the cluster that `asked` names, whose settings are called `word` on the command line.

    One that this process is connected to already is used, and left as it is.

    Raises
    ------
    UserError
        If there is none, or it can't ever give what one worker asks for.
    """
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(_short_names())
            _connect(asked, word)
            stack.callback(ray.shutdown)
        _check_resources(asked, word)
        yield


def _connect(asked: OnRay, word: str) -> None:
    try:
        _knock(asked.address or "")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lance is not fork-safe")  # Ray forks to start programs, and no more
            ray.init(
                address=asked.address,
                runtime_env=dict(asked.runtime_env or {}) or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if asked.address == "local" else None,
            )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{word}.address={asked.address}: no Ray cluster there ({reason}).") from error


@contextlib.contextmanager
def _short_names() -> Iterator[None]:
    """Have a Ray cluster of this process put its sockets where their names have room."""
    if "RAY_TMPDIR" in os.environ or (folder := socket_folder(_LONGEST)) is None:
        yield
        return
    os.environ["RAY_TMPDIR"] = folder  # else TMPDIR counts
    try:
        yield
    finally:
        del os.environ["RAY_TMPDIR"]


def _knock(address: str) -> None:
    """Raise an `OSError` if nobody listens at ``host:port``, where Ray would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _check_resources(asked: OnRay, word: str) -> None:
    """Refuse what this machine can't ever give, which Ray would wait for; another cluster may grow."""
    if asked.address == "local" and (lacking := _lacking(asked, word)):
        raise UserError(f"{lacking}; ask for no more.")


def _lacking(asked: OnRay, word: str) -> str:
    """Say what no machine of the cluster has now, an empty text where one has all."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, key in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
        wanted, has = asked.options[name], max((node.get(key, 0) for node in nodes), default=0)
        if wanted > has:
            return f"{word}.{name}={wanted}: the Ray cluster has {has:g} {key}s at most on one machine"
    return ""


def wait(
    tasks: list[ray.ObjectRef], asked: OnRay, word: str, waiting: Waiting
) -> tuple[ray.ObjectRef, list[ray.ObjectRef]]:
    """Wait until a task ends; return it and those that are left. That the cluster has to grow for one is told."""
    while True:
        ended, left = ray.wait(tasks, timeout=FIRST)
        if ended:
            return ended[0], left
        if lacking := _lacking(asked, word):
            waiting.goes_on(f"the Ray cluster to grow ({lacking})")


def lost(error: Exception) -> str:
    """Say which way a worker was lost."""
    told = str(error).strip().splitlines() or [""]
    return f"its Ray worker was lost: {type(error).__name__}, {told[0]}"


def told(work: Callable[..., Any]) -> Callable[..., Any]:
    """Have a task return a user's mistake: of those that are raised, Ray prints what nobody waits for any more."""

    @functools.wraps(work)
    def task(*args: Any) -> Any:
        try:
            return work(*args)
        except UserError as error:
            return error

    return task


def begun(work: Callable[..., Any], asked: OnRay, *args: Any) -> ray.ObjectRef:
    """Begin a task that is `told`; what it is given as a list comes as it is, references in it unopened."""
    # Without max_calls=0 Ray would end a GPU's worker with each task, and have the next one load all that it needs.
    return ray.remote(max_calls=0)(work).options(**asked.options).remote(*args)


def done(tasks: Sequence[ray.ObjectRef], asked: OnRay, word: str, what: str, then: str) -> Generator[tuple[int, Any]]:
    """Yield each task's position and what came of it, as they end; when left, end those that go on.

    Raises
    ------
    UserError
        What a task has told; and, where a worker was lost too often, that `what` broke off and what to do `then`, a
        sentence.
    """
    places, left, waiting = {task: i for i, task in enumerate(tasks)}, list(tasks), Waiting()
    try:
        while left:
            ended, left = wait(left, asked, word, waiting)
            try:
                result = ray.get(ended)
            except RayTaskError:  # a bug, with the worker's traceback in it
                raise
            except RayError as error:
                often = f"that was once more than {word}.max_retries allows"
                raise UserError(f"{what} broke off, {lost(error)}; {often}. {then}") from error
            if isinstance(result, UserError):
                raise result
            yield places[ended], result
    finally:
        for task in left:
            ray.cancel(task, force=True)
