"""What devices say of themselves before anything is converted: names, what is missing, what is emulated."""

import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from burners import burn, picture

from itae.base.errors import UserError
from itae.portable.devices import devices, library, open_vino, processor, torch_here
from itae.portable.devices.device import InProcess
from itae.portable.devices.devices import Mnn, Ncnn, OnnxRuntime, OpenVino, Torch
from itae.portable.devices.onnx_export import unsupported
from itae.portable.devices.onnx_runtime import fallbacks
from itae.portable.devices.quiet import quiet
from itae.portable.nets.unet import UNet

YAML = Path(__file__).parents[2] / "conf" / "portable" / "devices" / "all.yaml"


def test_every_entry_of_the_yaml_is_a_device_that_goes_by_its_name():
    entries = yaml.safe_load(YAML.read_text())
    for name, entry in entries.items():
        module, _, cls = entry.pop("_target_").rpartition(".")
        assert module == "itae.device"
        device = getattr(devices, cls)(**entry)
        assert device.name == name
        assert device.pip or name == "command", "of a command all that it needs is there"
        assert isinstance(device.missing(), str | None)
    assert {entry["_target_"].rpartition(".")[2] for entry in yaml.safe_load(YAML.read_text()).values()} == {
        *devices.__all__
    }


def test_budgets_are_those_of_the_study():
    exact = [Torch(), Torch(compiled=True), OnnxRuntime(), OpenVino(), Mnn(), Ncnn(fp16=False)]
    assert {device.budget_db for device in exact} == {90.0}
    assert Ncnn().budget_db == 70.0
    assert OpenVino(precision="bf16").budget_db == 50.0
    assert OnnxRuntime(precision="int8").budget_db is OpenVino(precision="int8").budget_db is None


@pytest.mark.parametrize(
    ("precision", "flags", "slow"),
    [
        ("bf16", ("avx512f", "avx512_vnni"), True),
        ("bf16", ("avx512_bf16",), False),
        ("bf16", ("amx_bf16",), False),
        ("f16", ("avx512_bf16",), True),
        ("f16", ("avx512_fp16",), False),
        ("f16", ("asimdhp",), False),
        ("int8", ("avx2", "avx512f"), True),
        ("int8", ("avx_vnni",), False),
        ("int8", ("avx512_vnni",), False),
        ("int8", ("asimddp",), False),
        ("fp32", (), False),
        ("f32", (), False),
    ],
)
def test_a_precision_without_instructions_is_emulated(precision, flags, slow):
    assert processor.emulated(precision, flags) is slow


@pytest.mark.parametrize("flags", [(), ("avx512_bf16", "avx512_vnni")])
def test_facts_say_so(monkeypatch, flags):
    monkeypatch.setattr(processor, "cpu_flags", lambda: flags)
    found = [OpenVino(precision="bf16"), OpenVino(precision="int8"), OnnxRuntime(precision="int8")]
    assert [device.facts()["emulated"] for device in found] == [not flags] * 3
    assert not OnnxRuntime().facts()["emulated"]
    assert not OpenVino(precision="bf16", place="GPU").facts()["emulated"]  # of which the processor says nothing


def test_a_processor_s_flags_are_read():
    assert "fpu" in processor.cpu_flags() or "fp" in processor.cpu_flags()


def test_what_is_not_installed_is_missing_by_name(monkeypatch):
    there = library._there
    monkeypatch.setattr(library, "_there", lambda name: name != "openvino" and there(name))
    assert OpenVino().missing() == "openvino needs the package openvino, which isn't installed"
    assert OpenVino().pip == "pip install onnx openvino"
    with pytest.raises(UserError, match=r"no_such_runtime can't be imported .*; install it: pip install it"):
        library.library("no_such_runtime", "pip install it")


def test_compiled_torch_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(torch_here.shutil, "which", lambda program: None)
    assert Torch().missing() is None
    assert "needs the C++ compiler g++" in Torch(compiled=True).missing()


def test_a_place_that_openvino_does_not_see_is_missing(monkeypatch):
    core = SimpleNamespace(available_devices=["CPU", "GPU.0"])
    monkeypatch.setattr(open_vino, "absent", lambda *_: None)
    monkeypatch.setattr(open_vino, "library", lambda *_: SimpleNamespace(Core=lambda: core))
    assert OpenVino(place="GPU").missing() is None
    assert "needs a NPU, and OpenVINO sees none here (it sees CPU, GPU.0)" in OpenVino(place="NPU").missing()


def test_a_provider_that_is_not_built_in_is_missing(monkeypatch):
    from itae.portable.devices import onnx_runtime

    ort = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnx_runtime, "absent", lambda *_: None)
    monkeypatch.setattr(onnx_runtime, "library", lambda *_: ort)
    assert OnnxRuntime(provider="cuda").missing() is None
    assert OnnxRuntime(provider="qnn").missing() == (
        "ort_qnn needs QNNExecutionProvider, which the installed ONNX Runtime lacks (onnxruntime-qnn has it)"
    )
    assert OnnxRuntime(provider="cuda", precision="int8").name == "ort_int8_cuda"


