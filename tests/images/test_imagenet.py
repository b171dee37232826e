"""ImageNet in miniature, in every layout, and with everything that may be wrong with it."""

import logging
import os
import shutil
import tarfile
from collections import Counter
from importlib.resources import files

import pytest
from imagenets import LAYOUTS, imagenet, meta

from itae.base.errors import UserError
from itae.images.datasets import ImageNet

FLAT = [layout for layout in LAYOUTS if layout != "folders"]
CRANES = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane (n02012849)", "crane (n03126707)"]
DEVKIT = "ILSVRC2012_devkit_t12"
TRUTH = f"{DEVKIT}/data/ILSVRC2012_validation_ground_truth.txt"


def open_(root, split="val", **options):
    return ImageNet(root=str(root), split=split, **options).open()


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)
    return caplog


# ---------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_images_and_labels(tmp_path, layout):
    wnids = imagenet(tmp_path, layout)
    val, train = open_(tmp_path), open_(tmp_path, "train")
    assert val.ids == [f"val/ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 17)]
    assert train.ids == sorted(train.ids)
    assert {id_.split("/")[1] for id_ in train.ids} == set(wnids)
    assert Counter(val.labels.tolist()) == dict.fromkeys(range(4), 4)
    assert train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    assert val.class_names == train.class_names == (wnids if layout == "folders" else CRANES)
    assert not val.bad() | train.bad()
    colour = {label: train.read(6 * label).convert("HSV").getpixel((20, 20))[0] for label in range(4)}
    for i, label in enumerate(val.labels):  # the hue of a picture is that of its class
        hue = val.read(i).convert("HSV").getpixel((20, 20))[0]
        assert abs((hue - colour[label] + 128) % 256 - 128) < 8


def test_layouts_with_words_are_one_data_set(tmp_path):
    prints = set()
    for layout in FLAT:
        imagenet(tmp_path / layout, layout)
        prints.add(open_(tmp_path / layout).fingerprint())
    assert len(prints) == 1
    imagenet(tmp_path / "folders", "folders")
    shutil.copy(tmp_path / "list" / "synset_words.txt", tmp_path / "folders")
    assert open_(tmp_path / "folders").fingerprint() in prints


@pytest.mark.parametrize("layout", LAYOUTS)
def test_root_may_be_the_folder_above(tmp_path, layout):
    imagenet(tmp_path / "data" / "imagenet", layout)
    assert open_(tmp_path / "data").fingerprint() == open_(tmp_path / "data" / "imagenet").fingerprint()


@pytest.mark.parametrize("inside", ["ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_root_may_be_inside_of_kaggles_folders(tmp_path, monkeypatch, inside):
    imagenet(tmp_path, "kaggle")
    whole = open_(tmp_path).fingerprint()
    assert open_(tmp_path / inside).fingerprint() == whole
    monkeypatch.chdir(tmp_path / inside)
    assert open_(".").fingerprint() == whole


def test_folders_called_as_the_archives(tmp_path):
    imagenet(tmp_path, "devkit")
    before = open_(tmp_path).fingerprint(), open_(tmp_path, "train").fingerprint()
    for split in ("train", "val"):
        (tmp_path / split).rename(tmp_path / f"ILSVRC2012_img_{split}")
    assert (open_(tmp_path).fingerprint(), open_(tmp_path, "train").fingerprint()) == before


@pytest.mark.parametrize("layout", FLAT)
def test_val_alone(tmp_path, layout):
    imagenet(tmp_path, layout)
    before = open_(tmp_path).fingerprint()
    shutil.rmtree(next(tmp_path.rglob("train")))
    assert open_(tmp_path).fingerprint() == before


def test_val_alone_in_folders_has_the_classes_of_the_lists_or_its_own(tmp_path):
    wnids = imagenet(tmp_path, "folders")
    shutil.rmtree(tmp_path / "train")
    assert open_(tmp_path).class_names == wnids
    (tmp_path / "LOC_synset_mapping.txt").write_text(
        "n00000001 something before\n" + "".join(f"{w} a {w}\n" for w in wnids)
    )
    images = open_(tmp_path)
    assert images.class_names == ["something before", *(f"a {wnid}" for wnid in wnids)]
    assert images.empty_classes == ["something before"]


@pytest.mark.parametrize("name", ["val.txt", "val_list.txt", "val/val.txt"])
@pytest.mark.parametrize("by", ["number", "wnid"])
def test_a_list_by_any_of_its_names(tmp_path, name, by):
    wnids = imagenet(tmp_path, "list")
    before = open_(tmp_path).fingerprint()
    lines = (tmp_path / "val.txt").read_text().splitlines()
    (tmp_path / "val.txt").unlink()
    pairs = [line.split() for line in lines]
    rows = [f"val/{image} {place if by == 'number' else wnids[int(place)]}\n" for image, place in pairs]
    (tmp_path / name).write_text("\n".join(rows[::-1]))  # in any order, with empty lines
    assert open_(tmp_path).fingerprint() == before


@pytest.mark.parametrize("name", ["val.txt", "synset_words.txt"])
def test_words_of_a_list_may_stand_behind_a_tab(tmp_path, name):
    imagenet(tmp_path, "list")
    before = open_(tmp_path)
    rewrite(tmp_path / name, lambda old: "".join(line.replace(" ", "\t", 1) + "\r\n" for line in old.splitlines()))
    again = open_(tmp_path)
    assert (again.fingerprint(), again.class_names) == (before.fingerprint(), before.class_names)


def test_the_devkits_numbers_are_what_it_says(tmp_path):
    imagenet(tmp_path, "devkit", classes=2, val=1)
    (tmp_path / DEVKIT / "data" / "meta.mat").write_bytes(
        meta({9: ("n01440764", "tench"), 4: ("n01443537", "goldfish")})
    )
    (tmp_path / TRUTH).write_text("9\n4\n")
    assert open_(tmp_path).labels.tolist() == [0, 1]
    (tmp_path / TRUTH).write_text("4\n4\n")
    assert open_(tmp_path).labels.tolist() == [1, 1]


def test_the_devkit_counts_first(tmp_path, told):
    imagenet(tmp_path, "devkit")
    (tmp_path / "LOC_val_solution.csv").write_text("nonsense")
    open_(tmp_path)
    assert f"classes by '{tmp_path / TRUTH}'" in told.text


def test_what_is_hidden_or_no_image_is_left_out(tmp_path, told):
    imagenet(tmp_path, "folders")
    before = open_(tmp_path, "train").fingerprint()
    folder = tmp_path / "train" / "n01440764"
    (folder / "._n01440764_3.JPEG").write_bytes(b"of a Mac")
    (folder / "boxes.xml").write_text("")
    (folder / "more.jpg").write_text("")
    (tmp_path / "train" / "__MACOSX").mkdir()
    (tmp_path / "train" / "n01440764.tar").write_text("")
    told.clear()
    assert open_(tmp_path, "train").fingerprint() == before
    assert r"left out pictures that don't end in .JPEG, as ImageNet's do (.jpg: 1)" in told.text


def test_a_link_to_a_class_is_followed(tmp_path):
    imagenet(tmp_path, "folders")
    before = open_(tmp_path, "train").fingerprint()
    (tmp_path / "train" / "n01440764").rename(tmp_path / "elsewhere")
    (tmp_path / "train" / "n01440764").symlink_to(tmp_path / "elsewhere")
    assert open_(tmp_path, "train").fingerprint() == before


def test_a_smaller_set_is_said_to_be_one(tmp_path, told):
    imagenet(tmp_path, "folders")
    open_(tmp_path)
    assert "4 classes, where ImageNet has 1000; they are numbered among themselves" in told.text


@pytest.fixture
def thousand(tmp_path):
    """Write one image and the names of ImageNet's classes; return their WordNet ids in the order of models' outputs."""
    official = files("timm").joinpath("data/_info/imagenet_synsets.txt").read_text().split()
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    lines = [f"{wnid} {i}\n" for i, wnid in enumerate(official)]
    (tmp_path / "synset_words.txt").write_text("".join(lines[500:] + lines[:500]))
    return official


def test_a_thousand_classes_in_the_order_of_everybody(tmp_path, thousand, told):
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG n01751748\n")
    images = open_(tmp_path)
    assert images.class_names == [str(i) for i in range(1000)]
    assert [thousand[label] for label in images.labels] == ["n01751748"]
    assert "1 images, where ImageNet has 50000; if it was not cut down on purpose, unpack it again" in told.text


# --------------------------------------------------------------------------------------------- mistakes


def rewrite(file, change):
    file.write_text(change(file.read_text()))


def flat_without_a_list(root):
    imagenet(root, "list")
    (root / "val.txt").unlink()


def a_list_of_other_folders(root):
    imagenet(root, "list")
    (root / "train").rename(root / "elsewhere")
    (root / "synset_words.txt").unlink()


def a_class_that_train_lacks(root):
    imagenet(root, "folders")
    shutil.rmtree(root / "train" / "n02012849")


def images_of_a_class_that_train_lacks(root):
    imagenet(root, "kaggle")
    shutil.rmtree(root / "ILSVRC" / "Data" / "CLS-LOC" / "train" / "n02012849")


def twins(root):
    imagenet(root, "folders")
    one = next((root / "val" / "n01440764").iterdir())
    shutil.copy(one, root / "val" / "n01443537")


def beside_the_classes(root):
    imagenet(root, "folders")
    shutil.copy(next((root / "val" / "n01440764").iterdir()), root / "val")


def no_such_class(root, text):
    imagenet(root, "list")
    rewrite(root / "val.txt", lambda old: old.replace("1.JPEG 0\n", f"1.JPEG {text}\n", 1))


def solution(root, text):
    imagenet(root, "kaggle")
    (root / "LOC_val_solution.csv").write_bytes(text)


def words(root, text):
    imagenet(root, "kaggle")
    (root / "LOC_synset_mapping.txt").write_text(text)


def devkit(root, change):
    imagenet(root, "devkit")
    change(root / TRUTH, root / DEVKIT / "data" / "meta.mat")


def archive(root, data):
    imagenet(root, "devkit_archive")
    file = root / f"{DEVKIT}.tar.gz"
    file.write_bytes(data(file.read_bytes()))


def another_archive(root):
    imagenet(root, "list")
    with tarfile.open(root / f"{DEVKIT}.tar.gz", "w:gz") as made:
        made.add(root / "val.txt", "val.txt")


def link_in_the_archive(root):
    imagenet(root, "list")
    member = tarfile.TarInfo(TRUTH)  # to itself
    member.type, member.linkname = tarfile.SYMTYPE, TRUTH.rpartition("/")[2]
    with tarfile.open(root / f"{DEVKIT}.tar.gz", "w:gz") as made:
        made.addfile(member)


def cut(truth, _):
    rewrite(truth, lambda old: old[: old.rstrip().rindex("\n")])


def first(line):
    return lambda truth, _: rewrite(truth, lambda old: f"{line}\n{old}")


def pipe(_, mat):
    mat.unlink()
    os.mkfifo(mat)


MISTAKES = {
    "nothing": (lambda root: None, r"does not hold ImageNet: there is no folder 'train' or 'val'"),
    "no val": (lambda root: (root / "train").mkdir(), r"holds no folder 'val'"),
    "empty val": (lambda root: (root / "val").mkdir(), r"/val' holds no \.JPEG file"),
    "no list": (
        flat_without_a_list,
        r"val' has 16 images without folders of classes.*LOC_val_solution\.csv or a val\.txt",
    ),
    "numbers of nothing": (a_list_of_other_folders, r"val\.txt' tells classes by numbers, and nothing tells which"),
    "class": (a_class_that_train_lacks, r"val is of class n02012849, .* none of the 3 of '.*train' \(4 such images\)"),
    "class of list": (
        images_of_a_class_that_train_lacks,
        r"is of class n02012849, .* none of the 3 .*\(4 such images\)",
    ),
    "empty class": (lambda root: (root / "val" / "n01440764").mkdir(parents=True), r"n01440764' holds no \.JPEG file"),
    "twins": (twins, r"lies in two folders of val, n01440764 and n01443537"),
    "beside": (beside_the_classes, r"has images in folders of classes and 1 beside them"),
    "own names": (
        lambda root: (root / "val" / "cats").mkdir(parents=True),
        r"val/cats' is not called by a WordNet id such as n01440764; .*dataset=imagefolder",
    ),
    "number": (lambda root: no_such_class(root, "4"), r"line 1 of '.*val\.txt' names an image and no class of the 4"),
    "negative": (
        lambda root: no_such_class(root, "-1"),
        r"line 1 of '.*val\.txt' names an image and no class of the 4",
    ),
    "two": (lambda root: no_such_class(root, "0 1"), r"line 1 of '.*val\.txt' names an image and no class of the 4"),
    "no number": (lambda root: no_such_class(root, ""), r"line 1 of '.*val\.txt' names an image and no class"),
    "again": (
        lambda root: no_such_class(root, "0\nILSVRC2012_val_00000001.JPEG 1"),
        r"line 2 of '.*val\.txt' names 'ILSVRC2012_val_00000001\.JPEG' for the second time",
    ),
    "unknown wnid": (lambda root: no_such_class(root, "n99999999"), r"is of class n99999999, which is none of the 4"),
    "no header": (lambda root: solution(root, b"a,b\n"), r"csv' has no first line 'ImageId,PredictionString'"),
    "empty csv": (lambda root: solution(root, b""), r"csv' has no first line"),
    "row": (lambda root: solution(root, b"ImageId,PredictionString\nx,cat 1 2 3 4\n"), r"line 2 of .* no WordNet id"),
    "column": (lambda root: solution(root, b"ImageId,PredictionString\nn01440764\n"), r"line 2 of .* no WordNet id"),
    "no text": (lambda root: solution(root, b"\xff"), r"csv' cannot be read"),
    "words": (lambda root: words(root, "tench n01440764\n"), r"line 1 of '.*mapping\.txt' begins with no WordNet id"),
    "truth cut": (
        lambda root: devkit(root, cut),
        r"truth\.txt' has no line for 'ILSVRC2012_val_00000016\.JPEG' \(1 such files\)",
    ),
    "truth long": (
        lambda root: devkit(root, first("1\n2")),
        r"ILSVRC2012_val_00000017\.JPEG' is missing \(2 such files of '",
    ),
    "truth of no class": (
        lambda root: devkit(root, first("7")),
        r"line 1 of '.*truth\.txt' is the number of no class .*'7'",
    ),
    "truth of a group": (
        lambda root: devkit(root, first("5")),
        r"line 1 of '.*truth\.txt' is the number of no class .*'5'",
    ),
    "truth of words": (lambda root: devkit(root, first("cat")), r"is the number of no class in meta\.mat: 'cat'"),
    "truth no text": (lambda root: devkit(root, lambda t, _: t.write_bytes(b"\xff\n")), r"truth\.txt' cannot be read"),
    "no truth": (lambda root: devkit(root, lambda truth, _: truth.unlink()), r"ground_truth\.txt' is missing"),
    "no meta": (lambda root: devkit(root, lambda _, mat: mat.unlink()), r"meta\.mat' is missing"),
    "meta cut": (
        lambda root: devkit(root, lambda _, mat: mat.write_bytes(mat.read_bytes()[:-9])),
        r"meta\.mat' is damaged, or not the devkit's: it is cut short",
    ),
    "meta empty": (lambda root: devkit(root, lambda _, mat: mat.write_bytes(b"")), r"it is no MATLAB file of level 5"),
    "meta of other ids": (
        lambda root: devkit(root, lambda _, mat: mat.write_bytes(meta({1: ("cat", "cat")}))),
        r"meta\.mat' is not the devkit's: it has ILSVRC2012_ID 1 for WNID 'cat'",
    ),
    "meta large": (lambda root: devkit(root, lambda _, mat: os.truncate(mat, 1 << 25)), r"more than 16777216 bytes"),
    "meta pipe": (lambda root: devkit(root, pipe), r"meta\.mat' is no file"),
    "archive cut": (lambda root: archive(root, lambda data: data[:-40]), r"t12\.tar\.gz' is damaged or cannot be read"),
    "archive none": (lambda root: archive(root, lambda _: b"PK"), r"t12\.tar\.gz' is damaged or cannot be read"),
    "archive other": (another_archive, r"tar\.gz' holds no file 'ILSVRC2012_devkit_t12/data/"),
    "archive link": (link_in_the_archive, r"tar\.gz' holds no file 'ILSVRC2012_devkit_t12/data/"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(tmp_path, mistake):
    make, sentence = MISTAKES[mistake]
    make(tmp_path)
    with pytest.raises(UserError, match=sentence) as caught:
        open_(tmp_path)
    assert "is told by: itae prepare dataset=imagenet " in str(caught.value)


@pytest.mark.parametrize("layout", FLAT)
def test_an_image_too_few_and_one_too_many(tmp_path, layout):
    imagenet(tmp_path, layout)
    image = next(tmp_path.rglob("ILSVRC2012_val_00000005.JPEG"))
    image.rename(image.with_name("ILSVRC2012_val_00000099.JPEG"))
    with pytest.raises(UserError, match=r"ILSVRC2012_val_00000005\.JPEG' is missing \(1 such files of '"):
        open_(tmp_path)
    shutil.copy(image.with_name("ILSVRC2012_val_00000099.JPEG"), image)
    with pytest.raises(UserError, match=r"has no line for 'ILSVRC2012_val_00000099\.JPEG' \(1 such files\)"):
        open_(tmp_path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: (root / "val").mkdir(), r"holds no folder 'train'"),
        (lambda root: (root / "train").mkdir(), r"/train' holds no folder of a class, such as n01440764\."),
        (
            lambda root: ((root / "train").mkdir(), (root / "train" / "n01440764.tar").write_text("")),
            r"holds no folder of a class, such as n01440764: unpack 'n01440764\.tar' and the like",
        ),
        (lambda root: (root / "train" / "n01440764").mkdir(parents=True), r"n01440764' holds no \.JPEG file"),
    ],
)
def test_mistakes_of_train(tmp_path, make, sentence):
    make(tmp_path)
    with pytest.raises(UserError, match=sentence):
        open_(tmp_path, "train")


def test_a_list_in_the_devkits_order_is_refused(tmp_path, thousand):
    """A val.txt may have the devkit's numbers, less one: they fit the thousand classes and are all wrong."""
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 489\n")
    with pytest.raises(UserError, match=r"counts classes in another order .*00000001\.JPEG is of class 65"):
        open_(tmp_path)
    (tmp_path / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 65\n")
    assert open_(tmp_path).labels.tolist() == [65]


def test_prepare_says_what_to_get_from_where(tmp_path, told):
    with pytest.raises(UserError, match=r"does not hold ImageNet.*image-net\.org.*Kaggle.*val\.txt") as caught:
        ImageNet(root=str(tmp_path)).prepare()
    assert "itae prepare" not in str(caught.value)
    imagenet(tmp_path, "devkit")
    ImageNet(root=str(tmp_path)).prepare()
    assert f"dataset=imagenet is ready: 16 images in '{tmp_path}'" in told.text


@pytest.mark.parametrize("root", [None, "", 3])
def test_a_root_that_is_none(root):
    with pytest.raises(UserError, match=r"dataset\.root="):
        ImageNet(root=root)
