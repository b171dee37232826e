"""All pictures of one run, each drawn from what a run leaves on the disk, and none of them worth a result."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.beside import beside
from itae.base.errors import UserError
from itae.look.artifact_figures import Example, example_figure, examples, layer_figure, norm_figure
from itae.look.embedding_figures import NOISE, cluster_figure, embedding_figure
from itae.look.figures import save, signal_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from itae.images.image_set import ImageSet
    from itae.results.run import Run
    from itae.store.store import Embeddings

log = logging.getLogger(__name__)
_MOST_CLASSES = 1_000_000  # a label beyond is a damaged file, and would be counted up to


@dataclass(frozen=True)
class Seen:
    """What the pictures of a run are drawn from.

    Parameters
    ----------
    baseline, edited
        The embeddings.
    clusters
        Their assignments, [n] each; empty where the task makes none.
    classes
        The names of the labels; empty for unlabelled images.
    layers
        Rows of `itae.embed.diagnostics.flags.by_layer`.
    edit
        Its spec, None for none.
    grid
        Patches in height and width.
    picture
        Returns what the model sees of an image, uint8 [S, S, 3], by its id; None where the images are gone.
    projection
        As in `itae.base.runtime.Runtime`.
    sinks
        By block, as `itae.embed.diagnostics.sinks.sinks_of` returns them; results of before have none.
    """

    baseline: Embeddings
    edited: Embeddings
    clusters: tuple[np.ndarray, ...]
    classes: Sequence[str]
    layers: list[dict[str, Any]]
    edit: Mapping[str, Any] | None
    grid: tuple[int, int]
    picture: Callable[[str], np.ndarray] | None
    projection: str
    sinks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, images: ImageSet | None, clustered: bool) -> Seen:
        """Read a run back from the disk; without `images` there are no pictures of these.

        Parameters
        ----------
        run
            A run that ended well.
        images
            Its images.
        clustered
            Whether it has assignments; without them classes are named by `images`.

        Raises
        ------
        UserError
            If its embeddings or its assignments are gone or damaged.
        """
        from itae.images.transform import Transform

        clusters, labels = run.read_assignments() if clustered else None, run.edited.labels
        classes = [] if images is None or clustered else list(images.class_names)
        if labels is not None and clusters is not None and clusters.labels is not None:
            named = dict(zip(labels.tolist(), clusters.labels, strict=True))
            if min(named) < 0 or max(named) >= _MOST_CLASSES:
                raise UserError(f"The labels of {run.folder} are damaged: there are none below 0, or that large.")
            classes = [named.get(label, "") for label in range(max(named) + 1)]
        transform = Transform.of(run.edited.meta["space"]["transform"])
        place = {name: i for i, name in enumerate(images.ids)} if images else {}
        return cls(
            run.baseline,
            run.edited,
            (clusters.baseline, clusters.edited) if clusters else (),
            classes,
            run.result["layers"],
            run.result["edit"],
            tuple(run.result["grid"]),
            (lambda name: images.pixels(place[name], transform)) if images else None,
            run.settings["runtime"].get("projection", "pca"),
            run.result.get("sinks") or {},
        )

    @cached_property
    def examples(self) -> tuple[int, list[Example]]:
        """A block, and some images with what was flagged in them there; none where the images are gone."""
        if self.picture is None:
            return -1, []
        return examples(self.edited.diagnostics, self.edited.ids, self.grid, self.picture)

    @property
    def groups(self) -> list[str]:
        """The name of each image's class, or of its cluster before the edit where there are no classes."""
        if self.edited.labels is None:
            numbers = self.clusters[0].tolist() if self.clusters else [0] * len(self.edited.ids)
            return [str(one) if one >= 0 else NOISE for one in numbers]
        return [self.classes[i] for i in self.edited.labels]

    @property
    def grouped_by(self) -> str:
        """What `groups` are."""
        return "cluster" if self.edited.labels is None else "class"


def signal_seen(seen: Seen) -> tuple[Mapping[str, np.ndarray], list[dict[str, Any]], Mapping[str, Any] | None]:
    """Return what the picture of the signal is drawn from, and no more: where that is the same the picture is."""
    arrays = {name: array for name, array in seen.edited.diagnostics.items() if name.startswith("signal")}
    rows = [{name: row[name] for name in ("layer", "artifact_rate", "threshold")} for row in seen.layers]
    detector = (seen.edit or {}).get("detector")
    return arrays, rows, detector and {"detector": detector}


NAMES = ("signal", "norms", "layers", "artifacts", "embeddings", "clusters")
"""The figures of `makers`, which a task's own are not called by."""


def makers(seen: Seen) -> dict[str, Callable[[], Figure | None]]:
    """Return what draws each of the pictures, by name; it gives None where a run has nothing to show."""
    return {
        "signal": lambda: signal_figure(*signal_seen(seen)),
        "norms": lambda: norm_figure(seen.baseline.diagnostics, seen.layers, seen.edit),
        "layers": lambda: layer_figure(seen.layers, seen.sinks),
        "artifacts": lambda: example_figure(*seen.examples),
        "embeddings": lambda: embedding_figure(
            seen.baseline.vectors, seen.edited.vectors, seen.groups, seen.grouped_by, seen.projection
        ),
        "clusters": lambda: (
            cluster_figure(seen.edited.labels, seen.classes, *seen.clusters)
            if seen.clusters and seen.edited.labels is not None
            else None
        ),
    }


def draw_run(seen: Seen, folder: Path, only: Collection[str] | None = None, svg: bool = True) -> list[Path]:
    """Draw a run's pictures, or some of them, as PNG and SVG into a folder and return the PNGs."""
    wanted = {name: make for name, make in makers(seen).items() if only is None or name in only}

    def write(name: str) -> list[Path]:
        return save(wanted[name](), folder, name, svg)

    return [path for name in wanted for path in beside(f"The figure {name}", partial(write, name)) or []]


def copied(picture: Path, folder: Path) -> Path:
    """Copy a picture into a folder that is made if need be; return the copy."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(picture, folder))
