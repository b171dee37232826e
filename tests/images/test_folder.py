"""Image folders as people keep them."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itae.base.errors import UserError
from itae.images.datasets import ImageFolder
from itae.images.walk import unique


def write(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".bmp", ".gif", ".webp", ".tif", ".jpg", ".jpeg", ".jfif"}:
            Image.new("RGB", (4, 4), (number % 256, 0, 0)).save(path)
        else:
            path.write_text("not an image")


def open_(root, **options):
    return ImageFolder(root=str(root), **options).open()


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path):
    write(tmp_path, "b/2.png", "a/1.png", "a/10.png", "a-b/1.png", "B/1.png")
    images = open_(tmp_path)
    assert images.class_names == ["B", "a", "a-b", "b"]
    assert images.ids == ["B/1.png", "a/1.png", "a/10.png", "a-b/1.png", "b/2.png"]
    assert images.labels.tolist() == [0, 1, 1, 2, 3]
    assert images.read(0).getpixel((0, 0)) == (4, 0, 0)


def test_deeper_files_belong_to_the_class_above(tmp_path):
    write(tmp_path, "cat/2020/may/x.png", "cat/x.png", "dog/x.png")
    images = open_(tmp_path)
    assert dict(zip(images.ids, images.labels.tolist(), strict=True)) == {
        "cat/2020/may/x.png": 0,
        "cat/x.png": 0,
        "dog/x.png": 1,
    }


def test_a_flat_folder_is_unlabelled(tmp_path):
    write(tmp_path, "b.png", "a.png", "notes.txt")
    (tmp_path / "empty").mkdir()
    images = open_(tmp_path)
    assert images.ids == ["a.png", "b.png"]
    assert images.labels is None
    assert images.class_names == []


def test_endings_in_any_case_and_unusual_ones(tmp_path):
    names = ["a/1.PNG", "a/2.Jpg", "a/3.JPEG", "a/4.jfif", "a/5.bmp", "a/6.TIF", "a/7.webp", "a/8.gif"]
    write(tmp_path, *names)
    images = open_(tmp_path)
    assert images.ids == names
    assert images.bad() == {}


def test_what_is_left_out_is_counted_once(tmp_path, caplog):
    write(tmp_path, "a/1.png", "a/notes.txt", "b/1.png", "b/more.txt", "README", "a/.hidden.png", ".git/x.png")
    write(tmp_path, "a/.DS_Store", "b/Thumbs.db")
    (tmp_path / "empty").mkdir()
    with caplog.at_level(logging.WARNING):
        images = open_(tmp_path)
    assert images.ids == ["a/1.png", "b/1.png"]
    assert images.class_names == ["a", "b"]
    assert len(caplog.messages) == 2
    assert "left out 4 other files (.txt: 2, no ending: 1, .db: 1)" in caplog.messages[0].replace(
        "(.txt: 2, .db: 1, no ending: 1)", "(.txt: 2, no ending: 1, .db: 1)"
    )
    assert "1 sub-folders without images (empty)" in caplog.messages[1]


def test_links_are_followed_and_circles_are_not(tmp_path):
    write(tmp_path, "elsewhere/one.png", "elsewhere/deep/two.png", "root/a/three.png")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "here").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "a" / "four.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    (tmp_path / "root" / "a" / "self").symlink_to(tmp_path / "root" / "a" / "self")
    assert open_(tmp_path / "root").ids == ["a/four.png", "a/three.png", "b/deep/two.png", "b/one.png"]


def test_a_broken_link_is_a_bad_image_not_a_missing_one(tmp_path):
    write(tmp_path, "a/1.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "gone.png")
    images = open_(tmp_path)
    assert images.ids == ["a/1.png", "a/2.png"]
    assert "broken link" in images.bad()["a/2.png"]


def test_names_that_would_break_a_line_or_are_not_text(tmp_path):
    write(tmp_path, "a/li\nne.png", "a/ü 日本.png", "a/\u2028.png")
    other = os.fsencode(tmp_path / "a") + b"/\xff.png"
    with open(other, "wb") as file:
        file.write((tmp_path / "a" / "ü 日本.png").read_bytes())
    images = open_(tmp_path)
    assert images.ids == ["a/li\\nne.png", "a/ü 日本.png", "a/\\u2028.png", "a/\\udcff.png"]
    assert "\n".join(images.ids).encode().decode().splitlines() == images.ids
    assert images.bad() == {}


def test_split_is_a_sub_folder(tmp_path):
    write(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png")
    images = open_(tmp_path, split="val")
    assert images.ids == ["val/a/2.png", "val/b/2.png"]
    assert images.class_names == ["a", "b"]
    with pytest.raises(UserError, match=r"split='vall' is not a sub-folder.*'train', 'val'\. Did you mean 'val'"):
        open_(tmp_path, split="vall")


def test_splits_are_not_taken_for_classes(tmp_path):
    write(tmp_path, "train/a/1.png", "val/a/2.png")
    with pytest.raises(UserError, match=r"look like splits.*dataset\.split=train"):
        open_(tmp_path)
    write(tmp_path, "train/1.png")  # right in it, without classes
    with pytest.raises(UserError, match=r"look like splits.*dataset\.split=train"):
        open_(tmp_path)
    assert open_(tmp_path, split="val").class_names == ["a"]
    write(tmp_path, "ship/1.png")  # beside another class it is one
    assert open_(tmp_path).class_names == ["ship", "train", "val"]


def test_images_above_and_in_the_classes(tmp_path):
    write(tmp_path, "stray.png", "a/1.png")
    with pytest.raises(UserError, match=r"has 1 images of its own \(such as 'stray\.png'\).*sub-folders.*'a'"):
        open_(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match=r"holds no images: an image ends in one of .*\.png"):
        open_(tmp_path)
    write(tmp_path, "a/movie.mp4", "a/scan.heic")
    told = r"holds no images \(there are 1 pictures that itae can't read \(\.heic: 1\), 1 other files \(\.mp4: 1\)\)"
    with pytest.raises(UserError, match=rf"{told}: convert such pictures to JPEG or PNG, .* magick mogrify"):
        open_(tmp_path)


def test_a_root_that_is_no_folder(tmp_path):
    write(tmp_path, "file.png")
    with pytest.raises(UserError, match=r"does not exist; set dataset\.root"):
        open_(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file, not a folder"):
        open_(tmp_path / "file.png")


def test_a_tilde_means_home(tmp_path, monkeypatch):
    write(tmp_path, "pictures/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_("~/pictures").ids == ["a.png"]


@pytest.fixture
def closed():
    """Return a folder in which mode 000 counts: root, who may read all, becomes somebody else for the test."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


