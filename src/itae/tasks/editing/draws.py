"""Wrong labels drawn several times, the same for both sides, and what mending them comes to on a side.

Shapes: M positions of a snapshot, N rows that vote, Q queries, D draws, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.base.progress import progress
from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.vote import Plurality
from itae.knowledge.records.snapshot import Snapshot
from itae.tasks.editing.corrupt import Corruption
from itae.tasks.editing.mending import Mending, planted_sources, ranked, relabelled
from itae.tasks.editing.repair import Blame, Random, Repair, Suspicion
from itae.tasks.editing.scores import LOCALITY, Answers, Score, auroc, curve, precision

NEAREST = Plurality(1)
VOTERS = {"": None, "_k1": NEAREST}
"""What ends the name of a metric, and by which voter it is; None is the chosen one."""
BESIDE: tuple[Repair, ...] = (Suspicion(), Blame(), Random())
"""Rules whose curves stand beside those of any other: they ask for no sources."""
_POINTS = 51  # of a curve
Ranking: TypeAlias = tuple[np.ndarray, np.ndarray]
"""What a rule says of each row, [N], and the positions of the rows in its order, [N]."""
_WRONG, _SOURCES, _RANKING, _TIES = range(4)  # what a draw draws, each by a generator of its own
_DECIMALS = 12  # to which scores are equal: beyond, a sum is rounding


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of wrong labels, as the untouched side has it.

    Parameters
    ----------
    number, seed
        Which of the draws it is, and the seed of the run.
    labels_M, wrong_M
        The labels, and which rows have another than their own.
    sources
        Of each row, planted; None where the rule asks for none.
    voter
        Every setting of it known.
    """

    number: int
    seed: int
    labels_M: np.ndarray
    wrong_M: np.ndarray
    sources: Sequence[str] | None
    voter: Any

    def rng(self, what: int) -> np.random.Generator:
        """Return the generator of one of the things that are drawn: on both sides the same."""
        return np.random.default_rng([self.seed, self.number, what])


@dataclass(frozen=True, eq=False)
class Side:
    """What mending comes to on one side.

    Parameters
    ----------
    scores
        Of each draw, by metric.
    curves
        By rule and voter (of `VOTERS`) what `itae.tasks.editing.scores.curve` returns, [D, P] each.
    points
        How many rows are looked at at each point of a curve, int64 [P].
    first
        What the rule says of the first draw.
    """

    scores: Sequence[Mapping[str, Score]]
    curves: Mapping[tuple[str, str], Mapping[str, np.ndarray]]
    points: np.ndarray
    first: Ranking


def draws_of(
    memory: Snapshot, corruption: Corruption, rule: Repair, voter: Any, count: int, seed: int,
    plant: tuple[int, float], device: str = "auto",
) -> list[Draw]:  # fmt: skip
    """Draw wrong labels so often, and choose a voter inside each of the memories that have them.

    Parameters
    ----------
    memory
        Of the untouched side, its labels true.
    corruption, rule, voter
        Of the config groups.
    count, seed
        How many draws, and what they begin with.
    plant
        How many sources to plant, and how many right rows come with each wrong one, where the rule asks for sources.
    device
        See `itae.knowledge.near.neighbours.nearest`.

    Raises
    ------
    UserError
        If the corruption gives no labels of the memory, or leaves all as they are.
    """
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number, _WRONG])
        labels_M = _checked(corruption, memory, corruption.labels(memory, rng))
        wrong_M, sources = labels_M != memory.labels_M, None
        if getattr(rule, "sources", False):
            sources = planted_sources(memory, wrong_M, *plant, np.random.default_rng([seed, number, _SOURCES]))
        chosen = memory.memo.setdefault("choices", {})  # for the jobs of a sweep that differ in the rule alone
        if (of := (labels_M.tobytes(), repr(voter))) not in chosen:
            chosen[of] = choose(relabelled(memory, labels_M), voter, device).voter
        found.append(Draw(number, seed, labels_M, wrong_M, sources, chosen[of]))
    return found


def side_of(mending: Mending, draws: Sequence[Draw], rule: Repair, budget: float) -> Side:
    """Return what mending comes to on a side; curves end where a share `budget` of the rows was looked at.

    Beside those of the rule there are curves of the other rules that ask for no sources.
    """
    rows = len(mending.memory.voters)
    points = np.unique(np.round(np.linspace(0, budget, _POINTS) * rows).astype(np.int64))
    side = _Mender(mending, rule, points)
    clean: dict[str, np.ndarray] = {}
    found = []
    with progress(len(draws), "mending", "draws") as advance:
        for draw in draws:
            for voter in (draw.voter, NEAREST):
                if (name := repr(voter)) not in clean:
                    clean[name] = mending.answers(mending.memory.labels_M, voter)
            found.append(side.mend(draw, clean))
            advance(1)
    scores, curves, rankings = zip(*found, strict=True)
    stacked = {
        key: {name: np.stack([one[key][name] for one in curves]) for name in lines} for key, lines in curves[0].items()
    }
    return Side(scores, stacked, points, rankings[0])


