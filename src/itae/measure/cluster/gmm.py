"""A mixture of Gaussians: clusters with a shape of their own, where k-means has balls of one size (scikit-learn).

By expectation and maximisation (Dempster et al., 1977). Begun from k-means it scarcely leaves what that has found, so
every second restart begins from points far from one another. A point belongs to the component it is likeliest from.

Shapes: N points, E embedding width, K clusters.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itae.base.checks import above_0, number, one_of, whole
from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.base.progress import progress
from itae.measure.cluster.clustered import Objective, Partition
from itae.measure.cluster.numbered import Seeded, drawn_seeds
from itae.measure.cluster.points import Scaled
from itae.measure.cluster.reduce import reduced

log = logging.getLogger(__name__)

COVARIANCES = ("diag", "full", "tied", "spherical")
_REDUCTIONS = ("none", "pca50")  # UMAP's space has no densities
_STARTS = ("kmeans", "k-means++")


@dataclass(frozen=True)
class Gmm(Scaled, Seeded):
    """A mixture of Gaussians by scikit-learn: settings, and the fit.

    Parameters
    ----------
    k
        See `Numbered`.
    covariance
        ``diag`` (default): of each component, a variance along each axis. ``full``: a whole covariance, E (E + 1) / 2
        numbers a component, which asks for many points or few dimensions. ``tied``: one such for all components.
        ``spherical``: one variance a component.
    reduce
        ``pca50`` (default): the first 50 principal components, see `itae.measure.cluster.reduce.reduced`; along these
        axes, variances say something. ``none``: the embeddings' own axes.
    reg
        Added to each variance, as a share of the points' mean variance along an axis: no component is thinner, and
        embeddings that are twice as large are clustered the same. Above 0, default 1e-3.
    scale
        ``none`` (default): embeddings as they are. ``unit``: each divided by its length first. The same on both sides.
    restarts
        Fits a seed stands for, begun from k-means and from the points that it would begin with, in turns; the likeliest
        is kept. Default 4.
    iterations
        Most of a restart. Default 100.
    tolerance
        A restart ends when an iteration gains less mean log-likelihood than this. Default 1e-3.
    seeds
        How many seeds are drawn from the run's base seed (default 10), or the seeds themselves.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    covariance: str = "diag"
    reduce: str = "pca50"
    reg: float = 1e-3
    scale: str = "none"
    restarts: int = 4
    iterations: int = 100
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        one_of("clusterer.covariance", self.covariance, COVARIANCES)
        one_of("clusterer.reduce", self.reduce, _REDUCTIONS)
        above_0("clusterer.reg", self.reg, "mean variances")
        self.check_scale()
        whole("clusterer.restarts", self.restarts, low=1)
        whole("clusterer.iterations", self.iterations, low=1)
        number("clusterer.tolerance", self.tolerance, low=0.0)

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`; a mixture needs two points."""
        if n < 2:
            raise UserError(f"A mixture of Gaussians needs two images or more, and there is {n}; take more images.")
        return super().check(n, n_classes)

    def fit(self, vectors_NE: np.ndarray, k: int, seed: int, device: str = "auto") -> Partition:
        """Fit `restarts` mixtures to all points, and keep the likeliest.

        Parameters
        ----------
        vectors_NE
            float32 [N, E].
        k
            Number of components, 1..N.
        seed
            A whole number >= 0; the restarts' own seeds are drawn from it.
        device
            Taken for what other clusterers do with it: this one works on the CPU.

        Returns
        -------
        Partition
            The likeliest component of each point; a component may be nobody's. Objective: ``log_likelihood``, the mean
            over the points, higher is better; comparable on points of one space alone. Facts: ``iterations`` of the
            restart that was kept, and whether it ``converged`` within as many as may be.

        Raises
        ------
        UserError
            When rows are NaN, infinite, or too large to square in float32, or of zero length for ``scale=unit``; when a
            component has no covariance; when memory is too little.
        """
        n = len(vectors_NE)
        replace(self, k=k, candidates=None).check(n, None)
        whole("seed", seed, low=0)
        vectors_NE = self.rows(vectors_NE)
        lower = "lower clusterer.k, or set clusterer.covariance=diag clusterer.reduce=pca50"
        with memory_told(f"for {k} Gaussians of {n} vectors; {lower}"):
            points = reduced(vectors_NE, self.reduce).astype(np.float64)
            # About the mean and in units of the spread, which the result doesn't depend on, but float64 would.
            points -= points.mean(axis=0)
            spread = float(np.sqrt(points.var()))
            points /= spread or 1.0
            with progress(self.restarts, "Gaussians", "restarts") as advance:
                best: Any = None
                for i, one in enumerate(drawn_seeds(seed, self.restarts)):
                    model = self._once(points, k, one, _STARTS[i % 2])
                    best = model if best is None or model.lower_bound_ > best.lower_bound_ else best
                    advance(1)
            assignments_N = best.predict(points).astype(np.int64)
        if not best.converged_:
            log.warning("The Gaussians still moved after %d iterations; raise clusterer.iterations.", self.iterations)
        likelihood = float(best.lower_bound_) - points.shape[1] * float(np.log(spread or 1.0))
        facts = {"iterations": int(best.n_iter_), "converged": bool(best.converged_)}
        return Partition(assignments_N, Objective("log_likelihood", likelihood, "higher"), info=facts)

    def _once(self, points: np.ndarray, k: int, seed: int, start: str) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(
            k, covariance_type=self.covariance, reg_covar=self.reg, max_iter=self.iterations, tol=self.tolerance,
            random_state=seed, init_params=start,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=ConvergenceWarning)  # told once, of the one that is kept
            try:
                return model.fit(points)
            except ValueError as error:
                if "covariance" not in str(error):
                    raise
                raise UserError(
                    f"A Gaussian of {k} has no covariance with clusterer.reg={self.reg}; raise it, or set "
                    "clusterer.covariance=diag."
                ) from error
