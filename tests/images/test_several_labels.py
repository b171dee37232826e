"""Images with several labels and with attributes: both go where the images go."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itae.images.dataset import Dataset
from itae.images.formats import Listing
from itae.images.image_set import ImageSet


def images(n: int = 4, **more) -> ImageSet:
    pixels = [np.full((2, 2), i, np.uint8) for i in range(n)]
    return ImageSet("toy", "all", [f"i{i}" for i in range(n)], pixels, np.arange(n) % 2, ["a", "b"], **more)


def both(n: int = 4) -> dict:
    """Return what an image's number can be read from again."""
    return {
        "label_sets": [(f"s{i}", "every") if i % 2 else () for i in range(n)],
        "attributes": {"odd": [str(i % 2) for i in range(n)], "number": [str(i) for i in range(n)]},
    }


@given(st.integers(1, 30), st.data())
def test_they_follow_the_images_that_are_taken(n, data):
    rows = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    taken = images(n, **both(n)).take(rows)
    assert taken.ids == [f"i{i}" for i in rows]
    assert taken.label_sets == [("every", f"s{i}") if i % 2 else () for i in rows]
    assert taken.attributes == {"odd": [str(i % 2) for i in rows], "number": [str(i) for i in rows]}
    rest = images(n, **both(n)).without(taken.ids[: n - 1])
    assert rest.attributes["number"] == [id_[1:] for id_ in rest.ids]


@dataclass(frozen=True, kw_only=True)
class Toy(Dataset):
    name: str = "toy"
    split: str = "all"
    more: dict = field(default_factory=dict)

    def _find(self) -> Listing:
        one = images(6)
        return Listing(one.ids, one.items, one.labels, one.class_names, **self.more)


def test_a_limit_takes_them_too_and_a_reader_may_find_none():
    some = Toy(more=both(6), limit=3).open()
    assert some.ids == ["i0", "i2", "i4"]
    assert some.attributes["number"] == ["0", "2", "4"]
    assert some.label_sets == [(), (), ()]
    plain = Toy().open()
    assert (plain.label_sets, plain.attributes) == (None, {})


def test_all_labels_are_the_several_or_the_one_or_none():
    assert images(3).all_labels == [("a",), ("b",), ("a",)]
    assert images(3, **both(3)).all_labels == [(), ("every", "s1"), ()]
    assert replace(images(3), labels=None).all_labels == [(), (), ()]
    twice = images(1, label_sets=[("z", "a", "z")])
    assert twice.label_sets == [("a", "z")], "sorted, each once"


def test_one_of_each_image():
    with pytest.raises(AssertionError):
        images(3, label_sets=[("a",)])
    with pytest.raises(AssertionError, match="odd"):
        images(3, attributes={"odd": ["1"]})


def test_the_fingerprint_tells_them_and_is_the_old_one_without():
    before = "21e4f379f979f4918918b4425c67b8e6b3a72fbfdffb06bfe50be3fde0a9fe76"
    assert images().fingerprint() == images(label_sets=None, attributes={}).fingerprint() == before
    prints = {
        images(**more).fingerprint()
        for more in (
            {},
            {"label_sets": [()] * 4},
            {"label_sets": [("a",)] * 4},
            {"label_sets": [("a", "b")] * 4},
            {"attributes": {"x": ["1"] * 4}},
            {"attributes": {"y": ["1"] * 4}},
            {"attributes": {"x": ["2"] * 4}},
            {"label_sets": [("a",)] * 4, "attributes": {"x": ["1"] * 4}},
        )
    }
    assert len(prints) == 8
    columns = {"x": ["1"] * 4, "y": ["2"] * 4}
    other_way = dict(reversed(columns.items()))
    assert images(attributes=columns).fingerprint() == images(attributes=other_way).fingerprint()


def test_they_travel_to_another_process():
    there = pickle.loads(pickle.dumps(Toy(more=both(6)).open()))
    assert there.attributes == both(6)["attributes"]
    assert pickle.loads(pickle.dumps(Toy().open())).attributes == {}
