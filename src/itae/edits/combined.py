"""``detector=combined``: several signals of a patch as one, for artifacts that may show in either of them.

An artifact draws attention by its key and hands over its content by its value, and either may stand out alone: by
norms of values a detector misses what draws attention only, by norms of keys what has loud values only
(experiments/04_known_answers). Two thresholds in place of one would flag the errors of both. So the norms are put on
one scale, the image's own typical patch, and taken as the sides of one vector, of whose length there is one threshold:

    s_j = sqrt(mean over signals m of (n_mj / median over patches of n_m)^2)

A patch that is typical in all of them has length 1, one that is r times as long in one of M has r / sqrt(M) at least.
Lengths, not the largest of them: a maximum has the tail of whichever signal is the noisier.

Letters: B images, T patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from itae.base.errors import UserError
from itae.edits.detect import Detector, ResidualNorm, VectorNorm, quantile
from itae.edits.site import Site

if TYPE_CHECKING:
    from torch import Tensor

SIGNALS = ("query", "key", "value", "residual")


@dataclass(frozen=True)
class Combined(Detector):
    """Root mean square of several norms of each patch, each in units of the image's median patch.

    Every image is its own scale, so nothing is fitted but the threshold, and a picture alone and in a batch have the
    same. Where most patches of an image have a norm of 0 there is no such scale, and the norm itself is taken.

    Parameters
    ----------
    signals
        Two or more of ``query``, ``key``, ``value`` and ``residual``, each once; their order makes no difference.

    Raises
    ------
    UserError
        If `signals` is anything else.
    """

    side: str = "high"
    signals: Sequence[str] = ("key", "value")

    scopes: ClassVar[tuple[str, ...]] = ("token",)

    def __post_init__(self) -> None:
        """Check every value."""
        given = self.signals if isinstance(self.signals, Sequence) and not isinstance(self.signals, str) else ()
        if len(given) < 2 or len(set(map(str, given))) < len(given) or any(name not in SIGNALS for name in given):
            told = list(given) or self.signals
            raise UserError(
                f"detector.signals={told} must be a list of two or more of {', '.join(SIGNALS)}, each once, as in "
                "detector.signals=[key,value]; for one alone there are key_norm, value_norm, query_norm and "
                "residual_norm."
            )
        super().__post_init__()

    @property
    def reads_queries(self) -> bool:
        """Whether queries are among the signals."""
        return "query" in self.signals or super().reads_queries

    def signal(self, site: Site) -> Tensor:
        """Return the lengths, [B, 1, T]."""
        names = self._in_order

        def length() -> Tensor:
            first, *others = (_in_medians(site, name).square() for name in names)
            return (sum(others, start=first) / len(names)).sqrt()

        return site.once(("combined", *names), length)

    @property
    def _in_order(self) -> list[str]:
        return [name for name in SIGNALS if name in self.signals]

    def spec(self) -> dict[str, Any]:
        """Return what the flags depend on, as plain values: the detector's part of the cache key."""
        return super().spec() | {"signals": self._in_order}


def _in_medians(site: Site, name: str) -> Tensor:
    """Return a norm of each patch in medians of its image, [B, 1, T]."""
    one = ResidualNorm() if name == "residual" else VectorNorm(vector=name)

    def scaled() -> Tensor:
        norms_B1T = one.signal(site)
        median_B11 = quantile(norms_B1T, 0.5)
        return norms_B1T / median_B11.masked_fill(median_B11 == 0, 1.0)

    return site.once(("in medians", name), scaled)
