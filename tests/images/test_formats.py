"""The official files: what is read of them, and what is refused."""

import os
import pickle
import signal

import numpy as np
import pytest
from official import python2_pickle, write_cifar10, write_cifar100, write_stl10, write_tiny

from itae.base.errors import UserError
from itae.images.datasets import Cifar, Stl10, TinyImageNet

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
