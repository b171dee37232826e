"""Official files in miniature, written here as their makers wrote them, byte for byte where it matters."""

import struct

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


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
        fine, coarse = [99 - i % 12 for i in range(n)], [i % 20 for i in range(n)]
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
            np.array([10 - i % 10 for i in range(n)], np.uint8).tofile(folder / f"{part}_y.bin")
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
