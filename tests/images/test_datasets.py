"""The settings, and what every data set promises: fingerprints, limits, bad images, no network."""

import functools
import hashlib
import http.server
import logging
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import itae.images.datasets
from itae.base.errors import UserError
from itae.images.datasets import Cifar, Digits, ImageFolder, Stl10, TinyImageNet
from itae.images.image_set import ImageSet

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def write_folder(root, classes=3, each=4):
    for c in range(classes):
        for i in range(each):
            path = root / f"class{c}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (c * 40, i * 40, 0)).save(path)
    return root


def open_(root, **options):
    return ImageFolder(root=str(root), **options).open()


# ------------------------------------------------------------------------------------------ fingerprint


def test_fingerprint_is_of_the_content_not_the_place(tmp_path):
    write_folder(tmp_path / "a")
    first = open_(tmp_path / "a").fingerprint()
    assert len(first) == 64
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c", copy_function=shutil.copyfile)  # other dates
    assert open_(tmp_path / "b" / "c").fingerprint() == first
    assert open_(tmp_path / "b" / "c").ids == open_(tmp_path / "a").ids
    (tmp_path / "a" / "class0" / "notes.txt").write_text("not an image")
    assert open_(tmp_path / "a").fingerprint() == first


def test_fingerprint_changes_with_anything_that_matters(tmp_path):
    root = write_folder(tmp_path)
    seen = {open_(root).fingerprint()}

    def changed():
        seen.add(new := open_(root).fingerprint())
        return new

    file = root / "class1" / "2.png"
    data = bytearray(file.read_bytes())
    data[-20] ^= 1  # one bit
    file.write_bytes(data)
    changed()
    file.rename(root / "class1" / "2b.png")  # an id
    changed()
    (root / "class1" / "2b.png").rename(root / "class2" / "2b.png")  # a label
    changed()
    (root / "class2").rename(root / "class3")  # a class name
    changed()
    (root / "class0" / "0.png").unlink()  # one image less
    changed()
    (root / "class0" / "1.png").write_bytes(b"")
    changed()
    assert len(seen) == 7


def test_digests_are_of_the_bytes_and_read_once(tmp_path):
    images = open_(write_folder(tmp_path))
    files = [Path(item) for item in images.items]
    digests = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    assert images.digests == digests
    for file in files:
        file.unlink()
    assert images.take([5, 2]).digests == [digests[5], digests[2]]
    assert images.without(images.ids[:9]).digests == digests[9:]
    images.fingerprint()  # from the same digests


def test_digests_of_arrays_tell_shapes_apart():
    flat = np.arange(12, dtype=np.uint8)
    one, other = (ImageSet("x", "all", ["a"], [flat.reshape(shape)], None, []) for shape in ((3, 4), (4, 3)))
    assert len(one.digests[0]) == 32
    assert one.digests != other.digests


@pytest.mark.parametrize("change", ["pixel", "label", "name", "id", "unlabelled", "order", "shape"])
def test_fingerprint_of_arrays(change):
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    fields = {
        "name": "x",
        "split": "all",
        "ids": ["a", "b", "c"],
        "items": list(pixels),
        "labels": np.array([0, 1, 0]),
        "class_names": ["p", "q"],
    }
    first = ImageSet(**fields).fingerprint()
    other = pixels.copy()
    other[2, 3, 3, 2] ^= 1
    changed = {
        "pixel": {"items": list(other)},
        "label": {"labels": np.array([0, 1, 1])},
        "name": {"class_names": ["p", "r"]},
        "id": {"ids": ["a", "b", "d"]},
        "unlabelled": {"labels": None},
        "order": {"items": list(pixels[::-1])},
        "shape": {"items": list(pixels.reshape(3, 2, 8, 3))},
    }[change]
    assert ImageSet(**(fields | changed)).fingerprint() != first
    assert ImageSet(**(fields | {"items": list(pixels.copy()), "name": "y"})).fingerprint() == first


def test_digits():
    images = Digits().open()
    assert len(images) == 1797
    assert images.ids[42] == "all/00042"
    assert images.class_names == [str(i) for i in range(10)]
    pixels = np.asarray(images.read(0))
    assert pixels.shape == (8, 8, 3)
    assert pixels.max() == round(15 * 255 / 16)  # the strokes are light
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert images.bad() == {}
    assert images.fingerprint() == "2da22f22e2d1e16d67340baf029f330f040ca32ca5cc7d065a47ea950271e80f"


def test_digits_have_splits_of_whole_forms():
    """The tenth form begins where the ten digits are written thrice once more."""
    whole, train, test = (Digits(split=split).open() for split in ("all", "train", "test"))
    assert (len(train), len(test)) == (1157, 640)
    assert train.ids + test.ids == whole.ids
    assert train.digests + test.digests == whole.digests
    assert not set(train.digests) & set(test.digests)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), whole.labels)
    assert train.class_names == test.class_names == whole.class_names
    assert test.labels[:30].tolist() == list(range(10)) * 3
    for side in (train, test):
        each = np.bincount(side.labels, minlength=10)
        assert each.max() <= 1.1 * each.min(), each
    assert test.read(0).tobytes() == whole.read(1157).tobytes()


