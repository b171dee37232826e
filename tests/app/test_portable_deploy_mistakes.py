"""What a user gets wrong where a network is to be trained: told in a sentence, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_unet
from deploy_words import SMALL, photographs
from toy_devices import toys

from itae.portable.clock import alone
from itae.portable.deploy import study
from itae.portable.train import loop


@pytest.fixture(autouse=True)
def alone_with_photographs(tmp_path, monkeypatch):
    """Measure in a machine of this test's own, where others measure side by side; have a folder of photographs."""
    monkeypatch.setattr(alone, "SHARED", tmp_path)
    photographs(tmp_path / "photographs")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data=folder"], ["data.root='nowhere' is no folder; give one of photographs"]),
        (["data=debian"], ["aren't in ", "cache/portable/photographs; `itae portable prepare data=debian` takes them"]),
        (["data=debian", "data.packages=[gimp]"], ["data.packages='gimp' is not one of lomiri-wallpapers-16.04"]),
        (["data=gopro"], ["data.root='nowhere' has no folder train, as GoPro's archive has"]),
        (["data=shipped", "+data.root=x"], ["data.root='x': Shipped has no option 'root'"]),
        (["data=shiped"], ["data=shiped is not one of debian, folder"]),
        (["data._target_=itae.deblur.Shake"], ["data._target_=itae.deblur.Shake can't be a data"]),
        (["blur.length=[9,2]"], ["blur.length=[9, 2] must be the least and the greatest"]),
        (["blur=objects", "blur.folder=nowhere"], ["blur.folder='nowhere' is no folder; give one of cut-outs"]),
        (["noise.sigma=2"], ["noise.sigma=2 must be a number"]),
        (["blur=none", "noise=none"], ["blur=none and noise=none leave nothing to restore"]),
        (["pairs.train=0"], ["pairs.train=0 must be a whole number of at least 1"]),
        (["pairs.size=64"], ["pairs.size=64 must be measure.size=32", "set measure.size alone"]),
        (["train.stepps=3"], ["no option 'train.stepps'", "Did you mean 'train.steps'?"]),
        (["train.steps=0"], ["train.steps=0 must be a whole number"]),
        (["train.crop=17"], ["train.crop=17 must be a multiple of 2"]),
        (["train.crop=64"], ["train.crop=64 is larger than pairs.train_size=32"]),
        (["train.threads=4096"], ["train.threads=4096 are more than the CPUs"]),
        (["optimise=[prun]"], ["optimise=prun: there is no such step", "Did you mean 'prune'?"]),
        (["optimise=[prune,swap,prune]"], ["names prune twice", "+steps.prune_2={...}"]),
        (["optimise={}"], ["optimise={} is options, and optimise takes a list; write optimise=[a,b]"]),
        (["blur.length={a:1}"], ["blur.length={a:1} is options, and blur.length takes a list"]),
        (["steps.swap.options=[a]"], ["steps.swap.options=[a] is a list, and steps.swap.options takes options"]),
        (["optimise=[prune]", "steps.prune.tune=5"], ["steps.prune.tune=5 is no training; leave it out"]),
        (
            ["optimise=[quantisation_aware]", "steps.quantisation_aware.tune=null"],
            ["steps.quantisation_aware.tune=None leaves nothing of this step"],
        ),
        (["pairs.train=1000000000"], ["pairs.train=1000000000 must be a whole number of at least 1 and at most"]),
        (["optimise=3"], ["optimise=3 must be a list of steps"]),
        (["optimise=[[prune]]"], ["optimise=[['prune']] must be a list of steps"]),
        (["optimise=[quantisation_aware]"], ["is for devices in eight bits, and those here are one; add ort_int8"]),
        (["optimise=[prune]", "steps.prune.macs=2"], ["steps.prune.macs=2 must be a number"]),
        (["optimise=[prune]", "steps.prune.tune.lr=0"], ["steps.prune.tune.lr=0 must be a number above 0"]),
        (
            ["optimise=[prune]", "steps.prune.tune.crop=64"],
            ["steps.prune.tune.crop=64 is larger than pairs.train_s"],
        ),
        (["optimise=[swap]", "steps.swap.options.up=x"], ["steps.swap.options.up='x' is not one of transposed"]),
        (["optimise=[swap]", "steps.swap.options.up=null"], ["names no operator"]),
        (
            ["optimise=[more]", "+steps.more={_target_:itae.deblur.Prune,macs:3}"],
            ["steps.more.macs=3 must be a number in"],
        ),
        (["optimise=[more]", "+steps.more={_target_:itae.deblur.Train}"], ["steps.more._target_=", "can't be a steps"]),
        (["optimise=[prune]", "steps.prune.tune={_target_:itae.deblur.Swap}"], ["can't be"]),
        (["teacher=3"], ["teacher=3 is no network; write +net@teacher=unet teacher.weights=FILE"]),
        (["+net@teacher=unet"], ["teacher.weights is not set, and a network that has learned nothing"]),
        (["+net@teacher=unet", "teacher.weights=no.safetensors"], ["teacher.weights=no.safetensors: there is no such"]),
        (["+net@teacher=unet", "teacher.channels=0"], ["teacher.channels=0 must be a whole number"]),
        (
            ["+net@teacher=unet", f"teacher.weights={small_unet.WEIGHTS}"],
            ["itae: teacher.weights=", "set the options of net that it was trained with"],
        ),
        (
            [f"net.weights={small_unet.WEIGHTS}", "net.channels=4"],
            ["itae: net.weights=", "set the options of net that it was trained with"],
        ),
        (["study=[a]"], ["study=['a'] is not one of deploy, operators, search"]),
    ],
)
def test_a_mistake_is_told_before_anything_is_done(itae_, monkeypatch, words, told):
    monkeypatch.setattr(study, "deploy", lambda *_: pytest.fail("it has begun"))
    monkeypatch.setattr(loop, "trained", lambda *_: pytest.fail("it trains"))
    small = [word for word in SMALL if not word.startswith(("data", "blur."))]
    if words[0] in ("data=folder", "data=gopro"):
        words = [*words, "data.root=nowhere"]
    status, out, err = itae_("portable", *small, *toys(one=""), *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert [word for word in told if word not in err] == [], err
    assert not Path("out").exists()
    assert not Path("cache").exists(), "nothing is left behind"


def test_a_network_that_reads_no_weights_is_told_before_it_is_trained(itae_):
    Path("mine/net").mkdir(parents=True)
    Path("mine/net/toy.yaml").write_text("_target_: toy_nets.Toy\n")
    words = [word for word in SMALL if not word.startswith("net.")]
    status, _, err = itae_("portable", "--config-dir", "mine", "net=toy", *words, *toys(one=""))
    assert (status, err.count("\n")) == (2, 1)
    assert "net._target_=toy_nets.Toy can't be trained: it has to be a dataclass with an option 'weights'" in err


def test_a_step_for_another_kind_of_network_is_told_at_once(itae_):
    pytest.importorskip("spandrel")
    words = ["net=nafnet", "net.options.width=4", "optimise=[prune]"]
    status, _, err = itae_("portable", *SMALL[3:], *toys(one=""), *words)
    assert (status, err.count("\n")) == (2, 1)
    assert "The step prune takes U-Nets, whose channels it can follow, and nafnet is none" in err


@pytest.mark.parametrize("gone", ["skimage", "torch_pruning"])
def test_a_package_that_is_missing_is_told_with_what_installs_it(itae_, monkeypatch, gone):
    from itae.portable.devices import library

    there = library._there
    monkeypatch.setattr(library, "_there", lambda name: name != gone and there(name))
    status, _, err = itae_("portable", *SMALL, *toys(one=""), "optimise=[prune]")
    assert (status, err.count("\n")) == (2, 1)
    assert f"needs the package {gone}, which isn't installed; install it: pip install " in err
