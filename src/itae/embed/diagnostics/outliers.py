"""How many outliers an edit leaves among the patches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from itae.embed.diagnostics.collect import Collector
from itae.embed.diagnostics.per_image import exact

if TYPE_CHECKING:
    from torch import Tensor

    from itae.edits.registers import RegisterEdit


class OutlierCollector(Collector):
    """Gather the vectors of an edit that adds a token, and how many outliers it leaves among the patches.

    Parameters
    ----------
    edit
        The edit, whose rule tells outliers.
    images
        How many will come.
    prefix
        How many tokens before the first patch.
    """

    def __init__(self, edit: RegisterEdit, images: int, prefix: int) -> None:
        super().__init__(images)
        self._edit, self._prefix = edit, prefix
        self._share, self._seen = np.full(images, np.nan, np.float32), 0

    def see(self, layer: int, tokens_BNE: Tensor) -> None:
        """Take what left a block in one batch, the added token last."""
        if layer == self._edit.settings.outlier_layer:
            norms_BT = tokens_BNE[:, self._prefix : -self._edit.extra].float().norm(dim=-1)
            some = slice(self._seen, self._seen + len(norms_BT))
            self._seen = some.stop
            self.later({"share": self._edit.outliers(norms_BT).float().mean(dim=1)}, partial(self._keep, some))

    def _keep(self, some: slice, found: dict[str, np.ndarray]) -> None:
        self._share[some] = found["share"]

    def rows(self) -> dict[str, np.ndarray]:
        """Return what has a row an image: `vectors` [b, E], and the share of its patches that are outliers [b]."""
        return super().rows() | {"outlier_share": self._share}

    def sums(self) -> dict[str, np.ndarray]:
        """Return what adds up over shards."""
        return super().sums() | exact({"outlier_share": self._share})

    @property
    def nbytes(self) -> int:
        """How many bytes a shard holds beside the vectors."""
        return super().nbytes + self._share.nbytes


def outliers_left(diagnostics: Mapping[str, np.ndarray]) -> float | None:
    """Return the share of patches that are outliers still, None where nobody counted."""
    of = diagnostics.get("outliers_of", np.zeros(1))[0]
    return float(diagnostics["outliers_left"][0] / of) if of else None
