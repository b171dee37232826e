"""LiteRT by XNNPACK, in an environment and a process of its own: fp32, or int8 by its static quantisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from itae.portable.devices.apart import ApartDevice


@dataclass(frozen=True)
class LiteRt(ApartDevice):
    """LiteRT.

    Parameters
    ----------
    python
        The Python of an environment that has litert-torch. Without one (default), it isn't run.
    precision
        ``fp32`` (default) or ``int8``.
    name
        What tables call it.
    """

    python: str | None = None
    precision: str = "fp32"
    name: str = ""
    pip: str = field(default="python -m venv ENV && ENV/bin/pip install litert-torch", init=False)
    budget_db: float | None = field(default=None, init=False)
    runtime: Path = field(default=Path(__file__).with_name("lite_rt_worker.py"), init=False, repr=False)
    told: str = field(default="LiteRT", init=False, repr=False)

    def __post_init__(self) -> None:
        self.check("litert")
