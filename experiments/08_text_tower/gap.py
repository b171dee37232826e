"""Does it help to take the modality gap out before a text and image marks are mixed? As trained, and with one planted.

A person types words that mean several digits and wants one of them, or all. The first page, by the text itself, is
marked by labels, and the rules of feedback rank what is left: beside the text's vector as it is, and as
`itae.search.text.bridged` has it. (`none` goes by the text alone, and `nearest` too, among those that are nearest a
yes.)
Images are those of the split `test`; how the gap is taken out was chosen with `--split train`.
Run: `python experiments/08_text_tower/gap.py`, and again with `--everywhere --out ...`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sentences import EVEN, ODD, PRIME, WORDS
from train import images

from itae.base.runtime import Runtime
from itae.knowledge.records.rows import Rows, filed
from itae.knowledge.records.snapshot import Snapshot, after, empty
from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank
from itae.search.rule import Rule
from itae.search.rules import Kernel, Logistic, Margin, MeanDifference, Nearest, Rocchio, Svm, Unchanged
from itae.search.text import bridged, gap, text_encoder

HERE = Path(__file__).parent
RULES: Mapping[str, Rule] = {
    "none": Unchanged(), "nearest": Nearest(), "margin": Margin(), "rocchio": Rocchio(),
    "mean_difference": MeanDifference(), "kernel": Kernel(), "logistic": Logistic(), "svm": Svm(),
}  # fmt: skip
PAGES = (5, 10)
RECIPE = {"_target_": "itae.backbone.Backbone", "model_name": "digits_clip", "image_size": 32, "pool": "projection",
          "checkpoint": "pkg://itae/weights/digits_clip.safetensors", "module": "itae.digits_clip"}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What is typed, and which classes are wanted."""

    text: str
    wanted: frozenset[int]


def wishes() -> Iterator[Wish]:
    """Yield what is asked: words for several digits, of which one or all are wanted."""
    told = {"an odd number": ODD, "even numbers": EVEN, "prime digits": PRIME, "a digit with a loop": {0, 6, 8, 9},
            "a digit without a loop": {1, 2, 3, 4, 5, 7}}  # fmt: skip
    told |= {f"less than {WORDS[n]}": set(range(n)) for n in range(2, 7)}
    told |= {f"more than {WORDS[n]}": set(range(n + 1, 10)) for n in range(3, 8)}
    told |= {f"either a {WORDS[n]} or a {WORDS[(n + 3) % 10]}": {n, (n + 3) % 10} for n in range(10)}
    for text, meant in told.items():
        yield Wish(text, frozenset(meant))
        yield from (Wish(text, frozenset({digit})) for digit in sorted(meant))


