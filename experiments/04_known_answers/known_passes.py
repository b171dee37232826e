"""Data sets as backbones with and without a plant see them, and passes of these under some edits.

Labels are read by the scores alone. Shape suffixes: B images, N tokens, P patches, S = 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from known_edits import SIGNALS, TRUTH, Make, Truth
from planting import Planted
from torch import Tensor

from itae.edits.attenuate import Scale
from itae.edits.bimodal import fit_threshold
from itae.edits.edit import AnyEdit, Edit
from itae.edits.registers import RegisterEdit
from itae.edits.site import Site
from itae.embed.fit_layers import fit_layers
from itae.embed.register_search import search
from itae.embed.replay import SharedPass, Watch
from itae.embed.source import Source
from itae.images.batches import batches
from itae.images.datasets import Dataset, Digits, ImageFolder
from itae.images.transform import normalise
from itae.measure.cluster.kmeans import KMeans
from itae.measure.scores import scores
from itae.store.store import Store

BATCH, SEEDS, CALIBRATION = 64, 5, 256
FIRST, MIDDLE, LATE = "early", "middle", "late"


@dataclass
class Data:
    """A data set as a backbone without a plant sees it.

    Parameters
    ----------
    name
        ``digits`` or ``dinov2_s``.
    clean
        The backbone, with a plant of no patches.
    source
        Its source: images, labels, facts.
    pixels
        [n, 3, S, S], normalised.
    timed, fitted
        How many images the time of an edit is taken on, and thresholds are fitted on.
    """

    name: str
    clean: Planted
    source: Source
    pixels: Tensor
    timed: int
    fitted: int

    @classmethod
    def open(cls, name: str, dataset: Dataset, backbone: Planted, root: Path, timed: int, fitted: int) -> Data:
        source = Source.open(dataset, backbone, Store(root))
        n = len(source.images)
        raw = batches(source.images, source.transform, 0, n, BATCH, 2)
        pixels = torch.cat([normalise(torch.from_numpy(some), source.transform) for some in raw])
        return cls(name, backbone, source, pixels, timed, fitted)

    def planted(self, variant: dict[str, Any]) -> Planted:
        """Return the backbone of a variant; early, middle and late are the first, a third of and the last-but-one."""
        depth = self.source.facts.depth
        blocks = {FIRST: 0, MIDDLE: depth // 3, LATE: depth - 2}
        settings: dict[str, Any] = {"count": 3} | variant | {"block": blocks[variant.get("block", MIDDLE)]}
        return replace(self.clean, **settings)

    def some(self, rows: np.ndarray) -> Iterator[tuple[Tensor, list[bytes]]]:
        for at in range(0, len(rows), BATCH):
            some = rows[at : at + BATCH]
            yield self.pixels[torch.from_numpy(some)], [self.source.images.digests[i] for i in some]

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.pixels))

    @property
    def calibration(self) -> np.ndarray:
        """The rows that `itae` fits thresholds on, with its own seed."""
        n = len(self.pixels)
        return np.sort(np.random.default_rng(0).choice(n, min(n, self.fitted), replace=False))


def open_digits(root: Path, limit: int | None = None, seed: int = 0) -> Data:
    dataset = Digits(name="digits", limit=limit)
    sample = replace(dataset, limit=min(limit or 512, 512))
    weights = "pkg://itae/weights/digits_vit.safetensors"
    backbone = Planted("digits_vit", weights, 32, module="itae.digits_vit", sample=sample, count=0, seed=seed)
    return Data.open("digits", dataset, backbone, root, 4 * BATCH, CALIBRATION)


def open_dinov2(root: Path, checkpoint: str, images: str, limit: int, seed: int = 0, size: int = 224) -> Data:
    dataset = ImageFolder(name="imagefolder", root=images, limit=limit)
    name, sample = "vit_small_patch14_dinov2.lvd142m", replace(dataset, limit=96)
    backbone = Planted(name, checkpoint, size, sample=sample, count=0, seed=seed)
    return Data.open("dinov2_s", dataset, backbone, root, BATCH // 4, 64)


class Signals:
    """The signals [n, P] of detectors, by name, in every block of the untouched model, kept as a pass goes by."""

    def __init__(self, prefix: int, layers: Sequence[int], names: Sequence[str]) -> None:
        self.prefix, self.layers, self.names = prefix, layers, names
        self.kept: dict[tuple[str, int], list[Tensor]] = {(name, i): [] for name in names for i in layers}
        self._before: Tensor | None = None

    def output(self, layer: int, tokens: Tensor) -> None:
        self._before = tokens

    def operands(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        if layer not in self.layers:
            return
        assert self._before is not None
        site = Site(q, k, v, self._before, self.prefix, layer, q.shape[-1] ** -0.5, [bytes(32)] * len(q))
        for name in self.names:
            self.kept[name, layer].append(SIGNALS[name].signal(site)[:, 0])

    def flags(self, name: str, layer: int, rule: str, share: float, sample: np.ndarray) -> Tensor:
        """Return what a rule flags [n, P]; a fitted threshold is fitted on the rows `sample`."""
        signal = torch.cat(self.kept[name, layer])
        numbers: dict[str, Any] = {"mad": {"k": 5.0}, "quantile": {"quantile": share}, "ratio": {"ratio": 2.0}}
        detector = SIGNALS[name]
        if rule == "bimodal":
            theta = fit_threshold(signal[torch.from_numpy(sample)].numpy(), detector.side).theta
            return detector.flags(signal, theta).mask
        return replace(detector, rule=rule, **numbers[rule]).flags(signal).mask


def found(counts: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1 of counts of right, flagged and planted."""
    right, flagged, planted = (float(count) for count in counts)
    precision, recall = right / flagged if flagged else 0.0, right / planted if planted else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if right else 0.0,
    }


