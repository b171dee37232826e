"""How many outliers an edit leaves among the patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from itae.embed.diagnostics.collect import Collector

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
        self._sums = {"outliers_left": np.zeros(1), "outliers_of": np.zeros(1, np.int64)}

    def see(self, layer: int, tokens_BNE: Tensor) -> None:
        """Take what left a block in one batch, the added token last."""
        if layer == self._edit.settings.outlier_layer:
            norms_BT = tokens_BNE[:, self._prefix : -self._edit.extra].float().norm(dim=-1)
            left = self._edit.outliers(norms_BT).float().mean(dim=1).double().sum()
            self.later({"left": left}, self._add_left)
            self._sums["outliers_of"] += len(norms_BT)

    def _add_left(self, found: dict[str, np.ndarray]) -> None:
        self._sums["outliers_left"] += found["left"]


def outliers_left(diagnostics: Mapping[str, np.ndarray]) -> float | None:
    """Return the share of patches that are outliers still, None where nobody counted."""
    of = diagnostics.get("outliers_of", np.zeros(1))[0]
    return float(diagnostics["outliers_left"][0] / of) if of else None
