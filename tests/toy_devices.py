"""Devices for tests: torch by another name, quick, and with each fault that a real one may have."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from itae.base.errors import UserError
from itae.portable.devices.device import InProcess
from itae.track.tracking import Log

_WRONG = {
    "none": lambda out: None,
    "list": lambda out: out.tolist(),
    "tensor": lambda out: torch.from_numpy(out),
    "bytes": lambda out: (255 * out).astype("uint8"),
    "flat": lambda out: out[0],
    "nan": lambda out: out * float("nan"),
    "inf": lambda out: out + float("inf"),
}
"""What a device may return that is no picture, by its fault."""


@dataclass(frozen=True)
class Toy:
    """A device with the fault that is asked for, or none."""

    fault: str = ""
    name: str = "toy"
    token: str = ""
    pip: str = field(default="pip install toys", init=False)
    budget_db: float | None = field(default=90.0, init=False)

    def missing(self):
        return "toy needs the package toys, which isn't installed" if self.fault == "missing" else None

    def facts(self):
        if self.fault == "no facts":
            return [1]
        if self.fault == "odd facts":
            return {"version": {1.0, float("nan")}}
        where = {"provider": f"tool --password={self.token}" if self.token else "CPU"}
        return where | {"runtime": "toys", "version": "1.0", "precision": "bf16", "emulated": self.fault == "emulated"}

    def convert(self, net, size, folder, calibration):
        kinds = {type(one).__name__ for one in net.modules()}
        if self.fault == "no GELU" and "GELU" in kinds:
            raise UserError("toy has no operator Gelu (node up.0.act) in toys 1.0; take activation=relu.")
        if self.fault == "nothing":
            raise UserError("toy has no operator Conv (node first) in toys 1.0; take another device.")
        if self.fault == "no file":
            open("/nowhere/at/all")  # noqa: SIM115
        torch.jit.trace(net, torch.zeros(1, 3, *size)).save(folder / "net.pt")

    def open(self, folder, threads):
        net = torch.jit.load(folder / "net.pt")
        runs = itertools.count()

        def call(picture):
            with torch.inference_mode():
                out = net(torch.from_numpy(picture)).numpy()
            if self.fault in _WRONG:
                return _WRONG[self.fault](out)
            if self.fault == "swapped":
                return out[:, [1, 0, 2]]
            if self.fault == "slow at first" and next(runs) == 0:
                time.sleep(0.05)
            if self.fault == "crashes":
                raise RuntimeError("segment 7 is full")
            if self.fault == "slow":
                end = time.process_time() + 0.002
                while time.process_time() < end:
                    pass
            return out

        return Sticks(call) if self.fault == "sticks" else InProcess(call)


class Sticks(InProcess):
    """A runner that fails when it is to let go."""

    def close(self):
        raise RuntimeError("stuck")


class NoBudget(Toy):
    """A device that doesn't say how exact it is."""

    def __getattribute__(self, name):
        if name == "budget_db":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Kept(Log):
    """A log that keeps what it is given."""

    def __init__(self):
        self.told: dict[str, Any] = {}

    def metrics(self, values):
        self.told["metrics"] = values

    def figures(self, paths):
        self.told["figures"] = list(paths)

    def table(self, name, rows):
        self.told[name] = rows()


class Tracker:
    """A tracker whose runs are kept."""

    runs: ClassVar[list[dict[str, Any]]] = []

    @contextlib.contextmanager
    def run(self, folder, config, name, group=None, job_type="run"):
        log = Kept()
        yield log
        self.runs.append({"config": config, "name": name, "job_type": job_type, **log.told})


TOY = "+devices.{}={{_target_:toy_devices.Toy,name:{},fault:'{}'}}"


def toys(**faults):
    """Return words for toy devices of these names and faults, all of which are asked for."""
    return [*(TOY.format(name, name, fault) for name, fault in faults.items()), f"device=[{','.join(faults)}]"]


def result():
    """Return what a run with ``out=out`` has left."""
    return json.loads(Path("out/result.json").read_text())
