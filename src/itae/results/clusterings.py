"""``clusterings.npz`` in a run's folder: what its edited side said of each image, by which runs are compared.

All of it is small whole numbers, read without pickle. Zip checks their sums; whether they are this run's is asked of
its scores.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.measure.knn import same_bytes
from itae.measure.scores import hits

if TYPE_CHECKING:
    from itae.measure.cluster.clustered import Clustered
    from itae.results.run import Run
    from itae.store.store import Embeddings

CLUSTERINGS = "clusterings.npz"


@dataclass(frozen=True)
class Clusterings:
    """What the edited side of a run said of each image.

    Attributes
    ----------
    images
        The sha256 of all images' ids and bytes in their order.
    labels
        Whole numbers >= 0, [n].
    groups
        Equal numbers for images of the same bytes, [n], or None where there are none.
    assignments
        Clusters of every fit, [fits, n], one a seed or one where there are no seeds; -1 is noise.
    knn_correct
        Whether the neighbours name each image's class, bool [n], or None where that was not asked.
    """

    images: bytes
    labels: np.ndarray
    groups: np.ndarray | None
    assignments: np.ndarray
    knn_correct: np.ndarray | None


def write_clusterings(path: Path, edited: Embeddings, task: Clustered) -> None:
    """Write them, if the images have labels and the task tells its assignments: a byte or two an image and seed."""
    if edited.labels is None or task.per_seed is None:
        return
    groups, labels = same_bytes(edited.digests), edited.labels
    told: dict[str, Any] = {
        "images": np.frombuffer(images_of(edited), np.uint8),
        "labels": labels.astype(np.min_scalar_type(int(labels.max()))),
        "assignments": task.per_seed,
    }
    if groups is not None:
        told["groups"] = groups.astype(np.min_scalar_type(int(groups.max())))
    if task.knn_correct is not None:
        told["knn_correct"] = np.packbits(task.knn_correct)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **told)


def images_of(edited: Embeddings) -> bytes:
    """Return the sha256 of all images' ids and bytes in their order."""
    told = hashlib.sha256("\n".join(edited.ids).encode("utf-8", "surrogateescape"))
    if edited.digests is not None:
        told.update(edited.digests.tobytes())
    return told.digest()


def read_clusterings(run: Run) -> Clusterings:
    """Read them back.

    Raises
    ------
    UserError
        If there are none, as of runs from before they were kept, or if they are damaged or of another run.
    """
    path = run.folder / CLUSTERINGS
    try:
        with np.load(path, allow_pickle=False) as file:
            told = {name: file[name] for name in file.files}
        labels, assignments = told["labels"].astype(np.int64), told["assignments"]
        near = told.get("knn_correct")
        found = Clusterings(
            told["images"].tobytes(), labels, told.get("groups"), assignments,
            None if near is None else np.unpackbits(near, count=len(labels)).astype(bool),
        )  # fmt: skip
        its_own = _agree(run.result["edited"], found)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, UserError) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run it again.") from error
    if not its_own:
        raise UserError(f"{path} is of another run than {run.folder}; run it again.")
    return found


def _agree(edited: dict[str, Any], found: Clusterings) -> bool:
    """Return whether the scores in a result are those of the clusterings, and all is of as many images."""
    n, near = len(found.labels), found.knn_correct
    if found.assignments.shape != (max(1, len(edited["seeds"])), n) or (
        found.groups is not None and found.groups.shape != (n,)
    ):
        return False
    pairs = [] if near is None else [(near.mean(), edited["knn"]["mean"])]
    if "acc" in edited:
        each = [hits(found.labels, one.astype(np.int64))["acc"].mean() for one in found.assignments]
        pairs += zip(each, edited["acc"]["per_seed"], strict=True)
    return all(abs(ours - theirs) < 1e-9 for ours, theirs in pairs)
