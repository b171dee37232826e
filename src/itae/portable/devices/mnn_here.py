"""MNN on the processor, from ONNX by its converter.

That runs in a process of its own: it prints from C++, and may end the process. And it is kept from its log: the
package's own ``mnnconvert`` installs a client of a log service by pip, and sends that the machine's id at each use.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.portable.devices.device import InProcess, Runner
from itae.portable.devices.library import absent, library, versions_of
from itae.portable.devices.onnx_export import INPUT, OUTPUT, export_onnx, node_of, unsupported
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

FILE = "net.mnn"
CONVERT = (
    "import sys; sys.modules['MNN.tools.utils.log'] = None; from MNN.tools.mnnconvert import convert; convert(sys.argv)"
)


@dataclass(frozen=True)
class Mnn:
    """MNN, in its high precision: float32.

    Parameters
    ----------
    name
        What tables call it.
    """

    name: str = "mnn"
    pip: str = "pip install onnx mnn"
    budget_db: float | None = 90.0

    def missing(self) -> str | None:
        """Return what of it isn't installed here."""
        return absent(self.name, ("onnx", "MNN"))

    def facts(self) -> Mapping[str, Any]:
        """Return its runtime, version and precision."""
        where = {"precision": "fp32", "provider": "CPU", "emulated": False}
        return {"runtime": "MNN", **versions_of("onnx", "mnn"), **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the network as MNN has it."""
        export_onnx(net, size, folder / "net.onnx", self.name)
        words = ["-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", FILE, "--bizCode", "itae"]
        line = [sys.executable, "-c", CONVERT, *words]
        done = subprocess.run(line, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if not (folder / FILE).is_file():
            raise self._refused(done.stdout + done.stderr, folder / "net.onnx")
        (folder / "net.onnx").unlink()

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the network, ready to run in so many threads."""
        import numpy as np

        nets, expr = library("MNN.nn", self.pip), library("MNN.expr", self.pip)
        with quiet():
            how = {"backend": "CPU", "precision": "high", "numThread": threads}
            runtime = nets.create_runtime_manager((how,))
            net = nets.load_module_from_file(str(folder / FILE), [INPUT], [OUTPUT], runtime_manager=runtime)

        def given(picture: np.ndarray) -> Any:
            return expr.const(picture, list(picture.shape), expr.NCHW)

        def call(picture: Any) -> Any:
            return expr.convert(net.forward([picture])[0], expr.NCHW).read()  # it computes when it is read

        return InProcess(call, before=given, after=np.array)

    def _refused(self, said: str, source: Path) -> UserError:
        found = re.search(r"Op Not Support:\s*(?:ONNX::)?(\w+)", said)
        if found:
            return unsupported(self.name, "MNN", found.group(1), node_of(source, found.group(1)))
        words = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
        return UserError(f"{self.name}: MNN can't convert the network ({words[-1]}); leave {self.name} out.")
