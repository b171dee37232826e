"""A training has the same weights however often it is killed; its parts are those of the formulas."""

import dataclasses
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_pairs import splits
from safetensors.torch import load_file

from itae.base.errors import UserError
from itae.portable.nets.unet import UNet
from itae.portable.train import steps as of_steps
from itae.portable.train.crops import crops, turned
from itae.portable.train.loop import trained
from itae.portable.train.losses import charbonnier, loss_of, spectral
from itae.portable.train.options import Train
from itae.portable.train.start import begun
from itae.portable.train.state import State
from itae.portable.train.steps import rate

NET = UNet(channels=2, depth=1, blocks=1)
SHORT = Train(steps=12, crop=16, batch=2, every=4, precision="fp32", fft=0.0)
PAIRS = splits(photographs=2, each=2, side=24)


def told(count):
    """Do nothing with the steps that are told."""


def weights_of(result):
    return load_file(result.weights)


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return trained(NET, PAIRS, SHORT, tmp_path_factory.mktemp("unbroken"), told)


# What comes out


def test_it_has_a_curve_and_weights_that_the_network_takes(unbroken):
    assert [each["step"] for each in unbroken.curve] == [0, 4, 8, 12]
    assert unbroken.curve[0]["loss"] is None
    assert all(math.isfinite(each["validation_psnr"]) for each in unbroken.curve)
    assert unbroken.facts["options"]["precision"] == "fp32"
    seconds = [each["seconds"] for each in unbroken.curve]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0 < seconds[1]
    net = dataclasses.replace(NET, weights=str(unbroken.weights))
    assert same(weights_of(unbroken), net.build().state_dict())
    assert net.settings()["weights"] == unbroken.facts["sha256"]


def test_the_validation_of_the_curve_is_of_the_weights_that_are_kept(unbroken):
    from itae.portable.train.quality import psnr, restored

    net = dataclasses.replace(NET, weights=str(unbroken.weights)).build()
    found = psnr(
        restored(lambda x: net(torch.from_numpy(x)).detach().numpy(), PAIRS.validation, 1, 2), PAIRS.validation
    )
    assert unbroken.curve[-1]["validation_psnr"] == pytest.approx(found.mean(), abs=1e-3)


def test_the_same_again_is_read_and_not_trained(unbroken, monkeypatch):
    monkeypatch.setattr(of_steps, "step", None)
    done = []
    cache = unbroken.weights.parents[3]
    again = trained(NET, PAIRS, SHORT, cache, done.append)
    assert again == unbroken
    assert done == [12]


@pytest.mark.parametrize("options", [{"seed": 1}, {"lr": 1e-4}, {"steps": 11}, {"fft": 0.2}, {"ema": 0.5}])
def test_other_settings_are_another_training(unbroken, tmp_path, options):
    other = trained(NET, PAIRS, dataclasses.replace(SHORT, **options), tmp_path, told)
    assert other.facts["key"] != unbroken.facts["key"]
    assert not same(weights_of(other), weights_of(unbroken))


def test_other_pairs_weights_and_teachers_are_other_trainings(unbroken, tmp_path):
    keys = {unbroken.facts["key"]}
    few = dataclasses.replace(SHORT, steps=1)
    for net, pairs, teacher in (
        (NET, PAIRS, None),
        (NET, splits(photographs=2, each=2, side=24, seed=9), None),
        (dataclasses.replace(NET, seed=1), PAIRS, None),
        (dataclasses.replace(NET, weights=str(unbroken.weights)), PAIRS, None),
        (NET, PAIRS, NET),
        (NET, PAIRS, dataclasses.replace(NET, weights=str(unbroken.weights))),
    ):
        keys.add(trained(net, pairs, few, tmp_path, told, teacher).facts["key"])
    assert len(keys) == 7


def test_two_trainings_are_the_same_to_the_bit_and_torch_is_left_as_it_was(unbroken, tmp_path):
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    torch.set_num_threads(threads + 1)
    try:
        again = trained(NET, PAIRS, SHORT, tmp_path, told)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.rand(3), expected)
    assert same(weights_of(again), weights_of(unbroken))


# Kills


class StopsError(Exception):
    pass


def stopping(after):
    """Return what breaks a training off once so many steps were done in it."""
    left = after

    def advance(count):
        nonlocal left
        left -= count
        if left < 0:
            raise StopsError

    return advance


