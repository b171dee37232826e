"""Each operator of a study on each device, held against torch, by the budgets; what is not supported is told."""

import sys

import numpy as np
import pytest
from toy_nets import Toy, pictures, torch_of

from itae.base.errors import UserError
from itae.portable.devices.devices import Mnn, Ncnn, OnnxRuntime, OpenVino, Torch
from itae.portable.devices.library import library
from itae.portable.nets.changes import CHANGES
from itae.portable.nets.unet import UNet
from itae.portable.parity import check

SIZE = (64, 64)
DEVICES = {
    "torch": Torch(),
    "ort": OnnxRuntime(),
    "ort_int8": OnnxRuntime(precision="int8"),
    "openvino": OpenVino(),
    "openvino_bf16": OpenVino(precision="bf16"),
    "openvino_f16": OpenVino(precision="f16"),
    "openvino_int8": OpenVino(precision="int8"),
    "ncnn": Ncnn(),
    "ncnn_fp32": Ncnn(fp16=False, name="ncnn_fp32"),
    "mnn": Mnn(),
}
QUICK = ("torch", "ort", "openvino")
INT8_DB = 30.0  # int8 has no budget on random weights; less than this would be no quantisation, but a mistake


def here(name):
    device = DEVICES[name]
    if why := device.missing():
        pytest.skip(why)
    return device


def parity_of(device, net, folder):
    folder.mkdir()
    module = net.build()
    device.convert(module, SIZE, folder, pictures(4, seed=1))
    runner = device.open(folder, 1)
    try:
        return check(device, net, runner, torch_of(module), pictures(2))
    finally:
        runner.close()


@pytest.mark.parametrize("name", QUICK)
def test_the_base_network_is_what_torch_computes(tmp_path, name):
    device = here(name)
    assert parity_of(device, UNet(channels=4, depth=1), tmp_path / "net") >= device.budget_db


@pytest.mark.slow
@pytest.mark.parametrize("name", DEVICES)
def test_every_operator_of_a_study_keeps_its_budget(tmp_path, name):
    device = here(name)
    found = {
        change.name: parity_of(device, UNet(channels=8, depth=2, **change.options), tmp_path / change.name)
        for change in CHANGES
    }
    assert len(found) == 15
    assert min(found.values()) >= (INT8_DB if device.budget_db is None else device.budget_db), found
    assert name == "torch" or max(found.values()) < 200  # not torch itself by another name
    assert min(found.values()) == 200 or name != "torch"


@pytest.mark.parametrize("operator", ["none", "gate", "det"])
def test_torch_needs_no_class_of_the_network_to_run_it_again(tmp_path, operator):
    device, net = here("torch"), Toy(operator)
    device.convert(net.build(), SIZE, tmp_path, [])
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npz"}
    picture = pictures(1)[0]
    assert np.array_equal(device.open(tmp_path, 1).timed(picture).output, torch_of(net.build())(picture))


def test_an_operator_without_onnx_is_told_with_its_node_and_the_nearest(tmp_path):
    with pytest.raises(
        UserError, match=r"ort: ONNX \(opset 17\) has no operator special_bessel_j0 at body.1; .*leave ort"
    ):
        here("ort").convert(Toy("bessel").build(), SIZE, tmp_path, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "operator", "said"),
    [
        ("openvino", "det", r"openvino: OpenVINO has no operator Det at /body/body.1/Det; .* or leave openvino out"),
        ("ncnn", "det", r"ncnn: ncnn has no operator \S*[dD]et at \S+; .* or leave ncnn out"),
        ("mnn", "isinf", r"mnn: MNN has no operator IsInf at /body/body.1/IsInf; .* or leave mnn out"),
    ],
)
def test_an_operator_that_a_runtime_lacks_is_told(tmp_path, name, operator, said):
    with pytest.raises(UserError, match=said):
        here(name).convert(Toy(operator).build(), (16, 16), tmp_path, [])


@pytest.mark.slow
def test_the_last_addition_of_a_residual_network_stays_in_float(tmp_path):
    """In eight bits it would cost what the network gains: NNCF's own way with it."""
    here("openvino_int8")

    class Slight(UNet):
        def build(self):
            module = super().build()
            module.tail.weight.data /= 10
            return module

    net = Slight(channels=4, depth=1)
    ours, theirs = (
        parity_of(OpenVino(precision="int8", residual=residual), net, tmp_path / str(residual))
        for residual in (False, True)
    )
    assert theirs < 60  # eight bits of 0..1: 59 dB
    assert ours > theirs + 10


@pytest.mark.slow
def test_the_residual_is_found_behind_a_clamp_and_a_bias_is_none(tmp_path):
    import torch

    from itae.portable.devices.onnx_export import export_onnx
    from itae.portable.devices.open_vino import residual_of

    here("openvino")

    class Clamped(torch.nn.Module):
        def __init__(self, residual):
            super().__init__()
            self.conv, self.residual = torch.nn.Conv2d(3, 3, 3, padding=1), residual

        def forward(self, x):
            return (x + self.conv(x) if self.residual else self.conv(x)).clamp(0, 1)

    for residual in (True, False):
        export_onnx(Clamped(residual).eval(), SIZE, tmp_path / "net.onnx", "openvino")
        found = residual_of(library("openvino", "").Core().read_model(tmp_path / "net.onnx"))
        assert (found is not None) is residual


@pytest.mark.slow
def test_mnn_is_converted_without_its_log(tmp_path):
    """Its own tool installs a log service's client by pip, and sends it the machine's id."""
    import subprocess

    from itae.portable.devices.mnn_here import CONVERT

    here("mnn")
    line = CONVERT.replace(
        "convert(sys.argv)", "print(sorted(name for name in sys.modules if 'aliyun' in name or 'log' in name))"
    )
    said = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    assert "aliyun" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ort_int8", "openvino_int8", "ncnn", "mnn"])
def test_what_converters_print_stays_off_the_console(tmp_path, name, capfd):
    device = here(name)
    parity_of(device, UNet(channels=4, depth=1), tmp_path / "net")
    assert capfd.readouterr() == ("", "")
