"""What is to be known before a score is believed, in the words that tasks of a memory have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from itae.images.walk import listed


def all_vote(k: int | None, rows: int) -> list[str]:
    """Say that there are fewer rows with a label than are to vote."""
    return [f"k {k} is over the {rows} rows that have a label: all of them vote."] if k and k > rows else []


def alone(labels: Iterable[Sequence[str]], groups: Iterable[int], but: Collection[str] = ()) -> list[str]:
    """Say of which classes no image can be told, where images are asked about as if their group were not there.

    Parameters
    ----------
    labels, groups
        Of each image: its labels, and a number that is equal for those of one group.
    but
        Classes that nobody asks for.
    """
    groups_of: defaultdict[str, set[int]] = defaultdict(set)
    for some, group in zip(labels, groups, strict=True):
        for label in some:
            groups_of[label].add(group)
    found = sorted(label for label, of in groups_of.items() if len(of) == 1 and label not in but)
    told = (
        f"All images of {listed(found)} are of one group each, which never votes for itself: none of them can be told."
    )
    return [told] if found else []