@dataclass(frozen=True)
class Space:
    """Unit vectors of a collection and of texts.

    Parameters
    ----------
    images
        Of the collection, [N, E].
    usual
        Of the usual texts, [T, E].
    told
        Returns that of a text.
    """

    images: np.ndarray
    usual: np.ndarray
    told: Callable[[str], np.ndarray]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors in their directions, of length 1."""
    out: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return out


def planted(space: Space, length: float, seed: int = 0) -> Space:
    """Return the space with a gap: images and texts moved along a random direction each, and back onto the sphere."""
    of_images, of_texts = unit(np.random.default_rng(seed).normal(size=(2, space.images.shape[1]))) * length
    return Space(
        unit(space.images + of_images),
        unit(space.usual + of_texts),
        lambda text: unit(space.told(text) + of_texts),
    )


def base_of(images: np.ndarray) -> Snapshot:
    """Return a knowledge base in memory of some vectors."""
    n = len(images)
    rows = Rows([f"{i:05d}" for i in range(n)], images, [()] * n, "memory", np.zeros((n, 32), np.uint8), [None] * n)
    when = datetime(1970, 1, 1, tzinfo=UTC)
    return after(empty({}, ""), np.zeros(0, np.int64), {}, filed(rows, 0, when, {}), 1, "root")


def scores(order: np.ndarray, right_N: np.ndarray) -> tuple[float, float]:
    """Return precision at 10 and MAP@R (Musgrave et al. 2020, arXiv 2003.08505) of an order of a collection."""
    hits = right_N[order]
    total = int(hits.sum())
    places = np.arange(1, total + 1)
    return float(hits[:10].mean()), float((hits[:total].cumsum() / places * hits[:total]).sum() / total)


def rounds(
    space: Space, labels_N: np.ndarray, page: int, move: Callable[[np.ndarray], np.ndarray | None]
) -> dict[str, np.ndarray]:
    """Return precision at 10 and MAP@R of each wish after one round, [wishes, 2], by rule; of what was not judged.

    The first page is by the text itself; `move` returns what stands for it once images are judged.
    """
    alike = Alike(base_of(space.images.astype(np.float32)))
    out: dict[str, list[tuple[float, float]]] = {}
    for wish in wishes():
        text_E = space.told(wish.text)
        right_N = np.isin(labels_N, list(wish.wanted))
        query = Query(text_E, is_text=True, among_images_E=move(text_E))
        first = rank(alike, query, Marks(), Unchanged(), page).positions_K
        marks = Marks(first[right_N[first]].tolist(), first[~right_N[first]].tolist())
        for name, rule in RULES.items():
            order = rank(alike, query, marks, rule, len(labels_N)).positions_K
            out.setdefault(name, []).append(scores(order, right_N))
    return {name: np.array(rows) for name, rows in out.items()}


def bridge_of(space: Space) -> Callable[[np.ndarray], np.ndarray]:
    """Return what takes the gap out of a text of a space."""
    mean_E = space.usual.mean(axis=0)
    return lambda text_E: bridged(text_E, mean_E)


def without_gap(space: Space, labels_N: np.ndarray, page: int, everywhere: bool) -> dict[str, np.ndarray]:
    """Return what `rounds` does where the gap is taken out: once images are judged, or for the first page already."""
    move = bridge_of(space)
    if not everywhere:
        return rounds(space, labels_N, page, move)
    return rounds(replace(space, told=lambda text: move(space.told(text))), labels_N, page, lambda _: None)


def trained(split: str, cache: Path) -> tuple[Space, np.ndarray]:
    """Return the space of `digits_clip` as it is, and the labels of a split."""
    from safetensors.numpy import load_file

    from itae.vit.digits_vit import WEIGHTS

    cls_NW, labels_N = images(split, cache)
    encoder = text_encoder({"backbone": RECIPE}, Runtime("cpu"))
    image_NE = unit(cls_NW.numpy() @ load_file(WEIGHTS / "digits_clip.safetensors")["head.weight"].T)
    return Space(image_NE, encoder.encode(encoder.usual), lambda text: encoder.encode([text])[0]), labels_N.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="test")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument(
        "--plants", type=int, default=5, help="of how many random gaps of each length the mean is taken"
    )
    parser.add_argument("--everywhere", action="store_true", help="take the gap out for the first page, too")
    parser.add_argument("--out", type=Path, default=HERE / "gap.csv")
    args = parser.parse_args()
    as_trained, labels_N = trained(args.split, args.cache)
    rows = []
    for length in (0, 0.5, 1):
        spaces = [planted(as_trained, length, seed) for seed in range(args.plants)] if length else [as_trained]
        apart = np.mean([gap(space.usual.mean(axis=0), space.images.mean(axis=0)) for space in spaces])
        for page in PAGES:
            found = [[rounds(space, labels_N, page, lambda _: None) for space in spaces],
                     [without_gap(space, labels_N, page, args.everywhere) for space in spaces]]  # fmt: skip
            for rule in RULES:
                a, b = (np.mean([each[rule] for each in some], axis=0) for some in found)
                row = {"split": args.split, "planted": length, "gap": f"{apart:.2f}", "judged": page, "rule": rule}
                for i, name in enumerate(("p_at_10", "map_at_r")):
                    row |= {name: f"{a[:, i].mean():.3f}", f"{name}_bridged": f"{b[:, i].mean():.3f}",
                            f"{name}_error": f"{(b - a)[:, i].std() / len(a) ** 0.5:.3f}"}  # fmt: skip
                rows.append(row)
    with args.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
