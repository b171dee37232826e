"""ExecuTorch by XNNPACK, in an environment and a process of its own: fp32, or int8 by torch's static quantisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itae.base.checks import one_of
from itae.portable.devices.apart import ApartDevice


@dataclass(frozen=True)
class ExecuTorch(ApartDevice):
    """ExecuTorch.

    Parameters
    ----------
    python
        The Python of an environment that has executorch and torch. Without one (default), it isn't run.
    precision
        ``fp32`` (default) or ``int8``.
    name
        What tables call it.
    """

    python: str | None = None
    precision: str = "fp32"
    name: str = ""
    pip: str = field(default="python -m venv ENV && ENV/bin/pip install torch executorch", init=False)
    budget_db: float | None = field(default=None, init=False)
    runtime: Path = field(default=Path(__file__).with_name("execu_torch_worker.py"), init=False, repr=False)
    told: str = field(default="ExecuTorch", init=False, repr=False)

    def __post_init__(self) -> None:
        one_of("device.precision", self.precision, ("fp32", "int8"))
        object.__setattr__(self, "name", self.name or ("executorch_int8" if self.precision == "int8" else "executorch"))
        object.__setattr__(self, "budget_db", None if self.precision == "int8" else 90.0)

    def options(self) -> dict[str, Any]:
        """Return what the worker is told."""
        return {"precision": self.precision}
