"""A device in a process of its own: a toy of a runtime, converted, opened and run over pipes."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from toy_nets import Toy, pictures

from itae.base.errors import UserError
from itae.portable.devices.apart import ApartDevice, Worker, WorkerError
from itae.portable.devices.devices import ExecuTorch, LiteRt

RUNTIME = Path(__file__).parents[1] / "toy_runtime.py"


@dataclass(frozen=True)
class ToyDevice(ApartDevice):
    python: str | None = sys.executable
    precision: str = "fp32"
    runtime: Path = RUNTIME
    name: str = "toy"
    told: str = "Toy runtime"
    pip: str = "pip install toy"
    budget_db: float | None = None

    def options(self):
        return {"precision": self.precision}


def opened(device, folder):
    device.convert(Toy().build(), (8, 8), folder, pictures(2, (8, 8)))
    return device.open(folder, 1)


@pytest.mark.slow
def test_it_converts_opens_and_runs_there_and_tells_its_own_times(tmp_path, capfd):
    device, picture = ToyDevice(), pictures(1, (8, 8))[0]
    assert device.missing() is None
    assert device.facts() == {
        "runtime": "Toy runtime",
        "toy": "1.0",
        "precision": "fp32",
        "provider": "CPU",
        "emulated": False,
    }
    runner = opened(device, tmp_path)
    added = sum(float(weights.sum()) for weights in Toy().build().state_dict().values())
    for _ in range(3):
        output, cpu_s, wall_s = runner.timed(picture)
        assert output.dtype == np.float32
        assert np.allclose(output, picture + added, atol=1e-5)
        assert 0.05 <= cpu_s < 0.09
        assert wall_s >= 0.1 > cpu_s
    runner.close()
    runner.close()
    assert capfd.readouterr() == ("", "")  # what is printed there breaks neither the pipes nor the console


@pytest.mark.slow
def test_what_goes_wrong_there_is_told_here(tmp_path):
    with pytest.raises(
        UserError,
        match=r"toy: Toy runtime can't convert the network .ValueError: no operator Bessel at body.3.*leave toy out",
    ):
        opened(ToyDevice(precision="refused"), tmp_path)
    with pytest.raises(UserError, match=r"toy can't open what it made: FileNotFoundError.*toy.json"):
        ToyDevice().open(tmp_path, 1)
    runner = opened(ToyDevice(precision="dies"), tmp_path)
    with pytest.raises(WorkerError, match="its process ended with 7"):
        runner.timed(pictures(1, (8, 8))[0])
    runner.close()


def test_its_process_ends_with_it():
    worker = Worker(sys.executable, RUNTIME)
    assert worker.ask(do="facts")[0]["facts"] == {"toy": "1.0"}
    worker.close()
    assert worker._process.poll() == 0


@pytest.mark.parametrize("cls", [LiteRt, ExecuTorch])
def test_without_an_environment_it_says_which_option_names_it(cls):
    device = cls()
    assert device.missing() == (
        f"{device.name} runs in an environment of its own, and devices.{device.name}.python doesn't name its Python"
    )
    assert "is no program" in cls(python="/no/such/python").missing()


def test_a_python_without_the_runtime_is_missing_by_its_package():
    assert "the package executorch is not in its environment" in ExecuTorch(python=sys.executable).missing()
    assert "the package litert-torch is not in its environment" in LiteRt(python=sys.executable).missing()


def test_its_names_are_those_of_tables():
    assert [LiteRt().name, LiteRt(precision="int8").name] == ["litert", "litert_int8"]
    assert [ExecuTorch().name, ExecuTorch(precision="int8").name] == ["executorch", "executorch_int8"]
    assert (LiteRt().budget_db, LiteRt(precision="int8").budget_db) == (90.0, None)


def test_a_process_that_ended_before_it_was_asked_is_told_and_closed():
    with Worker("true", Path("none.py")) as worker:
        worker._process.wait()
        with pytest.raises(WorkerError, match="its process ended with 0"):
            worker.ask(do="about")
    assert worker._process.stdin.closed