def test_operators_that_fell_back_are_named():
    def part(provider, *nodes):
        return SimpleNamespace(
            ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=o, name=n) for o, n in nodes]
        )

    assigned = [
        part("CUDAExecutionProvider", ("Conv", "/head/Conv")),
        part("CPUExecutionProvider", ("Resize", "/up/Resize"), ("Shape", "")),
    ]
    assert fallbacks(assigned) == ("Resize /up/Resize", "Shape")
    assert fallbacks(assigned[:1]) == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OnnxRuntime(precision="fp8"), "device.precision='fp8' is not one of fp32, int8"),
        (lambda: OnnxRuntime(provider="cdua"), "is not one of cpu, cuda, coreml, qnn.*Did you mean 'cuda'"),
        (lambda: OpenVino(precision="fp16"), "is not one of f32, bf16, f16, int8.*Did you mean 'f16'"),
        (lambda: OpenVino(place="TPU"), "device.place='TPU' is not one of CPU, GPU, NPU"),
        (lambda: Ncnn(fp16="yes"), "device.fp16='yes' must be true or false"),  # type: ignore[arg-type]
        (lambda: Torch(compiled=1), "device.compiled=1 must be true or false"),  # type: ignore[arg-type]
    ],
)
def test_an_option_that_is_none_is_refused(make, said):
    with pytest.raises(UserError, match=said):
        make()


@pytest.mark.parametrize(
    ("operator", "nearest"),
    [
        ("Mish", "relu"),
        ("GridSample", "nearest"),
        ("LayerNormalization", "1x1"),
        ("MaxPool", "stride 2"),
        ("What", "without"),
    ],
)
def test_the_nearest_that_is_allowed_is_told(operator, nearest):
    said = str(unsupported("mnn", "MNN", operator, "/body/1"))
    assert said.startswith(f"mnn: MNN has no operator {operator} at /body/1; ")
    assert nearest in said
    assert said.endswith("or leave mnn out.")


def test_what_is_printed_anywhere_is_kept_and_not_shown(capfd):
    with quiet() as said:
        print("in Python")
        os.write(1, b"below it\n")
        os.write(2, b"an error below it\n")
        subprocess.run([sys.executable, "-c", "print('in a child')"], check=True)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("somebody").warning("a log")
        kept = sys.stdout
    print("afterwards")
    kept.write("by who kept it\n")
    kept.flush()
    assert capfd.readouterr() == ("afterwards\nby who kept it\n", "")
    assert set(said.text.splitlines()) == {"in Python", "below it", "an error below it", "in a child"}
    assert said.last_line()


def test_an_error_comes_through_and_the_console_is_back(capfd):
    def fails():
        with quiet():
            print("lost")
            raise KeyError("it")

    with pytest.raises(KeyError):
        fails()
    print("back")
    assert capfd.readouterr().out == "back\n"


def test_no_runtime_is_imported_by_naming_devices():
    code = (
        "import sys, itae.portable.devices.devices, itae.portable.devices.exports, itae.portable.parity;"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'openvino', 'nncf', 'ncnn', 'MNN'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_call_is_timed():
    """What stands before and after it burns ten times as much."""

    def burnt(of, seconds):
        burn(seconds).call(picture(0))
        return of + 1

    runner = InProcess(lambda of: burnt(of, 0.01), before=lambda of: burnt(of, 0.1), after=lambda of: burnt(of, 0.1))
    output, cpu_s, wall_s = runner.timed(picture(0))
    assert np.array_equal(output, picture(0) + 1 + 1 + 1)
    assert 0.009 < cpu_s < 0.05
    assert cpu_s * 0.5 < wall_s


@pytest.mark.parametrize("device", [OpenVino(), Ncnn(), Mnn(), OnnxRuntime()], ids=lambda device: device.name)
def test_an_output_is_its_own(device, tmp_path):
    """Not a view of memory that the next run writes over."""
    if why := device.missing():
        pytest.skip(f"could not import what a device needs: {why}")
    net, pictures = UNet(channels=4, depth=1, blocks=1), [np.full((1, 3, 16, 16), of, np.float32) for of in (0.2, 0.9)]
    with quiet():
        device.convert(net.build(), (16, 16), tmp_path, [])
        runner = device.open(tmp_path, 1)
    first = runner.timed(pictures[0]).output
    kept = first.copy()
    runner.timed(pictures[1])
    assert np.array_equal(first, kept)
    assert np.array_equal(runner.timed(pictures[0]).output, kept)


@pytest.mark.parametrize(("precision", "word"), [("bf16", "BF16"), ("f16", "FP16")])
def test_a_precision_that_openvino_would_not_compute_in_is_missing(precision, word):
    openvino = pytest.importorskip("openvino")
    why = OpenVino(precision=precision).missing()
    assert (why is None) == (word in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    assert why is None or re.search(rf"^openvino_{precision} would compute in (bf16|f32): ", why)
