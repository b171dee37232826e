"""Simulated users: what each wants, how often a click is wrong, and what can't be simulated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.construct import construct
from itae.base.errors import UserError
from itae.search.users import Category, Conditioned, Described, OneLabel, User, drawn, generator

LABELS = [("cat",), ("cat", "dog"), ("dog",), (), ("cat",)]
VENDORS = ["google", "twitter", "google", "twitter", ""]
IMAGES = Described(list("abcde"), LABELS, {"vendor": VENDORS, "main": ["cat", "dog", "dog", "", "cat"]})
DRAW = np.random.default_rng(0)


def wanted(user, q, images=IMAGES, draw=DRAW):
    """Return what a user wants with an image, for each wish: positions."""
    query = images[q]
    return {wish: np.flatnonzero(user.wanted(query, images, wish)).tolist() for wish in user.wishes(query, draw)}


@dataclass(frozen=True)
class Collector(User):
    """A user of somebody's own."""

    value: str = "google"

    def wanted(self, query, rows, wish):
        """Return all images of a vendor, whatever the query shows."""
        return rows.alike("vendor", self.value)


def test_what_each_user_wants():
    assert wanted(Category(), 0) == {"cat": [0, 1, 4]}
    assert wanted(Category(), 1) == {"cat and dog": [1]}
    assert wanted(Category(), 3) == {}
    assert wanted(OneLabel(means="each"), 1) == {"cat": [0, 1, 4], "dog": [1, 2]}
    assert wanted(OneLabel(means="main"), 1) == {"dog": [1, 2]}
    assert wanted(OneLabel(means="main"), 3) == {}
    assert wanted(Conditioned(attribute="vendor"), 0) == {"cat, vendor not google": [1]}
    assert wanted(Conditioned(attribute="vendor", value="same"), 0) == {"cat, vendor google": [0]}
    assert wanted(Conditioned(attribute="vendor", value="google"), 1) == {"cat and dog, vendor google": []}
    assert wanted(Conditioned(attribute="vendor"), 4) == {}, "its own is not known"
    assert wanted(Conditioned(attribute="vendor", same="main"), 1) == {"dog, vendor not twitter": [2]}
    assert wanted(Conditioned(attribute="vendor", same="main"), 3) == {}
    assert wanted(Collector(), 0) == {"cat": [0, 2]}


def test_the_label_that_is_meant_is_drawn():
    drawn_ = [OneLabel().wishes(IMAGES[1], generator(seed, "b"))[0] for seed in range(400)]
    assert drawn_.count("cat") == pytest.approx(200, abs=50)
    assert drawn_[:5] == [OneLabel().wishes(IMAGES[1], generator(seed, "b"))[0] for seed in range(5)]
    assert not OneLabel().wishes(IMAGES[3], DRAW)


@given(seed=st.integers(0, 10**6), noise=st.sampled_from([0.0, 0.05, 0.2, 1.0]))
@settings(max_examples=30, deadline=None)
def test_noise_flips_the_share_it_says_whatever_the_order(seed, noise):
    ids = [f"{i:05d}" for i in range(2000)]
    truth = np.arange(2000) % 3 == 0
    marks = Category(noise=noise).marks(truth, ids, "query", seed)
    assert (marks != truth).mean() == pytest.approx(noise, abs=5 * (noise * (1 - noise) / 2000) ** 0.5)
    order = np.random.default_rng(seed).permutation(2000)
    again = Category(noise=noise).marks(truth[order], [ids[i] for i in order], "query", seed)
    np.testing.assert_array_equal(again, marks[order])
    if 0 < noise < 1:
        other = Category(noise=noise).marks(truth, ids, "another query", seed)
        assert (other != marks).any()
        more = Category(noise=noise + 0.1).marks(truth, ids, "query", seed)
        assert (more != truth)[marks != truth].all(), "what little noise gets wrong, more does, too"


def test_what_is_drawn_is_drawn_for_ever():
    assert drawn(0, "a", "b") == pytest.approx(0.4788653638314101)
    assert drawn(0, "ab", "") != drawn(0, "a", "b")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Category(noise=1.5), "user.noise=1.5"),
        (lambda: Conditioned(), "user.attribute is not set"),
        (lambda: Conditioned(attribute="x", same=3), "user.same=3"),  # type: ignore[arg-type]
        (lambda: Conditioned(attribute="vendr").check(IMAGES, IMAGES), "Did you mean 'vendor'"),
        (lambda: Conditioned(attribute="vendor", same="x").check(IMAGES, IMAGES), "user.same=x is no attribute"),
        (lambda: Conditioned(attribute="vendor", value="googl").check(IMAGES, IMAGES), "Did you mean 'google'"),
        (lambda: OneLabel(means="left").check(IMAGES, IMAGES), "user.means=left is no attribute"),
        (lambda: OneLabel().check(Described(["a"], [("x",)], {}), IMAGES), "none of these images has more than one"),
        (lambda: Described(["a"], [()], {}).alike("b", ""), "attribute=b is no attribute of these images: they have"),
    ],
)
def test_what_cannot_be_simulated_is_told(make, told):
    with pytest.raises(UserError, match=told):
        make()


def test_a_user_of_ones_own_will_do():
    user = construct("user", {"_target_": f"{__name__}.Collector", "value": "twitter", "noise": 0.1})
    assert wanted(user, 2) == {"dog": [1, 3]}
    for good in (Category(), OneLabel(), OneLabel(means="main"), Conditioned(attribute="vendor")):
        good.check(IMAGES, IMAGES)