# ------------------------------------------------------------------------------- limit, bad images, rows


def test_limit_takes_evenly_spread_images(tmp_path):
    root = write_folder(tmp_path, classes=3, each=4)
    everything = open_(root)
    for limit in range(1, 15):
        images = open_(root, limit=limit)
        n = min(limit, 12)
        assert images.ids == [everything.ids[i * 12 // n] for i in range(n)]
        assert len(images.labels) == n
        assert set(images.labels.tolist()) == {0, 1, 2} or limit < 3
    assert open_(root, limit=12).fingerprint() == everything.fingerprint()
    assert open_(root, limit=6).fingerprint() != everything.fingerprint()


@given(st.integers(1, 40), st.data())
@settings(max_examples=40, deadline=None)
def test_without_keeps_ids_labels_and_images_together(n, data):
    gone = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))
    pixels = [np.full((2, 2), i, np.uint8) for i in range(n)]
    images = ImageSet("x", "all", [f"i{i}" for i in range(n)], pixels, np.arange(n) * 7, ["c"])
    rest = images.without([f"i{i}" for i in gone])
    assert rest.ids == [f"i{i}" for i in range(n) if i not in gone]
    for row, id_ in enumerate(rest.ids):
        assert rest.labels[row] == 7 * int(id_[1:])
        assert rest.read(row).getpixel((0, 0)) == (int(id_[1:]),) * 3
    assert len(images) == n


def test_labels_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        Digits(limit=3).open().labels[0] = 5