@dataclass(frozen=True, eq=False)
class _Mender:
    """What is asked on a side, the rule that is looked at, and the points of its curves."""

    mending: Mending
    rule: Repair
    points: np.ndarray

    def mend(
        self, draw: Draw, clean: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Score], dict[tuple[str, str], dict[str, np.ndarray]], Ranking]:
        """Return scores, curves and ranking of one draw, given what voters answer of clean labels."""
        noisy = relabelled(self.mending.memory, draw.labels_M)  # it remembers what several rules ask
        known = self._known(draw)
        every = [self.rule, *(one for one in BESIDE if name_of(one) != name_of(self.rule))]
        for rule in every:
            if rule not in known:
                known[rule] = self._mended(rule, draw, noisy, clean)
        mine, scores = known[self.rule][0], _of_the_ranking(self.mending.memory, draw, *known[self.rule][0])
        curves = {}
        for rule in every:
            for kind, (line, answers) in known[rule][1].items():
                curves[name_of(rule), kind] = line
                if rule is self.rule:
                    scores |= {f"{metric}{kind}": score for metric, score in answers.items()
                               if not (kind and metric == LOCALITY)}  # fmt: skip
        return scores, curves, mine

    def _known(self, draw: Draw) -> dict[Repair, Any]:
        """Return what jobs before this one, with another rule, have found of the rules that all have in common."""
        slots = self.mending.memory.memo.setdefault("mended", {})
        name = draw.seed, draw.labels_M.tobytes(), repr(draw.voter), self.points.tobytes()
        if draw.number not in slots or slots[draw.number][0] != name:
            slots[draw.number] = name, {}
        return dict(slots[draw.number][1])

    def _mended(
        self, rule: Repair, draw: Draw, noisy: Snapshot, clean: Mapping[str, np.ndarray]
    ) -> tuple[Ranking, dict[str, tuple[dict[str, np.ndarray], dict[str, Score]]]]:
        """Return the ranking of a rule, and by each of `VOTERS` curve and scores."""
        ranking, found = self.ranking(rule, draw, noisy), {}
        for kind, given in VOTERS.items():
            voter = given or draw.voter
            found[kind] = _mended(self.mending, draw, ranking[1], self.points, voter, clean[repr(voter)])
        if rule in BESIDE:
            self.mending.memory.memo["mended"][draw.number][1][rule] = ranking, found
        return ranking, found

    def ranking(self, rule: Repair, draw: Draw, noisy: Snapshot) -> Ranking:
        """Return what a rule says of a memory with wrong labels, the asked one with the sources that are planted."""
        if rule is self.rule and draw.sources is not None:
            noisy = relabelled(self.mending.memory, draw.labels_M, draw.sources)
        scores_N = ranking_scores(rule, noisy, draw)
        return scores_N, ranked(self.mending.memory, scores_N, draw.rng(_TIES))


def name_of(one: object) -> str:
    """Return what a rule or a corruption is called in files and figures: its class, as on a command line."""
    return choice_of(type(one).__name__)


def _mended(
    mending: Mending, draw: Draw, order_N: np.ndarray, points: np.ndarray, voter: Any, clean_Q: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Score]]:
    """Return the curve of a voter, and its scores after as many rows as are wrong."""
    wrong, truth_Q = int(draw.wrong_M.sum()), mending.asked.truth_Q
    every = np.union1d(points, [wrong])
    noisy_Q = mending.answers(draw.labels_M, voter)
    mended_PQ = mending.mended(draw.labels_M, order_N, every.tolist(), voter)
    here = curve(truth_Q, clean_Q, noisy_Q, mended_PQ[np.isin(every, points)])
    at_wrong = Answers(truth_Q, clean_Q, noisy_Q, mended_PQ[np.searchsorted(every, wrong)])
    return here, at_wrong.scores(int(draw.wrong_M[order_N[:wrong]].sum()))


def _of_the_ranking(memory: Snapshot, draw: Draw, scores_N: np.ndarray, order_N: np.ndarray) -> dict[str, Score]:
    wrong_N = draw.wrong_M[memory.voters]
    first_N = np.isin(memory.voters, order_N[: wrong_N.sum()])
    return {"precision_at_wrong": precision(wrong_N, first_N), "auroc": auroc(wrong_N, scores_N)}


def ranking_scores(rule: Repair, noisy: Snapshot, draw: Draw) -> np.ndarray:
    """Return what a rule says of each row; a `UserError` where that is no number for each."""
    found = np.asarray(rule.scores(noisy, draw.rng(_RANKING)))
    if found.shape != (len(noisy.voters),) or found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        raise UserError(
            f"repair={name_of(rule)} gave scores of shape {found.shape} and type {found.dtype}; they must be "
            f"{len(noisy.voters)} finite numbers, one for each row that votes."
        )
    return np.round(found.astype(np.float64), _DECIMALS)


def _checked(corruption: Corruption, memory: Snapshot, labels_M: np.ndarray) -> np.ndarray:
    name, rows, labels_M = type(corruption).__name__, memory.voters, np.asarray(labels_M)
    if labels_M.shape != memory.labels_M.shape or labels_M.dtype.kind not in "iu":
        raise UserError(f"{name}.labels must return a whole number for each of the {len(memory.labels_M)} rows.")
    if not ((labels_M[rows] >= 0) & (labels_M[rows] < len(memory.label_names))).all():
        raise UserError(f"{name}.labels must be from 0 to {len(memory.label_names) - 1} for each row that has a label.")
    labels_M = np.where(memory.labels_M < 0, memory.labels_M, labels_M)
    if not (labels_M != memory.labels_M).any():
        raise UserError(f"{name} made no label of {len(rows)} wrong, so there is nothing to mend; give a higher rate.")
    return labels_M
