"""ncnn on the processor, from ONNX by pnnx."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import true_or_false
from itae.base.errors import UserError
from itae.portable.devices.device import InProcess, Runner
from itae.portable.devices.library import absent, library, versions_of
from itae.portable.devices.onnx_export import export_onnx, unsupported
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

PARAM, BIN = "net.ncnn.param", "net.ncnn.bin"


@dataclass(frozen=True)
class Ncnn:
    """ncnn.

    Parameters
    ----------
    fp16
        Whether weights are kept as halves, as pnnx writes them by itself; it computes in float32 all the same.
        Default: true.
    name
        What tables call it.
    """

    fp16: bool = True
    name: str = "ncnn"
    pip: str = field(default="pip install onnx ncnn pnnx", init=False)
    budget_db: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        true_or_false("device.fp16", self.fp16)
        object.__setattr__(self, "budget_db", 70.0 if self.fp16 else 90.0)

    def missing(self) -> str | None:
        """Return what of it isn't installed here."""
        return absent(self.name, ("onnx", "ncnn", "pnnx"))

    def facts(self) -> Mapping[str, Any]:
        """Return its runtime, versions and precision."""
        precision = "fp32, fp16 weights" if self.fp16 else "fp32"
        where = {"precision": precision, "provider": "CPU", "emulated": False}
        return {"runtime": "ncnn", **versions_of("onnx", "ncnn", "pnnx"), **where}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the network as ncnn has it."""
        program = library("pnnx", self.pip).EXEC_PATH
        export_onnx(net, size, folder / "net.onnx", self.name)
        line = [program, "net.onnx", f"inputshape=[1,3,{size[0]},{size[1]}]", f"fp16={int(self.fp16)}"]
        done = subprocess.run(line, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False)
        said = done.stdout + done.stderr
        if done.returncode or not (folder / PARAM).is_file():
            words = [line.strip() for line in said.splitlines() if line.strip()] or [f"it ended with {done.returncode}"]
            raise UserError(f"{self.name}: pnnx can't convert the network ({words[-1]}); leave {self.name} out.")
        for path in folder.iterdir():
            if path.name not in (PARAM, BIN):
                path.unlink()
        self._loaded(folder, 1)

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the network, ready to run in so many threads."""
        import numpy as np

        ncnn, net = library("ncnn", self.pip), self._loaded(folder, threads)

        def call(picture: Any) -> Any:
            extractor = net.create_extractor()
            extractor.input("in0", picture)
            return extractor.extract("out0")[1]

        return InProcess(call, before=lambda each: ncnn.Mat(each[0]), after=lambda output: np.array(output)[None])

    def _loaded(self, folder: Path, threads: int) -> Any:
        net = library("ncnn", self.pip).Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        if not self.fp16:
            net.opt.use_fp16_packed = net.opt.use_fp16_storage = False
        with quiet() as said:
            failed = net.load_param(str(folder / PARAM)) or net.load_model(str(folder / BIN))
        if failed:
            found = re.search(r"layer (\S+) not exists", said.text)
            layer = found.group(1) if found else said.last_line()
            lines = [
                line.split()
                for line in (folder / PARAM).read_text(encoding="utf-8").splitlines()
                if line.startswith(layer)
            ]
            raise unsupported(self.name, "ncnn", layer, lines[0][1] if lines else "")
        return net
