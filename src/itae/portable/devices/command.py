"""A phone, a board or a vendor's tool, by a command line of the user's own.

The command is started anew for each run, without a shell, and gets three paths: the exported network, an input and
where the output is to be. The input is a .npy file of float32 [1, 3, H, W] in 0..1, and the output has to be one, too;
raw numbers are read as well. It prints, on a line of its own, JSON with ``ms``: how long the network ran, as the device
has it. An example, for a program on an Android phone, is in `Command`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import above_0, is_number, number, one_of
from itae.base.errors import UserError
from itae.portable.devices.device import Device, Runner, Timed
from itae.portable.devices.mnn_here import Mnn
from itae.portable.devices.ncnn_here import Ncnn
from itae.portable.devices.onnx_runtime import FILE as ONNX
from itae.portable.devices.onnx_runtime import OnnxRuntime
from itae.portable.devices.open_vino import OpenVino
from itae.portable.parity import BEST

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_FORMATS: dict[str, tuple[Any, str]] = {
    "onnx": (OnnxRuntime, ONNX),
    "onnx_int8": (lambda: OnnxRuntime(precision="int8"), ONNX),
    "openvino": (OpenVino, "net.xml"),
    "ncnn": (Ncnn, "net.ncnn.param"),
    "mnn": (Mnn, "net.mnn"),
}
"""What is exported: by which device, and the file that the command gets."""
_PLACES = ("{net}", "{input}", "{output}")


@dataclass(frozen=True)
class Command:
    """A device that a command reaches.

    ``+devices.phone={_target_: itae.device.Command, name: phone, command: [python, phone.py, '{net}', '{input}',
    '{output}']}``, with a phone.py that does ``adb push`` of both files, ``adb shell`` of a program that runs the
    network and tells its milliseconds, ``adb pull`` of the output, and ``print(json.dumps({"ms": ms}))``.

    Parameters
    ----------
    command
        The program and its arguments, as a list; ``{net}``, ``{input}`` and ``{output}`` in them become paths, and
        ``{threads}`` the number of threads. None (default): there is no such device.
    exports
        ``onnx`` (default), ``onnx_int8``, ``openvino``, ``ncnn`` or ``mnn``: what the network is converted to. Of
        OpenVINO and ncnn, the file of the weights lies beside the path.
    budget_db
        The least parity with torch, in dB; None (default): it is only told.
    timeout_s
        Seconds after which a run counts as hung. Default: 600.
    name
        What tables call it.
    """

    command: Sequence[str] | None = None
    exports: str = "onnx"
    budget_db: float | None = None
    timeout_s: float = 600.0
    name: str = "command"

    @property
    def pip(self) -> str:
        """The command that installs what exports the network; empty if that is here."""
        return self._by().pip if self._by().missing() else ""

    def __post_init__(self) -> None:
        one_of(f"devices.{self.name}.exports", self.exports, _FORMATS)
        above_0(f"devices.{self.name}.timeout_s", self.timeout_s, "seconds")
        if self.budget_db is not None:
            number(f"devices.{self.name}.budget_db", self.budget_db, low=0, high=BEST)
        if self.command is None:
            return
        words = self.command
        if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
            raise UserError(
                f"devices.{self.name}.command={self.command!r} must be a list of words, as in [python,phone.py,...]."
            )
        gone = [place for place in _PLACES if not any(place in word for word in words)]
        if gone:
            raise UserError(f"devices.{self.name}.command={words} lacks {gone[0]}; it needs {', '.join(_PLACES)}.")
        object.__setattr__(self, "command", tuple(words))

    def missing(self) -> str | None:
        """Return what of it isn't here: the command, its program, or what exports the network."""
        if self.command is None:
            return f"{self.name} has no command line; set devices.{self.name}.command=[PROGRAM,...]"
        if not shutil.which(self.command[0]):
            return f"{self.name} needs the program {self.command[0]}, which isn't here, or may not be run"
        gone = self._by().missing()
        return f"{self.name} exports to {self.exports}: {gone}" if gone else None

    def facts(self) -> Mapping[str, Any]:
        """Return what it is given, and that it runs elsewhere: its CPU time is not known."""
        made = self._by().facts()
        versions = {name: value for name, value in made.items() if name not in ("runtime", "provider", "emulated")}
        where = {"provider": " ".join(self.command or ()), "emulated": False, "elsewhere": True}
        return {"runtime": "command", **versions, "exports": self.exports, **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write what the command is given."""
        self._by().convert(net, size, folder, calibration)

    def open(self, folder: Path, threads: int) -> Runner:
        """Return what starts the command for each run."""
        assert self.command is not None
        net = folder / _FORMATS[self.exports][1]
        return CommandRunner(self.name, [*self.command], net, threads, self.timeout_s)

    def _by(self) -> Device:
        return _FORMATS[self.exports][0]()


@dataclass
class CommandRunner:
    """Starts the command for each run."""

    name: str
    command: list[str]
    net: Path
    threads: int
    timeout_s: float
    fallbacks: Sequence[str] = ()

    def timed(self, picture: np.ndarray) -> Timed:
        """Run it; the time is what it says, and its CPU time is nan.

        Raises
        ------
        UserError
            If it fails, hangs, says no ``ms`` or writes no output.
        """
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            given, output = Path(folder) / "input.npy", Path(folder) / "output.npy"
            np.save(given, np.ascontiguousarray(picture, "<f4"))
            said = self._said(given, output)
            return Timed(self._read(output, picture.shape), float("nan"), self._ms(said) / 1000)

    def close(self) -> None:
        """Nothing is held."""

    def _said(self, given: Path, output: Path) -> str:
        known = {"{net}": str(self.net), "{input}": str(given), "{output}": str(output), "{threads}": str(self.threads)}
        line = list(self.command)
        for place, value in known.items():
            line = [word.replace(place, value) for word in line]
        began = time.perf_counter()
        try:
            done = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            spent = time.perf_counter() - began
            raise UserError(
                f"{self.name}: {line[0]} still ran after {spent:.0f} s (timeout_s={self.timeout_s:g})."
            ) from error
        except OSError as error:
            raise UserError(f"{self.name}: {line[0]} can't be started ({error.strerror}).") from error
        if done.returncode:
            words = [each.strip() for each in (done.stderr or done.stdout).splitlines() if each.strip()] or ["silent"]
            raise UserError(f"{self.name}: {line[0]} ended with {done.returncode} ({words[-1]}).")
        return done.stdout

    def _ms(self, said: str) -> float:
        for line in reversed(said.splitlines()):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            ms = told.get("ms") if isinstance(told, dict) else None
            if is_number(ms) and 0 < ms < float("inf"):
                return float(ms)
        raise UserError(f'{self.name}: {self.command[0]} printed no line as {{"ms": 12.3}}, with a number above 0.')

    def _read(self, output: Path, shape: tuple[int, ...]) -> np.ndarray:
        import numpy as np

        try:
            data = output.read_bytes()
            if data.startswith(b"\x93NUMPY"):
                return np.load(output, allow_pickle=False).astype(np.float32, copy=False)
            return np.frombuffer(data, "<f4").reshape(shape)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.name}: {self.command[0]} wrote no {list(shape)} of float32 numbers to {{output}} ({error})."
            ) from error
