"""How much runs of several clusterers agree on the same images: the adjusted Rand index of each pair, without labels.

Of the clusters of each run's edited side, as ``assignments.csv`` has them.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itae.base.errors import UserError
from itae.results.assignments import ASSIGNMENTS
from itae.results.clusterings import CLUSTERINGS
from itae.results.rows import SEED, labels, science
from itae.results.run import read_run

AGREEMENTS = "agreement.csv"
MOST = 24
"""Runs of a matrix, at most: as many of each clusterer."""
_FAULTS = (UserError, OSError, KeyError, ValueError, TypeError, csv.Error, zipfile.BadZipFile, EOFError)


@dataclass(frozen=True)
class Agreements:
    """Runs of the same images, held against each other.

    Attributes
    ----------
    names, folders
        What tells each run from the others, in words; and where it lies, as in the table.
    ari
        float64 [R, R], 1 on the diagonal.
    notes
        Which runs are not among them, and why.
    """

    names: Sequence[str]
    folders: Sequence[str]
    ari: np.ndarray
    notes: Sequence[str]


def agreements(table: pd.DataFrame, home: Path) -> Agreements | None:
    """Return how much the runs of a table agree, or None unless several clusterers saw the same images.

    Parameters
    ----------
    table
        As `itae.results.table.read_table` returns it.
    home
        What its column ``folder`` is relative to.
    """
    from itae.measure.agreement import agreement

    ok = table[table["status"] == "ok"]
    clusterers = _clusterers(ok)
    if clusterers.nunique() < 2:
        return None
    read = {i: found for i in ok.index if (found := _clusters(home / str(ok.loc[i, "folder"])))}
    groups: dict[Hashable, list[Any]] = {}
    for i, (images, _) in read.items():
        groups.setdefault(images, []).append(i)
    rows = max((some for some in groups.values() if clusterers[some].nunique() > 1), key=len, default=None)
    if rows is None:
        return None
    chosen = _some(clusterers[rows])
    named = labels(science(ok.loc[chosen]), [SEED] if _one_seed(ok.loc[chosen]) else [])
    ari = np.array([[agreement(read[i][1], read[j][1])["ari"] for j in chosen] for i in chosen])
    return Agreements(list(named), list(ok.loc[chosen, "folder"]), ari, _notes(len(chosen), len(rows), len(ok)))


def write_agreements(found: Agreements, path: Path) -> Path:
    """Write the matrix, a row and a column a run; a `UserError` says why it can't be."""
    try:
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.writer(file)
            writer.writerow(["folder", "settings", *found.folders])
            for folder, name, row in zip(found.folders, found.names, found.ari, strict=True):
                writer.writerow([folder, name, *(f"{value:.6f}" for value in row)])
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror}); give --out a folder you may write to.") from error
    return path


def _clusterers(ok: pd.DataFrame) -> pd.Series:
    """Return the settings of each run's clusterer as one text; equal for runs of one."""
    names = [name for name in ok if name.startswith("clusterer.")]
    return ok[names].astype("string").fillna("").agg(" ".join, axis=1) if names else pd.Series("", ok.index)


def _one_seed(rows: pd.DataFrame) -> bool:
    return SEED not in rows or rows[SEED].nunique(dropna=False) < 2


def _clusters(folder: Path) -> tuple[Hashable, np.ndarray] | None:
    """Return which images a run saw, and their clusters after the edit; None where that can't be read."""
    path = folder / ASSIGNMENTS
    try:
        if not path.is_file() or not read_run(folder).clustered:  # a pipe would be waited for
            return None
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        ids, own = tuple(row["id"] for row in rows), np.array([int(row["edited"]) for row in rows])
        return ((ids, _bytes_of(folder / CLUSTERINGS)), own) if len(own) > 1 else None
    except _FAULTS:
        return None


def _bytes_of(path: Path) -> bytes | None:
    """Return the sha256 of the images' ids and bytes, which runs with labels have kept."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        found: bytes = file["images"].tobytes()
        return found


def _some(clusterers: pd.Series) -> list[Any]:
    """Return at most `MOST` rows, as many of each clusterer as of the others, in their order."""
    if len(clusterers) <= MOST:
        return list(clusterers.index)
    each = max(1, MOST // clusterers.nunique())
    return list(clusterers.groupby(clusterers, sort=False).head(each).index[:MOST])


def _notes(shown: int, same: int, ok: int) -> list[str]:
    notes = []
    if same < ok:
        notes.append(f"{ok - same} runs are of other images, or have no {ASSIGNMENTS} that can be read.")
    if shown < same:
        notes.append(f"{shown} of {same} runs, the first of each clusterer.")
    return notes


def as_rows(found: Agreements) -> Mapping[str, Any]:
    """Return the matrix as a page shows it."""
    return {
        "names": [name or "the one setting" for name in found.names],
        "rows": [[f"{value:.3f}" for value in row] for row in found.ari],
        "notes": list(found.notes),
    }