@contextlib.contextmanager
def shut(path):
    """Have a folder or file closed for whoever looks."""
    path.chmod(0)
    if os.getuid() == 0:
        os.seteuid(12345)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        path.chmod(0o755)


def test_a_folder_that_may_not_be_read(closed):
    write(closed, "a/1.png", "a/deep/2.png", "b/1.png")
    for name in ("a", "a/deep"):
        path = closed / name
        with shut(path), pytest.raises(UserError, match=rf"'{path}' cannot be read \(Permission denied\): allow your"):
            open_(closed)
    with shut(closed), pytest.raises(UserError, match=rf"dataset.root='{closed}/a' cannot be read \(Permission den"):
        open_(closed / "a")
    with shut(closed), pytest.raises(UserError, match=rf"'{closed}' cannot be read \(Permission denied\): allow your"):
        open_(closed)


def test_a_file_that_may_not_be_read_is_a_bad_image(closed):
    write(closed, "a/1.png", "b/1.png")
    with shut(closed / "a" / "1.png"):
        images = open_(closed)
        assert images.bad() == {"a/1.png": "Permission denied"}
        assert images.fingerprint()


def test_links_that_cannot_be_followed_are_counted(closed, caplog):
    write(closed, "all/a/1.png", "all/b/1.png", "elsewhere/c/1.png")
    for name, target in (("c", "elsewhere/c"), ("d", "gone"), ("e", "all/e"), ("f.txt", "gone")):
        (closed / "all" / name).symlink_to(closed / target)
    with shut(closed / "elsewhere"), caplog.at_level(logging.WARNING):
        assert open_(closed / "all").ids == ["a/1.png", "b/1.png"]
    assert "left out 4 links that can't be followed (c: 1, d: 1, e: 1, f.txt: 1)" in caplog.text


def test_pictures_that_cannot_be_read_are_told_apart_from_other_files(tmp_path, caplog):
    write(tmp_path, "a/1.png", "a/2.HEIC", "a/3.cr2", "b/1.png", "b/4.heic", "b/notes.txt")
    with caplog.at_level(logging.WARNING):
        assert open_(tmp_path).ids == ["a/1.png", "b/1.png"]
    (told,) = caplog.messages
    assert "left out 3 pictures that itae can't read (.heic: 2, .cr2: 1), 1 other files (.txt: 1); convert such" in told