def test_bad_images_are_found_by_id_and_can_be_left_out(tmp_path):
    root = write_folder(tmp_path)
    (root / "class0" / "1.png").write_bytes(b"")
    whole = (root / "class1" / "2.png").read_bytes()
    (root / "class1" / "2.png").write_bytes(whole[: len(whole) // 2])
    (root / "class2" / "3.png").write_text("<html>")
    images = open_(root)
    bad = images.bad()
    assert list(bad) == ["class0/1.png", "class1/2.png", "class2/3.png"]
    assert "empty" in bad["class0/1.png"]
    assert "not an image" in bad["class2/3.png"]
    images.fingerprint()  # works all the same
    rest = images.without(bad)
    assert rest.bad() == {}
    assert rest.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    with pytest.raises(UserError, match=r"image 'class1/2\.png' cannot be read: .*dataset\.bad_image=skip"):
        images.read(images.ids.index("class1/2.png"))


def test_nothing_left(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    images = open_(tmp_path)
    with pytest.raises(UserError, match="none of the 1 images of imagefolder/all can be read"):
        images.without(images.bad())


def test_a_file_that_vanishes_is_told_when_it_is_read(tmp_path):
    root = write_folder(tmp_path)
    images = open_(root)
    before = images.fingerprint()
    (root / "class0" / "0.png").unlink()
    assert open_(root).fingerprint() != before
    assert images.bad() == {"class0/0.png": "the file is missing, or a broken link"}


# -------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Digits(limit=0), r"dataset\.limit=0 must be a whole number of at least 1, or null"),
        (lambda: Digits(limit=-5), r"dataset\.limit=-5"),
        (lambda: Digits(limit=2.5), r"dataset\.limit=2\.5 must be a whole number"),  # type: ignore[arg-type]
        (lambda: Digits(limit="ten"), r"dataset\.limit='ten'"),  # type: ignore[arg-type]
        (lambda: Digits(limit=True), r"dataset\.limit=True"),
        (lambda: Digits(split="val"), r"dataset\.split='val' is not one of all, train, test"),
        (lambda: Digits(resize="square"), r"dataset\.resize='square' is not one of squash, crop, pad"),
        (lambda: Digits(bad_image="skp"), r"dataset\.bad_image='skp'.*Did you mean 'skip'"),
        (lambda: Digits(name="a/b"), r"dataset\.name='a/b'"),
        (lambda: Digits(name=".."), r"dataset\.name='\.\.'"),
        (lambda: Cifar(name="c", variant=20, root="x"), r"dataset\.variant=20 is not 10 or 100"),
        (lambda: Cifar(name="c", variant=10, root="x", split="val"), r"'val' is not one of train, test"),
        (lambda: Cifar(name="c", variant=10, root=""), r"dataset\.root='' is not a folder"),
        (lambda: Stl10(root="x", split="train+unlabeled"), r"dataset\.split='train\+unlabeled'"),
        (lambda: TinyImageNet(root="x", split="test"), r"is not one of train, val"),
        (lambda: ImageFolder(root=None), r"dataset\.root=None is not a folder"),  # type: ignore[arg-type]
        (lambda: ImageFolder(root="x", split="../y"), r"dataset\.split='\.\./y'"),
        (lambda: ImageFolder(root="x", split=""), r"dataset\.split=''"),
        (lambda: ImageFolder(root="x", split=3), r"dataset\.split=3"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_in_settings(make, told):
    with pytest.raises(UserError, match=told):
        make()


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda f: f.stem)
def test_each_yaml_is_a_constructor_call(file):
    fields = yaml.safe_load(file.read_text())
    module, _, kind = fields.pop("_target_").rpartition(".")
    assert module == "itae.data"
    assert fields["name"] == file.stem
    made = getattr(itae.images.datasets, kind)(**(fields | ({"root": "somewhere"} if "root" in fields else {})))
    assert set(fields) == set(vars(made))  # every setting can be seen in the yaml
    assert made == type(made)(
        **({"root": "somewhere"} if "root" in fields else {}),
        **{key: fields[key] for key in ("name", "variant") if key in fields},
    )  # and has the value that the class has by itself


def test_the_module_is_light():
    code = (
        "import sys, itae.images.datasets; "
        "print([m for m in ('torch', 'torchvision', 'PIL', 'sklearn', 'rich', 'hydra') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# --------------------------------------------------------------------------------------------- prepare


@pytest.fixture
def no_network(monkeypatch):
    asked = []

    def refuse(request, *args, **kwargs):
        asked.append(getattr(request, "full_url", request))
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return asked


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        (lambda root: Cifar(name="cifar10", variant=10, root=root), "cifar-10-python.tar.gz"),
        (lambda root: Cifar(name="cifar100", variant=100, root=root), "cifar-100-python.tar.gz"),
        (lambda root: Stl10(root=root), "stl10_binary.tar.gz"),
        (lambda root: TinyImageNet(root=root), "tiny-imagenet-200.zip"),
    ],
)
def test_prepare_without_a_network_is_one_sentence(tmp_path, no_network, dataset, file):
    wanted = dataset(str(tmp_path / "new" / "folder"))
    with pytest.raises(UserError, match=rf"dataset={wanted.name} could not be fetched to .*no route to host.*by hand"):
        wanted.prepare()
    assert no_network
    assert all(url.endswith(file) for url in no_network)
    asked = len(no_network)
    with pytest.raises(UserError, match=f"itae prepare dataset={wanted.name}"):
        wanted.open()
    assert len(no_network) == asked  # opening asks for nothing


@pytest.fixture
def web(tmp_path, monkeypatch):
    """Serve the folder ``web`` on this machine; yield its address."""
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_prepare_fetches_once_checks_and_mends(tmp_path, monkeypatch, caplog, web):
    """The whole way, from a zip with the official layout on a server of this machine."""
    official = tmp_path / "web" / "tiny-imagenet-200"
    for part in ("train/n01/images", "val/images"):
        (official / part).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(official / part / "0.JPEG")
    (official / "wnids.txt").write_text("n01\n")
    (official / "val" / "val_annotations.txt").write_text("0.JPEG\tn01\t0\t0\t1\t1\n")
    archive = Path(shutil.make_archive(str(official), "zip", official.parent, official.name))
    monkeypatch.setattr(TinyImageNet, "URL", f"{web}/{archive.name}")
    monkeypatch.setattr(TinyImageNet, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    wanted = TinyImageNet(root=str(tmp_path / "data"))
    with caplog.at_level(logging.INFO):
        wanted.prepare()
    assert "dataset=tiny_imagenet is ready: 1 images" in caplog.text
    assert wanted.open().ids == ["val/images/0.JPEG"]
    lost = tmp_path / "data" / "tiny-imagenet-200" / "val" / "images" / "0.JPEG"
    lost.unlink()
    wanted.prepare()
    assert lost.exists()
    archive.write_bytes(b"something else")
    wanted.prepare()  # whole already: the network is not asked
    lost.unlink()
    with pytest.raises(UserError, match=r"could not be fetched .*corrupted"):
        wanted.prepare()


def test_prepare_extracts_next_to_an_official_folder_that_was_named(tmp_path, monkeypatch):
    targets = []
    monkeypatch.setattr(Stl10, "_download", lambda self, target: targets.append(target))
    with pytest.raises(UserError):
        Stl10(root=str(tmp_path / "stl10_binary")).prepare()
    assert targets == [str(tmp_path)]


def test_nothing_to_prepare(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        Digits().prepare()
        ImageFolder(root=str(write_folder(tmp_path))).prepare()
    assert "needs no download" in caplog.text
    assert "nothing to download: 12 images" in caplog.text
    with pytest.raises(UserError, match="does not exist"):
        ImageFolder(root=str(tmp_path / "no")).prepare()
