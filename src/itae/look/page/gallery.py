"""What a gallery of clusters shows: which images are typical, doubtful or moved, and which lie next to each other.

Plain numbers from embeddings and assignments; no image is read here. Shapes: N images, E embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itae.base.errors import UserError
from itae.measure import knn
from itae.measure.centroids import as_clustered, centroids
from itae.measure.cluster.points import BLOCK
from itae.measure.matching import one_to_one

log = logging.getLogger(__name__)

ROWS = ("central", "doubtful", "moved")
"""What is picked of each cluster: nearest to its centroid; nearest to another one; moved farthest by the edit."""
NEIGHBOURS = 8


@dataclass(frozen=True)
class Placement:
    """How well each image lies in its cluster.

    Attributes
    ----------
    distance
        float64 [N], euclidean, to the centroid of the own cluster; NaN for noise, which is in none.
    margin
        float64 [N], 1 - distance / distance to the nearest other centroid: the simplified silhouette (Hruschka et al.,
        2004, doi:10.1109/ICDM.2004.10115), below 0 where another centroid is nearer; 1 where there is one cluster only.
        NaN for noise.
    """

    distance: np.ndarray
    margin: np.ndarray


def placement_of(vectors_NE: np.ndarray, clusters_N: np.ndarray, spherical: bool = False) -> Placement:
    """Return how well each image lies in its cluster; centroids are the means of the clusters' vectors.

    Noise (-1) is no cluster, and lies in none.

    If `spherical`, vectors are brought to unit length, some at a time, and so are the centroids.
    """
    from sklearn.metrics import pairwise_distances_argmin_min
    from sklearn.utils import gen_batches

    present, centroids_KE = centroids(vectors_NE, clusters_N, spherical)
    distance, other = np.full(len(clusters_N), np.nan), np.full(len(clusters_N), np.inf)
    for k, cluster in enumerate(present):
        for some in gen_batches(len(clusters_N), BLOCK):
            rows = np.arange(some.start, some.stop)[clusters_N[some] == cluster]
            if not len(rows):
                continue
            here = as_clustered(vectors_NE[rows], spherical)
            distance[rows] = np.linalg.norm(here - centroids_KE[k], axis=1)
            if len(present) > 1:
                other[rows] = pairwise_distances_argmin_min(here, np.delete(centroids_KE, k, axis=0))[1]
    with np.errstate(invalid="ignore"):
        margin = np.where(other > 0, 1 - distance / other, 0.0)  # NaN where the distance is
    return Placement(distance, margin)


def picks(
    clusters_N: np.ndarray, placement: Placement, moved_N: np.ndarray, count: int
) -> dict[int, dict[str, list[int]]]:
    """Return, for each cluster, up to `count` images of each of `ROWS`, as positions; the most so first.

    At most half of a cluster is picked for each. Images that did not move at all are no moved ones, and only images on
    which the clusters could disagree are doubtful: a cluster that is alone has none. Noise (-1) has no centroid, so of
    its images only the moved are picked.
    """
    found: dict[int, dict[str, list[int]]] = {}
    for cluster in np.unique(clusters_N):
        here = np.flatnonzero(clusters_N == cluster)
        far = here[moved_N[here] > 0]
        near_another = here[placement.margin[here] < 1]
        half = max(1, len(here) // 2)  # of a small cluster, not all images are central and doubtful at a time
        orders = {
            "central": here[np.argsort(placement.distance[here], kind="stable")] if cluster >= 0 else here[:0],
            "doubtful": near_another[np.argsort(placement.margin[near_another], kind="stable")],
            "moved": far[np.argsort(-moved_N[far], kind="stable")],
        }
        found[int(cluster)] = {name: rows[: min(count, half)].tolist() for name, rows in orders.items()}
    return found


def came_from_elsewhere(baseline_N: np.ndarray, edited_N: np.ndarray) -> np.ndarray:
    """Return which images left their cluster, bool [N]: cluster numbers say nothing, so clusters are matched first.

    Each cluster is matched with one of the other side, one to one, so that most images stay (Kuhn, 1955). Noise (-1) is
    matched with noise: an image stays where it is in no cluster before and after.
    """
    from sklearn.metrics.cluster import contingency_matrix

    old_noise_N, new_noise_N = baseline_N < 0, edited_N < 0
    (_, old_N), (_, new_N) = (np.unique(side, return_inverse=True) for side in (baseline_N, edited_N))
    counts = contingency_matrix(old_N, new_N)
    counts[: int(old_noise_N.any())] = 0
    counts[:, : int(new_noise_N.any())] = 0
    stays_N = one_to_one(counts)[old_N] == new_N
    return ~np.where(old_noise_N | new_noise_N, old_noise_N & new_noise_N, stays_N)


def neighbours(vectors_NE: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """Return the positions of the `count` nearest other rows of each row, nearest first, by cosine, int [N, count].

    A run has FAISS; who only reads its results may have none, and then gets a page without neighbours.
    """
    try:
        return knn.neighbours(vectors_NE, count, "cpu")[0]
    except UserError as error:
        log.warning("The gallery shows no neighbours: %s", error)
        return np.empty((len(vectors_NE), 0), np.int64)


def shown(n: int, must: Sequence[int], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the images that are shown, ascending, and which of them stand for all.

    If there are no more than `most`, that is all of them. Else it is `must`, in its order, as far as half of the room
    goes, and images spread evenly over all, which stand for them.
    """
    if n <= most:
        return np.arange(n), np.ones(n, bool)
    chosen = list(dict.fromkeys(must))[: most // 2]
    even = np.unique(np.linspace(0, n - 1, most - len(chosen)).round().astype(int))
    rows = np.union1d(chosen, even).astype(int)
    return rows, np.isin(rows, even)