@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}, {"channels_last": False}, {"clip": None, "fft": 0.1}])
def test_a_training_that_was_broken_off_goes_on_to_the_same_weights(tmp_path, options):
    asked = dataclasses.replace(SHORT, **options)
    whole = trained(NET, PAIRS, asked, tmp_path / "whole", told)
    for after in (2, 6, 11):
        with pytest.raises(StopsError):
            trained(NET, PAIRS, asked, tmp_path / "broken", stopping(after))
    done = []
    result = trained(NET, PAIRS, asked, tmp_path / "broken", done.append)
    assert done == [8] + [1] * 4
    assert same(weights_of(result), weights_of(whole))
    curves = [[(each["step"], each["loss"], each["validation_psnr"]) for each in of.curve] for of in (result, whole)]
    assert curves[0] == curves[1]
    assert not list((tmp_path / "broken" / "portable" / "trained" / "half").iterdir())


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import test_train_loop as t
left = int(sys.argv[2])
def advance(count):
    global left
    left -= count
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
t.trained(t.NET, t.PAIRS, t.SHORT, Path(sys.argv[1]), advance)
"""


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_nothing_that_stands_in_the_way(unbroken, tmp_path):
    here = Path(__file__)
    code = _KILLED.format(tests=str(here.parent))
    path = os.pathsep.join([str(here.parents[1]), *sys.path])
    for after, ends in ((1, -signal.SIGKILL), (5, -signal.SIGKILL), (9, -signal.SIGKILL), (100, 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(after)], env=os.environ | {"PYTHONPATH": path}, check=False
        )
        assert done.returncode == ends
    assert same(weights_of(trained(NET, PAIRS, SHORT, tmp_path, told)), weights_of(unbroken))


def test_a_damaged_checkpoint_and_damaged_weights_are_made_anew(unbroken, tmp_path, caplog):
    with pytest.raises(StopsError):
        trained(NET, PAIRS, SHORT, tmp_path, stopping(6))
    (checkpoint,) = (tmp_path / "portable" / "trained" / "half").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    result = trained(NET, PAIRS, SHORT, tmp_path, told)
    assert "begins anew" in caplog.text
    assert same(weights_of(result), weights_of(unbroken))
    result.weights.write_bytes(b"no weights")
    assert same(weights_of(trained(NET, PAIRS, SHORT, tmp_path, told)), weights_of(unbroken))
    assert "are damaged" in caplog.text


def test_one_trains_and_the_other_waits_for_it(tmp_path, monkeypatch):
    taken, step = [], of_steps.step

    def counted(*given):
        taken.append(threading.get_ident())
        step(*given)

    monkeypatch.setattr(of_steps, "step", counted)
    results = []

    def train():
        results.append(trained(NET, PAIRS, SHORT, tmp_path, told))

    both = [threading.Thread(target=train) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len(taken) == 12
    assert len(set(taken)) == 1
    assert results[0] == results[1]


# Mistakes


def test_crops_that_do_not_fit_are_told_before_anything_is_computed(tmp_path):
    for options, sentence in (
        ({"crop": 17}, r"train\.crop=17 must be a multiple of 2, .* take 18"),
        ({"crop": 26}, r"train\.crop=26 is larger than the pictures; it must be at most 24"),
    ):
        with pytest.raises(UserError, match=sentence):
            trained(NET, PAIRS, dataclasses.replace(SHORT, **options), tmp_path, told)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_is_told(tmp_path, monkeypatch):
    losses = iter([1.0, 1.0, 1.0, math.nan])
    monkeypatch.setattr(of_steps, "loss_of", lambda output, *_: output.mean() * next(losses))
    with pytest.raises(UserError, match=r"train\.lr=0\.001: after 3 steps the loss is no finite number any more; take"):
        trained(NET, PAIRS, SHORT, tmp_path, told)
    assert not list((tmp_path / "portable" / "trained").glob("*/weights.safetensors"))


def test_a_disk_that_is_full_is_told(tmp_path):
    (tmp_path / "portable").write_text("a file, and no folder")
    with pytest.raises(UserError, match="can't be written"):
        trained(NET, PAIRS, SHORT, tmp_path, told)


# Its parts


def test_the_losses_are_those_of_their_formulas():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 3, 6, 8)), rng.random((2, 3, 6, 8))
    ours = torch.from_numpy(one), torch.from_numpy(other)
    expected = np.mean([math.sqrt((a - b) ** 2 + 0.25) for a, b in zip(one.flat, other.flat, strict=True)])
    assert charbonnier(*ours, 0.5).item() == pytest.approx(expected)
    assert charbonnier(ours[0], ours[0], 0.5).item() == pytest.approx(0.5)
    transform = np.fft.rfft2(one - other) / math.sqrt(48)
    expected_fft = np.mean(np.abs(np.stack([transform.real, transform.imag])))
    assert spectral(*ours).item() == pytest.approx(expected_fft)
    assert loss_of(*ours, 0.5, 0.0).item() == pytest.approx(expected)
    assert loss_of(*ours, 0.5, 2.0).item() == pytest.approx(expected + 2 * expected_fft)


def test_the_running_mean_is_that_of_a_plain_loop():
    state = State(NET.build(), Train(ema=0.9))
    name, parameter = next(iter(state.named.items()))
    mean, seen = parameter.detach().double().numpy().copy(), []
    for n in range(40):
        with torch.no_grad():
            parameter += 0.1 * (n + 1)
        state.averaged()
        state.step += 1
        decay = min(0.9, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * parameter.detach().double().numpy()
        seen.append(decay)
    assert seen[0] == 0.1
    assert seen[-1] == pytest.approx(40 / 49)
    assert state.kept()[name].numpy() == pytest.approx(mean, rel=1e-5)


def test_without_a_mean_the_last_weights_are_kept():
    state = State(NET.build(), Train(ema=0.0))
    for parameter in state.named.values():
        parameter.data += 1
    state.averaged()
    assert same(state.kept(), state.module.state_dict())


def test_the_learning_rate_grows_and_falls():
    options = Train(steps=100, lr=1.0, warmup=0.1)
    rates = [rate(options, at) for at in range(100)]
    assert rates[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert max(rates) == rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert rate(Train(steps=1, warmup=0), 0) == 1e-3


def test_crops_are_what_both_pictures_have_at_one_place():
    blurred, sharp = crops(PAIRS.train, 3, 64, 20, 0)
    assert blurred.shape == sharp.shape == (64, 3, 20, 20)
    cut = {}
    for pair, top, left, turn in itertools.product(range(len(PAIRS.train)), range(5), range(5), range(8)):
        both = (array[pair, :, top : top + 20, left : left + 20] for array in (PAIRS.train.blurred, PAIRS.train.sharp))
        cut[b"".join((turned(each, turn) / np.float32(255)).tobytes() for each in both)] = pair, top, left, turn
    found = [cut[b.tobytes() + s.tobytes()] for b, s in zip(blurred, sharp, strict=True)]
    for place, all_ in zip(zip(*found, strict=True), (4, 5, 5, 8), strict=True):
        assert set(place) == set(range(all_))


def test_crops_depend_on_seed_and_step_alone():
    one = crops(PAIRS.train, 7, 4, 8, 1)
    assert (np.array(one) == np.array(crops(PAIRS.train, 7, 4, 8, 1))).all()
    assert (np.array(one) != np.array(crops(PAIRS.train, 8, 4, 8, 1))).any()
    assert (np.array(one) != np.array(crops(PAIRS.train, 7, 4, 8, 2))).any()


def test_a_picture_is_turned_in_eight_ways():
    picture = np.arange(12).reshape(3, 2, 2)
    assert len({turned(picture, turn).tobytes() for turn in range(8)}) == 8
    assert (turned(picture, 0) == picture).all()


def test_drawn_weights_begin_near_the_blurred_input_and_those_of_a_file_as_they_are(unbroken):
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    drawn, start = ((module(pictures) - pictures).std().item() for module in (NET.build(), begun(NET, SHORT)))
    assert start == pytest.approx(0.1 * drawn, rel=1e-3)
    net = dataclasses.replace(NET, weights=str(unbroken.weights))
    assert same(begun(net, SHORT).state_dict(), net.build().state_dict())
    assert begun(net, SHORT).training


# A teacher


def test_a_student_moves_towards_its_teacher(tmp_path):
    """The teacher makes pictures darker, as no sharp picture is."""
    from safetensors.torch import save_file

    teacher = dataclasses.replace(NET, seed=4)
    state = teacher.build().state_dict()
    state["tail.bias"] = state["tail.bias"] - 0.3
    save_file(state, tmp_path / "teacher.safetensors")
    teacher = dataclasses.replace(teacher, weights=str(tmp_path / "teacher.safetensors"))
    options = dataclasses.replace(SHORT, steps=60, every=60, lr=1e-2, ema=0.5, teacher_weight=1.0)
    pictures = torch.from_numpy(PAIRS.validation.blurred).float() / 255

    def far(result):
        net = dataclasses.replace(NET, weights=str(result.weights)).build()
        return (net(pictures) - teacher.build()(pictures)).abs().mean().item()

    alone = far(trained(NET, PAIRS, options, tmp_path, told))
    half = far(trained(NET, PAIRS, dataclasses.replace(options, teacher_weight=0.5), tmp_path, told, teacher))
    taught = far(trained(NET, PAIRS, options, tmp_path, told, teacher))
    assert taught < 0.5 * alone
    assert taught < half + 0.02
    assert half < alone


# What it reaches


@pytest.mark.slow
def test_photographs_that_it_did_not_learn_from_come_nearer_to_sharp_ones(tmp_path):
    from itae.portable.data.frozen import frozen
    from itae.portable.data.noise import PoissonGaussian
    from itae.portable.data.photographs import Shipped
    from itae.portable.data.shake import Shake
    from itae.portable.data.wanted import Wanted

    pairs = frozen(Shipped(), Shake(), PoissonGaussian(), Wanted(), 0, tmp_path)
    net = UNet(channels=16, depth=2, unshuffle=2, up="nearest")
    found = trained(net, pairs, Train(steps=700), tmp_path, told)
    assert found.curve[-1]["validation_psnr"] > found.facts["blurred_psnr"] + 1.5
