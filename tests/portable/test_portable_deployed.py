"""What a net is worth on each device, after conversion: what is kept, what is warned of, what is refused."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from small_unet import net as small
from small_unet import pairs as shaken
from toy_devices import Toy

from itae.base.errors import UserError
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.devices.device import InProcess
from itae.portable.devices.devices import Mnn, Ncnn, OnnxRuntime, OpenVino, Torch
from itae.portable.named import PostTraining, QuantisationAware
from itae.portable.nets.unet import UNet
from itae.portable.optimise import aware
from itae.portable.optimise.budgets import budget_db
from itae.portable.optimise.deployed import deployed
from itae.portable.optimise.state import State
from itae.portable.parity import parity_db


def pairs_of(*names, count=4, side=46):
    drawn = [shaken(name, count, side=side, seed=number) for number, name in enumerate(names, 40)]
    blurred, sharp = (np.concatenate(each) for each in zip(*drawn, strict=True))
    return Pairs(
        blurred, sharp, tuple(name for name in names for _ in range(count)), np.full(len(sharp), np.nan, np.float32)
    )


@pytest.fixture(scope="module")
def splits():
    return Splits(
        pairs_of("chelsea.png", "rocket.jpg", count=6),
        pairs_of("flower.jpg"),
        pairs_of("china.jpg"),
        facts={},
        key="toy",
    )


@dataclass(frozen=True)
class Off(Toy):
    """A device whose output is off by something."""

    precision: str = "fp32"
    bias: float = 0.0
    noise: float = 0.0

    def facts(self):
        return {"runtime": "toys", "version": "1.0", "precision": self.precision, "provider": "CPU"}

    def open(self, folder, threads):
        call, rng = super().open(folder, threads).call, np.random.default_rng(0)
        return InProcess(lambda x: call(x) + np.float32(self.bias) + np.float32(self.noise) * rng.normal(size=x.shape))


def on(device, splits, tmp_path, net=None, pairs=None):
    (found,) = deployed(State(net or small(), splits, tmp_path, (device,)), pairs or splits.validation)
    return found


def test_a_device_that_computes_the_same_loses_nothing(splits, tmp_path):
    found = on(Toy(), splits, tmp_path)
    assert (found.verdict, found.why) == ("kept", None)
    assert found.parity_db > 100
    assert found.drop_db.mean == pytest.approx(0, abs=1e-3)
    assert found.gain_db.mean > 1
    assert found.outputs.shape == splits.validation.sharp.shape  # of 46 pixels, which the net doesn't take
    net, pair = small().build(), splits.validation.blurred[:1]
    import torch

    whole = np.pad(pair, ((0, 0), (0, 0), (0, 2), (0, 2)), mode="reflect").astype(np.float32) / 255
    with torch.no_grad():
        expected = net(torch.from_numpy(whole)).numpy()[:1, :, :46, :46].clip(0, 1)
    assert np.abs(found.outputs[:1] / 255 - expected).max() <= 0.51 / 255


def test_what_is_lost_is_paired_and_parity_is_of_all_pictures(splits, tmp_path):
    found = on(Off(noise=0.002, name="noisy", precision="bf16"), splits, tmp_path)
    error = 0.002**2
    assert found.parity_db == pytest.approx(-10 * np.log10(error), abs=1)
    psnr = found.psnr.mean + found.drop_db.mean
    assert found.gain_db.mean + found.drop_db.mean == pytest.approx(on(Toy(), splits, tmp_path).gain_db.mean, abs=1e-6)
    assert psnr == pytest.approx(on(Toy(), splits, tmp_path).psnr.mean, abs=1e-6)
    assert found.drop_db.mean > 0


@pytest.mark.parametrize(
    ("device", "verdict", "words"),
    [
        (Off(noise=0.01), "refused", "off restores small with a parity of 4., and at least 100 are needed; leave off"),
        (
            Off(noise=0.01, precision="int8"),
            "warned",
            "at least 50 are needed; train on with optimise=.quantis",
        ),
        (Off(noise=0.01, precision="odd"), "refused", "at least 90 are needed"),
        (Off(bias=0.2, precision="int8"), "refused", "below the blurred input's .* takes away all that was gained"),
        (Toy("swapped"), "refused", ""),
        (Toy("nan"), "refused", "gives values that are not finite; leave toy out"),
        (Toy("flat"), "refused", "an array of shape"),
        (Toy("nothing"), "refused", "toy has no operator Conv"),
        (Toy("crashes"), "refused", "RuntimeError: segment 7 is full"),
    ],
)
def test_what_is_past_its_budget_or_below_the_blurred_input_is_told(splits, tmp_path, device, verdict, words):
    import re

    found = on(replace(device, name="off") if isinstance(device, Off) else device, splits, tmp_path)
    assert found.verdict == verdict
    assert re.search(words.replace("4., and", r"4\d\.\d dB with torch, and"), found.why), found.why


def test_swapped_channels_are_named_and_uneven_parity_explains_nothing(splits, tmp_path):
    from itae.portable.optimise.deployed import _Judged

    judged = _Judged(State(small(), splits, tmp_path), splits.validation)
    outputs = [judged.expected(each.picture) for each in judged.padded]
    assert judged._because([each[:, [1, 0, 2]] for each in outputs]) == "its channels come out swapped, as G, R, B"
    rng = np.random.default_rng(0)
    noisy = [outputs[0], *(each + 0.02 * rng.normal(size=each.shape) for each in outputs[1:])]
    assert judged._because(noisy) == ""


def test_a_net_that_torch_itself_restores_nothing_with_says_so(splits, tmp_path):
    found = on(Toy(), splits, tmp_path, net=UNet(channels=4, depth=1))
    assert found.verdict == "refused"
    assert re.search(r"dB, below the blurred input's [\d.]+: train the net for longer", found.why), found.why
    found = on(Off(bias=0.1), splits, tmp_path, net=UNet(channels=4, depth=1))
    assert re.search(r"input's [\d.]+, and torch to [\d.]+: train the net for longer", found.why), found.why


def test_pictures_that_calibrate_do_not_judge(splits, tmp_path):
    with pytest.raises(UserError, match="12 of 12 pictures that calibrate are among those that judge"):
        on(Off(precision="int8"), splits, tmp_path, pairs=splits.train)


def test_budgets_are_those_of_trained_nets():
    found = {each.name: budget_db(each) for each in (
        Torch(), OnnxRuntime(), OnnxRuntime("int8"), OpenVino("bf16"), Ncnn(), Mnn(), OnnxRuntime(provider="cuda"),
    )}  # fmt: skip
    assert found == {
        "torch": 100, "ort": 100, "ort_int8": 50, "openvino_bf16": 60, "ncnn": 70, "mnn": 100, "ort_cuda": 50,
    }  # fmt: skip


@pytest.mark.parametrize(("drops", "after", "kept"), [((0.04,), None, False), ((0.3,), 1.0, True), ((0.3,), -1, False)])
def test_training_aware_of_rounding_is_kept_where_it_helps(splits, tmp_path, monkeypatch, drops, after, kept):
    """With what is measured given by hand: not begun below .05 dB, and not kept where eight bits are no better."""
    from itae.portable.optimise.deployed import Deployed
    from itae.portable.train.options import Train
    from itae.portable.train.quality import Mean

    answers = iter([(30.0, drops[0]), (30.0 + (after or 0), 0.0)])

    def measured(state, pairs):
        assert pairs is splits.validation
        psnr, drop = next(answers)
        return (Deployed("toy", "kept", None, psnr=Mean(psnr, None, None), drop_db=Mean(drop, None, None)),)

    other, trained = replace(small(), name="other"), []
    monkeypatch.setattr(aware, "deployed", measured)
    monkeypatch.setattr(aware, "tuned", lambda *asked: trained.append(asked) or (other, {}))
    state = State(small(), splits, tmp_path, (Off(precision="int8"),))
    found = QuantisationAware(Train(steps=1, precision="bf16")).apply(state)
    assert bool(trained) is (after is not None)
    assert found.net is (other if kept else state.net)
    assert found.lineage[-1]["kept"] is kept
    if trained:
        assert trained[0][2].precision == "fp32"
        assert trained[0][3].name == "small"  # the net that rounds


@pytest.mark.slow
def test_nncf_by_itself_takes_away_more_than_the_net_gains_and_ours_does_not(splits, tmp_path):
    """Its ranges are means of each picture's: what is brighter is cut off, and the last addition is of the picture.

    The photographs that calibrate, a cat and a rocket at night, are darker than those that judge: a palace in the sun.
    """
    theirs = OpenVino("int8", residual=True, ranges="mean", name="theirs")
    if theirs.missing():
        pytest.skip(theirs.missing())
    judged = pairs_of("china.jpg", count=12, side=96)
    state = State(small(), splits, tmp_path, (theirs, OpenVino("int8"), OnnxRuntime("int8")))
    plain = PostTraining(stretch=False).apply(state)
    lost, *_ = deployed(plain, judged)
    assert lost.verdict == "refused"
    assert "below the blurred input's" in lost.why
    assert lost.drop_db.mean > 0.9
    for found in deployed(state, judged)[1:]:
        assert found.verdict == "kept"
        assert found.drop_db.mean <= 0.05
        assert found.parity_db >= 50


@pytest.mark.slow
def test_each_part_of_the_guard_does_something(splits, tmp_path):
    """The last addition in float, extremes for means, and calibration that is stretched, each one by itself."""
    devices = [
        OnnxRuntime("int8"), OnnxRuntime("int8", residual=True, name="ort_residual"),
        OpenVino("int8"), OpenVino("int8", ranges="mean", name="openvino_mean"),
    ]  # fmt: skip
    for device in devices:
        if device.missing():
            pytest.skip(device.missing())
    judged = pairs_of("china.jpg", "coffee.png", count=8, side=96)
    state = State(small(), splits, tmp_path, tuple(devices))
    parity = [
        {each.device: each.parity_db for each in deployed(PostTraining(stretch=stretch).apply(state), judged)}
        for stretch in (False, True)
    ]
    assert parity[1]["ort_int8"] > parity[1]["ort_residual"] + 0.5
    assert parity[0]["openvino_int8"] > parity[0]["openvino_mean"] + 3
    assert parity[1]["ort_int8"] > parity[0]["ort_int8"] + 3


def test_the_residual_of_an_onnx_file_is_found_behind_a_clamp_and_a_bias_is_none(tmp_path):
    import onnx
    import torch

    from itae.portable.devices.onnx_export import export_onnx
    from itae.portable.devices.onnx_runtime import residual_of

    class Clamped(torch.nn.Module):
        def __init__(self, residual):
            super().__init__()
            self.conv, self.residual = torch.nn.Conv2d(3, 3, 3, padding=1), residual
            self.bias = torch.nn.Parameter(torch.ones(1, 3, 1, 1))

        def forward(self, x):
            return (x + self.conv(x) if self.residual else self.conv(x) + self.bias).clamp(0, 1)

    for residual in (True, False):
        export_onnx(Clamped(residual).eval(), (16, 16), tmp_path / "net.onnx", "ort")
        assert (residual_of(onnx.load(str(tmp_path / "net.onnx")).graph) is not None) is residual


def test_the_small_net_is_trained(splits):
    """It restores photographs that it never saw, or what is tested here would be nothing."""
    import torch

    pairs = splits.validation
    with torch.no_grad():
        out = (
            small().build()(torch.from_numpy(pairs.blurred[..., :44, :44].astype(np.float32) / 255)).numpy().clip(0, 1)
        )
    sharp = pairs.sharp[..., :44, :44] / 255
    assert parity_db(out, sharp) > parity_db(pairs.blurred[..., :44, :44] / 255, sharp) + 1
