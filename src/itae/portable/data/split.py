"""Which photographs are learned from, chosen by, and judged by: by their content, and none for two of these."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import TypeVar

from itae.base.errors import UserError

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
T = TypeVar("T")


def shared_out(
    contents: Sequence[str], seed: int = 0, validation: float = 0.2, test: float = 0.25
) -> dict[str, list[str]]:
    """Share out contents among the splits: at least one to each, and no matter in which order they come.

    Parameters
    ----------
    contents
        Their sha256, none twice.
    seed
        Another shares out otherwise.
    validation, test
        Shares of these two, rounded to whole ones; the rest is to learn from.

    Returns
    -------
    dict
        Contents of each of `SPLITS`, sorted by a hash.

    Raises
    ------
    UserError
        If there are fewer than three.
    """
    n = len(contents)
    if n < len(SPLITS):
        raise UserError(
            f"There are {n} different photographs, and at least {len(SPLITS)} are needed: one to learn from, one to "
            "choose by and one to judge by."
        )
    drawn = sorted(contents, key=lambda each: hashlib.sha256(f"split {seed} {each}".encode()).hexdigest())
    judged = min(max(1, round(test * n)), n - 2)
    chosen = min(max(1, round(validation * n)), n - judged - 1)
    return {
        "test": drawn[:judged],
        "validation": drawn[judged : judged + chosen],
        "train": drawn[judged + chosen :],
    }


def once(named: Iterable[tuple[str, str, T]]) -> list[T]:
    """Return what came with (name, sha256), of each content the first; say which others were left out."""
    first: dict[str, tuple[str, T]] = {}
    for name, content, item in named:
        if content in first:
            log.warning("%s shows the same as %s, and is left out.", name, first[content][0])
        else:
            first[content] = (name, item)
    return [item for _, item in first.values()]
