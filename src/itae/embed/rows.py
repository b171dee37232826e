"""Rows that other entries have already: a row is f(bytes of the image, backbone, resolved edit), in whatever data set.

What is taken goes into shards as what has passed does, so all that holds of shards holds of it: a run that is killed
goes on, whatever has become of the entries that it took rows from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from itae.embed.diagnostics.per_image import lifted
from itae.store.donors import Donor, places

if TYPE_CHECKING:
    from itae.embed.diagnostics.collect import Collector
    from itae.store.entry import Embeddings
    from itae.store.store import Draft, Key

Arrays = dict[str, np.ndarray]


class _Open(NamedTuple):
    """A donor that was read: the entry, and what it knows of each image."""

    entry: Embeddings
    rows: Arrays


class Taken:
    """Where the rows of one entry in the making are in others.

    Parameters
    ----------
    n
        How many images it has.
    names
        What is wanted of each image beside its vector, of `itae.embed.diagnostics.per_image`.
    patches
        How many there are in an image.
    """

    def __init__(self, n: int, names: Sequence[str], patches: int) -> None:
        self._n, self._names, self._patches = n, tuple(names), patches
        self._donors: list[Donor] = []
        # Of each image which of the donors has it, and where in it; nothing is held where there are none.
        self._from, self._at = np.full(0, -1, np.int32), np.zeros(0, np.int32)
        self._open: dict[int, _Open | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the donors' arrays here: who gets this in another process reads them there."""
        return {**self.__dict__, "_open": {}}

    def take(self, digests: np.ndarray, donors: Sequence[Donor]) -> None:
        """Take what there is to take for images of these digests, uint8 [n, 32], from those first that have most."""
        held = [(donor, theirs) for donor in donors if (theirs := donor.digests()) is not None]
        most = [int((places(digests, theirs) >= 0).sum()) for _, theirs in held]
        for place in np.argsort(-np.array(most), kind="stable").tolist():
            donor, theirs = held[place]
            if not len(self._from):
                self._from, self._at = np.full(self._n, -1, np.int32), np.zeros(self._n, np.int32)
            lacking = np.flatnonzero(self._from < 0)
            found = places(digests[lacking], theirs)
            there = found >= 0
            if there.any():
                self._donors.append(donor)
                if self._opened(len(self._donors) - 1) is not None:
                    self._from[lacking[there]], self._at[lacking[there]] = len(self._donors) - 1, found[there]
            if there.all():
                break

    def _opened(self, number: int) -> _Open | None:
        if number not in self._open:
            self._open[number] = None
            entry = self._donors[number].read()
            if entry is not None:
                rows = lifted(entry.diagnostics, self._names, len(entry.ids), self._patches)
                self._open[number] = None if rows is None else _Open(entry, rows)
        return self._open[number]

    def lacking(self, span: range | None = None) -> np.ndarray:
        """Return which images of a span have to pass, bool [b]; all of the set by default.

        In another process than where it was made, donors that are gone by now give nothing.
        """
        span = range(self._n) if span is None else span
        if not len(self._from):
            return np.ones(len(span), bool)
        some = self._from[span.start : span.stop]
        gone = [number for number in np.unique(some[some >= 0]).tolist() if self._opened(number) is None]
        if gone:
            self._from = np.where(np.isin(self._from, gone), -1, self._from)  # which Ray hands out to be read alone
            some = self._from[span.start : span.stop]
        return some < 0

    def filled(self, span: range, collected: Collector) -> tuple[Arrays, Arrays, Arrays]:
        """Return what the shard of a span holds: rows that were taken or have passed, sums and examples of the latter.

        ``passed``, bool [b], says which have.
        """
        passed, rows = self.lacking(span), collected.rows()
        if not passed.all():
            rows = {name: self._put_in(name, passed, span, array) for name, array in rows.items()}
        return rows | {"passed": passed}, collected.sums(), collected.some()

    def _put_in(self, name: str, passed: np.ndarray, span: range, array: np.ndarray) -> np.ndarray:
        from_, at = (some[span.start : span.stop] for some in (self._from, self._at))
        first = self._array(int(from_[~passed][0]), name)
        out = np.empty((len(passed), *first.shape[1:]), first.dtype)
        for number in np.unique(from_[~passed]).tolist():
            out[from_ == number] = self._array(number, name)[at[from_ == number]]
        if passed.any():
            out[passed] = array
        return out

    def _array(self, number: int, name: str) -> np.ndarray:
        donor = self._opened(number)
        assert donor is not None, "what can't be read gives nothing"
        return donor.entry.vectors if name == "vectors" else donor.rows[name]

    def given(self) -> list[Embeddings]:
        """Return who gives rows, the one first that gives most."""
        counts = np.bincount(self._from[self._from >= 0], minlength=len(self._donors))
        order = np.argsort(-counts, kind="stable").tolist()
        there = [self._opened(number) for number in order if counts[number]]
        return [donor.entry for donor in there if donor is not None]


class Part(NamedTuple):
    """Images of one shard that pass together, under some edits.

    Attributes
    ----------
    shard, span
        The shard, and the positions of its images.
    keys
        Of the entries that lack it.
    rows
        The positions of the images whose rows none of these has, perhaps none.
    """

    shard: int
    span: range
    keys: list[Key]
    rows: list[int]


def parts_of(i: int, drafts: Mapping[Key, Draft], taken: Mapping[Key, Taken]) -> list[Part]:
    """Return what has to pass for the drafts that lack shard `i`: those together that lack the same images."""
    parts: dict[bytes, Part] = {}
    for key, draft in drafts.items():
        if not draft.has(i):
            span = draft.span(i)
            lacking = taken[key].lacking(span)
            rows = [span[place] for place in np.flatnonzero(lacking).tolist()]
            parts.setdefault(lacking.tobytes(), Part(i, span, [], rows)).keys.append(key)
    return list(parts.values())
