"""Judges of candidates, and whether two of them rank networks alike."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from safetensors.torch import save_file
from scipy import stats

from itae.portable.data.pairs import Pairs
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.search.judge import by_supernet, by_training, few, picked, rank_check, spearman
from itae.portable.search.sliced import kept
from itae.portable.search.space import Space
from itae.portable.search.supernet import Supernet
from itae.portable.train.quality import quality, restored

SPACE = Space(channels=(2, 3), depth=(1, 2), blocks=(1,), down=("stride",), activation=("relu",), conv=("dense",))


def pairs(n=10, side=14):
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    names = tuple("abcaabbbbb"[at % 10] for at in range(n))
    return Pairs(sharp // 2, sharp, names, np.zeros(n, np.float32), np.ones((n, 1, 1), np.float32))


def test_few_pairs_are_of_as_many_photographs_as_can_be():
    chosen = few(pairs(), 5)
    assert chosen.photographs == ("a", "b", "c", "a", "b")
    assert np.array_equal(chosen.sharp, pairs().sharp[[0, 1, 2, 3, 5]])
    assert len(chosen.psfs) == len(chosen.blur_px) == 5
    assert len(few(pairs(), 99)) == 10


def test_the_supernets_judge_says_what_the_sliced_network_is_worth(tmp_path):
    supernet = Supernet(SPACE, 0)
    judge = by_supernet(supernet, pairs(), most=6)
    for spec in picked(SPACE, 4, 0):
        module = kept(supernet, spec, tmp_path, "it").build()

        def call(pictures, module=module):
            import torch

            with torch.no_grad():
                return module(torch.from_numpy(pictures)).numpy()

        chosen = few(pairs(), 6)
        outputs = restored(call, chosen, 1, spec.multiple)
        assert judge(spec) == pytest.approx(quality(outputs, chosen).psnr.mean, abs=0.01)
        assert judge(spec) == judge(spec)


def test_the_judge_by_training_trains_each_from_the_same_seed(tmp_path):
    given = []

    def train(net):
        given.append(net)
        file = tmp_path / "weights.safetensors"
        save_file(replace(net, seed=7).build().state_dict(), file)
        return file

    specs = picked(SPACE, 3, 0)
    judge = by_training(train, pairs(), most=4, seed=3)
    told = [judge(spec) for spec in specs]
    assert [net.architecture() for net in given] == [spec.architecture() for spec in specs]
    assert all(isinstance(net, UNet) and net.seed == 3 and net.weights is None for net in given)
    assert len(set(told)) == 3


def test_picked_networks_are_all_different_and_the_same_again():
    assert len(set(picked(SPACE, 12, 0))) == 12
    assert picked(SPACE, 12, 0) == picked(SPACE, 12, 0) != picked(SPACE, 12, 1)
    assert set(picked(SPACE, 10_000, 0)) == set(SPACE)


def test_spearman_is_that_of_the_definition_and_its_interval_that_of_the_paper():
    a = [3.0, 1.0, 4.0, 1.5, 9.0]
    for order in list(permutations(range(5)))[::7]:
        b = [a[at] for at in order]
        r, low, high = spearman(a, b)
        ranks = [sorted(values).index(value) for values in (a, b) for value in values]
        d2 = sum((ranks[at] - ranks[at + 5]) ** 2 for at in range(5))
        assert r == pytest.approx(1 - 6 * d2 / (5 * 24))
        assert low <= r <= high
    r, low, high = spearman(range(12), [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 10, 9])
    assert r == pytest.approx(1 - 6 * 8 / (12 * 143))
    far = 1.96 * math.sqrt((1 + r**2 / 2) / 9)
    assert (low, high) == pytest.approx((math.tanh(math.atanh(r) - far), math.tanh(math.atanh(r) + far)), abs=1e-4)
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4])[1:] == (-1, 1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Of 12 pairs from a normal distribution whose rank correlation is known (6 / pi asin(r / 2))."""
    rng, held = np.random.default_rng(0), 0
    r = 0.85
    truth = 6 / math.pi * math.asin(r / 2)
    for _ in range(400):
        a, b = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], 12).T
        _, low, high = spearman(a, b)
        held += low <= truth <= high
    assert stats.binomtest(held, 400, 0.95).pvalue > 1e-3


@pytest.mark.parametrize(("turned", "holds", "told"), [(0, True, "enough"), (12, False, "search.judge=training")])
def test_ranks_say_whether_the_supernet_is_to_be_believed(turned, holds, told):
    specs = picked(SPACE, 12, 0)
    order = {spec: float(at) for at, spec in enumerate(specs)}
    done = []
    ranks = rank_check(specs, lambda spec: abs(order[spec] - turned), order.__getitem__, lambda: done.append(1))
    assert ranks.holds is holds
    assert told in ranks.told()
    assert ranks.spearman == (1 if holds else -1)
    assert len(done) == 12
    assert set(ranks.facts("by_short_training")["nets"][0]) == {
        "spec", "by_short_training", "by_training"
    }  # fmt: skip
    facts = ranks.facts()
    assert [Spec(**row["spec"]) for row in facts["nets"]] == list(specs)
    assert facts["holds"] is holds


def test_three_networks_are_too_few():
    with pytest.raises(ValueError, match="at least 4"):
        rank_check(picked(SPACE, 3, 0), lambda spec: 0.0, lambda spec: 0.0)
