"""The settings of a training are checked before anything is computed."""

import subprocess
import sys

import pytest

from itae.base.errors import UserError
from itae.portable.train import options as of_options
from itae.portable.train.options import Train


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "train.steps=0"),
        ({"crop": 7}, "train.crop=7"),
        ({"batch": 0}, "train.batch=0"),
        ({"lr": 0}, "train.lr=0"),
        ({"lr": float("nan")}, "train.lr=nan"),
        ({"warmup": 1.0}, "train.warmup=1.0"),
        ({"ema": 1}, "train.ema=1"),
        ({"ema": -0.1}, "train.ema=-0.1"),
        ({"eps": 0}, "train.eps=0"),
        ({"fft": -1}, "train.fft=-1"),
        ({"clip": 0}, "train.clip=0"),
        ({"teacher_weight": 0}, "train.teacher_weight=0"),
        ({"teacher_weight": 1.5}, "train.teacher_weight=1.5"),
        ({"precision": "fp16"}, "train.precision='fp16'"),
        ({"channels_last": "auto"}, "train.channels_last='auto'"),
        ({"every": 0}, "train.every=0"),
        ({"threads": 0}, "train.threads=0"),
        ({"seed": -1}, "train.seed=-1"),
    ],
)
def test_a_wrong_setting_is_named(options, told):
    with pytest.raises(UserError, match=told.replace(".", r"\.")):
        Train(**options)


def test_more_threads_than_this_process_has_are_told():
    with pytest.raises(UserError, match=r"train\.threads=4096 .* at most"):
        Train(threads=4096).check()


@pytest.mark.parametrize(("precision", "has", "bf16"), [("auto", True, True), ("auto", False, False),
                                                         ("bf16", False, True), ("fp32", True, False)])  # fmt: skip
def test_bf16_is_taken_where_the_processor_has_it(monkeypatch, precision, has, bf16):
    monkeypatch.setattr(of_options, "emulated", lambda precision: precision == "bf16" and not has)
    options = Train(precision=precision)
    assert options.bf16 is bf16
    assert options.key(taught=False)["precision"] == ("bf16" if bf16 else "fp32")


def test_the_key_has_what_the_weights_depend_on():
    assert Train(steps=95).validated == 10
    assert Train(steps=95, every=10).key(False) == Train(steps=95).key(False)
    assert Train(teacher_weight=0.1).key(False) == Train(teacher_weight=0.2).key(False)
    assert Train(teacher_weight=0.1).key(True) != Train(teacher_weight=0.2).key(True)
    assert Train(seed=1).key(False) != Train().key(False)


def test_settings_need_no_torch():
    code = "import sys, itae.portable.train.options, itae.portable.train.loop; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
