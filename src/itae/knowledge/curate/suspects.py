"""Rows that are likely labelled wrongly, and why.

Five things speak against a row's label, each a number from 0 to 1:

region
    How much more of the region that it lies in is another label's, whether its neighbours agree with it or not: see
    `itae.knowledge.curate.regions`.
disagreement
    The share of the vote of its neighbours, none of its group, that is for other labels (k 50, softmax at .07).
blame
    How often it votes wrongly for others: of the voices that it has as a neighbour of other rows, the part that is
    for none of their labels, W / (W + R + 1 / k), W wrong and R right.
source
    A whole source against the rest: the mean, over its rows, of the share of the vote that comes from other sources
    and is for other labels, less that which agrees, where it is above 0.
twins
    Of the row, the rows of its bytes and those neighbours that are near duplicates, the part that has no label in
    common with it: one of a pair is wrong as likely as the other.

Together: 1 - (1 - region) (1 - region blame) (1 - region twins) (1 - source). Of rows that contradict each other the
region says which are wrong: those around a pocket of wrong rows are contradicted too. So disagreement is told and
doesn't count, and blame and twins count as far as the region does. It ranks; it is not calibrated.

Shapes: N rows that vote, B of them at a time, K neighbours, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.knowledge.answers.ballot import Ballot
from itae.knowledge.answers.vote import Softmax
from itae.knowledge.curate.duplicates import THRESHOLD, same_bytes
from itae.knowledge.curate.outliers import others_of_all
from itae.knowledge.curate.regions import K as JOINED
from itae.knowledge.curate.regions import regions
from itae.knowledge.near.neighbours import MISSING
from itae.knowledge.records.snapshot import SEVERAL, Snapshot

K = 50
"""Neighbours that are asked."""

REASONS = ("region", "disagreement", "blame", "source", "twins")
_SAID = 0.25  # from here on a reason is told; of a row that has none of these, the strongest
_LOST = 0.5  # from here on more of a region is another label's


@dataclass(frozen=True)
class Suspect:
    """A row and what speaks against its label.

    Parameters
    ----------
    position
        Of the row.
    score
        All reasons in one, from 0 to 1.
    reasons
        Each of `REASONS`, from 0 to 1.
    says
        The stronger reasons in words.
    suggested
        The label that has most of its region, of those that it doesn't have; None if there is none.
    """

    position: int
    score: float
    reasons: dict[str, float]
    says: tuple[str, ...]
    suggested: str | None

    def plain(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return it as JSON has it."""
        row = {"id": snapshot.ids[self.position], "labels": list(snapshot.labels_of(self.position))}
        return row | {
            "source": snapshot.column("source", self.position),
            "score": self.score,
            "reasons": self.reasons,
            "says": list(self.says),
            "suggested": self.suggested,
        }


def suspects(
    snapshot: Snapshot, count: int | None = 50, threshold: float = THRESHOLD, device: str = "auto"
) -> list[Suspect]:
    """Return the rows that are likely labelled wrongly, the likeliest first; equally likely ones by id.

    Parameters
    ----------
    snapshot
        The base.
    count
        How many; None: all that vote.
    threshold
        From which similarity on two rows are near duplicates.
    device
        See `itae.knowledge.near.neighbours.nearest`.
    """
    number("--threshold", threshold, -1, 1)
    against = Against(snapshot, threshold, device)
    score_N, reasons_5N = against.score_N, against.reasons_5N
    rounded = np.round(score_N, 12).tolist()
    order = sorted(range(len(rounded)), key=lambda n: (-rounded[n], snapshot.ids[int(against.rows[n])]))[:count]
    return [against.suspect(n, float(score_N[n]), reasons_5N[:, n].tolist()) for n in order]


