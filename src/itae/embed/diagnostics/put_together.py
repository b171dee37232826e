"""The diagnostics of an entry whose rows are partly another's.

What is known of each image gives sums of all of them (`per_image`). Histograms, maps and attention are kept as sums
alone: they are of the images that passed, and of those that one other entry has seen, the one that gave most rows. Two
might have seen the same image. So they may be of images that are no longer in the set, and not of all that are; the
entry says how many, and which. Sums that entries of before don't have are of fewer where these gave rows: they tell of
how many patches they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.embed.diagnostics.collect import EXAMPLES
from itae.embed.diagnostics.norms import COLUMNS, COLUMNS_OF
from itae.embed.diagnostics.per_image import FLAGS, OUTLIERS, exact, kept
from itae.embed.diagnostics.sinks import VALUES
from itae.store.donors import places

if TYPE_CHECKING:
    from itae.store.entry import Embeddings

_SOME = (("examples", "example_mask", "example_paid"), (COLUMNS_OF, COLUMNS))
"""What is of some images only, each time the positions of these first."""
_SINCE = (VALUES,)
"""Sums that entries of before don't have."""
Arrays = dict[str, np.ndarray]


def put_together(
    found: Arrays, digests: np.ndarray, fixed: Mapping[str, np.ndarray], other: Embeddings | None, patches: int
) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of an entry's diagnostics, and what it says of whose they are.

    Parameters
    ----------
    found
        What the shards hold but vectors, by name.
    digests
        The sha256 of each image, uint8 [n, 32].
    fixed
        Arrays of the whole set that don't come from shards.
    other
        The entry that gave most rows; None if there is none.
    patches
        How many there are in an image.

    Returns
    -------
    arrays, told
        `told` is empty where all images passed.
    """
    passed = found.pop("passed")
    rows = {name: found.pop(name) for name in (*FLAGS, *OUTLIERS) if name in found}
    some = [{name: found.pop(name) for name in names if name in found} for names in _SOME]
    sums, told, whose = found, {}, {}
    if not passed.all():
        seen = Seen.here(sums, digests, passed)
        if other is not None and _comparable(other.diagnostics, sums, fixed):
            seen = seen.joined(Seen.there(other, sums))
            some = [_joined_some(ours, other, digests) for ours in some]
        sums, told = seen.sums, {"passed": int(passed.sum()), "taken": int((~passed).sum())}
        if sums:
            gone = seen.digests[places(seen.digests, digests) < 0]
            told |= {"seen": seen.count, "gone": len(gone)}
            whose = {"seen": places(digests, seen.digests) >= 0, "seen_gone": gone}
    return sums | exact(rows) | kept(rows, patches) | some[0] | some[1] | whose | dict(fixed), told


class Seen:
    """Sums over images.

    Parameters
    ----------
    sums
        By name.
    digests
        The sha256 of each of the images, uint8 [m, 32].
    count
        How many they are; of two with the same bytes `digests` may tell one.
    """

    def __init__(self, sums: Arrays, digests: np.ndarray, count: int) -> None:
        self.sums, self.digests, self.count = sums, digests, count

    @classmethod
    def here(cls, sums: Arrays, digests: np.ndarray, passed: np.ndarray) -> Seen:
        """Return what has passed."""
        return cls(sums, digests[passed], int(passed.sum()))

    @classmethod
    def there(cls, other: Embeddings, sums: Arrays) -> Seen:
        """Return what another entry has by the names in `sums`."""
        known, digests = other.diagnostics, other.digests
        assert digests is not None, "entries without digests give no rows"
        if "seen" in known:
            digests = np.concatenate([digests[known["seen"]], known["seen_gone"]])
        count = other.meta.get("rows", {}).get("seen", len(other.ids))
        return cls({name: known[name] for name in sums if name in known}, digests, count)

    def joined(self, other: Seen) -> Seen:
        """Return both together, or the larger one if an image is in both, as one that was removed and came back."""
        if (places(self.digests, other.digests) >= 0).any():
            return max(other, self, key=lambda seen: seen.count)
        sums = {name: array + other.sums.get(name, 0) for name, array in self.sums.items()}
        return Seen(sums, np.concatenate([self.digests, other.digests]), self.count + other.count)


def _comparable(theirs: Mapping[str, np.ndarray], sums: Arrays, fixed: Mapping[str, np.ndarray]) -> bool:
    alike = all(np.array_equal(theirs.get(name, ()), array) for name, array in fixed.items())
    needed = {name: array for name, array in sums.items() if name in theirs or name not in _SINCE}
    return alike and all(name in theirs and theirs[name].shape == array.shape for name, array in needed.items())


def _joined_some(ours: Arrays, other: Embeddings, digests: np.ndarray) -> Arrays:
    """Return what there is of some images, and another entry's, these at their place among our images, if they are."""
    if not ours or not all(name in other.diagnostics for name in ours):
        return ours
    assert other.digests is not None
    first = next(iter(ours))
    theirs = {name: other.diagnostics[name] for name in ours}
    theirs[first] = places(other.digests[theirs[first]], digests)
    new = (theirs[first] >= 0) & ~np.isin(theirs[first], ours[first])
    both = {name: np.concatenate([array, theirs[name][new]])[:EXAMPLES] for name, array in ours.items()}
    order = np.argsort(both[first], kind="stable")
    return {name: array[order] for name, array in both.items()}