def fitted(model: Any, data: Data, edits: Mapping[str, Make]) -> dict[str, AnyEdit]:
    """Return the edits, their thresholds fitted and their neurons searched for as `itae` does it."""
    facts = data.source.facts
    out = {name: edit for name, make in edits.items() if name != TRUTH and (edit := make(facts)) is not None}
    unfitted = {name: edit for name, edit in out.items() if isinstance(edit, Edit) and edit.unfitted}
    shared = SharedPass(model, facts.prefix, "cls", list(unfitted.values()))
    fits = fit_layers(shared, list(unfitted.values()), data.some(data.calibration)) if unfitted else []
    for (name, edit), some in zip(unfitted.items(), fits, strict=True):
        out[name] = edit.with_thetas({layer: fit.theta for layer, fit in some.items()})
    for name, edit in out.items():
        if isinstance(edit, RegisterEdit):
            found = search(model, facts.prefix, edit.settings, lambda: data.some(data.calibration))
            out[name] = edit.with_neurons(found)
    return out


def made(model: Any, data: Data, makers: Mapping[str, Make], truth: Tensor | None) -> dict[str, AnyEdit]:
    """Return the edits that `makers` name, `TRUTH` among them if there is something planted, [n, P]."""
    edits = fitted(model, data, makers)
    if truth is not None and TRUTH in makers:
        masks = dict(zip(data.source.images.digests, truth, strict=True))
        edits[TRUTH] = Edit(Truth(masks), Scale(), tuple(range(data.source.facts.depth)))
    return edits


def clustered(vectors: np.ndarray, labels: np.ndarray, seeds: int) -> dict[str, float]:
    kmeans, k = KMeans(), len(np.unique(labels))
    rows = [scores(labels, kmeans.fit(vectors, k, seed, "cpu").assignments) for seed in range(seeds)]
    told: dict[str, float] = {}
    for metric in ("acc", "nmi"):
        values = np.array([row[metric] for row in rows])
        told |= {metric: values.mean(), f"{metric}_std": values.std(ddof=1) if seeds > 1 else 0.0}
    return told


def seconds(model: Any, data: Data, edit: AnyEdit | None) -> float:
    """Return the seconds for each image of a pass with this edit alone, the untouched model's own way included."""
    facts, rows = data.source.facts, data.rows[: data.timed]
    shared = SharedPass(model, facts.prefix, "cls", [edit])
    begin = time.perf_counter()
    for pixels, digests in data.some(rows):
        shared(pixels, digests)
    return (time.perf_counter() - begin) / len(rows)


def passed(
    model: Any, data: Data, edits: Sequence[AnyEdit | None], truth: Tensor, behind: range, signals: Signals | None
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Pass all images under some edits.

    Returns
    -------
    vectors, counts, elsewhere
        The embeddings [n, E] of each edit; how many patches, in the blocks `behind`, are flagged rightly, flagged, and
        planted, [edits, 3]; how many are flagged in the other blocks, [edits].
    """
    counts, elsewhere, rows_now = np.zeros((len(edits), 3)), np.zeros(len(edits)), slice(0)

    def flags(position: int, layer: int, what: Any, _paid: object) -> None:
        mask, planted = what.mask[:, 0], truth[rows_now]
        if layer in behind:
            counts[position] += [(mask & planted).sum(), mask.sum(), planted.sum()]
        else:
            elsewhere[position] += mask.sum()

    watch = Watch(flags, False, signals.operands, signals.output) if signals else Watch(flags)
    shared, parts = SharedPass(model, data.source.facts.prefix, "cls", edits, watch), []
    for pixels, digests in data.some(data.rows):
        rows_now = slice(rows_now.stop, rows_now.stop + len(pixels))
        parts.append([out.numpy() for out in shared(pixels, digests)])
    return [np.concatenate(some) for some in zip(*parts, strict=True)], counts, elsewhere
