"""The official files, written here as their makers wrote them, byte for byte where it matters."""

import os
import pickle
import signal
import struct

import numpy as np
import pytest
from PIL import Image

from itae.base.errors import UserError
from itae.images.datasets import Cifar, Stl10, TinyImageNet

RNG = np.random.default_rng(0)


# ---------------------------------------------------------------------------------------------- writers


def python2_pickle(content):
    """Pickle dicts, lists, ints, byte strings and uint8 arrays with the opcodes of python 2's protocol 2."""

    def put(x):
        if isinstance(x, dict):
            return b"}(" + b"".join(put(k) + put(v) for k, v in x.items()) + b"u"
        if isinstance(x, list):
            return b"](" + b"".join(map(put, x)) + b"e"
        if isinstance(x, bytes):
            return b"T" + struct.pack("<i", len(x)) + x
        if isinstance(x, np.ndarray):
            shape = b"(" + b"".join(map(put, x.shape)) + b"t"
            make = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt" + b"R"
            kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            return make + b"(K\x01" + shape + kind + b"\x89" + put(x.tobytes()) + b"tb"
        return b"J" + struct.pack("<i", x)

    return b"\x80\x02" + put(content) + b"."


def write_cifar10(root, per_batch=4):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = RNG.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        labels = [(i * 3) % 10 for i in range(per_batch)]
        pixels[name] = data
        batch = {b"batch_label": b"x", b"labels": labels, b"data": data, b"filenames": [b"f.png"] * per_batch}
        (folder / name).write_bytes(python2_pickle(batch))
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    meta = {b"num_cases_per_batch": per_batch, b"label_names": names, b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return pixels


def write_cifar100(root, n=6):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        data = RNG.integers(0, 256, (n, 3072), dtype=np.uint8)
        fine, coarse = [99 - i for i in range(n)], [i % 20 for i in range(n)]
        batch = {b"filenames": [b"f.png"] * n, b"fine_labels": fine, b"coarse_labels": coarse, b"data": data}
        (folder / name).write_bytes(python2_pickle(batch))
    names = [b"fine%d" % i for i in range(100)]
    meta = {b"fine_label_names": names, b"coarse_label_names": [b"c%d" % i for i in range(20)]}
    (folder / "meta").write_bytes(python2_pickle(meta))


def write_stl10(root, n=5):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = {}
    for part in ("train", "test", "unlabeled"):
        images[part] = RNG.integers(0, 256, (n, 96, 96, 3), dtype=np.uint8)
        images[part].transpose(0, 3, 2, 1).tofile(folder / f"{part}_X.bin")  # colour, column, row
        if part != "unlabeled":
            np.array([10 - i for i in range(n)], np.uint8).tofile(folder / f"{part}_y.bin")
    words = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    (folder / "class_names.txt").write_text("\n".join(words) + "\n")
    (folder / "fold_indices.txt").write_text("0 1 2\n")
    return images


def write_tiny(root):
    folder = root / "tiny-imagenet-200"
    wnids = ["n02124075", "n01443537", "n04067472"]  # not sorted, as in the real file
    for wnid in wnids:
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (64, 64), (i, 0, 0)).save(images / f"{wnid}_{i}.JPEG")
        (images.parent / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    (folder / "val" / "images").mkdir(parents=True)
    lines = []
    for i, wnid in enumerate([*wnids, wnids[0]]):
        Image.new("L", (64, 64), 60 * i).save(folder / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(wnids))
    (folder / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\nn02124075\tEgyptian cat\n")
    return folder


WRITERS = {"cifar10": write_cifar10, "cifar100": write_cifar100, "stl10": write_stl10, "tiny": write_tiny}


def settings(kind, root, **options):
    root = str(root)
    if kind.startswith("cifar"):
        return Cifar(name=kind, variant=int(kind[5:]), root=root, **options)
    return {"stl10": Stl10, "tiny": TinyImageNet}[kind](root=root, **options)


# ---------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar10(tmp_path, split):
    written = write_cifar10(tmp_path)
    images = settings("cifar10", tmp_path, split=split).open()
    rows = written["test_batch"] if split == "test" else np.concatenate(list(written.values())[:5])
    assert images.ids == [f"{split}/{i:05d}" for i in range(len(rows))]
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [0, 3, 6, 9] * (len(rows) // 4)
    assert images.class_names[3] == "cat"
    for i, row in enumerate(rows):  # 1,024 reds, then greens, then blues, row by row
        picture = np.asarray(images.read(i))
        assert picture[5, 7].tolist() == [row[5 * 32 + 7], row[1024 + 5 * 32 + 7], row[2048 + 5 * 32 + 7]]
        assert picture.shape == (32, 32, 3)


def test_cifar100_has_the_fine_labels(tmp_path):
    write_cifar100(tmp_path)
    images = settings("cifar100", tmp_path).open()
    assert images.labels.tolist() == [99, 98, 97, 96, 95, 94]
    assert images.class_names[:2] == ["fine0", "fine1"]
    assert len(images.class_names) == 100


def test_the_pickle_of_this_test_is_read_by_the_ordinary_unpickler_too():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    back = pickle.loads(python2_pickle({b"data": array, b"labels": [1, 2]}), encoding="bytes")
    assert np.array_equal(back[b"data"], array)
    assert back[b"labels"] == [1, 2]


def test_stl10(tmp_path):
    written = write_stl10(tmp_path)
    test = settings("stl10", tmp_path).open()
    assert test.labels.tolist() == [9, 8, 7, 6, 5]
    assert np.array_equal(np.asarray(test.read(3)), written["test"][3])
    both = settings("stl10", tmp_path, split="train+test").open()
    assert both.ids[4:6] == ["train/00004", "test/00000"]
    assert np.array_equal(np.asarray(both.read(5)), written["test"][0])
    assert len(both.labels) == 10


def test_stl10_unlabeled(tmp_path):
    written = write_stl10(tmp_path)
    images = settings("stl10", tmp_path, split="unlabeled").open()
    assert images.labels is None
    assert images.class_names == []
    assert np.array_equal(np.asarray(images.read(4)), written["unlabeled"][4])


def test_stl10_stays_on_disk(tmp_path):
    write_stl10(tmp_path)
    assert isinstance(settings("stl10", tmp_path).open().items[0].base, np.memmap)


def test_tiny_imagenet(tmp_path):
    write_tiny(tmp_path)
    val = settings("tiny", tmp_path).open()
    assert val.ids == [f"val/images/val_{i}.JPEG" for i in range(4)]
    assert val.labels.tolist() == [1, 0, 2, 1]  # by sorted WordNet id
    assert val.class_names == ["goldfish, Carassius auratus", "Egyptian cat", "n04067472"]
    assert val.read(2).getpixel((0, 0)) == (120, 120, 120)
    train = settings("tiny", tmp_path, split="train").open()
    assert train.ids[0] == "train/n01443537/images/n01443537_0.JPEG"
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert val.bad() == {}


@pytest.mark.parametrize("kind", WRITERS)
def test_root_may_be_the_official_folder_and_where_it_is_does_not_matter(tmp_path, kind):
    WRITERS[kind](tmp_path / "a")
    (inside,) = (tmp_path / "a").iterdir()
    first = settings(kind, tmp_path / "a").open().fingerprint()
    assert settings(kind, inside).open().fingerprint() == first
    inside.rename(tmp_path / "renamed")
    assert settings(kind, tmp_path / "renamed").open().fingerprint() == first


# --------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_not_there_is_told_with_the_command(tmp_path, kind):
    name = "tiny_imagenet" if kind == "tiny" else kind
    for root in (tmp_path, tmp_path / "no such place"):
        with pytest.raises(UserError, match=rf"does not hold the folder.*itae prepare dataset={name} ") as caught:
            settings(kind, root).open()
        assert str(root) in str(caught.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_file_that_is_taken_away_is_named(tmp_path, kind):
    WRITERS[kind](tmp_path)
    (folder,) = tmp_path.iterdir()
    needed = {
        "cifar10": ["test_batch", "batches.meta"],
        "cifar100": ["test", "meta"],
        "stl10": ["test_X.bin", "test_y.bin", "class_names.txt"],
        "tiny": ["wnids.txt", "val/val_annotations.txt", "val/images/val_2.JPEG"],
    }[kind]
    for name in needed:
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(UserError, match=f"{os.path.basename(name)}'? is missing.*itae prepare"):
            settings(kind, tmp_path).open()
        (folder / name).write_bytes(kept)
    settings(kind, tmp_path).open()


@pytest.fixture
def in_ten_seconds():
    """Break off what waits for ever."""

    def late(*_):
        raise TimeoutError("it still waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("cifar10", "test_batch"), ("cifar100", "meta"), ("stl10", "test_X.bin"), ("stl10", "class_names.txt"),
     ("tiny", "wnids.txt"), ("tiny", "val/val_annotations.txt")],
)  # fmt: skip
def test_a_named_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, kind, name, in_ten_seconds):
    WRITERS[kind](tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=f"{os.path.basename(name)}' is no file|does not hold"):
        settings(kind, tmp_path).open()


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "stl10"])
def test_a_short_file_is_named(tmp_path, kind):
    WRITERS[kind](tmp_path)
    (folder,) = tmp_path.iterdir()
    for name in {"cifar10": ["test_batch", "batches.meta"], "cifar100": ["test"], "stl10": ["test_X.bin"]}[kind]:
        kept = (folder / name).read_bytes()
        for size in (0, 1, len(kept) // 2, len(kept) - 1):
            (folder / name).write_bytes(kept[:size])
            with pytest.raises(UserError, match=f"{name}' is .*cut short"):
                settings(kind, tmp_path).open()
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path, protocol):
    write_cifar10(tmp_path)
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(pickle.dumps({"data": Evil()}, protocol=protocol))
    with pytest.raises(UserError, match=r"test_batch' is refused: it wants to run '(posix|nt)\.system'"):
        settings("cifar10", tmp_path).open()
    assert not mark.exists()


