"""A task of somebody's own: how wide embeddings are spread. None of its names is one of clustering's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from itae.results.shown import Metric, Shown
from itae.tasks.task import BaseTask, File, Outcome, Want


@dataclass(frozen=True)
class Width(BaseTask):
    """The mean distance of embeddings to their mean, in units of `unit`."""

    kind: ClassVar[str] = "width"
    unit: float = 1.0

    def measure(self, job, embeddings):
        far = {
            name: np.linalg.norm(e.vectors - e.vectors.mean(0), axis=1) / self.unit for name, e in embeddings.items()
        }
        mean = {name: {"mean": float(d.mean()), "std": None, "per_seed": [float(d.mean())]} for name, d in far.items()}
        change = {"width": {"mean": mean["edited"]["mean"] - mean["baseline"]["mean"], "std": None, "interval": None}}
        width = Metric("width", "Width", better="lower", labels=False, space="own")
        return Outcome(
            baseline={"width": mean["baseline"]}, edited={"width": mean["edited"]}, delta=change,
            shown=Shown("width", "width", ("width",), {"width": width}),
            details=[("widest", f"{far['edited'].max():.2f}")],
            files=[File("far.npy", lambda folder: np.save(folder / "far.npy", far["edited"]))],
            parts=[{"kind": "table", "title": "Farthest", "columns": ["id"], "rows": [[embeddings["edited"].ids[0]]]}],
        )  # fmt: skip


class Queries(Width):
    """The same, with twenty of the images as a second source."""

    kind: ClassVar[str] = "queries"

    def wants(self, job):
        gallery = job.open({"limit": 20})
        return [*job.sides(), *(Want(f"{side.name}.gallery", gallery, side.edit) for side in job.sides())]


class OfEach(Width):
    """The same, with what each image adds to it."""

    kind: ClassVar[str] = "width_of_each"

    def measure(self, job, embeddings):
        found = super().measure(job, embeddings)
        change = {"width": {**found.delta["width"], "per_seed": [found.delta["width"]["mean"]]}}
        edited = embeddings["edited"].vectors
        far = np.linalg.norm(edited - edited.mean(0), axis=1) / self.unit
        return replace(found, delta=change, image_values={"width": far[None]})
