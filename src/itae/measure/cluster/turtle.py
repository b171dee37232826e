"""TURTLE: the clustering that linear classifiers, one a space, learn best (Gadetsky, Jiang and Brbic, ICML 2024).

k-means looks for tight groups; this looks for groups with a wide margin between them, whatever their shape. A soft
labelling tau is taken to be good if a linear classifier that is trained on it from scratch, for a few steps, agrees
with it; so one is trained in every step, in each space, and tau is moved along the gradient of its cross-entropy:

    tau(x)  = mean over s of softmax(V_s z_s),  V_s linear with a bias, its rows weight-normed
    inner:    a fresh linear W_s, some steps of Adam on  sum over s of CE(W_s z_s, tau),  tau held
    outer:    a step of Adam on V for  sum over s of CE(W_s z_s, tau) - gamma H(mean over x of softmax(V_s z_s)), W held

Shapes: N points, E embedding width, of each space its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from itae.base.checks import above_0, number, one_of, whole
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.measure.cluster.clustered import BOTH, OWN, Objective, Partition
from itae.measure.cluster.generalisation import check_folds, generalisation
from itae.measure.cluster.numbered import Seeded, drawn_seeds
from itae.measure.cluster.trained import Columns, Trained, several, training
from itae.measure.cluster.turtle_steps import Fit


@dataclass(frozen=True)
class Turtle(Trained, Seeded):
    """TURTLE: settings, and the fit.

    Parameters
    ----------
    k, candidates
        See `Numbered`.
    spaces
        ``own`` (default): a side's own embeddings. ``both``: the untouched embeddings and the side's own, as two spaces
        that have to agree on one labelling; on the untouched side the same space twice.
    gamma
        Weight of the entropy that keeps clusters of a like size. Default 10; 0 ends in a single cluster.
    steps
        Outer steps. Default 6000.
    inner
        Steps of the classifiers that are trained anew in each of them. Default 10.
    lr
        Learning rate of both. Default 1e-3.
    batch
        Points a step, at most; all points where there are no more. Default 10,000.
    scale
        ``unit`` (default): every row of every space to length sqrt(E), on both sides. ``none``: as they come; the
        steps of Adam being of a fixed size, an edit that changes lengths alone then changes the result.
    restarts
        Fits a seed stands for; the best is kept, by what `folds` says. Default 1.
    folds
        Folds of the cross-validation by which fits are judged, as the authors do with 10; see `generalisation`.
        Default 0 for none: by the outer loss, which costs nothing, and tells fits apart that a classifier learns alike.
    seeds
        How many seeds are drawn from the run's base seed (default 3), or the seeds themselves.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    spaces: str = OWN
    gamma: float = 10.0
    steps: int = 6000
    inner: int = 10
    lr: float = 1e-3
    batch: int = 10_000
    scale: str = "unit"
    restarts: int = 1
    folds: int = 0
    seeds: int | Sequence[int] = field(default=3, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        one_of("clusterer.spaces", self.spaces, (OWN, BOTH))
        number("clusterer.gamma", self.gamma, low=0.0)
        for name in ("steps", "inner", "batch", "restarts"):
            whole(f"clusterer.{name}", getattr(self, name), low=1)
        above_0("clusterer.lr", self.lr)
        self.check_scale()
        check_folds(self.folds)

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`, or None where it is to be chosen.

        Raises
        ------
        UserError
            As of `Numbered`; and when a batch has fewer points than there are clusters, or the points are too few for
            the folds.
        """
        k = super().check(n, n_classes)
        most = k if k is not None else max(self.to_choose(n, n_classes) or (1,))
        if self.batch < most:
            may = "are" if k is not None else "may be"
            raise UserError(
                f"clusterer.batch={self.batch} is fewer points than there {may} clusters ({most}); "
                "raise it: a step has to see all of them."
            )
        check_folds(self.folds, n)
        return k

    def fit(self, vectors: np.ndarray | Sequence[np.ndarray], k: int, seed: int, device: str = "auto") -> Partition:
        """Cluster the points of one space or several, `restarts` times, and keep the best.

        On a CPU the same seed gives the same labels with the same number of threads; on a GPU it need not. torch's own
        generator is left alone. Threads are torch's: ``OMP_NUM_THREADS``.

        Parameters
        ----------
        vectors
            float32 [N, E]; a read-only memory map is fine. Or several such, of the same points.
        k
            Number of clusters, 1..N; see `check`.
        seed
            A whole number >= 0; the restarts' own seeds are drawn from it.
        device
            ``cpu``; ``auto``, ``cuda`` or ``cuda:1`` for a GPU.

        Returns
        -------
        Partition
            The largest entry of tau of every point. Objective: ``generalisation``, 0..1, higher is better; with no
            folds ``outer_loss``, of the last step, lower is better. Fact beside the former: ``outer_loss``.

        Raises
        ------
        UserError
            When rows are NaN, infinite or too large to square in float32, or, for ``scale=unit``, of zero length; when
            k is not 1..N, or a setting doesn't fit the points; when memory is too little.
        """
        given = several(vectors)
        n = len(given[0])
        replace(self, k=k, candidates=None).check(n, None)
        whole("seed", seed, low=0)
        rows = [self.rows(one) for one in given]
        what = f"for TURTLE of {n} vectors; lower clusterer.batch ({min(self.batch, n)} points)"
        fits: list[Partition] = []
        with training(device, what) as where, progress(self.restarts * self.steps, "TURTLE", "steps") as advance:
            spaces = [Columns(one, where) for one in rows]
            for one in drawn_seeds(seed, self.restarts):
                labels, loss = Fit(self, spaces, k, one, where).run(advance)
                fits.append(self._judged(rows, labels, loss, one, str(where)))
        return min(fits, key=lambda fit: fit.objective.cost if fit.objective else math.inf)

    def _judged(self, rows: list[np.ndarray], labels: np.ndarray, loss: float, seed: int, where: str) -> Partition:
        if not self.folds:
            return Partition(labels, Objective("outer_loss", loss), device=where)
        score = generalisation(rows, labels, self.folds, seed)
        found = Objective("generalisation", score, "higher")
        return Partition(labels, found, device=where, info={"outer_loss": loss})