class Against:
    """What speaks against each row that votes, in the order of `Snapshot.voters`; parameters as of `suspects`."""

    def __init__(self, snapshot: Snapshot, threshold: float = THRESHOLD, device: str = "auto") -> None:
        self.snapshot, self.rows, n = snapshot, snapshot.voters, len(snapshot.voters)
        self.place_M = np.full(len(snapshot.alive_M), -1)
        self.place_M[self.rows] = np.arange(n)
        self.sources_M, self.source_names = _sources(snapshot)
        self.disagreement_N, self.most_N = np.zeros(n), np.full(n, -1)
        self.near_NK, self.similar_NK = np.full((n, JOINED), MISSING), np.full((n, JOINED), -np.inf)
        self.right_N, self.wrong_N, self.asked_N = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
        self.against_N, self.for_N = np.zeros(n), np.zeros(n)
        self.twin_N, self.twins_N = np.full(n, MISSING), np.zeros(n)
        self.twins_of = {i: group for group in same_bytes(snapshot, self.rows) for i in group}
        voter = Softmax(K)
        for some, positions_BK, similarities_BK in others_of_all(snapshot, self.rows, K, device):
            self._add(some, voter.count(snapshot, positions_BK, similarities_BK), threshold)
        self.blame_N = self.wrong_N / (self.wrong_N + self.right_N + 1 / K)
        self.source_N = self._by_source()
        self.regions = regions(snapshot, self.near_NK, self.similar_NK)

    @property
    def reasons_5N(self) -> np.ndarray:  # noqa: N802
        """Each of `REASONS`, from 0 to 1."""
        return np.stack([self.regions.against_N, self.disagreement_N, self.blame_N, self.source_N, self.twins_N])

    @property
    def score_N(self) -> np.ndarray:  # noqa: N802
        """All reasons in one."""
        region_N, _, blame_N, source_N, twins_N = self.reasons_5N
        return 1 - (1 - region_N) * (1 - region_N * blame_N) * (1 - region_N * twins_N) * (1 - source_N)

    @property
    def source_balance_N(self) -> np.ndarray:  # noqa: N802
        """How much more of the vote on a row's source is against its labels than for them, from -1 to 1."""
        return (self.against_S - self.for_S)[self.sources_M[self.rows]]

    def _add(self, some: np.ndarray, ballot: Ballot, threshold: float) -> None:
        """Add what the neighbours of some rows say."""
        here = self.place_M[some]
        there_BK = ballot.positions_QK != MISSING
        wrong_BK = _wrong(self.snapshot, some, ballot.positions_QK)
        share_BK, place_BK = ballot.shares_QK, np.where(there_BK, self.place_M[ballot.positions_QK], MISSING)
        joined = min(JOINED, place_BK.shape[1])
        self.near_NK[here, :joined] = place_BK[:, :joined]
        self.similar_NK[here, :joined] = ballot.similarities_QK[:, :joined]
        self.disagreement_N[here] = (share_BK * wrong_BK).sum(axis=1)
        for total_N, part_BK in ((self.wrong_N, wrong_BK), (self.right_N, 1 - wrong_BK)):
            total_N += np.bincount(place_BK[there_BK], (share_BK * part_BK)[there_BK], minlength=len(total_N))
        self.asked_N += np.bincount(place_BK[there_BK], minlength=len(self.asked_N))
        foreign_BK = share_BK * (self.sources_M[ballot.positions_QK] != self.sources_M[some, None])
        self.against_N[here] = (foreign_BK * wrong_BK).sum(axis=1)
        self.for_N[here] = (foreign_BK * (1 - wrong_BK)).sum(axis=1)
        near_BK = there_BK & (ballot.similarities_QK >= threshold)
        for b, i in enumerate(some.tolist()):
            self._twins(int(here[b]), i, ballot.positions_QK[b, near_BK[b]])
            own = self.snapshot.labels_of(i)
            codes = [c for c in ballot.labels(b)[0].tolist() if self.snapshot.label_names[c] not in own]
            self.most_N[here[b]] = codes[0] if codes else -1

    def _twins(self, n: int, i: int, near: np.ndarray) -> None:
        twins = [j for j in self.twins_of.get(i, ()) if j != i] + near.tolist()
        own = set(self.snapshot.labels_of(i))
        other = [j for j in twins if not own & set(self.snapshot.labels_of(j))]
        if other:
            self.twins_N[n], self.twin_N[n] = len(other) / (1 + len(twins)), other[0]

    def _by_source(self) -> np.ndarray:
        codes_N = self.sources_M[self.rows]
        sizes = np.maximum(1, np.bincount(codes_N, minlength=len(self.source_names)))
        self.against_S, self.for_S = (
            np.bincount(codes_N, one, minlength=len(sizes)) / sizes for one in (self.against_N, self.for_N)
        )
        return np.maximum(0, self.source_balance_N)

    def suspect(self, n: int, score: float, reasons: list[float]) -> Suspect:
        """Return one row in words."""
        least = {"region": _LOST}
        strong = [r for r, value in enumerate(reasons) if value >= least.get(REASONS[r], _SAID)]
        strong = strong or [int(np.argmax(reasons))]
        says = tuple(self._words(n, REASONS[r]) for r in strong if reasons[r] > 0)
        code = int(self.regions.other_N[n])
        suggested = self.snapshot.label_names[code] if code >= 0 else None
        return Suspect(int(self.rows[n]), score, dict(zip(REASONS, reasons, strict=True)), says, suggested)

    def _words(self, n: int, reason: str) -> str:
        if reason == "region":
            return self._region(n)
        if reason == "disagreement":
            label = self.snapshot.label_names[self.most_N[n]]
            return f"{self.disagreement_N[n]:.0%} of its neighbours' vote is for other labels, most for {label!r}"
        if reason == "blame":
            return f"{self.blame_N[n]:.0%} of its own voice in the votes on {self.asked_N[n]} other rows is wrong"
        if reason == "source":
            source = self.sources_M[self.rows[n]]
            agree = f"{self.against_S[source]:.0%} of its rows' vote comes from other sources and is for other labels"
            return f"source {self.source_names[source]!r}: {agree}, {self.for_S[source]:.0%} agrees"
        twin = int(self.twin_N[n])
        labels = "/".join(self.snapshot.labels_of(twin))
        return f"{self.snapshot.ids[twin]!r} is the same picture or nearly, and is labelled {labels!r}"

    def _region(self, n: int) -> str:
        own, together = "/".join(self.snapshot.labels_of(int(self.rows[n]))), self.regions.together_N[n]
        other = self.snapshot.label_names[self.regions.other_N[n]]
        if self.regions.against_N[n] < _LOST:
            return f"label {other!r} has {self.regions.against_N[n]:.0%} of its region, against its own"
        if together == 1:
            return f"it lies alone with label {own!r} in a region of {other!r}"
        return f"{together} rows with label {own!r} lie together in a region of {other!r}"


def _wrong(snapshot: Snapshot, rows_B: np.ndarray, positions_BK: np.ndarray) -> np.ndarray:
    """Return which part of each neighbour's labels is none of the row's, [B, K]: 0 or 1 where each has one label."""
    own_B1, their_BK = snapshot.labels_M[rows_B, None], snapshot.labels_M[positions_BK]
    wrong_BK = (their_BK != own_B1).astype(np.float64)
    for b, k in np.argwhere(((their_BK == SEVERAL) | (own_B1 == SEVERAL)) & (positions_BK != MISSING)).tolist():
        own, theirs = (set(snapshot.labels_of(int(i))) for i in (rows_B[b], positions_BK[b, k]))
        wrong_BK[b, k] = 1 - len(own & theirs) / len(theirs)
    return wrong_BK


def _sources(snapshot: Snapshot) -> tuple[np.ndarray, list[Any]]:
    """Return the source of each position as a number, and their names."""
    codes = snapshot.table.column("source").combine_chunks().dictionary_encode()
    names = [*codes.dictionary.to_pylist(), None]
    return np.where(codes.is_valid(), codes.indices.fill_null(0), len(names) - 1).astype(np.int64), names
