"""``assignments.csv`` in a run's folder: the cluster of each image before and after the edit."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itae.base.errors import UserError
from itae.measure.cluster.clustered import NOISE

ASSIGNMENTS = "assignments.csv"
_DISTANCES = ("baseline_distance", "edited_distance")


@dataclass(frozen=True)
class Assignments:
    """What ``assignments.csv`` says.

    Attributes
    ----------
    labels
        The name of each image's class, or None.
    baseline, edited
        Cluster numbers, int64 [n], which have nothing to do with each other; -1 is noise, a point in no cluster.
    moved
        Cosine distance between the image's two embeddings, float64 [n].
    distances
        Of each side, before and after, to the centroid of the image's own cluster, float64 [n], NaN for noise; empty in
        files from before they were written.
    """

    labels: list[str] | None
    baseline: np.ndarray
    edited: np.ndarray
    moved: np.ndarray
    distances: tuple[np.ndarray, ...] = ()


def write_assignments(
    path: Path,
    ids: Sequence[str],
    labels: Sequence[str] | None,
    baseline: np.ndarray,
    edited: np.ndarray,
    moved: np.ndarray,
    distances: Sequence[np.ndarray] = (),
) -> None:
    """Write one row an image: its id, its label if there is one, its cluster before and after the edit.

    Both clusterings are the ones of the best objective; their cluster numbers have nothing to do with each other, and
    -1 is noise. `moved` is the cosine distance between the image's two embeddings; `distances` are those of both sides
    to the centroid of the image's cluster there, left empty for noise. Names are written as they are, those too that a
    spreadsheet takes for a number or a formula (``2024_05``, ``=1+1.png``): they are read back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(["label"] if labels is not None else []), "baseline", "edited", "moved",
                         *_DISTANCES[: len(distances)]])  # fmt: skip
        for i, name in enumerate(ids):
            label = [labels[i]] if labels is not None else []
            far = ["" if np.isnan(side[i]) else f"{side[i]:.6g}" for side in distances]
            writer.writerow([name, *label, int(baseline[i]), int(edited[i]), f"{moved[i]:.6f}", *far])


def read_assignments(path: Path, ids: Sequence[str]) -> Assignments:
    """Read them back; a `UserError` if they are gone, damaged, or not of these images."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(path)
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = [np.array([row[name] for row in rows]) for name in ("id", "baseline", "edited", "moved")]
        if columns[0].tolist() != list(ids):
            raise UserError(f"{path} is of other images than the embeddings.")
        labels = [row["label"] for row in rows] if "label" in rows[0] else None
        baseline, edited = (column.astype(np.int64) for column in columns[1:3])
        if min(baseline.min(), edited.min()) < NOISE:
            raise ValueError("a cluster number below that of noise")
        far = [np.array([row[name] or "nan" for row in rows], float) for name in _DISTANCES if name in rows[0]]
        return Assignments(labels, baseline, edited, columns[3].astype(float), tuple(far))
    except (OSError, KeyError, ValueError, TypeError, IndexError, csv.Error) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run it again.") from error