def test_folders_in_folders_without_end(tmp_path):
    write(tmp_path, "a/1.png")
    with chdir(tmp_path / "a"):
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        with open("1.png", "wb") as file:
            file.write((tmp_path / "a" / "1.png").read_bytes())
    with pytest.raises(UserError, match=rf"'{tmp_path}/a.*hundreds of folders in each other"):
        open_(tmp_path)
    subprocess.run(["rm", "-r", tmp_path / "a"], check=True)  # shutil has a limit, too


def test_a_name_of_255_bytes_and_a_root_that_is_too_long(tmp_path):
    name = "n" * 251 + ".png"
    write(tmp_path, f"a/{name}", "b/1.png")
    images = open_(tmp_path)
    assert images.ids == [f"a/{name}", "b/1.png"]
    assert images.bad() == {}
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\)"):
        open_(tmp_path / ("n" * 300))


def read(root, caplog, **options):
    """Return how many images each class has, and all warnings as one text."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        images = open_(root, **options)
    assert len(set(images.ids)) == len(images)
    return dict(Counter(id_.split("/")[0] for id_ in images.ids)), "\n".join(caplog.messages)


THUMBNAIL = "@eaDir/{}.png/SYNOPHOTO_THUMB_XL.jpg"
KEPT = [  # files, the classes that are read and their images, words of the warnings (none for none)
    pytest.param(
        ["a/1.png", "a/2.png", "b/1.png"], {"a": 2, "b": 1}, [], id="sub-folders, as torchvision's ImageFolder"
    ),
    pytest.param(
        ["a/1.png", f"a/{THUMBNAIL.format(1)}", "b/1.png", "#recycle/1.png", "#snapshot/x/a/1.png", "@tmp/1.png"],
        {"a": 1, "b": 1},
        ["4 folders of the system (#recycle: 1, #snapshot: 1, @tmp: 1, @eaDir: 1)"],
        id="Synology",
    ),
    pytest.param(
        ["a/1.png", "a/.@__thumb/default1.png", "b/1.png", "@Recycle/1.png", "@Recently-Snapshot/1.png"],
        {"a": 1, "b": 1},
        ["1 hidden files and folders (.@__thumb: 1), 2 folders of the system"],
        id="QNAP",
    ),
    pytest.param(
        [
            "a/1.png",
            "a/Thumbs.db",
            "a/desktop.ini",
            "b/1.png",
            "$RECYCLE.BIN/S-1-5/$R1.png",
            "FOUND.000/1.png",
            "System Volume Information/1.png",
        ],
        {"a": 1, "b": 1},
        ["2 other files (.db: 1, .ini: 1), 3 folders of the system"],
        id="Windows",
    ),
    pytest.param(
        ["a/1.png", "a/._1.png", ".DS_Store", ".Trashes/1.png", "b/1.png", "__MACOSX/a/1.png", "Temporary Items/1.png"],
        {"a": 1, "b": 1},
        ["3 hidden files and folders (.DS_Store: 1, .Trashes: 1, ._1.png: 1), 2 folders of the system"],
        id="macOS, and a zip made there",
    ),
    pytest.param(
        ["a/1.png", "b/1.png", "lost+found/1.png", "LOST.DIR/1.png", ".Trash-1000/files/1.png"],
        {"a": 1, "b": 1},
        ["1 hidden", "2 folders of the system (LOST.DIR: 1, lost+found: 1)"],
        id="Linux, and a card of a phone",
    ),
    pytest.param(
        ["a/1.png", "b/1.png", ".cats/1.png", "a/.ipynb_checkpoints/1-checkpoint.png"],
        {"a": 1, "b": 1},
        ["2 hidden files and folders (.cats: 1, .ipynb_checkpoints: 1)"],
        id="hidden folders of images",
    ),
    pytest.param(
        ["Photos from 2020/1.jpg", "Photos from 2020/1.jpg.json", "Rome/2.jpg", "Rome/metadata.json"],
        {"Photos from 2020": 1, "Rome": 1},
        ["2 other files (.json: 2)"],
        id="Google Takeout",
    ),
    pytest.param(["photos/1.png", "photos/2.png"], {"photos": 2}, [], id="one class"),
    pytest.param(
        ["a/1.png", "a/b/1.png", "a/b/2.png", "c/1.png", "c/2024/05/1.png"],
        {"a": 3, "c": 2},
        ["3 images in sub-folders of classes (a/b, c/2024) are of the class above"],
        id="images beside a sub-folder of images",
    ),
    pytest.param(
        ["animals/cat/1.png", "animals/dog/1.png", "vehicles/car/1.png", "vehicles/bus/1.png"],
        {"animals": 2, "vehicles": 2},
        ["4 images in sub-folders of classes (animals/cat, animals/dog, vehicles/bus, vehicles/car)"],
        id="a tree of classes",
    ),
    pytest.param(
        ["cat/1.png", "dog/1.png", "unlabeled/1.png", "test/1.png"],
        {"cat": 1, "dog": 1, "test": 1, "unlabeled": 1},
        ["each sub-folder is taken for a class, 'test', 'unlabeled' too"],
        id="images without a class beside the classes",
    ),
    pytest.param(
        ["images/1.jpg", "masks/1.png"],
        {"images": 1, "masks": 1},
        ["each sub-folder is taken for a class, 'images' too"],
        id="images beside their masks",
    ),
    pytest.param(["photos/1.jpg", "sketches/1.png"], {"photos": 1, "sketches": 1}, [], id="photos and sketches"),
    pytest.param(["train/1.png", "ship/1.png"], {"train": 1, "ship": 1}, [], id="a train is a vehicle"),
    pytest.param(
        ["test1/1.png", "test2/1.png"], {"test1": 1, "test2": 1}, ["'test1', 'test2' too"], id="the tests of a series"
    ),
    pytest.param(
        ["Cat/1.png", "cat/1.png", "dog/1.png"],
        {"Cat": 1, "cat": 1, "dog": 1},
        ["'Cat' and 'cat' are 2 classes of imagefolder, which look the same"],
        id="classes that differ in case",
    ),
    pytest.param(
        ["caf\u00e9/1.png", "cafe\u0301/1.png"],
        {"caf\u00e9": 1, "cafe\u0301": 1},
        ["'cafe\\u0301' and 'caf\\xe9' are 2 classes"],
        id="classes that differ in Unicode's form, from a Mac",
    ),
    pytest.param(
        ["New York/1.png", "New  York/1.png", "New York /1.png", "New\u00a0York/1.png"],
        {"New York": 1, "New  York": 1, "New York ": 1, "New\u00a0York": 1},
        ["'New  York' and 'New York' and 'New York ' and 'New\\xa0York' are 4 classes"],
        id="classes that differ in white space",
    ),
    pytest.param(
        ["cat/1.png", "cat\u200b/1.png"],
        {"cat": 1, "cat\u200b": 1},
        ["'cat' and 'cat\\u200b' are 2 classes"],
        id="classes that differ in what is invisible",
    ),
]


@pytest.mark.parametrize(("files", "classes", "words"), KEPT)
def test_folders_as_people_have_them(tmp_path, caplog, files, classes, words):
    write(tmp_path, *files)
    found, warned = read(tmp_path, caplog)
    assert found == classes
    assert [word for word in words if word not in warned] == []
    assert bool(warned) == bool(words), warned


REFUSED = [  # files, options, words of the sentence; {} is the folder
    pytest.param(["digits/a/1.png", "digits/b/1.png"], {}, ["dataset.root='{}/digits'."], id="unpacked"),
    pytest.param(
        ["digits/a/1.png", "digits/b/1.png", "__MACOSX/digits/a/._1.png", "README.md", "empty/"],
        {},
        ["dataset.root='{}/digits'."],
        id="unpacked, with what a Mac and authors add",
    ),
    pytest.param(["x/y/z/a/1.png", "x/y/z/b/1.png"], {}, ["dataset.root='{}/x/y/z'."], id="three folders too many"),
    pytest.param(
        ["archive/train/a/1.png", "archive/train/b/1.png", "archive/test/a/1.png"],
        {},
        ["dataset.root='{}/archive' dataset.split=test."],
        id="splits in one folder",
    ),
    pytest.param(
        ["train/train/a/1.png", "train/train/b/1.png", "test/test/1.png"],
        {"split": "train"},
        ["dataset.root='{}/train/train' dataset.split=all."],
        id="Kaggle: train in train",
    ),
    pytest.param(
        ["Images/Images/a/1.png", "Images/Images/b/1.png", "Annotation/a/1.xml"],
        {},
        ["dataset.root='{}/Images/Images'."],
        id="annotations beside it",
    ),
    pytest.param(
        ["Takeout/Google Photos/Rome/1.jpg", "Takeout/Google Photos/Oslo/2.jpg", "Takeout/archive_browser.html"],
        {},
        ["dataset.root='{}/Takeout/Google Photos'."],
        id="Google Takeout",
    ),
    pytest.param(
        ["x/photos/1.png", "x/photos/2.png"], {}, ["dataset.root='{}/x/photos'."], id="a flat folder, wrapped"
    ),
    pytest.param(
        ["Parasitized/1.png", "Uninfected/1.png", "cell_images/Parasitized/1.png", "cell_images/Uninfected/1.png"],
        {},
        ["'{}/cell_images'", "looks like a copy"],
        id="Kaggle: all classes once more",
    ),
    *(
        pytest.param(
            [f"{name}/a/1.png" for name in names], {}, ["look like splits", f"dataset.split={names[0]}"], id=names[0]
        )
        for names in (
            ["test_set", "training_set"],
            ["seg_pred", "seg_test", "seg_train"],
            ["TestImages", "TrainImages"],
            ["train2017", "val2017"],
            ["01_train", "02_test"],
            ["testA", "testB", "trainA", "trainB"],
            ["extra", "test", "train"],
            ["gallery", "query", "train"],
            ["mnist_test", "mnist_train"],
            ["ILSVRC2012_img_train", "ILSVRC2012_img_val"],
            ["cifar10-test", "cifar10-train", "cifar10-val"],
            ["test", "trainval"],
        )
    ),
    pytest.param(["test/test/1.png"], {"split": "test"}, ["dataset.root='{}/test' dataset.split=test."], id="test"),
    pytest.param(
        ["training_set/a/1.png", "training_set/b/1.png"], {}, ["dataset.root='{}/training_set'."], id="1 split"
    ),
    pytest.param(["1.png", "a/1.png", "b/1.png"], {}, ["1 images of its own"], id="images without a class"),
    pytest.param(
        ["@eaDir/1.png", ".x/1.png"], {}, ["holds no images", "1 folders of the system"], id="only thumbnails"
    ),
]


@pytest.mark.parametrize(("files", "options", "words"), REFUSED)
def test_folders_that_would_be_read_wrongly(tmp_path, files, options, words):
    write(tmp_path, *(name for name in files if not name.endswith("/")))
    with pytest.raises(UserError) as refused:
        open_(tmp_path, **options)
    assert [word for word in words if word.format(tmp_path) not in str(refused.value)] == []


def test_the_folder_that_is_named_is_read(tmp_path, monkeypatch, caplog):
    write(tmp_path, "wrap/digits/a/1.png", "wrap/digits/b/1.png")
    monkeypatch.chdir(tmp_path / "wrap")
    with pytest.raises(UserError, match=r"dataset\.root='digits'\."):
        open_(".")
    assert read("digits", caplog) == ({"a": 1, "b": 1}, "")


def test_a_class_that_is_a_link_to_another(tmp_path):
    write(tmp_path, "cat/1.png", "cat/2.png")
    (tmp_path / "dog").symlink_to("cat")
    with pytest.raises(UserError, match=r"'cat' and 'dog' are one folder.*remove one"):
        open_(tmp_path)


@pytest.mark.parametrize("link", ["a/more", "c/more"])
def test_a_part_of_a_class_in_another(tmp_path, link):
    write(tmp_path, "a/1.png", "b/set/1.png", "c/1.png")
    (tmp_path / link).symlink_to(tmp_path / "b" / "set")
    with pytest.raises(UserError, match=f"'{min(link, 'b/set')}' and '{max(link, 'b/set')}' are one folder"):
        open_(tmp_path)


def test_a_folder_without_images_may_be_in_two_classes(tmp_path, caplog):
    write(tmp_path, "a/1.png", "b/1.png", "notes/x.txt")
    for name in "ab":
        (tmp_path / name / "notes").symlink_to(tmp_path / "notes")
    assert read(tmp_path, caplog)[0] == {"a": 1, "b": 1}


def test_a_tree_of_links_is_entered_once(tmp_path, caplog):
    write(tmp_path, *(f"a/{i}/x.png" for i in range(14)), "b/x.png")
    for i in range(13):
        for name in ("left", "right"):  # followed each time, 2^13 paths lead to the last
            (tmp_path / "a" / str(i) / name).symlink_to(tmp_path / "a" / str(i + 1))
    found, warned = read(tmp_path, caplog)
    assert found == {"a": 14, "b": 1}
    assert "left out 26 links to folders that are there already" in warned


def test_a_link_to_a_folder_above_the_root_is_not_entered(tmp_path, caplog):
    write(tmp_path, "data/root/a/1.png", "data/root/b/1.png", "data/other/2.png")
    (tmp_path / "data" / "root" / "a" / "up").symlink_to(tmp_path / "data")
    found, warned = read(tmp_path / "data" / "root", caplog)
    assert found == {"a": 1, "b": 1}
    assert "left out 1 links to folders that are there already (a/up)" in warned


def test_links_image_by_image_are_a_folder_like_any(tmp_path, caplog):
    """A selection made with `ln -s`, and git-annex, whose equal files are links to one object."""
    write(tmp_path, "all/1.png", "all/2.png", ".git/annex/objects/K/1.png")
    there, gone = ".git/annex/objects/K/1.png", ".git/annex/objects/L/1.png"
    for name, target in (("few/a/1.png", "all/1.png"), ("few/b/2.png", "all/2.png"), ("few/b/same.png", "all/2.png"),
                         ("annex/a/x.png", there), ("annex/b/x.png", there), ("annex/b/gone.png", gone)):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(os.path.relpath(tmp_path / target, (tmp_path / name).parent))
    assert read(tmp_path / "few", caplog) == ({"a": 1, "b": 2}, "")
    assert read(tmp_path / "annex", caplog) == ({"a": 1, "b": 2}, "")
    assert list(open_(tmp_path / "annex").bad()) == ["b/gone.png"]


@pytest.mark.parametrize("name", ["a/pipe.png", "a/null.png"])
def test_what_is_no_file_is_a_bad_image_and_never_opened(tmp_path, name):
    write(tmp_path, "a/1.png", "b/1.png")
    if "pipe" in name:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    code = f"""if True:
        from itae.images.datasets import ImageFolder
        images = ImageFolder(root={str(tmp_path)!r}).open()
        print(len(images.fingerprint()), images.bad())"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out == f"64 {{'{name}': 'a folder, named pipe or device, not a file'}}\n"


