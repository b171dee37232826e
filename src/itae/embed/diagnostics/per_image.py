"""What is known of each image beside its vector: rates are sums of it, exact whatever entries its rows came from.

Shards hold all of it, an entry what can't be told from the rest of it, which is little: the share of an image's flagged
patches is told by their number unless heads flag different ones, and that nothing was tied or left alone by the sums.
What entries of before hold is read the same way, as far as it goes.

Letters: n images, L edited layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

FLAGS = ("flagged", "share", "tied_in", "alone_in")
"""Of an edit that goes by a detector, [n, L]: flagged patches, those of any head; the share that is flagged, of patches
and heads; whether nothing was flagged for ties; whether every patch was, of some head, or, of an edit that asks
neighbours, whether some flagged patch has none that is not flagged."""
OUTLIERS = ("outlier_share",)
"""Of an edit that adds a token, [n]: the share of the patches that are outliers still, NaN where nobody counted."""
_SUM_OF = {"share": "rate", "tied_in": "tied", "alone_in": "left_alone", "outlier_share": "outliers_left"}
_ROUNDING = 3e-7  # relative, of shares in fp32


def exact(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what adds up over images, from what is known of each."""
    found: dict[str, np.ndarray] = {}
    if "share" in rows:
        found["rate"] = rows["share"].sum(axis=0, dtype=np.float64)
        found |= {name: rows[f"{short}_in"].sum(axis=0) for name, short in (("tied", "tied"), ("left_alone", "alone"))}
    if "outlier_share" in rows:
        counted = ~np.isnan(rows["outlier_share"])
        found["outliers_left"] = rows["outlier_share"].sum(where=counted, dtype=np.float64, keepdims=True)
        found["outliers_of"] = counted.sum(keepdims=True)
    return found


def kept(rows: Mapping[str, np.ndarray], patches: int) -> dict[str, np.ndarray]:
    """Return what an entry holds of it: what can't be told from the rest.

    Parameters
    ----------
    rows
        What is known of all images.
    patches
        How many there are in an image.
    """
    n = len(next(iter(rows.values()), ()))
    told = _told({**rows, **exact(rows)}, n, patches)
    return {
        name: array
        for name, array in rows.items()
        if name not in told or not np.array_equal(array, told[name], equal_nan=array.dtype.kind == "f")
    }


def lifted(
    diagnostics: Mapping[str, np.ndarray], names: Sequence[str], n: int, patches: int
) -> dict[str, np.ndarray] | None:
    """Return what an entry knows of each image by these names; None if it doesn't say.

    Parameters
    ----------
    diagnostics
        Of an entry, of this version or of one before.
    names
        What is wanted, of `FLAGS` and `OUTLIERS`.
    n, patches
        How many images it has, and patches in an image.
    """
    told, found = _told(diagnostics, n, patches), {}
    for name in names:
        total = diagnostics.get(_SUM_OF.get(name, ""))
        if name in diagnostics:
            found[name] = diagnostics[name]
        elif name in told and total is not None and _adds_up(told[name], total):
            found[name] = told[name]
        else:
            return None
    return found


def _told(known: Mapping[str, np.ndarray], n: int, patches: int) -> dict[str, np.ndarray]:
    """Return what the rest tells of each image, if it adds up to the sums."""
    if "flagged" in known:
        flagged = known["flagged"]
        share = flagged.astype(np.float32) / np.float32(patches)
        return {"share": share, "tied_in": np.zeros(flagged.shape, bool), "alone_in": flagged == patches}
    if "outliers_of" in known:
        nobody_counted = not known["outliers_of"].any()
        return {"outlier_share": np.full(n, np.nan if nobody_counted else 0.0, np.float32)}
    return {}


def _adds_up(each: np.ndarray, total: np.ndarray) -> bool:
    # No share is above what the rest tells: where the sums are equal, all are.
    return bool(np.allclose(np.nansum(each, axis=0, dtype=np.float64), total, rtol=_ROUNDING, atol=0))
