"""ImageNet in miniature, in each layout that people have it in, with the lists as their makers write them."""

from __future__ import annotations

import colorsys
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

LAYOUTS = ("folders", "devkit", "devkit_archive", "kaggle", "list")
WORDS = {
    "n01440764": "tench, Tinca tinca",
    "n01443537": "goldfish, Carassius auratus",
    "n02012849": "crane",  # the bird
    "n03126707": "crane",  # the machine
    "n02007558": "flamingo",
    "n02011460": "bittern",
    "n02113186": "Cardigan, Cardigan Welsh corgi",
    "n02963159": "cardigan",
}


def imagenet(folder: Path, layout: str, classes: int = 4, train: int = 6, val: int = 4) -> list[str]:
    """Write a miniature into a folder, and return the WordNet ids of its classes in order.

    Parameters
    ----------
    folder
        What `dataset.root` is to be.
    layout
        ``folders``: val in folders of classes. ``devkit``, ``devkit_archive``: val flat, with the devkit unpacked or
        not. ``kaggle``: as from Kaggle. ``list``: val flat, with Caffe's val.txt and synset_words.txt.
    classes
        How many there are; beyond eight they have made-up names.
    train, val
        Images of each class. The bytes of those of val are the same in every layout.
    """
    words = dict(list(WORDS.items())[:classes])
    words |= {f"n9{i:07d}": f"thing {i}" for i in range(len(words), classes)}
    wnids = sorted(words)
    inside = folder / "ILSVRC" / "Data" / "CLS-LOC" if layout == "kaggle" else folder
    for place, wnid in enumerate(wnids):
        for i in range(train):
            _picture(inside / "train" / wnid / f"{wnid}_{i * i + 3}.JPEG", place, classes, i)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), val))
    names = [f"ILSVRC2012_val_{number:08d}" for number in range(1, len(labels) + 1)]
    for i, (name, place) in enumerate(zip(names, labels, strict=True)):
        below = f"{wnids[place]}/{name}" if layout == "folders" else name
        _picture(inside / "val" / f"{below}.JPEG", place, classes, train + i)
    lines = [f"{wnid} {words[wnid]}\n" for wnid in wnids]
    if layout == "kaggle":
        rows = [
            f"{name},{wnids[place]} 1 2 3 4 {wnids[place]} 2 2 5 6 \n"
            for name, place in zip(names, labels, strict=True)
        ]
        (folder / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))
        (folder / "LOC_synset_mapping.txt").write_text("".join(lines))
    elif layout == "list":
        (folder / "val.txt").write_text("".join(f"{n}.JPEG {place}\n" for n, place in zip(names, labels, strict=True)))
        (folder / "synset_words.txt").write_text("".join(lines))
    elif layout != "folders":
        _devkit(folder, words, [wnids[place] for place in labels], packed=layout == "devkit_archive")
    return wnids


def _picture(file: Path, place: int, classes: int, i: int) -> None:
    """Save an image of its class's colour, each a little different."""
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = [round(255 * part) for part in colorsys.hsv_to_rgb(place / classes, 1, 0.6 + 0.4 * (i % 8) / 8)]
    pixels = np.full((32, 32, 3), colour, np.uint8)
    pixels[:8, :8] = i % 256
    Image.fromarray(pixels).save(file, quality=95)


def _devkit(folder: Path, words: dict[str, str], truth: list[str], packed: bool) -> None:
    """Write the devkit, whose numbers are not in the order of the WordNet ids; groups of classes come last."""
    numbers = {wnid: i + 1 for i, wnid in enumerate(sorted(words, key=lambda wnid: wnid[::-1]))}
    content = {
        "readme.txt": b"This is the documentation of the ILSVRC2012 Development Kit.\n",
        "data/meta.mat": meta({number: (wnid, words[wnid]) for wnid, number in numbers.items()}),
        "data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{numbers[wnid]}\n" for wnid in truth).encode(),
    }
    if packed:
        with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
            for name, data in content.items():
                member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return
    for name, data in content.items():
        file = folder / "ILSVRC2012_devkit_t12" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def meta(classes: dict[int, tuple[str, str]], **options: object) -> bytes:
    """Return a meta.mat with these classes, by their numbers, and one group of them all."""
    fields = [
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    ]
    rows: list[tuple[object, ...]] = [
        (float(i), *classes[i], "what it is", 0.0, np.zeros((1, 0)), 0.0, 1300.0) for i in sorted(classes)
    ]
    rows.append(
        (len(rows) + 1.0, "n00001740", "entity", "all", float(len(rows)), np.arange(1.0, len(rows) + 1), 19.0, 0.0)
    )
    array = np.empty((len(rows), 1), [(name, object) for name in fields])
    for i, row in enumerate(rows):
        array[i, 0] = row
    stream = io.BytesIO()
    savemat(stream, {"other": np.arange(3), "synsets": array}, **options)
    return stream.getvalue()
