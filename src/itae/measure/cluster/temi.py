"""TEMI: clusters in which an image and its neighbours fall together (Adaloglou, Michels et al., BMVC 2023).

Whatever the shape of a cluster, near images are mostly of one kind. Heads, small perceptrons on the embeddings, are
trained to give an image x and one of its nearest neighbours x' the same cluster, by their pointwise mutual information,
from a student p and a teacher q, which is the student's running mean:

    loss = -w ln sum over c of (p_c(x) q_c(x'))^beta / m_c     and the same with x and x' in each other's place

with m the running mean of q. beta below 1 keeps clusters from emptying. w is the mean over all heads of
sum over c of q_c(x) q_c(x'): a pair on which the heads disagree, likely a wrong one, hardly counts. The head of least
loss is the clustering. Written from the formula.

Shapes: N images, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from itae.base.checks import above_0, whole
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.measure.cluster.clustered import Objective, Partition
from itae.measure.cluster.graph import check_neighbours
from itae.measure.cluster.numbered import Seeded
from itae.measure.cluster.temi_steps import Fit
from itae.measure.cluster.trained import Columns, Trained, training
from itae.measure.faiss_backend import require_faiss
from itae.measure.knn import neighbours


@dataclass(frozen=True)
class Temi(Trained, Seeded):
    """TEMI: settings, and the fit.

    Parameters
    ----------
    k, candidates
        See `Numbered`.
    neighbours
        Nearest other images of each image, by cosine, of which one is drawn in every epoch. Default 50.
    heads
        Heads that are trained side by side and vote on the weight of a pair. Default 16; the time goes with it.
    hidden
        Widths of a head between the embedding and its k outputs, with ReLU. Default 512 and 256; none for linear heads.
    beta
        Above 0, at most 1. Default .6.
    epochs
        How often every image comes. Default 100. Small sets have few steps in an epoch and want more of them.
    lr
        Learning rate of Adam. Default 1e-4.
    batch
        Images a step, each with its neighbour; all images where there are no more. Default 1024.
    scale
        ``unit`` (default): every row to length sqrt(E), on both sides. ``none``: as they come.
    seeds
        How many seeds are drawn from the run's base seed (default 3), or the seeds themselves.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    neighbours: int = 50
    heads: int = 16
    hidden: Sequence[int] = (512, 256)
    beta: float = 0.6
    epochs: int = 100
    lr: float = 1e-4
    batch: int = 1024
    scale: str = "unit"
    seeds: int | Sequence[int] = field(default=3, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        for name in ("neighbours", "heads", "epochs", "batch"):
            whole(f"clusterer.{name}", getattr(self, name), low=1)
        hidden: Any = self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise UserError(
                f"clusterer.hidden={hidden!r} must list the widths between an embedding and the clusters, as "
                "[512,256]; [] for none."
            )
        for width in hidden:
            whole("A width in clusterer.hidden", width, low=1)
        above_0("clusterer.beta", self.beta, high=1.0)
        above_0("clusterer.lr", self.lr)
        self.check_scale()

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`, or None where it is to be chosen.

        Raises
        ------
        UserError
            As of `Numbered`; and when the images have not so many others, or FAISS, which finds them, is missing.
        """
        require_faiss()
        k = super().check(n, n_classes)
        check_neighbours(self.neighbours, n)
        return k

    def fit(self, vectors_NE: np.ndarray, k: int, seed: int, device: str = "auto") -> Partition:
        """Train all heads and keep the one of least loss.

        On a CPU the same seed gives the same labels with the same number of threads; on a GPU it need not. torch's own
        generator is left alone. Threads are torch's: ``OMP_NUM_THREADS``.

        Parameters
        ----------
        vectors_NE
            float32 [N, E]; a read-only memory map is fine.
        k
            Number of clusters, 1..N; see `check`.
        seed
            A whole number >= 0.
        device
            ``cpu``; ``auto``, ``cuda`` or ``cuda:1`` for a GPU.

        Returns
        -------
        Partition
            The largest output of the teacher of every image. Objective: ``pair_loss``, the head's mean over the last
            epoch, lower is better.

        Raises
        ------
        UserError
            When rows are NaN, infinite or too large to square in float32, or, for ``scale=unit``, of zero length; when
            k is not 1..N, or a setting doesn't fit the images; when memory is too little.
        """
        n = len(vectors_NE)
        replace(self, k=k, candidates=None).check(n, None)
        whole("seed", seed, low=0)
        rows_NE = self.rows(vectors_NE)
        near_NK, _ = neighbours(rows_NE, self.neighbours, device)
        with (
            training(device, f"for TEMI of {n} vectors; lower clusterer.batch or clusterer.heads") as where,
            progress(self.epochs, "TEMI", "epochs") as advance,
        ):
            labels_N, loss = Fit(self, Columns(rows_NE, where), near_NK, k, seed, where).run(advance)
        return Partition(labels_N, Objective("pair_loss", loss), device=str(where))
