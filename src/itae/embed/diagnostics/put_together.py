"""The diagnostics of an entry whose rows are partly another's.

What is known of each image gives sums of all of them (`per_image`). Histograms, maps and attention are kept as sums
alone: they are of the images that passed, and of those that one other entry has seen, the one that gave most rows. Two
might have seen the same image. So they may be of images that are no longer in the set, and not of all that are; the
entry says how many, and which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.embed.diagnostics.collect import EXAMPLES
from itae.embed.diagnostics.per_image import FLAGS, OUTLIERS, exact, kept
from itae.store.donors import places

if TYPE_CHECKING:
    from itae.store.entry import Embeddings

_EXAMPLES = ("examples", "example_mask", "example_paid")
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
    examples = {name: found.pop(name) for name in _EXAMPLES if name in found}
    sums, told, whose = found, {}, {}
    if not passed.all():
        seen = Seen.here(sums, digests, passed)
        if other is not None and _comparable(other.diagnostics, sums, fixed):
            seen = seen.joined(Seen.there(other, sums))
            examples = _joined_examples(examples, other, digests)
        sums, told = seen.sums, {"passed": int(passed.sum()), "taken": int((~passed).sum())}
        if sums:
            gone = seen.digests[places(seen.digests, digests) < 0]
            told |= {"seen": seen.count, "gone": len(gone)}
            whose = {"seen": places(digests, seen.digests) >= 0, "seen_gone": gone}
    return sums | exact(rows) | kept(rows, patches) | examples | whose | dict(fixed), told


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
        return cls({name: known[name] for name in sums}, digests, count)

    def joined(self, other: Seen) -> Seen:
        """Return both together, or the larger one if an image is in both, as one that was removed and came back."""
        if (places(self.digests, other.digests) >= 0).any():
            return max(other, self, key=lambda seen: seen.count)
        sums = {name: array + other.sums[name] for name, array in self.sums.items()}
        return Seen(sums, np.concatenate([self.digests, other.digests]), self.count + other.count)


def _comparable(theirs: Mapping[str, np.ndarray], sums: Arrays, fixed: Mapping[str, np.ndarray]) -> bool:
    alike = all(np.array_equal(theirs.get(name, ()), array) for name, array in fixed.items())
    return alike and all(name in theirs and theirs[name].shape == array.shape for name, array in sums.items())


def _joined_examples(ours: Arrays, other: Embeddings, digests: np.ndarray) -> Arrays:
    """Return our examples and another entry's, these at their place among our images, as far as they are there."""
    if not ours or "example_mask" not in other.diagnostics:
        return ours
    assert other.digests is not None
    theirs = {name: other.diagnostics[name] for name in _EXAMPLES}
    theirs["examples"] = places(other.digests[theirs["examples"]], digests)
    new = (theirs["examples"] >= 0) & ~np.isin(theirs["examples"], ours["examples"])
    both = {name: np.concatenate([array, theirs[name][new]])[:EXAMPLES] for name, array in ours.items()}
    order = np.argsort(both["examples"], kind="stable")
    return {name: array[order] for name, array in both.items()}
