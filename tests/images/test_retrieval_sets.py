"""CUB-200-2011, Cars196, Stanford Online Products and In-Shop in miniature, and what may be wrong with them."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from retrieval_sets import CARS_LAYOUTS, CARS_NAMES, CUB_CLASSES, cars196, cells, cub200, inshop, matlab, sop

from itae.base.errors import UserError
from itae.images import listed_files
from itae.images.datasets import Cars196, Cub200, InShop, Sop

SETS = {"cub200": (cub200, Cub200), "sop": (sop, Sop), "inshop": (inshop, InShop),
        "cars196": (lambda root: cars196(root, "car_ims"), Cars196)}  # fmt: skip


def open_(cls, root, **options):
    return cls(root=str(root), **options).open()


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)
    return caplog


# ---------------------------------------------------------------------------------------------- reading


def test_birds(tmp_path):
    cub200(tmp_path)
    train, test, whole = (open_(Cub200, tmp_path, split=split) for split in ("train", "test", "all"))
    names = list(CUB_CLASSES.values())
    assert (train.class_names, test.class_names, whole.class_names) == (names[:3], names[3:], names)
    assert train.ids[:2] == [
        "001.Black_footed_Albatross/Black_footed_Albatross_0000_7.jpg",
        "001.Black_footed_Albatross/Black_footed_Albatross_0001_14.jpg",
    ]
    assert train.ids + test.ids == whole.ids
    for images in (train, test, whole):
        assert [id_.split("/")[0] for id_ in images.ids] == [images.class_names[label] for label in images.labels]
        assert Counter(images.labels.tolist()) == dict.fromkeys(range(len(images.class_names)), 4)
        assert not images.bad()


@pytest.mark.parametrize("layout", CARS_LAYOUTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_cars(tmp_path, layout, compressed):
    cars196(tmp_path, layout, do_compression=compressed)
    train, test, whole = (open_(Cars196, tmp_path, split=split) for split in ("train", "test", "all"))
    assert (train.class_names, test.class_names, whole.class_names) == (CARS_NAMES[:98], CARS_NAMES[98:], CARS_NAMES)
    for images, classes in ((train, (1, 2, 98)), (test, (99, 100, 196)), (whole, (1, 2, 98, 99, 100, 196))):
        found = [images.class_names[label] for label in images.labels]
        assert Counter(found) == {CARS_NAMES[number - 1]: 4 for number in classes}
        for i, name in enumerate(found):  # the hue of a picture is that of its class
            hue = images.read(i).convert("HSV").getpixel((20, 20))[0]
            assert abs((hue - 256 * int(name.split()[1]) / 196 + 128) % 256 - 128) < 8
    assert Counter(train.digests + test.digests) == Counter(whole.digests)
    if layout == "car_ims":
        assert whole.ids == [f"car_ims/{i:06d}.jpg" for i in range(1, 25)]
    else:
        assert whole.ids[:2] + whole.ids[-1:] == [
            "cars_train/00001.jpg",
            "cars_train/00002.jpg",
            "cars_test/00012.jpg",
        ]


def test_the_layouts_of_cars_have_the_same_images(tmp_path):
    seen = set()
    for layout in CARS_LAYOUTS:
        images = open_(Cars196, cars196(tmp_path / layout, layout), split="all")
        seen.add(frozenset(zip(images.digests, images.labels.tolist(), strict=True)))
    assert len(seen) == 1
    kaggle, devkit = (open_(Cars196, tmp_path / layout, split="all") for layout in ("kaggle", "devkit"))
    assert kaggle.fingerprint() == devkit.fingerprint()


@pytest.mark.parametrize("name", ["cars196", "stanford_cars"])
def test_cars_may_lie_in_a_folder_of_their_name(tmp_path, name):
    cars196(tmp_path / name, "devkit")
    assert open_(Cars196, tmp_path).fingerprint() == open_(Cars196, tmp_path / name).fingerprint()


def test_all_annotations_of_cars_may_lie_in_the_devkit_or_beside_it(tmp_path):
    before = open_(Cars196, cars196(tmp_path, "devkit")).fingerprint()
    shutil.move(tmp_path / "cars_test_annos_withlabels.mat", tmp_path / "devkit")
    assert open_(Cars196, tmp_path).fingerprint() == before
    for file in (tmp_path / "devkit").iterdir():
        shutil.move(file, tmp_path)
    assert open_(Cars196, tmp_path).fingerprint() == before


def test_kaggles_cars_have_annotations_of_the_other_layout_beside_them(tmp_path):
    before = open_(Cars196, cars196(tmp_path, "kaggle")).fingerprint()
    matlab(tmp_path / "cars_annos.mat", [], [], {"class_names": cells(CARS_NAMES)})
    assert open_(Cars196, tmp_path).fingerprint() == before


def test_products(tmp_path):
    sop(tmp_path)
    train, test, whole = (open_(Sop, tmp_path, split=split) for split in ("train", "test", "all"))
    assert (train.class_names, test.class_names) == (["1", "2", "3"], ["11319", "11320"])
    assert whole.class_names == ["1", "2", "3", "11319", "11320"]
    assert train.ids + test.ids == whole.ids
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.ids[0] == "bicycle_final/111085134190_0.JPG"
    assert test.attributes == {"super_class": ["bicycle"] * 3 + ["chair"] * 3}
    assert not whole.bad()


@pytest.mark.parametrize("inside", ["img", "Img/img", "img_highres", "Img/img_highres"])
@pytest.mark.parametrize("table", ["Eval", "Anno", ""])
def test_clothes(tmp_path, inside, table):
    inshop(tmp_path, inside, table)
    train, query, gallery, test, whole = (
        open_(InShop, tmp_path, split=split) for split in ("train", "query", "gallery", "test", "all")
    )
    assert train.class_names == ["id_00000001", "id_00000007"]
    assert query.class_names == gallery.class_names == test.class_names == ["id_00000002", "id_00000003", "id_00000005"]
    assert query.ids[:2] == ["WOMEN/Dresses/id_00000002/01_1_front.jpg", "WOMEN/Dresses/id_00000002/03_3_front.jpg"]
    assert (query.labels.tolist(), gallery.labels.tolist()) == ([0, 0, 1, 1, 2, 2],) * 2
    assert sorted(query.ids + gallery.ids) == sorted(test.ids)
    assert train.ids + test.ids == whole.ids
    assert gallery.attributes == {"category": ["WOMEN/Dresses"] * 2 + ["MEN/Pants"] * 4}
    assert not whole.bad()


def test_the_images_for_retrieval_go_before_the_large_ones(tmp_path):
    inshop(tmp_path, "img_highres")
    inshop(tmp_path, "Img/img")
    assert "/Img/img/" in open_(InShop, tmp_path).items[0]


@pytest.mark.parametrize(("name", "folder"), [("cub200", "CUB_200_2011"), ("sop", "Stanford_Online_Products"),
                                              ("inshop", "In-shop Clothes Retrieval Benchmark")])  # fmt: skip
def test_root_may_be_the_folder_above(tmp_path, name, folder):
    make, cls = SETS[name]
    inside = make(tmp_path / "of_its_own" if name == "inshop" else tmp_path)
    inside = inside.rename(tmp_path / folder)
    assert open_(cls, tmp_path).fingerprint() == open_(cls, inside).fingerprint()
    other = inside.rename(tmp_path / "another_name")
    assert open_(cls, other).ids == open_(cls, other, split="test").ids or name == "inshop"


@pytest.mark.parametrize("name", ["cub200", "sop", "inshop"])
def test_lists_may_be_of_windows_and_have_empty_lines(tmp_path, name):
    make, cls = SETS[name]
    folder = make(tmp_path)
    before = open_(cls, tmp_path).fingerprint()
    for file in folder.rglob("*.txt"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert open_(cls, tmp_path).fingerprint() == before


@pytest.mark.parametrize("name", SETS)
def test_a_part_of_it_is_warned_of_and_the_whole_is_not(tmp_path, told, monkeypatch, name):
    make, cls = SETS[name]
    make(tmp_path)
    images = open_(cls, tmp_path)
    [warning] = [record.getMessage() for record in told.records if "official set" in record.getMessage()]
    assert (
        f"{len(images)} images of {images.n_classes} classes in {images.split}, where the official set has" in warning
    )
    official = {images.split: listed_files.Counts(len(images), images.n_classes)}
    monkeypatch.setattr(f"{cls.__module__}.OFFICIAL", official)
    told.clear()
    open_(cls, tmp_path)
    assert "official set" not in told.text


@pytest.mark.parametrize("name", SETS)
def test_what_belongs_to_another_split_need_not_be_there(tmp_path, name):
    make, cls = SETS[name]
    make(tmp_path)
    train = open_(cls, tmp_path, split="train")
    before = open_(cls, tmp_path).fingerprint()
    for file in train.items:
        os.unlink(file)
    assert open_(cls, tmp_path).fingerprint() == before
    with pytest.raises(UserError, match=rf"lacks {len(train)} of the {len(train)} images that "):
        open_(cls, tmp_path, split="train")


def test_they_are_no_larger_than_they_are():
    """The counts that papers name: 11,788, 16,185, 120,053 and 52,712 images."""
    for cls, total in ((Cub200, 11_788), (Cars196, 16_185), (Sop, 120_053), (InShop, 52_712)):
        official = vars(__import__(cls.__module__, fromlist=["OFFICIAL"]))["OFFICIAL"]
        parts = ("train", "query", "gallery") if cls is InShop else ("train", "test")
        assert set(official) == set(cls.SPLITS)
        assert sum(official[part].images for part in parts) == official["all"].images == total
        assert official["train"].classes + official["test"].classes == official["all"].classes


# --------------------------------------------------------------------------------------------- mistakes


def rewrite(file, change):
    file.write_text(change(file.read_text()))


def listed(name, file, change):
    """Return what writes a data set and changes one of its lists."""

    def write(root):
        rewrite(SETS[name][0](root) / file, change)

    return write


def first(old, new):
    return lambda text: text.replace(old, new, 1)


def without_lines(*numbers):
    return lambda text: "".join(line for i, line in enumerate(text.splitlines(True)) if i not in numbers)


def cut(text):
    return text[:-3]


def bytes_in(name, file, data):
    def write(root):
        path = SETS[name][0](root) / file
        path.write_bytes(path.read_bytes() + data)

    return write


def gone(name, file):
    def write(root):
        path = SETS[name][0](root) / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return write


def pipe(name, file):
    def write(root):
        path = SETS[name][0](root) / file
        path.unlink()
        os.mkfifo(path)

    return write


def cars(change, layout="car_ims"):
    def write(root):
        change(cars196(root, layout))

    return write


def annotated(rows, names=CARS_NAMES, fields=("relative_im_path", "class")):
    def change(folder: Path) -> None:
        matlab(folder / "cars_annos.mat", fields, rows, {"class_names": cells(names)})

    return cars(change)


def no_bird_of_test(root):
    folder = cub200(root)
    for name in (ONE, "image_class_labels.txt"):
        rewrite(folder / name, lambda text: text.partition("13 ")[0])


ONE = "images.txt"
BIRDS = {
    "nothing": (lambda root: None, r"does not hold the folder 'CUB_200_2011'"),
    "no images.txt": (gone("cub200", ONE), r"images\.txt' is missing"),
    "no labels": (gone("cub200", "image_class_labels.txt"), r"image_class_labels\.txt' is missing"),
    "no classes": (gone("cub200", "classes.txt"), r"classes\.txt' is missing"),
    "pipe": (pipe("cub200", ONE), r"images\.txt' is no file"),
    "no pictures": (gone("cub200", "images"), r"images' lacks 12 of the 12 images that '.*images\.txt' names \(101\.W"),
    "some pictures": (gone("cub200", "images/200.Common_Yellowthroat"),
                      r"lacks 4 of the 12 images .*\(200\.Common_Yellowthroat/Common_Yellowthroat_0000_147\.jpg, .*\)"),
    "labels cut": (listed("cub200", "image_class_labels.txt", cut),
                   r"gives image 24 the class 2, '002\.Laysan_Albatross', and 'images\.txt' has it in another's"),
    "fewer labels": (listed("cub200", "image_class_labels.txt", without_lines(3, 9)),
                     r"image_class_labels\.txt' has no line for 2 images \(4, 10\)"),
    "fewer images": (listed("cub200", ONE, without_lines(23)), r"images\.txt' has no line for 1 images \(24\)"),
    "half a line": (listed("cub200", ONE, lambda text: text[: text.rindex(" ")]),
                    r"line 24 of '.*images\.txt' is not 'image_id image_name': '24'"),
    "no number": (listed("cub200", ONE, first("1 001", "one 001")), r"line 1 of .* is not 'image_id image_name'"),
    "three cells": (listed("cub200", ONE, first("1 001", "1 2 001")), r"line 1 of .* is not 'image_id image_name'"),
    "same number": (listed("cub200", ONE, first("2 001", "1 001")), r"line 2 of .* the image_id '1' for the second"),
    "same name": (listed("cub200", ONE, first("0001_14.jpg", "0000_7.jpg")),
                  r"image 2 of '.*images\.txt' names '001\..*_0000_7\.jpg' for the second time"),
    "absolute": (listed("cub200", ONE, first("1 001.Black", "1 /etc/001.Black")), r"image 1 of .* no path to a file"),
    "above": (listed("cub200", ONE, first("1 001.Black", "1 ../001.Black")), r"'\.\./001.* no path to a file inside"),
    "far above": (listed("cub200", ONE, first("1 001.B", "1 001.B/../../B")), r"image 1 of .* no path to a file"),
    "no text": (bytes_in("cub200", ONE, b"25 \xff\n"), r"images\.txt' cannot be read"),
    "nul": (bytes_in("cub200", ONE, b"25 a\0b\n"), r"image 25 of .* names 'a\\x00b', which is no path"),
    "unknown class": (listed("cub200", "classes.txt", without_lines(5)), r"the class 200, which 'classes\.txt' lacks"),
    "another folder": (listed("cub200", "image_class_labels.txt", first("1 1\n", "1 2\n")),
                       r"gives image 1 the class 2, '002\.Laysan_Albatross', and 'images\.txt' has it in another's"),
    "no test": (no_bird_of_test, r"has no image of split 'test'"),
}  # fmt: skip
CARS = {
    "nothing": (lambda root: None, r"does not hold Cars196: there is no folder 'car_ims' or 'cars_train'"),
    "no annotations": (cars(lambda root: (root / "cars_annos.mat").unlink()), r"cars_annos\.mat' is missing"),
    "no test": (cars(lambda root: (root / "cars_test_annos_withlabels.mat").unlink(), "devkit"),
                r"cars_test_annos_withlabels\.mat' is missing"),
    "no meta": (cars(lambda root: (root / "devkit/cars_meta.mat").unlink(), "devkit"), r"cars_meta\.mat' is missing"),
    "no pictures of test": (cars(lambda root: shutil.rmtree(root / "cars_test"), "devkit"),
                            r"cars_test' lacks 6 of the 6 images that .*withlabels\.mat' names \(00007\.jpg, "),
    "a picture": (cars(lambda root: (root / "car_ims/000024.jpg").unlink()),
                  r"lacks 1 of the 12 images .* \(car_ims/000024\.jpg\)"),
    "no matlab": (cars(lambda root: (root / "cars_annos.mat").write_bytes(b"<html>" * 99)),
                  r"damaged, or not the official file: it is no MATLAB file of level 5"),
    "cut": (cars(lambda root: os.truncate(root / "cars_annos.mat", 3000)), r"damaged, or .*: it is cut short"),
    "others": (cars(lambda root: shutil.copy(root / "devkit/cars_meta.mat", root / "cars_test_annos_withlabels.mat"),
                    "devkit"), r"it has no struct array 'annotations'"),
    "no labels": (cars(lambda root: matlab(root / "cars_test_annos_withlabels.mat", ["fname"], [("00001.jpg",)], {}),
                       "devkit"), r"the class None, .*; take cars_test_annos_withlabels\.mat"),
    "class 0": (annotated([("car_ims/000001.jpg", 0)]), r"annotation 1 of .* the class 0, .* none of the 196"),
    "class 197": (annotated([("car_ims/000001.jpg", 197)]), r"the class 197, .* none of the 196"),
    "fewer names": (annotated([("car_ims/000024.jpg", 196)], CARS_NAMES[:195]), r"none of the 195 that have names"),
    "half a class": (annotated([("car_ims/000001.jpg", 1.5)]), r"annotation 1 of .* the class 1\.5"),
    "a text": (annotated([("car_ims/000001.jpg", "1")]), r"annotation 1 of .* the class 1, which"),
    "no name": (annotated([("car_ims/000001.jpg", 1), (7, 1)]), r"of 2 annotations 1 have a 'relative_im_path'"),
    "another field": (annotated([("a.jpg", 1)], fields=("fname", "class")), r"1 annotations 0 have a 'relative_im_p"),
    "above": (annotated([("car_ims/../../x.jpg", 1)]), r"annotation 1 of .* no path to a file inside"),
    "absolute": (annotated([("/etc/passwd", 1)]), r"annotation 1 of .* names '/etc/passwd', which is no path"),
    "twice": (annotated([("car_ims/000001.jpg", 1)] * 2), r"annotation 2 of .* '.*000001\.jpg' for the second time"),
    "no image of test": (annotated([("car_ims/000001.jpg", 1)]), r"has no image of split 'test'"),
    "numbers for names": (cars(lambda root: matlab(root / "cars_annos.mat", [], [], {"class_names": np.arange(3)})),
                          r"it has no cell array 'class_names'"),
}  # fmt: skip
EBAY = "Ebay_test.txt"
THINGS = {
    "nothing": (lambda root: None, r"does not hold the folder 'Stanford_Online_Products'"),
    "no list": (gone("sop", EBAY), r"Ebay_test\.txt' is missing"),
    "no header": (listed("sop", EBAY, without_lines(0)), r"line 1 of '.*' is not 'image_id class_id super_class_id p"),
    "empty": (listed("sop", EBAY, lambda _: ""), r"line 1 of '.*' is not 'image_id"),
    "header alone": (listed("sop", EBAY, lambda text: text.splitlines()[0]), r"Ebay_test\.txt' lists no image"),
    "cut": (listed("sop", EBAY, cut), r"lacks 1 of the 6 images .*\(chair_final/111085134191_2\.J\)"),
    "half a line": (listed("sop", EBAY, lambda text: text[: text.rindex(" ")]), r"line 7 of .* is not 'image_id cla"),
    "no class": (listed("sop", EBAY, first("10 11319", "10 x11319")), r"line 2 of .* is not 'image_id class_id"),
    "no kind": (gone("sop", "chair_final"), r"lacks 3 of the 6 images .*\(chair_final/1110851341"),
    "same number": (listed("sop", EBAY, first("\n11 ", "\n10 ")), r"has the image_id '10' for the second time"),
    "same name": (listed("sop", EBAY, first("90_1.JPG", "90_0.JPG")), r"line 3 of .* names .* for the second time"),
    "above": (listed("sop", EBAY, first("bicycle_final/", "../")), r"line 2 of .* no path to a file inside"),
    "absolute": (listed("sop", EBAY, first("bicycle_final/", "/etc/")), r"line 2 of .* no path to a file inside"),
    "no text": (bytes_in("sop", EBAY, b"\xff\xfe"), r"Ebay_test\.txt' cannot be read"),
}
EVAL = "Eval/list_eval_partition.txt"
ITEMS = {
    "nothing": (lambda root: None, r"does not hold In-Shop: there is neither 'Eval/list_eval_partition\.txt' nor"),
    "no list": (gone("inshop", "Eval"), r"there is '.*img', and '.*' has no 'Eval/list_eval_partition\.txt'"),
    "no pictures": (gone("inshop", "img"), r"there is '.*partition\.txt', and '.*' has no folder 'img' or 'Img/img'"),
    "some pictures": (
        gone("inshop", "img/MEN/Pants/id_00000003"),
        r"lacks 2 of the 6 images .*\(MEN/Pants/id_00000003",
    ),
    "cut short": (listed("inshop", EVAL, without_lines(20, 21)), r"it has 20 images and lists 18: get it again"),
    "cut": (
        listed("inshop", EVAL, lambda text: text[:-5]),
        r"line 22 of .* not an image 'img/\.\.\.', its item and one",
    ),
    "half a line": (
        listed("inshop", EVAL, lambda text: text.rstrip()[:-8]),
        r"line 22 of .* is not 'image_name item ev",
    ),
    "no count": (listed("inshop", EVAL, without_lines(0)), r"line 1 of .* is not the count of its images: 'image_name"),
    "no header": (listed("inshop", EVAL, without_lines(1)), r"line 2 of .* is not 'image_name item_id evaluation_sta"),
    "empty": (listed("inshop", EVAL, lambda _: ""), r"line 1 of .* is not the count of its images: ''"),
    "status": (listed("inshop", EVAL, first(" train", " val")), r"line 3 of .* one of train, query, gallery"),
    "elsewhere": (listed("inshop", EVAL, first("img/", "pic/")), r"line 3 of .* is not an image 'img/\.\.\.'"),
    "above": (listed("inshop", EVAL, first("img/WOMEN", "img/../..")), r"line 3 of .* no path to a file inside"),
    "absolute": (listed("inshop", EVAL, first("img/", "/img/")), r"line 3 of .* is not an image 'img/\.\.\.'"),
    "same name": (listed("inshop", EVAL, first("01/02_2_front", "01/01_1_front")), r"line 4 of .* for the second time"),
    "no text": (bytes_in("inshop", EVAL, b"\xff"), r"partition\.txt' cannot be read"),
    "no query": (listed("inshop", EVAL, lambda text: text.replace(" query", " gallery")), r"no image of split 'query'"),
}
MISTAKES = [
    pytest.param(cls, *case, id=f"{cls.__name__}-{name}")
    for cls, cases in ((Cub200, BIRDS), (Cars196, CARS), (Sop, THINGS), (InShop, ITEMS))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("cls", "write", "wrong"), MISTAKES)
def test_what_is_missing_or_damaged_is_told(tmp_path, cls, write, wrong):
    write(tmp_path)
    with pytest.raises(UserError, match=wrong) as found:
        open_(cls, tmp_path)
    assert "\n" not in str(found.value)
    assert f" What is read, and where to get it, is told by: itae prepare dataset={cls.name} " in str(found.value)
    with pytest.raises(UserError, match=wrong) as found:
        cls(root=str(tmp_path)).prepare()
    assert str(found.value).endswith(cls.SOURCE)
    assert "itae prepare" not in str(found.value)


@pytest.mark.parametrize("name", SETS)
def test_prepare_says_that_it_is_there(tmp_path, told, name):
    make, cls = SETS[name]
    make(tmp_path)
    cls(root=str(tmp_path)).prepare()
    images = open_(cls, tmp_path)
    assert f"dataset={name} is ready: {len(images)} images in '{tmp_path}'" in told.text


@pytest.mark.parametrize("name", SETS)
def test_a_split_that_there_is_not(name):
    with pytest.raises(UserError, match=r"dataset\.split='val' is not one of train"):
        SETS[name][1](root="x", split="val")


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("itae.images.cars._LARGEST", 1000)
    with pytest.raises(UserError, match=r"cars_annos\.mat' is not the official file: it has more than 1000 bytes"):
        open_(Cars196, cars196(tmp_path, "car_ims"))
