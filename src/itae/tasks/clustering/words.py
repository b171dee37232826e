"""Clusters named by words, where the model has a text tower: each by those that say what sets it apart.

A word's vector lies among those of images, but all words are about as far from all images, and some are nearer to
everything. So a word is worth to a cluster what it is more alike to its centroid than to those of the clusters on
average. No label is asked. Words see no clustering either: they name what was found.

Letters: N images, E embedding width, K clusters, W words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.measure.centroids import centroids

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered
    from itae.search.text.encoder import TextEncoder
    from itae.store.entry import Embeddings
    from itae.tasks.task import Job

_NAMES = 3  # of a cluster
_TOLD = 12  # clusters in a line of the table


def checked_words(words: Any) -> Any:
    """Return the setting ``task.words`` as it is kept: words, a file's name, or none; a `UserError` for any other."""
    if isinstance(words, str) and words.strip():
        return words
    if words is None or (isinstance(words, Sequence) and not isinstance(words, str) and not words):
        return []
    listed = isinstance(words, Sequence) and not isinstance(words, str)
    if not listed or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(
            f"task.words={words!r} must list words, as [cat,dog,'a red car'], or name a text file with one a line."
        )
    return list(_several(words, "task.words"))


def _several(words: Sequence[str], source: str) -> tuple[str, ...]:
    if len(set(words)) < 2:
        count = "a single word" if words else "no word"
        raise UserError(f"{source} has {count}, and clusters are told apart by several; give more.")
    return tuple(dict.fromkeys(words))


def vocabulary(words: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words, read from a text file with one a line if they are a file's name; a `UserError` if none is."""
    if not isinstance(words, str):
        return tuple(words)
    path = at_home(Path(words))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.words={words} can't be read as text ({type(error).__name__}).") from error
    if lines is None:
        raise UserError(f"task.words={words} is no file; give a text file with one word a line, or words as [cat,dog].")
    return _several([line.strip() for line in lines if line.strip()], f"The file of task.words={words}")


def check_words(job: Job, words: str | Sequence[str]) -> None:
    """Raise a `UserError` if no tower is there for these words, or the embedded one, which is quick, knows one not."""
    from itae.search.text.choose import require_tower

    backbone = job.source.backbone
    try:
        embedded = require_tower(backbone)
    except UserError as error:
        raise UserError(
            f"task.words names clusters by words, and there is no text tower for {backbone.model_name} with "
            f"backbone.pool={backbone.pool} here; leave task.words out, or take backbone=digits_clip, or, with "
            "open_clip installed, backbone=clip_b16 backbone.pool=projection or backbone=siglip_b16."
        ) from error
    known = vocabulary(words)
    if embedded:
        _vectors(job, known)


def _vectors(job: Job, words: Sequence[str]) -> np.ndarray:
    """Return the words' vectors, float32 [W, E], once for all jobs that have the same words and model."""
    from itae.search.text.choose import encoder_of

    def make() -> np.ndarray:
        encoder: TextEncoder = encoder_of(job.source.backbone, job.runtime, job.source.store)
        return encoder.encode(words)

    return job.memo.once(("words", str(job.source.backbone), tuple(words)), make)


def name_clusters(
    vectors_NE: np.ndarray, clusters_N: np.ndarray, words: Sequence[str], words_WE: np.ndarray
) -> dict[int, list[tuple[str, float]]]:
    """Return up to three words for each cluster, the best first, each with what it is worth; noise has none.

    By the cosine of a word's vector with the mean direction of the cluster, less the mean of that over clusters; above
    0. Of one cluster there is nothing to tell apart, and no word.
    """
    present_K, means_KE = centroids(vectors_NE, clusters_N, spherical=True)
    if not len(present_K):
        return {}
    alike_KW = means_KE @ words_WE.T.astype(np.float64)
    worth_KW = alike_KW - alike_KW.mean(axis=0)
    found = {}
    for number, worth_W in zip(present_K.tolist(), worth_KW, strict=True):
        best = np.argsort(-worth_W, kind="stable")[:_NAMES]
        found[int(number)] = [(words[i], float(worth_W[i])) for i in best if worth_W[i] > 1e-9]
    return found


def named(
    job: Job, words: str | Sequence[str], sides: Sequence[tuple[Embeddings, Clustered]]
) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """Return the words of each side's clusters, by ``baseline`` and ``edited`` and number; nothing without words."""
    if not words:
        return {}
    known = vocabulary(words)
    words_WE = _vectors(job, known)
    found = [name_clusters(entry.vectors, side.assignments, known, words_WE) for entry, side in sides]
    return {
        side: {str(number): told for number, told in names.items()}
        for side, names in zip(("baseline", "edited"), found, strict=True)
    }


def told_words(names: Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]) -> list[tuple[str, str]]:
    """Return the line under the table: the first word of each edited cluster."""
    if not names:
        return []
    if not names["edited"]:
        return [("words", "of the edited clusters: there are none")]
    each = [f"{number}: {words[0][0] if words else 'none'}" for number, words in names["edited"].items()]
    return [("words", "of the edited clusters: " + ", ".join(each[:_TOLD]) + (", ..." if len(each) > _TOLD else ""))]


def on_page(names: Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]) -> dict[str, Any]:
    """Return what the clusters' part of a page has of them."""
    sides = {"before": "baseline", "after": "edited"}
    return {"words": {side: {number: [word for word, _ in words] for number, words in names[name].items()}
                      for side, name in sides.items()}} if names else {}  # fmt: skip
