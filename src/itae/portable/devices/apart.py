"""A device in a process and an environment of its own: some runtimes bring packages that others can't live with.

Its Python is started with `worker.py` and a file that knows the runtime; they talk over pipes, in JSON and raw numbers,
so that nothing is unpickled. It tells its own CPU and wall time: what the pipes cost is in neither.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import one_of
from itae.base.errors import UserError
from itae.portable.devices.device import Runner, Timed
from itae.portable.devices.processor import emulated
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_HERE = Path(__file__).parent


class Worker:
    """A process that answers.

    Parameters
    ----------
    python
        The interpreter of its environment.
    runtime
        The file that knows the runtime: see `worker.main`.
    """

    def __init__(self, python: str, runtime: Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
        try:
            self._process = subprocess.Popen(
                [python, "-I", str(_HERE / "worker.py"), str(runtime)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )
        except OSError as error:
            raise UserError(
                f"{python} can't be started ({error.strerror}); give the Python of an environment."
            ) from error

    def ask(self, body: bytes = b"", **words: Any) -> tuple[dict[str, Any], bytes]:
        """Return what it answers to a request, and the bytes behind that.

        Raises
        ------
        WorkerError
            If it tells of an error, or has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and may have said something before
            self._process.stdin.write(json.dumps(words | {"bytes": len(body)}).encode() + b"\n" + body)
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"its process ended with {self._process.wait()}{self._last_words()}")
        try:
            answer = dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise WorkerError(f"its process printed {line[:60]!r}, which is no answer: it is no Python") from error
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer, self._process.stdout.read(answer["bytes"])

    def close(self) -> None:
        """Have it end: it does when there is nothing more to read."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):  # what it didn't read before it ended is written once more
                    pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def __enter__(self) -> Worker:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Have it end."""
        self.close()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f" ({lines[-1].strip()})" if lines else ""


class WorkerError(RuntimeError):
    """What a worker couldn't do, in its words."""


@dataclass
class Apart:
    """A runner of another process."""

    worker: Worker
    fallbacks: Sequence[str] = ()

    def timed(self, picture: np.ndarray) -> Timed:
        """Run there, and return the times of there."""
        import numpy as np

        body = np.ascontiguousarray(picture, "<f4").tobytes()
        told, output = self.worker.ask(body, do="run", shape=list(picture.shape))
        result = np.frombuffer(output, "<f4").reshape(told["shape"])
        return Timed(result, told["cpu_s"], told["wall_s"])

    def close(self) -> None:
        """Have the process end."""
        self.worker.close()


class ApartDevice:
    """What devices that run apart have in common: fp32 or int8; a subclass says which file knows the runtime."""

    name: str
    pip: str
    budget_db: float | None
    python: str | None
    precision: str
    runtime: Path
    told: str
    """What the runtime is called."""

    def check(self, name: str) -> None:
        """Check every value; of a device without a name of its own, take `name` and the precision."""
        one_of("device.precision", self.precision, ("fp32", "int8"))
        if self.python is not None and not isinstance(self.python, str):
            raise UserError(f"device.python={self.python!r} must be the path of a Python, or null.")
        object.__setattr__(self, "name", self.name or (f"{name}_int8" if self.precision == "int8" else name))
        object.__setattr__(self, "budget_db", None if self.precision == "int8" else 90.0)

    def options(self) -> dict[str, Any]:
        """Return what the worker is told of how to convert and open."""
        return {"precision": self.precision}

    def missing(self) -> str | None:
        """Return what of it isn't installed: its environment, or what that should have."""
        if self.python is None:
            return (
                f"{self.name} runs in an environment of its own, and devices.{self.name}.python doesn't name its Python"
            )
        if not shutil.which(self.python):
            return f"devices.{self.name}.python={self.python} is no program"
        return _told_by(self.python, self.runtime).get("missing")

    def facts(self) -> Mapping[str, Any]:
        """Return what the runtime says of itself there."""
        assert self.python is not None
        slow = emulated(self.precision)
        where = {"precision": self.precision, "provider": "CPU", "emulated": slow}
        return {"runtime": self.told, **_told_by(self.python, self.runtime), **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Hand the network's operators and weights to the worker, which writes its file into the folder."""
        import numpy as np

        from itae.portable.devices.program import NoProgramError, write_program

        assert self.python is not None
        with tempfile.TemporaryDirectory() as given:
            source = Path(given)
            try:
                with quiet():
                    write_program(net, size, source)
            except NoProgramError as error:
                raise UserError(f"{self.name} can't be given a network that has {error}.") from error
            for number, picture in enumerate(calibration):
                np.save(source / f"picture{number:06d}.npy", picture)
            asked: dict[str, Any] = {
                "source": given,
                "size": list(size),
                "folder": str(folder),
                "options": self.options(),
            }
            try:
                with Worker(self.python, self.runtime) as worker:
                    worker.ask(do="convert", **asked)
            except WorkerError as error:
                why = " ".join(str(error).split())[:300]
                raise UserError(
                    f"{self.name}: {self.told} can't convert the network ({why}); leave {self.name} out."
                ) from error

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the network, open in a process of its own."""
        assert self.python is not None
        worker = Worker(self.python, self.runtime)
        try:
            worker.ask(do="open", folder=str(folder), threads=threads, options=self.options())
        except BaseException as error:
            worker.close()
            if isinstance(error, WorkerError):
                raise UserError(f"{self.name} can't open what it made: {error}; leave {self.name} out.") from error
            raise
        return Apart(worker)


@functools.cache
def _told_by(python: str, runtime: Path) -> dict[str, Any]:
    try:
        with Worker(python, runtime) as worker:
            return worker.ask(do="facts")[0]["facts"]
    except (WorkerError, UserError) as error:
        return {"missing": str(error)}
