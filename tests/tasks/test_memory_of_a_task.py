"""The base that a task asks: rows, labels and groups of the images of one side."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from itae.base.errors import UserError
from itae.images.image_set import ImageSet
from itae.tasks.memory import Said, memory, said_of, truth_of


def images(labels=(0, 1, 1)) -> ImageSet:
    ids = ["a/1.png", "b/2.png", "b/3.png"]
    pixels = [np.full((2, 2), i, np.uint8) for i in range(3)]
    return ImageSet("toy", "all", ids, pixels, None if labels is None else np.array(labels), ["a", "b"])


def entry(seed=0, digests=None):
    vectors = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    return SimpleNamespace(ids=images().ids, vectors=vectors, digests=digests, path=SimpleNamespace(name="abc"))


def test_rows_lie_as_in_the_entry_with_the_labels_of_the_data_set():
    said = said_of(images(), images().ids)
    snapshot = memory(entry(), said)
    assert list(snapshot.ids) == images().ids
    assert snapshot.label_names == ("a", "b")
    assert [snapshot.labels_of(i) for i in range(3)] == [("a",), ("b",), ("b",)]
    np.testing.assert_allclose(np.linalg.norm(snapshot.vectors_ME, axis=1), 1, atol=1e-6)
    assert len(set(snapshot.groups_M.tolist())) == 3


def test_images_of_one_folder_or_of_the_same_bytes_are_of_one_group():
    parent = memory(entry(), said_of(images(), images().ids, group="parent"))
    assert parent.groups_M[0] != parent.groups_M[1] == parent.groups_M[2]
    digests = np.random.default_rng(0).integers(1, 255, (3, 32)).astype(np.uint8)
    digests[2] = digests[0]
    twins = memory(entry(digests=digests), said_of(images(), images().ids))
    assert twins.groups_M[0] == twins.groups_M[2] != twins.groups_M[1]


def test_labels_and_groups_of_files_hold_for_the_images_that_are_left(tmp_path):
    labels, groups = tmp_path / "labels.csv", tmp_path / "groups.csv"
    labels.write_text("id,label\nb/3.png,red\nb/3.png,blue\na/1.png,red\n")
    groups.write_text("id,group\nb/3.png,one\na/1.png,one\n")
    said = said_of(images(), ["a/1.png", "b/3.png"], str(labels), str(groups))
    assert said == Said([("red",), ("blue", "red")], ["one", "one"])


def test_several_labels_of_the_data_set_count_unless_a_file_says_others(tmp_path):
    several = replace(images(), label_sets=[("a", "b"), (), ("c",)])
    assert said_of(several, ["b/3.png", "a/1.png"]).labels == [("c",), ("a", "b")]
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\nb/3.png,red\n")
    assert said_of(several, several.ids, str(labels)).labels == [(), (), ("red",)]


def test_a_file_may_speak_of_another_data_set_too(tmp_path):
    labels, groups = tmp_path / "labels.csv", tmp_path / "groups.csv"
    labels.write_text("id,label\nb/3.png,red\nelsewhere.png,blue\n")
    groups.write_text("id,group\nelsewhere.png,one\nb/3.png,one\n")
    said = said_of(images(), images().ids, str(labels), str(groups), also=["elsewhere.png", "a/1.png"])
    assert said == Said([(), (), ("red",)], [None, None, "one"])
    with pytest.raises(UserError, match=r"no picture 'elsewhere\.png'"):
        said_of(images(), images().ids, str(labels))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"labels": "cat"}, "task.labels=cat: give a CSV file"),
        ({"group": "patient"}, "task.group=patient: give parent"),
        ({"group": "nowhere.csv"}, "task.group=nowhere.csv can't be read"),
    ],
)
def test_what_is_said_wrongly_is_told(words, told):
    with pytest.raises(UserError, match=told):
        said_of(images(), images().ids, **words)


def test_without_labels_no_row_votes():
    assert not len(memory(entry(), said_of(images(None), images().ids)).voters)


def test_a_class_that_the_base_lacks_comes_behind():
    truth, names = truth_of([("b",), ("z",), ("a",)], ("a", "b"))
    assert names == ("a", "b", "z")
    np.testing.assert_array_equal(truth, [1, 2, 0])
    assert truth_of([("b", "a"), ("z",)], ("a", "b")) == ([{0, 1}, {2}], ("a", "b", "z"))
