"""torch on this machine's processor: eager, which all else is held against, and compiled by inductor."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import true_or_false
from itae.base.errors import UserError
from itae.portable.devices.device import InProcess, Runner
from itae.portable.devices.library import versions_of
from itae.portable.devices.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Torch:
    """torch, operator by operator as the network calls them, or compiled.

    Parameters
    ----------
    compiled
        By `torch.compile` (inductor), which needs a C++ compiler; a minute or so a network. Default: false.
    name
        What tables call it.
    """

    compiled: bool = False
    name: str = ""
    pip: str = field(default="pip install torch", init=False)
    budget_db: float | None = field(default=90.0, init=False)

    def __post_init__(self) -> None:
        true_or_false("device.compiled", self.compiled)
        object.__setattr__(self, "name", self.name or ("torch_compiled" if self.compiled else "torch"))

    def missing(self) -> str | None:
        """Return what of it isn't installed here: for a compiled one, a C++ compiler."""
        if self.compiled and not shutil.which("g++"):
            return f"{self.name} needs the C++ compiler g++, which isn't installed (Debian: apt install g++)"
        return None

    @property
    def only_by_name(self) -> str | None:
        """Why it is no part of ``device=all``, in words; None where it is."""
        return (
            f"it compiles for a minute or so a network, so it has to be named: device={self.name}"
            if self.compiled
            else None
        )

    def facts(self) -> Mapping[str, Any]:
        """Return its runtime, version and precision."""
        where = {"precision": "fp32", "provider": "CPU", "emulated": False}
        return {"runtime": "torch", **versions_of("torch"), **where, "mode": "inductor" if self.compiled else "eager"}

    def convert(self, net: nn.Module, size: tuple[int, int], folder: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the network's operators and weights: see `itae.portable.devices.program`."""
        from itae.portable.devices.program import NoProgramError, write_program

        try:
            with quiet():
                write_program(net, size, folder)
        except NoProgramError as error:
            raise UserError(
                f"{self.name} can't keep a network that has {error}: write it with operators of torch's own (aten)."
            ) from error

    def open(self, folder: Path, threads: int) -> Runner:
        """Return the network, ready to run; `threads` hold for the whole process, torch has no others."""
        import numpy as np
        import torch

        from itae.portable.devices.program import read_program

        net: Any = read_program(folder)
        size = net.meta["size"]
        if self.compiled:
            net = torch.compile(net)

        def call(picture: np.ndarray) -> np.ndarray:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            with torch.inference_mode():
                return net(torch.from_numpy(picture)).numpy()

        if self.compiled:
            with quiet():  # it compiles at its first run
                call(np.zeros((1, 3, *size), np.float32))
        return InProcess(call)