BATCH = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "holds a list, not a dict"),
        ({b"labels": [0, 1]}, "no 'data'"),
        (BATCH | {b"data": np.zeros((2, 3071), np.uint8)}, "no 'data'"),
        (BATCH | {b"labels": [0]}, "2 labels, one for each image"),
        (BATCH | {b"labels": [0, 10]}, r"outside of 0\.\.9"),
        (BATCH | {b"labels": [0, -1]}, r"outside of 0\.\.9"),
    ],
)
def test_a_batch_that_contradicts_itself(tmp_path, content, told):
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(python2_pickle(content))
    with pytest.raises(UserError, match=f"test_batch.*{told}"):
        settings("cifar10", tmp_path).open()


def test_stl10_labels_that_do_not_fit(tmp_path):
    write_stl10(tmp_path)
    labels = tmp_path / "stl10_binary" / "test_y.bin"
    labels.write_bytes(bytes([1, 2, 3]))
    with pytest.raises(UserError, match="3 labels for 5 images"):
        settings("stl10", tmp_path).open()
    labels.write_bytes(bytes([1, 2, 3, 0, 5]))
    with pytest.raises(UserError, match=r"outside of 1\.\.10"):
        settings("stl10", tmp_path).open()


def test_tiny_imagenet_annotations_that_do_not_fit(tmp_path):
    folder = write_tiny(tmp_path)
    table = folder / "val" / "val_annotations.txt"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match=r"no line for 'val_3\.JPEG'"):
        settings("tiny", tmp_path).open()
    table.write_text("".join(lines[:-1]) + "val_3.JPEG\tn99999999\t0\t0\t1\t1\n")
    with pytest.raises(UserError, match=r"line 4 of .* names no class"):
        settings("tiny", tmp_path).open()


def test_tiny_imagenet_without_a_class_folder(tmp_path):
    folder = write_tiny(tmp_path)
    for file in (folder / "train" / "n04067472" / "images").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"n04067472/images' holds no \.JPEG"):
        settings("tiny", tmp_path, split="train").open()
