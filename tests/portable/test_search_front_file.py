"""``front.json``: chosen on validation and told on test, its files whole, and its ten lines at work."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from itae.base.errors import UserError
from itae.portable.devices.devices import Mnn, Ncnn, OnnxRuntime, OpenVino, Torch
from itae.portable.devices.exports import exported
from itae.portable.nets.unet import UNet
from itae.portable.search.front_file import read_front, write_front
from itae.portable.search.summary import Known, OnDevice, summary
from itae.portable.search.uses import use_of

BLURRED_V, BLURRED_P = np.array([25.0, 27.0]), np.array([24.0, 26.0, 28.0])


def cell(ms, gain, told=None, steady=True, **more):
    """A network `gain` dB over the blurred on validation, and `told` dB on each test photograph."""
    gains = np.broadcast_to(gain if told is None else told, BLURRED_P.shape)
    return OnDevice(ms, 0.02, steady, 120.0, BLURRED_V + gain, BLURRED_P + gains, np.full(3, 0.8), ms * 1.1, **more)


def net(name, role="searched", **on):
    return Known(name, {"channels": 8}, role, 10**6, 1000, on)


def nets():
    return [
        net("small", a=cell(4, 1.0), b=cell(16, 1.0)),
        net("large", a=cell(16, 2.0, told=[1.5, 2.0, 2.5]), b=cell(8, 2.0)),
        net("unlucky", a=cell(32, 2.1, told=-3.0), b=cell(64, 0.5)),
        net("lucky", a=cell(4, 0.9, told=5.0), b=cell(90, 0.1)),
        net("shaky", a=cell(1, 3.0, steady=False)),
        net("by_hand", "hand_made", a=cell(64, 1.0), b=cell(32, 1.0)),
        net("fast_by_hand", "hand_made", a=cell(2, 0.5), b=cell(32, 0.5)),
    ]


def test_fronts_are_chosen_on_validation_and_told_on_test():
    found = summary(nets(), ["a", "b"], BLURRED_V, BLURRED_P, 1)
    a = found["devices"]["a"]
    assert a["front"] == ["small", "large", "unlucky"]  # not whom the test photographs favour, and not who is unsteady
    assert a["reference"] == {"psnr": 26.0, "validation_psnr": 26.0, "ms": 64}
    assert a["hypervolume"]["searched"]["value"] == pytest.approx(2 * 1 + 2 * 2)  # of 64 ms: 4 halvings, and 2
    assert a["hypervolume"]["hand_made"]["value"] == pytest.approx(5 * 0.5)
    assert a["hypervolume"]["gain"]["value"] == pytest.approx(6 / 2.5 - 1)
    assert a["hand_made_ahead"] == ["fast_by_hand"]
    large = a["nets"]["large"]
    assert large["psnr"]["value"] == pytest.approx(28.0)
    assert large["psnr"]["low"] < 28.0 < large["psnr"]["high"]
    assert large["validation_psnr"] == pytest.approx(28.0)
    assert large["ms"] == {"value": 16, "low": 16 / 1.02, "high": 16 * 1.02}
    assert large["front_share"] < 0.2  # on test, lucky is faster and better
    assert a["nets"]["shaky"]["front_share"] == 0
    assert a["nets"]["by_hand"]["front_share"] is None
    json.dumps(found, allow_nan=False)


def test_the_portable_set_is_chosen_on_validation_and_told_on_test():
    found = summary(nets(), ["a", "b"], BLURRED_V, BLURRED_P, 1)
    assert found["portable"]["nets"] == ["large"]
    assert {one["on"]: one["share"] for one in found["portable"]["regret"]} == pytest.approx({"a": 1 - 4 / 6, "b": 0})
    assert {(one["best_of"], one["on"]) for one in found["regret"]} == {(x, y) for x in "ab" for y in "ab"}


def test_a_device_without_a_reference_is_left_out_and_told():
    some = [*nets()[:5], net("by_hand", "hand_made", a=cell(64, 1.0), b=cell(32, 1.0, steady=False))]
    found = summary(some, ["a", "b"], BLURRED_V, BLURRED_P, 1)
    assert list(found["devices"]) == ["a"]
    assert found["left_out"] == {"b": "on b no network made by hand runs steadily"}
    with pytest.raises(UserError, match="on b no network made by hand"):
        summary(some, ["b"], BLURRED_V, BLURRED_P, 1)


SMALL = UNet(channels=4, depth=1, blocks=1)
SIZE = (32, 48)
DEVICES = {"torch": Torch(), "ort": OnnxRuntime(), "openvino": OpenVino(), "ncnn": Ncnn(), "mnn": Mnn()}


def written(tmp_path):
    """Write the front of one device, whose exports stand for all."""
    export = exported(tmp_path / "cache", OnnxRuntime(), SMALL, SIZE)
    some = [replace(one, on={"a": replace(one.on["a"], export=export)}) for one in nets()]
    found = summary(some, ["a"], BLURRED_V, BLURRED_P, 2)
    (tmp_path / "out").mkdir(exist_ok=True)
    weights = {name: tmp_path / f"{name}.bin" for name in ("small", "lucky")}
    for name, file in weights.items():
        file.write_bytes(name.encode())
    facts = {"a": OnnxRuntime().facts()}
    return export, write_front(tmp_path / "out", found, some, SIZE, facts, {"seed": 0}, weights)


def test_its_networks_lie_beside_it_with_their_checksums(tmp_path):
    export, file = written(tmp_path)
    found = read_front(file)
    a = found["devices"]["a"]
    assert set(a["exports"]) == set(a["front"]) | set(found["portable"]["nets"])
    for one in a["exports"].values():
        copy = file.parent / one["folder"] / "net.onnx"
        assert copy.read_bytes() == (export / "net.onnx").read_bytes()
        assert one["bytes"] == copy.stat().st_size
    assert (file.parent / a["use"]).is_file()
    assert set(found["weights"]) == {"small"}, "the other is on no front"
    assert (file.parent / "nets" / "small.safetensors").read_bytes() == b"small"
    assert found["about"] == {"seed": 0}
    assert a["facts"]["runtime"] == "ONNX Runtime"


def test_weights_that_are_others_are_told(tmp_path):
    _, file = written(tmp_path)
    (file.parent / "nets" / "small.safetensors").write_bytes(b"smelt")
    with pytest.raises(UserError, match=r"small\.safetensors is not the file"):
        read_front(file)


def test_a_file_that_is_another_is_told_and_so_is_a_damaged_export(tmp_path):
    export, file = written(tmp_path)
    copy = next((file.parent / "nets" / "a").glob("*/net.onnx"))
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="is not the file"):
        read_front(file)
    (export / "net.onnx").write_bytes(b"?")
    some = [net("small", a=cell(4, 1.0, export=export)), net("by_hand", "hand_made", a=cell(64, 1.0))]
    with pytest.raises(UserError, match="is not what a wrote"):
        write_front(file.parent, summary(some, ["a"], BLURRED_V, BLURRED_P, 1), some, SIZE, {}, {})


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "portable"}', '{"kind": "portable fronts"}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "front.json").write_text(text)
    with pytest.raises(UserError, match=r"front\.json"):
        read_front(tmp_path / "front.json")


@pytest.mark.parametrize("device", DEVICES)
def test_its_ten_lines_restore_a_picture(tmp_path, device):
    import torch

    of = DEVICES[device]
    export = exported(tmp_path / "cache", of, SMALL, SIZE)
    name, text = use_of(device, export, SIZE, of.facts())
    (tmp_path / name).write_text(text)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "blurred.png")
    line = [sys.executable, name, str(export), "blurred.png", "sharp.png"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    x = torch.from_numpy(pixels[: SIZE[0], : SIZE[1]].copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = SMALL.build()(x)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    restored = np.asarray(Image.open(tmp_path / "sharp.png"), float)
    assert np.abs(restored - expected).max() < 1
    assert np.abs(expected - pixels[: SIZE[0], : SIZE[1]]).max() > 5  # it does something
    lines = [each for each in text.splitlines() if each and not each.startswith(("#", "import", "from"))]
    assert len(lines) <= 11


def test_what_has_no_runtime_known_here_has_no_lines(tmp_path):
    assert use_of("phone", tmp_path, SIZE, {}) is None
