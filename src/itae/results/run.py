"""A run on the disk: what it wrote, and how to read it back.

``result.json`` is the record of a run, and the only one: no tracker and no return value is needed to know what
came out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.results.before import PARTS
from itae.results.find import RESULT

if TYPE_CHECKING:
    import pandas as pd

    from itae.images.image_set import ImageSet
    from itae.results.assignments import Assignments
    from itae.store.store import Embeddings

ALONE = ("operators", "deploy", "search")
"""Kinds of runs of ``itae portable``, which have no baseline and no edit, and stand in no table with other runs."""


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
        settings: dict[str, Any] = self._told("settings")
        return settings

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """The parts of its page that the task tells of; of an old result, those of clustering."""
        parts = list(PARTS if self.result.get("shown") is None else self.result.get("parts") or ())
        if not all(isinstance(part, Mapping) for part in parts):
            raise UserError(
                f"{self.folder / RESULT} is damaged, or of another version of itae: a part of its page is no mapping; "
                "run it again."
            )
        return parts

    @property
    def clustered(self) -> bool:
        """Whether the task put the images into clusters, which are in its assignments."""
        return any(part.get("kind") == "clusters" for part in self.parts)

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

        95 %, over images and seeds; None where the result has none. A `UserError` if the run didn't end well.
        """
        import pandas as pd

        baseline, edited, delta = (self._told(side) for side in ("baseline", "edited", "delta"))
        rows = {}
        for name, one in baseline.items():
            other = edited.get(name)
            if not all(isinstance(side, dict) and "mean" in side for side in (one, other)):
                continue
            row = {"baseline": one["mean"], "baseline std": one.get("std")}
            row |= {"edited": other["mean"], "edited std": other.get("std")}
            if change := (delta or {}).get(name):
                low, high = change.get("interval") or (None, None)
                row |= {"delta": change["mean"], "delta std": change["std"], "low": low, "high": high}
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def norms(self) -> pd.DataFrame:
        """One row a site of the untouched model (``q[0]``, ..., ``resid_post[11]``): norms of its patch tokens.

        Their quantiles, how bimodal they are, and where there are two modes both, the valley between, the gap, and the
        share of the patches above. See `itae.embed.diagnostics.norms.by_site`.
        """
        import pandas as pd

        rows = {
            site: {"site": site.partition("[")[0], "block": int(site.partition("[")[2][:-1])}
            | row["norm"]
            | {"bimodality": row["bimodality"]}
            | (row["modes"] or {})
            for site, row in self._told("norms").items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def layers(self) -> pd.DataFrame:
        """One row an edited block: what was flagged, and the CLS token's attention on it."""
        import pandas as pd

        rows = [{name: value for name, value in row.items() if name != "signal"} for row in self._told("layers")]
        return pd.DataFrame(rows).set_index("layer") if rows else pd.DataFrame()

    def read_assignments(self) -> Assignments:
        """Return the clusters of each image, before and after the edit; a `UserError` if they are gone or damaged."""
        from itae.results.assignments import ASSIGNMENTS, read_assignments

        if not self.clustered:  # a file there is another run's
            raise UserError(f"The task of {self.folder} puts images into no clusters.")
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
        from itae.base.construct import construct
        from itae.results.foreign import refuse_foreign

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

    def _told(self, name: str) -> Any:
        """Return what the result has of a run that ended well; a `UserError` says why one has none."""
        if name not in self.result:
            raise UserError(f"The run {self.folder} has no {name}: it ended with {self.result.get('error')!r}.")
        return self.result[name]

    def _embeddings(self, which: str) -> Embeddings:
        from itae.store.store import DamagedEntry, read_entry

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


def read_run(path: str | os.PathLike[str]) -> Run:
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
        result = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no run: it has no {RESULT} that can be read ({type(error).__name__}).") from error
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise UserError(f"{path} is no run: its {RESULT} has no status.")
    return Run(file.parent.absolute(), result)


def mean_artifact_rate(result: Mapping[str, Any]) -> float | None:
    """Return the share of patches that was flagged, as the mean over the edited blocks; None where there are none."""
    rates = [float(rate) for rate in result["artifact_rate"].values()]
    return sum(rates) / len(rates) if rates else None


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all; a `UserError` says why it can't be written."""
    unfinished = folder / f".{RESULT}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        unfinished.replace(folder / RESULT)
    except OSError as error:
        raise UserError(
            f"{folder / RESULT} can't be written ({error.strerror}); make room, or set hydra.run.dir to another "
            "folder. Embeddings that are done are kept in paths.cache."
        ) from error