def test_names_that_would_be_one_id(tmp_path):
    write(
        tmp_path, "a/x\ny.png", "a/x\\ny.png", "a/x\\\\ny.png", "a/p\\q.png", "b/p\\q.png", "c\nd/1.png", "c\\nd/1.png"
    )
    images = open_(tmp_path)
    assert images.class_names == ["a", "b", "c\\nd", "c\\\\nd"]
    assert images.ids == [
        "a/p\\\\q.png", "a/x\\ny.png", "a/x\\\\\\\\ny.png", "a/x\\\\ny.png",
        "b/p\\q.png", "c\\nd/1.png", "c\\\\nd/1.png",
    ]  # fmt: skip
    assert images.bad() == {}


NAMES = st.text(st.sampled_from("ab\\nx0\n\r\x85\u2028\udcff\udc85"), min_size=1, max_size=5)


@given(st.lists(NAMES, unique=True))
def test_names_of_one_folder_stay_different_lines(names):
    found = unique(names)
    assert len(set(found)) == len(names)
    assert "\n".join(found).encode().decode().splitlines() == found


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_order_and_ids_are_the_same_in_any_locale(tmp_path, locale):
    split = "gr\u00f6\u00dfe"
    names = ["\u00fc/1.png", "u/1.png", "Z/1.png", "\u65e5\u672c/\u00e9.png", "\U0001f600/1.png", "\udcff/1.png"]
    write(tmp_path / split, *names)
    here = open_(tmp_path, split=split)
    code = """if True:
        import json, sys
        from itae.images.datasets import ImageFolder
        images = ImageFolder(root=sys.argv[1], split=sys.argv[2]).open()
        print(json.dumps([images.ids, images.class_names, images.fingerprint()]))"""
    settings = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run([sys.executable, "-c", code, tmp_path, split], env=os.environ | settings, capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    assert json.loads(told) == [here.ids, here.class_names, here.fingerprint()]
    assert here.class_names == ["Z", "u", "\u00fc", "\u65e5\u672c", "\\udcff", "\U0001f600"]
