"""ExecuTorch by XNNPACK, in an environment and a process of its own: fp32, or int8 by torch's static quantisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
        self.check("executorch")
