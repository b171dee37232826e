"""k-means with FAISS, with the settings a reported number needs, instead of FAISS's own defaults.

Left alone, FAISS trains on a silent sample of 256 points a centroid, starts once from random points with the
fixed seed 1234, reports the objective of the sample, and answers NaN with the label -1. Here every point
trains, restarts and seeds are explicit, the inertia is recomputed over all points, and what can't be
clustered is refused in a sentence. Labels are never seen: `KMeans.fit` takes vectors only.

Shapes: N points, E embedding width, K clusters.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from itae.base.checks import number, one_of, true_or_false, whole
from itae.base.device import memory_told
from itae.base.errors import UserError
from itae.base.threads import omp_threads
from itae.measure.cluster.clustered import Objective, Partition
from itae.measure.cluster.numbered import Seeded, at_most, drawn_seeds
from itae.measure.cluster.points import blocks, checked
from itae.measure.faiss_backend import load_faiss, pick_gpus, replicated_index, require_faiss

log = logging.getLogger(__name__)

_HANDED_OUT = 64  # restarts at a time
INITS = {"k-means++": "KMEANS_PLUS_PLUS", "afk-mc2": "AFK_MC2", "random": "RANDOM"}


@dataclass(frozen=True)
class KMeans(Seeded):
    """k-means by FAISS: settings, and the fit.

    Parameters
    ----------
    k, candidates
        See `Numbered`.
    restarts
        Fits a seed stands for; the one of lowest inertia over all points is kept. Default 10.
    iterations
        Most Lloyd iterations of a restart. Default 100.
    seeds
        How many seeds are drawn from the run's base seed (default 10), or the seeds themselves.
    init
        ``k-means++`` (default), ``afk-mc2`` or ``random``: where the centroids start.
    tolerance
        A restart ends when an iteration lowers its objective by less than this share of it. Default 1e-6.
    spherical
        Divide every row by its length and keep the centroids on the unit sphere: clusters by cosine.
    gpus
        On how many GPUs a fit works, from that of the device on: each has the centroids and is asked for its share of
        the points. A number (default 1), or ``all`` that FAISS sees. Where there are fewer, those; on a CPU it says
        nothing.

    Raises
    ------
    UserError
        When a setting is out of its range.
    """

    restarts: int = 10
    iterations: int = 100
    init: str = "k-means++"
    tolerance: float = 1e-6
    spherical: bool = False
    gpus: int | str = 1

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        whole("clusterer.restarts", self.restarts, low=1)
        whole("clusterer.iterations", self.iterations, low=1)
        one_of("clusterer.init", self.init, INITS)
        number("clusterer.tolerance", self.tolerance, low=0.0)
        if self.tolerance >= 1:
            raise UserError(f"clusterer.tolerance={self.tolerance} must be at least 0 and below 1.")
        true_or_false("clusterer.spherical", self.spherical)
        whole("clusterer.gpus", self.gpus, low=1, other="all")

    def check(self, n: int, n_classes: int | None) -> int | None:
        """Return the number of clusters, as of `Numbered`; a `UserError` where FAISS is missing, too."""
        require_faiss()
        return super().check(n, n_classes)

    def fit(self, vectors_NE: np.ndarray, k: int, seed: int, device: str = "auto") -> Partition:
        """Cluster all points, `restarts` times, and keep the restart of lowest inertia.

        The restarts run side by side, one thread each, while CPUs last: many small fits share the machine
        better than one fit shares its threads, and the result does not depend on how many there are. On a
        GPU the same settings need not give the same bits twice.

        Parameters
        ----------
        vectors_NE
            float32 [N, E]; contiguous rows are used in place (a read-only memory map is fine, and is never copied
            into memory whole, see `itae.measure.cluster.points.checked`), others copied.
        k
            Number of clusters, 1..N; see `check`.
        seed
            A whole number >= 0; the restarts' own seeds are drawn from it.
        device
            ``cpu``; ``auto``, ``cuda`` or ``cuda:1`` take a GPU when this FAISS can use it.

        Returns
        -------
        Partition
            The nearest centroid of every point, and the centroids, of unit length for spherical k-means. Objective:
            ``inertia``, over all points the sum of squared distances to the own centroid, or, spherical, of 1 - cosine.
            Fact: ``iterations``, of Lloyd, of the restart that was kept.

        Raises
        ------
        UserError
            When rows are NaN, infinite, or too large to square in float32, or of zero length for spherical
            k-means; when k is not 1..N; when FAISS is missing; when memory is too little.
        """
        faiss = load_faiss()
        gpus = pick_gpus(faiss, device, self.gpus)
        on_cpu = gpus == [None]
        where = "cpu" if on_cpu else "cuda:" + ",".join(map(str, gpus))
        vectors_NE = np.ascontiguousarray(vectors_NE, dtype=np.float32)
        n = len(vectors_NE)
        at_most(k, n)
        whole("seed", seed, low=0)
        vectors_NE = checked(vectors_NE, self.spherical, "spherical k-means")
        cpus = omp_threads()
        workers = min(cpus, self.restarts) if on_cpu else 1
        log.debug("k-means: n=%d k=%d restarts=%d on %s, %d at a time", n, k, self.restarts, where, workers)

        def restart(restart_seed: int) -> tuple[float, np.ndarray, np.ndarray, int]:
            faiss.omp_set_num_threads(max(1, cpus // workers))  # of this thread, not of the process
            return self._once(faiss, vectors_NE, k, restart_seed, gpus)

        with (
            memory_told(_too_many(n, workers, on_cpu)),
            ThreadPoolExecutor(workers, thread_name_prefix="kmeans") as pool,
        ):
            try:
                # Not all at once: a signal that comes while work is handed out may leave a lock of the pool held.
                seeds = iter(drawn_seeds(seed, self.restarts))
                batches = iter(lambda: list(islice(seeds, max(_HANDED_OUT, workers))), [])
                fitted = (one for batch in batches for one in pool.map(restart, batch))
                _, assignments, centroids, iterations = min(fitted, key=lambda one: one[0])
            except BaseException:  # Ctrl-C: do not start what is still waiting
                pool.shutdown(cancel_futures=True)
                raise
        assert assignments.min() >= 0
        total = inertia(vectors_NE, assignments, centroids) * (0.5 if self.spherical else 1.0)
        return Partition(assignments, Objective("inertia", total), centroids, where, {"iterations": iterations})

    def _once(
        self, faiss: Any, vectors_NE: np.ndarray, k: int, seed: int, gpus: list[int | None]
    ) -> tuple[float, np.ndarray, np.ndarray, int]:
        """Fit once; return the squared distances' sum, the assignments, the centroids and the iterations."""
        n, width = vectors_NE.shape
        # Spherical too: between unit vectors the nearest by L2 is the one of largest cosine, and with
        # FAISS's inner product index the objective would grow instead of shrink.
        index = replicated_index(faiss, width, gpus)
        kmeans = faiss.Clustering(width, k, self._parameters(faiss, n, k, seed))
        kmeans.train(vectors_NE, index)
        centroids = faiss.vector_to_array(kmeans.centroids).reshape(k, width)
        index.reset()
        index.add(centroids)
        squares, assignments = index.search(vectors_NE, 1)
        total = float(squares.sum(dtype=np.float64))
        return total, assignments.ravel().astype(np.int64), centroids, kmeans.iteration_stats.size()

    def _parameters(self, faiss: Any, n: int, k: int, seed: int) -> Any:
        parameters = faiss.ClusteringParameters()
        parameters.niter, parameters.nredo, parameters.seed = self.iterations, 1, seed
        parameters.spherical = self.spherical
        parameters.min_points_per_centroid = 1
        parameters.max_points_per_centroid = -(-n // k)
        if hasattr(parameters, "early_stop_threshold"):  # an older FAISS makes all its iterations
            parameters.early_stop_threshold = self.tolerance
        if hasattr(parameters, "check_input_data_for_NaNs"):
            parameters.check_input_data_for_NaNs = False  # `checked` has seen every row
        if hasattr(parameters, "init_method"):
            parameters.init_method = getattr(faiss, f"ClusteringInitMethod_{INITS[self.init]}")
        elif self.init != "random":
            raise UserError(
                f"clusterer.init={self.init} needs faiss 1.14 or newer and this is {faiss.__version__}; "
                "upgrade faiss or set clusterer.init=random."
            )
        return parameters


def _too_many(n: int, workers: int, on_cpu: bool) -> str:
    """Say what memory is too little for, and what takes less of it: first of all what leaves the result as it is."""
    if not on_cpu:
        return f"for k-means of {n} vectors; set runtime.device=cpu, the embeddings are kept"
    if workers > 1:
        return f"for k-means of {n} vectors, {workers} restarts at a time; set OMP_NUM_THREADS=1 for one at a time"
    return f"for k-means of {n} vectors; take fewer images (dataset.limit) or a smaller backbone"


def inertia(vectors_NE: np.ndarray, assignments_N: np.ndarray, centroids_KE: np.ndarray) -> float:
    """Return the sum over all points of the squared distance to the own centroid, summed in float64."""
    total = 0.0
    for rows in blocks(len(vectors_NE)):
        difference = np.subtract(vectors_NE[rows], centroids_KE[assignments_N[rows]], dtype=np.float64)
        total += float(np.einsum("ne,ne->", difference, difference))
    return total
