"""A run on the disk: what it wrote, and how to read it back.

``result.json`` is the record of a run, and the only one: no tracker and no return value is needed to know what
came out.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from itae.data import ImageSet
    from itae.report import Assignments
    from itae.store import Embeddings

RESULT = "result.json"
_NO_PLACE = ("wandb", ".hydra")


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Parameters
    ----------
    folder
        The run's folder.
    result
        What is in its ``result.json``.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the run ended well; if not, ``result["error"]`` says why."""
        return self.result["status"] == "ok"

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved config of the run, as plain values."""
        return self.result["settings"]

    @cached_property
    def baseline(self) -> Embeddings:
        """The embeddings of the untouched backbone, verified as they are read."""
        return self._embeddings("baseline")

    @cached_property
    def edited(self) -> Embeddings:
        """The embeddings under the edit, verified as they are read."""
        return self._embeddings("edited")

    @property
    def scores(self) -> pd.DataFrame:
        """One row a metric: mean and std of both sides over the seeds, and of their paired delta, with its interval.

        95 %, over images and seeds; None where the result has none.
        """
        import pandas as pd

        baseline, edited, delta = (self.result[side] for side in ("baseline", "edited", "delta"))
        rows = {}
        for name, one in baseline.items():
            if not isinstance(one, dict) or "mean" not in one:
                continue
            row = {"baseline": one["mean"], "baseline std": one["std"]}
            row |= {"edited": edited[name]["mean"], "edited std": edited[name]["std"]}
            if change := (delta or {}).get(name):
                low, high = change.get("interval") or (None, None)
                row |= {"delta": change["mean"], "delta std": change["std"], "low": low, "high": high}
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def norms(self) -> pd.DataFrame:
        """One row a site of the untouched model (``q[0]``, ..., ``resid_post[11]``): norms of its patch tokens.

        Their quantiles, how bimodal they are, and where there are two modes both, the valley between, the gap, and the
        share of the patches above. See `itae.norms.by_site`.
        """
        import pandas as pd

        rows = {
            site: {"site": site.partition("[")[0], "block": int(site.partition("[")[2][:-1])}
            | row["norm"]
            | {"bimodality": row["bimodality"]}
            | (row["modes"] or {})
            for site, row in self.result["norms"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def layers(self) -> pd.DataFrame:
        """One row an edited block: what was flagged, and the CLS token's attention on it. See `itae.diagnostics`."""
        import pandas as pd

        rows = [{name: value for name, value in row.items() if name != "signal"} for row in self.result["layers"]]
        return pd.DataFrame(rows).set_index("layer") if rows else pd.DataFrame()

    def read_assignments(self) -> Assignments:
        """Return the clusters of each image, before and after the edit; a `UserError` if they are gone or damaged."""
        from itae.report import ASSIGNMENTS, read_assignments

        return read_assignments(self.folder / ASSIGNMENTS, self.edited.ids)

    def open_images(self, trust: bool = False) -> ImageSet:
        """Return the images, from where they were, after a look at whether they are still those that the run saw.

        Parameters
        ----------
        trust
            Import and make whatever class the run names as its data set. Without it that must be one of itae's own:
            a ``result.json`` may be a stranger's.

        Raises
        ------
        UserError
            If they are gone or have changed, or their class is not one of itae's own and not trusted.
        """
        from itae.settings import construct, refuse_foreign

        try:
            node, started = dict(self.settings["dataset"]), self.result.get("started") or {}
            if isinstance(node.get("root"), str):  # a relative one is meant from where the run was started
                node["root"] = os.path.join(started.get("cwd") or "", os.path.expanduser(node["root"]))
            if not trust:
                refuse_foreign(node)
            images: ImageSet = construct("dataset", node).open()
            seen = self.edited.meta["dataset"]
            # Their number first: whatever folder a stranger names, other images than the run's are not read.
            changed = len(images) != seen["images"] or images.fingerprint() != seen["fingerprint"]
        except UserError:
            raise
        except Exception as error:  # nothing is known of what a stranger's file holds
            why = f"{type(error).__name__}: {str(error)[:200]}"
            raise UserError(f"the data set that the run names can't be opened ({why})") from error
        if changed:
            raise UserError(f"the images of {images.name} are not the ones that the run saw")
        return images

    def figure(self, name: str, trust: bool = False) -> Figure | None:
        """Draw one of the run's figures: a matplotlib figure, or None where the run has nothing to show there.

        Parameters
        ----------
        name
            ``signal``, ``norms``, ``layers``, ``artifacts``, ``embeddings`` or ``clusters``.
        trust
            As of `open_images`, which ``artifacts`` needs.

        Raises
        ------
        UserError
            For another name; or if the embeddings, or for ``artifacts`` the images, are gone.
        """
        from itae.errors import one_of
        from itae.run_figures import Seen, makers

        drawn = makers(Seen.of(self, self.open_images(trust) if name == "artifacts" else None))
        one_of("figure", name, drawn)
        return drawn[name]()

    def write_page(self, out: Path | None = None, trust: bool = False) -> Path:
        """Write the run's page, by default ``report.html`` in its folder, and return where it is.

        `trust` is that of `open_images`; without it, and of another's data set, the page has no pictures.
        """
        from itae.page import write_page

        return write_page([self.folder], out, trust=trust)

    def _embeddings(self, which: str) -> Embeddings:
        from itae.store import DamagedEntry, read_entry

        folders = self.result.get("embeddings") or {}
        if which not in folders:
            raise UserError(f"The run {self.folder} has no {which} embeddings: it ended with {self.result['error']!r}.")
        try:
            path = (self.folder / folders[which]).resolve()
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.folder / RESULT} names no folder of {which} embeddings; run it again.") from error
        try:
            return read_entry(path)
        except DamagedEntry as error:
            raise UserError(
                f"The embeddings {path} of {self.folder} are gone or damaged ({error}); run it again."
            ) from error


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run back.

    Parameters
    ----------
    path
        The run's folder, or its ``result.json``.

    Raises
    ------
    UserError
        If there is no run there.
    """
    file = Path(path) / RESULT if Path(path).is_dir() else Path(path)
    try:
        if not file.is_file():  # a pipe would be waited for
            raise FileNotFoundError(file)
        result = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no run: it has no {RESULT} that can be read ({type(error).__name__}).") from error
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise UserError(f"{path} is no run: its {RESULT} has no status.")
    return Run(file.parent.absolute(), result)


def load_runs(*paths: str | os.PathLike[str]) -> pd.DataFrame:
    """Read many runs back: one row a run, its settings under dotted names (``detector.rule``), its metrics beside them.

    Parameters
    ----------
    paths
        Run folders, sweeps, or folders with some in them.

    Returns
    -------
    pandas.DataFrame
        As ``itae collect`` writes it, with the whole path as ``folder`` and the names of ``detector``, ``attenuator``
        and ``clusterer``. What is no result that can be read is left out, with a warning.

    Raises
    ------
    UserError
        If there is no run, or none that can be read.
    """
    from itae.collect_rows import with_choices
    from itae.collect_table import read_table

    table, damaged = read_table(find_results([Path(path) for path in paths]), Path(os.sep, "nowhere"))
    for file, reason in damaged.items():
        warnings.warn(f"{file} can't be read ({reason}) and is left out", stacklevel=2)
    if table.empty:
        raise UserError(f"No {RESULT} of {len(damaged)} found can be read; give folders with runs.")
    return with_choices(table)


def find_results(paths: Sequence[Path]) -> list[Path]:
    """Return every ``result.json`` under the paths, each once, in the order of their names, 2 before 10.

    Hidden folders and W&B's are not entered.

    Raises
    ------
    UserError
        If a path does not exist, or there is none under any.
    """
    found = set()
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder; give run folders, or folders with runs in them.")
        found |= {path.resolve()} if path.is_file() else set(_walk(path))
    if not found:
        raise UserError(f"No {RESULT} was found under {', '.join(map(str, paths))}; give folders with runs in them.")
    return sorted(found, key=lambda file: _natural(str(file)))


def _walk(path: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(path):
        inside[:] = [name for name in inside if not name.startswith(".") and name not in _NO_PLACE]
        if RESULT in files and (Path(folder) / RESULT).is_file():
            yield (Path(folder) / RESULT).resolve()


def _natural(text: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all; a `UserError` says why it can't be written."""
    unfinished = folder / f".{RESULT}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
        unfinished.replace(folder / RESULT)
    except OSError as error:
        raise UserError(
            f"{folder / RESULT} can't be written ({error.strerror}); make room, or set hydra.run.dir to another "
            "folder. Embeddings that are done are kept in paths.cache."
        ) from error
