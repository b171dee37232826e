"""The collections of `choose_rule`, as one embedding has them, and what a user means by each of their images.

Shapes: N images of a collection, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import itae
from itae.app.compose import compose, plain_values
from itae.base.construct import construct
from itae.images.image_set import ImageSet
from itae.knowledge.records.similarity import of_length_1

SPLITS = {"development": "train", "held_out": "test"}


@dataclass(frozen=True, eq=False)
class Collection:
    """Images as one embedding has them.

    Parameters
    ----------
    data, embedding
        What they are called.
    vectors_NE
        float32, of length 1.
    means
        By user, bool [N, N]: in row i what is meant by image i, the image itself maybe among it.
    """

    data: str
    embedding: str
    vectors_NE: np.ndarray
    means: Mapping[str, np.ndarray]


def collections(part: str, work: Path, checkpoint: str | None, pictures: Path | None) -> Iterator[Collection]:
    """Yield the collections of one part, in the order of the protocol; those of pictures where there are any."""
    for data, words, means in (
        ("digits", ["dataset=digits"], {"category": _same_class}),
        ("digit_pairs", ["dataset=digit_pairs"], {"one_label": _left_anywhere, "conditioned": _left_alone}),
        *(
            (
                f"digits {name}",
                ["dataset=digits_conditions", f"dataset.condition={name}"],
                {"conditioned": _under(name)},
            )
            for name in ("polarity", "colour", "rotation")
        ),
    ):
        words = [*words, f"dataset.split={SPLITS[part]}"]
        images = construct("dataset", plain_values(compose(words))["dataset"]).open()
        pixels_NE = np.array([np.asarray(images.read(i)).ravel() for i in range(len(images))], np.float64)
        vit_NE, _ = embedded(["backbone=digits_vit", *words], work)
        for embedding, vectors_NE in (("pixels", pixels_NE), ("digits_vit", vit_NE)):
            meant = {user: mean(images) for user, mean in means.items()}
            yield Collection(data, embedding, of_length_1(vectors_NE)[0], meant)
    if pictures:
        words = ["backbone=dinov2_s14", f"backbone.checkpoint={checkpoint}", "runtime.batch_size=32"]
        yield _drawn(*embedded([*words, "dataset=imagefolder", f"dataset.root={pictures}"], work), part)


def embedded(words: Sequence[str], work: Path) -> tuple[np.ndarray, list[str]]:
    """Return vectors and ids of a data set, from the cache of embeddings if they are there."""
    always = ["task=knn", "tracker=none", "runtime.report=false", f"paths.cache={work / 'cache'}"]
    run = itae.run(compose([*always, *words]), work / "runs" / "-".join(words).replace("/", "_"))
    return run.baseline.vectors, list(run.baseline.ids)


def _drawn(vectors_NE: np.ndarray, ids: Sequence[str], part: str) -> Collection:
    """Return half of the classes of pictures, CLASS/NAME-VENDOR.png, the first by name for development."""
    classes = sorted({id_.split("/")[0] for id_ in ids})
    half = classes[: len(classes) // 2] if part == "development" else classes[len(classes) // 2 :]
    some = [i for i, id_ in enumerate(ids) if id_.split("/")[0] in half]
    class_N = np.array([ids[i].split("/")[0] for i in some])
    vendor_N = np.array([Path(ids[i]).stem.rsplit("-", 1)[1] for i in some])
    means = {"category": _same(class_N), "conditioned": _same(class_N) & ~_same(vendor_N)}
    return Collection("emoji", "dinov2_s14", of_length_1(vectors_NE[some])[0], means)


def _same_class(images: ImageSet) -> np.ndarray:
    return _same(np.asarray(images.labels))


def _left_anywhere(images: ImageSet) -> np.ndarray:
    left, right = (np.array(images.attributes[name]) for name in ("left", "right"))
    return _same(left) | (left[:, None] == right)


def _left_alone(images: ImageSet) -> np.ndarray:
    return _same(images.attributes["left"]) & ~_same(images.attributes["right"])


def _under(condition: str) -> Callable[[ImageSet], np.ndarray]:
    return lambda images: _same(images.attributes["digit"]) & ~_same(images.attributes[condition])


def _same(values_N: Sequence[str] | np.ndarray) -> np.ndarray:
    values_N = np.asarray(values_N)
    return values_N[:, None] == values_N
