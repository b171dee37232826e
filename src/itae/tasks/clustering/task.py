"""The clustering task: cluster both sides' embeddings, score them, and say how far the difference is open."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from itae.base.checks import number, whole
from itae.images.image_set import count_classes
from itae.measure.agreement import between
from itae.measure.centroids import distances
from itae.measure.faiss_backend import require_faiss, why_on_cpu
from itae.measure.intervals import with_intervals
from itae.measure.knn import same_bytes
from itae.measure.scores import paired_delta, small_classes
from itae.measure.silhouette import SAMPLE, Space
from itae.results.assignments import ASSIGNMENTS, write_assignments
from itae.results.clusterings import CLUSTERINGS, write_clusterings
from itae.results.shown import Metric, Shown, shown_of
from itae.tasks.clustering.choice import CAPTION, choice_figure, in_result, notes, told, tracked, with_k
from itae.tasks.clustering.cluster_and_score import cluster_and_score, number_of_clusters, spaces, to_choose
from itae.tasks.clustering.links import remove_links, write_links
from itae.tasks.clustering.notes import class_notes, cluster_notes
from itae.tasks.clustering.reading import reading
from itae.tasks.clustering.words import check_words, checked_words, named, on_page, told_words
from itae.tasks.task import BaseTask, File, Job, Outcome

if TYPE_CHECKING:
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.measure.cluster.choose_k import Choice
    from itae.measure.cluster.clustered import Clustered
    from itae.store.entry import Embeddings

_MORE = (
    Metric("acc_clustered", "ACC of clustered images"),
    Metric("noise_share", "share of images in no cluster", better=None, labels=False),
    Metric("clusters", better=None, labels=False),
)
"""What clusterers have that leave images out, or find the number of clusters."""


@dataclass(frozen=True)
class Clustering(BaseTask):
    """The clustering task; the clusterings' settings are the clusterer's.

    Parameters
    ----------
    knn
        How many neighbours vote on an image's class, leaving out the image itself and those of the same bytes; 0 for no
        such readout. Where there are not so many other images, all of them vote. Default 20.
    temperature
        Of the votes, at least 0.001; see `itae.measure.scores.knn_correct`. Default 0.07.
    words
        Words, or a text file with one a line, of which each cluster is named by those that set it apart, where the
        model has a text tower; see `itae.tasks.clustering.words`. None at all (default): no names.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    kind: ClassVar[str] = "clustering"
    groups: ClassVar[tuple[str, ...]] = ("clusterer",)
    leaves: ClassVar[tuple[str, ...]] = (CLUSTERINGS,)

    knn: int = 20
    temperature: float = 0.07
    words: str | Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        whole("task.knn", self.knn, 0)
        number("task.temperature", self.temperature, 0.001)
        object.__setattr__(self, "words", checked_words(self.words))

    def check(self, job: Job) -> None:
        """Ask the clusterer whether it can do with so many images and classes, and whether words can be read."""
        if self.words:
            check_words(job, self.words)
        self.usable(job, job.source, job.source.images)

    def usable(self, job: Job, source: Source, images: ImageSet) -> None:
        """Ask the clusterer whether it can do with so many images and classes, and who chooses k, if it is chosen."""
        clusterer = job.parts["clusterer"]
        number_of_clusters(clusterer, len(images), images.n_classes)
        if to_choose(clusterer, len(images), images.n_classes):
            require_faiss()

    def clear(self, folder: Path) -> None:
        """Remove what another run left: clusterings that would be taken for this one's, and folders of links."""
        super().clear(folder)
        remove_links(folder)

    def measure(self, job: Job, embeddings: Mapping[str, Embeddings]) -> Outcome:
        """Cluster and score both sides, and pair them."""
        began = time.perf_counter()
        baseline, edited = embeddings["baseline"], embeddings["edited"]
        clusterer, choice = with_k(job, baseline)
        before, after = (self._clustered(job, clusterer, entry, baseline) for entry in (baseline, edited))
        common = _silhouettes_in_common(job, baseline, before, after)
        seconds = time.perf_counter() - began
        delta = _delta(before, after, edited)
        agree = between(before, after)
        names = named(job, self.words, ((baseline, before), (edited, after)))
        return Outcome(
            baseline=before.metrics | {"silhouette_common": common[0]},
            edited=after.metrics | {"silhouette_common": common[1]},
            delta=delta,
            shown=_shown(before, delta, choice),
            result={"timing": {"cluster_s": seconds}, "agreement": agree, **in_result(choice),
                    **({"words": names} if names else {})},
            details=[*told(choice), *_details(before, after, delta), *reading(before, after, delta, agree),
                     *told_words(names)],
            notes=[
                *notes(choice),
                *class_notes(job.source.images.class_names, edited),
                *_about_images(job, edited, before),
                *cluster_notes(job.parts["clusterer"], {"baseline": before, "edited": after}),
                *filter(None, [why_on_cpu(job.runtime.device)]),
            ],
            clusters=(before.assignments, after.assignments),
            files=_files(job, baseline, edited, before, after),
            figures={"k": (CAPTION, partial(choice_figure, choice))} if choice else {},
            tracked={"agreement": agree} | tracked(choice),
            selection="proxy" if choice else "fixed",
            parts=[{"kind": "clusters", "title": "Clusters",
                    "spherical": bool(getattr(job.parts["clusterer"], "spherical", False)), **on_page(names)}],
        )  # fmt: skip

    def _clustered(self, job: Job, clusterer: Any, entry: Embeddings, baseline: Embeddings) -> Clustered:
        """Cluster and score one side, once for all jobs that ask for the same."""
        classes = count_classes(entry.labels)  # of the images that are left: one that lost all of its own is none
        return job.memo.once(
            (entry.path, baseline.path if getattr(clusterer, "spaces", "own") == "both" else None, job.settings_text,
             getattr(clusterer, "k", None)),
            lambda: cluster_and_score(
                spaces(clusterer, baseline.vectors, entry.vectors), entry.labels, classes, clusterer, job.seed,
                job.runtime.device, same_bytes(entry.digests), self.knn, self.temperature,
            ),
            anew=entry.fresh,
        )  # fmt: skip


