"""Local outlier factor: patches whose token lies where tokens of their own image are thin.

Breunig, Kriegel, Ng and Sander, "LOF: Identifying Density-Based Local Outliers" (SIGMOD 2000,
doi:10.1145/342009.335388). SC-CLIP (arXiv 2411.15869) finds anomalous tokens by it, with 30 neighbours, and flags the
highest twentieth of every image, clean ones too. Here a threshold decides, as with any other signal.

With d the Euclidean distance of two tokens and k neighbours: d_k(a) is the distance of a to its k-th nearest, N(a) all
others within it (more than k where several are as far), reach(a, b) = max(d(a, b), d_k(b)), density(a) = 1 / mean of
reach(a, b) over N(a), and LOF(a) = mean of density(b) over N(a) / density(a). It is about 1 where a token lies as dense
as its neighbours, whatever their scale, and has no unit.

Only tensor methods are used here, as in `itae.edits.detect`. Letters: B images, T patches, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from itae.base.checks import whole
from itae.edits.detect import Detector, quantile
from itae.edits.site import Site

if TYPE_CHECKING:
    from torch import Tensor

# Distances of as many images at a time as fit: about a second-level cache on a CPU.
_BYTES = {"cpu": 2**22, "cuda": 2**28}
_ARRAYS = 4  # of the distances' size that are held beside each other
_ROUNDING = 2.0**-20  # relative to the median norm: as many roundings of fp32 as equal tokens may differ by
_LOST = 2.0**-24  # relative to the largest norm: distances of less are lost in the roundings of fp64 products
_LEAST = 1e-20  # a mean reach where all tokens are 0: no factor of a finite token is then above what fp32 holds
_MOST = 3e38


@dataclass(frozen=True)
class LocalOutlierFactor(Detector):
    """Local outlier factor of each patch's token as it enters the block, among the patches of its image.

    The factor has a scale of its own, so one number does for all images, blocks and models: a token of 2 lies half as
    dense as its neighbours do. An image without such a token has none flagged.

    Equal tokens have no distance, and an infinite density by the formula. A mean reach counts as 2**-20 of the image's
    median token norm at least, and as 2**-24 of its largest: the factor of a token among its equals is 1, and of one
    that is off them large and finite. More equal outliers than `neighbours` are a cluster of their own, which is not
    flagged.

    Parameters
    ----------
    neighbours
        k, at least 1. An image of no more patches than that has all others for neighbours, and no outliers: density is
        then nearly the same for all, which the run says.
    rule, threshold, side
        As of any detector, but the default is ``absolute``: 2 and above is flagged.
    """

    rule: str = "absolute"
    threshold: float | None = 2.0
    side: str = "high"
    neighbours: int = 30
    scopes: ClassVar[tuple[str, ...]] = ("token",)

    def __post_init__(self) -> None:
        """Check every value."""
        whole("detector.neighbours", self.neighbours, low=1)
        super().__post_init__()

    def caveat(self, patches: int) -> str | None:
        """Say what a reader has to know where an image has so many patches, if there is something."""
        if self.neighbours < patches - 1:
            return None
        return (
            f"detector.neighbours={self.neighbours}: an image has {patches} patches, so all others are neighbours, all "
            "tokens have nearly the same density and none stands out; set it to half of them at most."
        )

    def signal(self, site: Site) -> Tensor:
        """Return the factors, [B, 1, T]."""
        return site.once(
            ("local outlier factors", self.neighbours),
            lambda: local_outlier_factors(site.x[:, site.prefix :], self.neighbours).unsqueeze(1),
        )


def local_outlier_factors(x_BTE: Tensor, neighbours: int) -> Tensor:
    """Return the local outlier factor of each token among those of its image, fp32 [B, T].

    Distances are in fp64, which no autocast lowers: they are differences of products. Memory is bounded: some images at
    a time.

    Parameters
    ----------
    x_BTE
        Tokens, finite.
    neighbours
        k; all others where there are no more.
    """
    batch, patches = x_BTE.shape[:2]
    if patches == 1:  # nobody to be far from
        return x_BTE.new_ones(batch, 1).float()
    k = min(neighbours, patches - 1)
    budget = _BYTES.get(x_BTE.device.type, _BYTES["cpu"])
    step = max(1, budget // (8 * _ARRAYS * patches**2))
    out_BT = x_BTE.new_empty(batch, patches).float()
    for i in range(0, batch, step):
        out_BT[i : i + step] = _factors(x_BTE[i : i + step].double(), k)
    return out_BT


def _factors(x_BTE: Tensor, k: int) -> Tensor:
    norms_BT = x_BTE.norm(dim=-1)
    floor_B1 = (_ROUNDING * quantile(norms_BT, 0.5)).maximum(_LOST * norms_BT.amax(dim=-1, keepdim=True))
    floor_B1 = floor_B1.clamp(min=_LEAST)
    d_BTT = _distances(x_BTE)
    far_BT = d_BTT.kthvalue(k, dim=-1).values
    near_BTT = d_BTT <= far_BT.unsqueeze(2)
    count_BT = near_BTT.sum(dim=-1)
    reach_BTT = d_BTT.maximum(far_BT.unsqueeze(1)).masked_fill_(~near_BTT, 0)
    reach_BT = (reach_BTT.sum(dim=-1) / count_BT).maximum(floor_B1)
    density_BT = (near_BTT.double() @ reach_BT.reciprocal().unsqueeze(2)).squeeze(2) / count_BT
    return (density_BT * reach_BT).clamp(max=_MOST)


def _distances(x_BTE: Tensor) -> Tensor:
    """Return the distance of each token to each other of its image, [B, T, T], and infinity to itself."""
    x_BTE = x_BTE - x_BTE.mean(dim=1, keepdim=True)  # what all have in common would be lost in the difference
    square_BT = x_BTE.square().sum(dim=-1)
    d_BTT = (square_BT.unsqueeze(2) + square_BT.unsqueeze(1)).sub_(x_BTE @ x_BTE.mT, alpha=2).clamp_(min=0).sqrt_()
    d_BTT.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    return d_BTT
