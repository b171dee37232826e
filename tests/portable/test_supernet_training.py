"""Training a supernet: it learns, goes on after a kill to the same weights, and is kept by what it depends on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from itae.base.errors import UserError
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.search.training import trained_supernet
from itae.portable.train.options import Train

SPACE = Space(channels=(2, 4), depth=(1,), blocks=(1,), up=("nearest",), down=("stride",), activation=("relu",))
OPTIONS = Train(steps=8, crop=16, batch=4, precision="fp32", every=4)


def pairs(name, seed, n=6):
    """Return smooth pictures and, as blurred ones, the same darker: what is easy to learn."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((n, 3, 5, 5), dtype=np.float32))
    sharp = torch.nn.functional.interpolate(coarse, (20, 20), mode="bicubic").clamp(0, 1).numpy()
    made = [(255 * each).astype(np.uint8) for each in (0.8 * sharp, sharp)]
    return Pairs(*made, tuple(f"{name}{at}" for at in range(n)), np.zeros(n, np.float32))


SPLITS = Splits(pairs("a", 0), pairs("b", 1), pairs("c", 2), {}, "key")


def ignored(steps):
    pass


class KilledError(Exception):
    pass


def test_a_training_that_was_killed_ends_at_the_same_weights_and_the_cache_has_them(tmp_path):
    whole = trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(), tmp_path / "whole", ignored)
    done = []

    def killed(steps):
        done.append(steps)
        if sum(done) == 6:
            raise KilledError

    with pytest.raises(KilledError):
        trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(), tmp_path / "killed", killed)
    done.clear()
    again = trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(), tmp_path / "killed", done.append)
    assert done == [4, 1, 1, 1, 1]
    one, other = load_file(whole.weights), load_file(again.weights)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = [[{**row, "seconds": 0} for row in each.curve] for each in (whole, again)]
    assert curves[0] == curves[1]
    assert [row["step"] for row in whole.curve] == [4, 8]
    done.clear()
    third = trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(), tmp_path / "killed", done.append)
    assert done == [8]
    blurred = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(third.supernet(blurred, SPACE.smallest), whole.supernet(blurred, SPACE.smallest))
    assert third.facts["networks"] == len(SPACE)


@pytest.mark.parametrize(
    "other",
    [
        {"space": replace(SPACE, channels=(2, 3))},
        {"sandwich": Sandwich(drawn=1)},
        {"sandwich": Sandwich(distil=0.5)},
        {"options": replace(OPTIONS, lr=1e-4)},
        {"splits": Splits(SPLITS.train, SPLITS.validation, SPLITS.test, {}, "another")},
    ],
)
def test_what_changes_weights_changes_the_key(other):
    from itae.portable.search.training import _key

    given = {"space": SPACE, "splits": SPLITS, "options": OPTIONS, "sandwich": Sandwich()}
    assert _key(**given) != _key(**given | other)


def test_it_has_steps_of_its_own_and_the_same_steps_are_the_same_weights(tmp_path):
    one = trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(steps=2), tmp_path, ignored)
    assert [row["step"] for row in one.curve] == [2]
    assert OPTIONS.steps == 8
    done = []
    trained_supernet(SPACE, SPLITS, replace(OPTIONS, steps=2), Sandwich(), tmp_path, done.append)
    assert done == [2], "they are kept"


def test_its_rate_is_its_own_and_the_same_rate_is_the_same_weights(tmp_path):
    one = trained_supernet(SPACE, SPLITS, replace(OPTIONS, lr=3e-4), Sandwich(lr=None), tmp_path, ignored)
    assert one.facts["options"]["lr"] == 3e-4
    two = trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(lr=3e-4), tmp_path, ignored)
    assert two.weights == one.weights


@pytest.mark.slow
def test_all_of_its_networks_learn(tmp_path):
    """In 120 steps all come above the blurred input, those that weren't at an end of the sandwich, too."""
    from itae.portable.search.judge import by_supernet
    from itae.portable.train.quality import psnr

    options = replace(OPTIONS, steps=120, lr=5e-3, every=None)
    found = trained_supernet(SPACE, SPLITS, options, Sandwich(lr=None), tmp_path, ignored)
    judge = by_supernet(found.supernet, SPLITS.validation)
    blurred = float(np.mean(psnr(SPLITS.validation.blurred, SPLITS.validation)))
    assert min(judge(spec) for spec in SPACE) > blurred + 3
    assert found.curve[-1]["loss"] < found.curve[0]["loss"]
    assert found.curve[-1]["validation_psnr"] == pytest.approx(judge(SPACE.largest), abs=1e-9)


def test_a_loss_that_is_no_number_names_the_option_that_sets_its_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(Sandwich, "backward", lambda *_: float("nan"))
    told = r"supernet\.lr=0\.0005: after 0 steps the supernet's loss is no finite number any more; take a lower one"
    with pytest.raises(UserError, match=told):
        trained_supernet(SPACE, SPLITS, OPTIONS, Sandwich(), tmp_path, ignored)
    assert not list(tmp_path.rglob("weights.safetensors"))


@pytest.mark.parametrize(
    ("options", "told"),
    [(Train(crop=18), "train.crop=18 must be a multiple of 4, .* take 20"), (Train(crop=64), "at most 20")],
)
def test_crops_that_do_not_fit_are_told_before_work(tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        trained_supernet(SPACE, SPLITS, options, Sandwich(), tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "supernet.steps=0"),
        ({"drawn": -1}, "supernet.drawn=-1"),
        ({"lr": 0}, "supernet.lr=0"),
        ({"distil": 2}, "supernet.distil=2"),
        ({"seed": 0.5}, "supernet.seed=0.5"),
    ],
)
def test_a_mistake_of_the_sandwich_is_told(options, told):
    with pytest.raises(UserError, match=told):
        Sandwich(**options)