def _silhouettes_in_common(
    job: Job, baseline: Embeddings, before: Clustered, after: Clustered
) -> tuple[float | None, float | None]:
    """Return the silhouettes of both clusterings in the space of the baseline."""

    def of_the_baseline() -> tuple[Space, float | None, Clustered]:
        space = Space(baseline.vectors)
        return space, space.silhouette(before.assignments), before  # kept, so that nothing else gets its id

    space, own, _ = job.memo.last("the baseline's space", id(before), of_the_baseline)
    return own, space.silhouette(after.assignments)


def _delta(before: Clustered, after: Clustered, edited: Embeddings) -> dict[str, Any] | None:
    """Return edited minus baseline, seed by seed and with intervals, or None where there are no labels."""
    if edited.labels is None or "acc" not in before.metrics:
        return None
    delta = paired_delta(before.metrics, after.metrics)
    return with_intervals(delta, edited.labels, before, after, same_bytes(edited.digests))


def _shown(before: Clustered, delta: Mapping[str, Any] | None, choice: Choice | None) -> Shown:
    """Return what k-means says of its metrics, with the clusterer's own objective, and what else it has."""
    usual = shown_of({"baseline": before.metrics, "delta": delta})
    metrics = dict(usual.metrics)
    objective = before.objective
    if objective is None or objective.name != "inertia":
        del metrics["inertia"]
    if objective is not None:
        metrics[objective.name] = Metric(objective.name, better=objective.better, labels=False, space="own")
    metrics |= {one.name: one for one in _MORE if one.name in before.metrics}
    own = [] if objective is None else [objective.name]
    table = [name for name in usual.table if name in metrics] if delta else [*own, "silhouette"]
    more = [one.name for one in _MORE if one.name in before.metrics]
    headline = usual.headline if delta else (own or ["silhouette"])[0]
    about = f"k={choice.k}, chosen without labels" if choice else _about(before)
    return Shown(headline, usual.criterion, (*table, *more), metrics, about, usual.over)


def _about(clustered: Clustered) -> str:
    k = clustered.metrics["k"]
    return "k found by the clusterer" if k is None else f"k={k}"


def _details(before: Clustered, after: Clustered, delta: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return what is told of the clusterings that were chosen without labels, and of how many images a figure is."""
    objective, n = before.objective, before.metrics["n"]
    sampled = [("silhouette", f"of {SAMPLE:,} of {n:,} images, the same each time")] if n > SAMPLE else []
    if not delta or objective is None or len(before.metrics["seeds"]) < 2:
        return sampled
    chosen = [side.metrics[objective.best]["acc"] for side in (before, after)]
    text = f"of {objective.best.replace('_', ' ')}, chosen without labels: ACC {chosen[0]:.4f} baseline, "
    return [("one seed", f"{text}{chosen[1]:.4f} edited"), *sampled]


def _about_images(job: Job, edited: Embeddings, clustered: Clustered) -> list[str]:
    """Say what of the images themselves bears on the scores: twins, and classes too small for their neighbours."""
    if edited.labels is None or "acc" not in clustered.metrics:
        return []
    notes, groups_N = [], same_bytes(edited.digests)
    if groups_N is not None:
        twins = int((np.bincount(groups_N)[groups_N] > 1).sum())
        notes.append(
            f"{twins} of {len(groups_N)} images have a twin of the same bytes: twins don't vote for each other in KNN, "
            "and intervals take them for one image."
        )
    small = None
    if "knn" in clustered.metrics:
        small = small_classes(edited.labels, job.source.images.class_names, clustered.metrics["knn"], groups_N)
    return [*notes, small] if small else notes


def _files(job: Job, baseline: Embeddings, edited: Embeddings, before: Clustered, after: Clustered) -> Sequence[File]:
    """Return what is written beside the result: each image's clusters, all clusterings, links if they are wanted."""
    images = job.source.images
    names = [images.class_names[i] for i in edited.labels] if edited.labels is not None else None
    clusters = before.assignments, after.assignments
    spherical = bool(getattr(job.parts["clusterer"], "spherical", False))

    def assignments(folder: Path) -> None:
        moved, sides = job.distances(baseline, edited), zip((baseline, edited), clusters, strict=True)
        far = [distances(side.vectors, own, spherical) for side, own in sides]
        write_assignments(folder / ASSIGNMENTS, edited.ids, names, *clusters, moved, far)

    files = [
        File(ASSIGNMENTS, assignments),
        File(CLUSTERINGS, lambda folder: write_clusterings(folder / CLUSTERINGS, edited, after)),
    ]
    if job.runtime.links:
        files.append(File("The folders of links", lambda folder: write_links(folder, images, edited.ids, clusters[1])))
    return files
