"""The space of a search: what is refused, sizes of networks, encoding, drawing; and the ten that are listed before."""

from __future__ import annotations

import itertools

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.portable.nets.costs import cost
from itae.portable.nets.spec import Spec
from itae.portable.search.hand_made import HAND_MADE
from itae.portable.search.space import Space

SMALL = Space(channels=(2, 3), depth=(1, 2), up=("nearest",), down=("stride",), activation=("relu",))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": ()}, "space.channels=[] leaves no network"),
        ({"channels": (4, 0)}, "space.channels=0 must be a whole number of at least 1"),
        ({"channels": (4, True)}, "space.channels=True"),
        ({"depth": (2, 2)}, "space.depth=[2, 2] has a value twice"),
        ({"kernel": (3, 4)}, "space.kernel=4 is not one of 3, 5, 7"),
        ({"unshuffle": (3,)}, "space.unshuffle=3 is not one of 1, 2, 4"),
        ({"up": ("nearest", "cubic")}, "space.up='cubic' is not one of transposed"),
        ({"conv": ("dence",)}, "dense"),
        ({"expansion": (2, 3)}, "space.expansion=[2, 3] changes nothing without space.conv=[inverted]"),
        ({"channels": (1024,), "depth": (2, 3)}, "8,192 channels at the lowest scale"),
    ],
)
def test_a_mistake_is_told_with_its_option(options, told):
    with pytest.raises(UserError) as error:
        Space(**options)
    assert told in str(error.value)


def test_a_yaml_may_give_lists_or_one_value():
    assert Space(channels=[4, 8], up="nearest", depth=2) == Space(channels=(4, 8), up=("nearest",), depth=(2,))


@pytest.mark.parametrize("space", [SMALL, Space(channels=(4, 8)), Space(channels=(3,), conv=("inverted",))])
def test_ends_and_count_are_those_of_all_networks(space):
    every = list(space)
    assert len(every) == len(space) == len(set(every))
    macs = [cost(spec, 256, 256).macs for spec in every]
    assert cost(space.smallest, 256, 256).macs == min(macs)
    assert cost(space.largest, 256, 256).macs == max(macs)
    assert space.smallest in space
    assert space.largest in space
    assert all(space.multiple % spec.multiple == 0 for spec in every)


def test_what_is_no_network_of_it_is_not_in_it():
    assert Spec(channels=2, depth=1, blocks=1, up="nearest") in SMALL
    assert Spec(channels=5, depth=1, blocks=1, up="nearest") not in SMALL
    assert Spec(channels=2, depth=1, blocks=1, up="nearest", residual=False) not in SMALL
    assert "a word" not in SMALL


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_values_give_the_network_back(seed):
    space = Space()
    spec = space.sample(np.random.default_rng(seed))
    assert spec in space
    assert space.spec(space.values(spec)) == spec


@pytest.mark.parametrize(
    ("change", "told"),
    [({"channels": 5}, "net.channels=5 is not in the space"), ({"kernel": 3}, "see to kernel")],
)
def test_values_that_make_no_network_are_told(change, told):
    with pytest.raises(UserError, match=told):
        Space().spec(Space().values(Space().largest) | change)


def test_all_networks_have_the_same_chance():
    """Chi-square over all of them, at one in a thousand."""
    from scipy import stats

    rng = np.random.default_rng(0)
    order = {spec: at for at, spec in enumerate(SMALL)}
    counts = np.bincount([order[SMALL.sample(rng)] for _ in range(40 * len(order))], minlength=len(order))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_optuna_may_suggest_any_network():
    seen = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(400):
        seen.add(SMALL.suggest(study.ask()))
    assert seen == set(SMALL)


def test_optuna_is_told_the_order_of_numbers():
    trial = optuna.trial.FixedTrial(
        {"channels_at": 1, "depth": 2, "blocks": 1, "up": "nearest", "skip": "add", "down": "stride",
         "activation": "relu", "conv": "dense", "unshuffle": 1}
    )  # fmt: skip
    assert Space(channels=(16, 4, 8)).suggest(trial).channels == 8


def test_a_varied_network_has_its_size_and_operators_that_are_drawn():
    space = Space()
    rng = np.random.default_rng(0)
    found = [space.varied(space.largest, rng) for _ in range(200)]
    assert {(s.channels, s.depth, s.blocks, s.kernel, s.conv, s.unshuffle) for s in found} == {
        (24, 3, 2, 3, "dense", 1)
    }
    every = set(itertools.product(space.up, space.skip, space.down, space.activation))
    assert {(s.up, s.skip, s.down, s.activation) for s in found} == every


def test_the_ten_are_a_ladder_over_the_range():
    macs = [cost(spec, 256, 256).macs for spec in HAND_MADE.values()]
    assert len(set(HAND_MADE.values())) == 10
    assert macs == sorted(macs)
    assert macs[-1] > 100 * macs[0]
    assert {spec.channels for spec in HAND_MADE.values()} >= {4, 8, 16, 32}
    assert all(spec.depth in (2, 3) for spec in HAND_MADE.values())
