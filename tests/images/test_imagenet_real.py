"""ImageNet ReaL's labels: those of the image with that number, checked."""

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagenets import imagenet

from itae.base.errors import UserError
from itae.images.datasets import ImageNet
from itae.images.imagenet_real import real_labels


def written(tmp_path, content):
    file = tmp_path / "real.json"
    file.write_text(json.dumps(content))
    return file


def test_real_labels_of_a_miniature(tmp_path):
    imagenet(tmp_path, "devkit")
    images = ImageNet(root=str(tmp_path)).open()
    file = written(tmp_path, [[i % 4, i % 4, 3] if i % 3 else [] for i in range(len(images))])
    assert real_labels(file, images.ids) == [frozenset({i % 4, 3}) if i % 3 else frozenset() for i in range(16)]
    assert real_labels(str(file), [images.ids[9], images.ids[2]]) == [frozenset(), frozenset({2, 3})]
    assert real_labels(file, []) == []


def test_the_official_labels():
    """timm has ReaL's list: 46,837 images are scored, by the paper, and numbers are places of sorted WordNet ids."""
    file = files("timm").joinpath("data/_info/imagenet_real_labels.json")
    labels = real_labels(str(file), [f"val/ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 50_001)])
    assert sum(map(bool, labels)) == 46_837
    assert labels[1:4] == [{970, 795}, {230, 231}, {809}]


@given(st.lists(st.lists(st.integers(0, 999), max_size=4), min_size=1, max_size=30), st.data())
def test_real_labels_are_those_of_the_image_with_that_number(tmp_path_factory, content, data):
    order = data.draw(st.permutations(range(len(content))))
    file = written(tmp_path_factory.mktemp("real"), content)
    found = real_labels(file, [f"val/ILSVRC2012_val_{i + 1:08d}.JPEG" for i in order])
    assert found == [set(content[i]) for i in order]


ONE = ["val/ILSVRC2012_val_00000001.JPEG"]


@pytest.mark.parametrize(
    ("content", "ids", "sentence"),
    [
        (
            [[0]],
            ["val/ILSVRC2012_val_00000002.JPEG", *ONE],
            r"labels of 1 images, and none of 'val/ILSVRC2012_val_00000002",
        ),
        ([], ONE, r"labels of 0 images"),
        (
            [[0]],
            ["train/n01440764/n01440764_3.JPEG"],
            r"'train/n01440764/n01440764_3\.JPEG' has no labels of ImageNet ReaL",
        ),
        ([[0]], ["val/ILSVRC2012_val_00000000.JPEG"], r"00000000\.JPEG' has no labels"),
        ([[0]], ["val/ILSVRC2012_val_1.JPEG"], r"val_1\.JPEG' has no labels"),
        ({"a": [0]}, ONE, r"is not ImageNet ReaL's real\.json"),
        ([0], ONE, r"is not ImageNet ReaL's real\.json"),
        ([[0], [1000]], ONE, r"gives image 2 the class 1000, which is not in 0\.\.999"),
        ([[0], [-1]], ONE, r"gives image 2 the class -1"),
        ([[0], [True]], ONE, r"gives image 2 the class True"),
        ([[0], [1.0]], ONE, r"gives image 2 the class 1\.0"),
        ([[0], ["1"]], ONE, r"gives image 2 the class 1"),
        ([[0], [[1]]], ONE, r"gives image 2 the class \[1\]"),
        ([[0], [float("nan")]], ONE, r"gives image 2 the class nan"),
    ],
)
def test_mistakes_in_real_labels(tmp_path, content, ids, sentence):
    with pytest.raises(UserError, match=sentence):
        real_labels(written(tmp_path, content), ids)


def test_real_labels_of_fewer_classes_are_refused(tmp_path):
    file = written(tmp_path, [[3], [4]])
    assert real_labels(file, ONE, classes=5) == [{3}]
    with pytest.raises(UserError, match=r"gives image 2 the class 4, which is not in 0\.\.3"):
        real_labels(file, ONE, classes=4)


@pytest.mark.parametrize("text", [b"", b"[[0]", b"\x80\x04]", b"[" * 100_000, b"[[" + b"9" * 5000 + b"]]"])
def test_a_file_that_is_no_json(tmp_path, text):
    file = tmp_path / "real.json"
    file.write_bytes(text)
    with pytest.raises(UserError, match=r"real\.json' (is no JSON|cannot be read)"):
        real_labels(file, ONE)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"real\.json' is missing"):
        real_labels(tmp_path / "real.json", ONE)
