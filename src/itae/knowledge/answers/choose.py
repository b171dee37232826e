"""Which voter, how many neighbours, which temperature: chosen inside the base, by rows asked as if they weren't in it.

Labels of what is to be classified are never seen. One search for neighbours serves all that is tried.

Shapes: R rows drawn, C label names, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.knowledge.answers.sweep import winners
from itae.knowledge.answers.vote import Voter, told
from itae.knowledge.near.held_out import held_out
from itae.knowledge.near.neighbours import MISSING, Excluded
from itae.knowledge.records.snapshot import Snapshot
from itae.measure.classified import Truth, recalls

_DECIMALS = 12  # to which accuracies are equal


@dataclass(frozen=True)
class Choice:
    """A voter with all its settings.

    Parameters
    ----------
    voter
        What is to be asked for ballots.
    note
        What an answer has to say of how it was chosen, or an empty string.
    tried
        The balanced accuracy of each voter that was tried, in words, in the order in which they were tried.
    """

    voter: Any
    note: str = ""
    tried: tuple[tuple[str, float], ...] = ()


def choose(snapshot: Snapshot, voter: Any, device: str = "auto") -> Choice:
    """Return a voter of which every setting is known; what is given is kept.

    The rest is chosen by leave-one-group-out inside the base: of a fixed draw of its labelled rows, each is voted on by
    the others that are not of its group, and the settings of the highest balanced accuracy are taken. Of equally good
    ones the smaller k, then the first in the order of `itae.knowledge.answers.vote.Auto.options`. The snapshot
    remembers it.

    Raises
    ------
    UserError
        When the base is empty; when no row has a label.
    """
    refuse_unlabelled(snapshot)
    options = voter.options()
    if len(options) == 1:
        return Choice(options[0])
    name = f"choice of {voter!r}"
    if name not in snapshot.memo:
        snapshot.memo[name] = _choose(snapshot, voter, options, device)
    return snapshot.memo[name]


def refuse_unlabelled(snapshot: Snapshot) -> None:
    """Raise a `UserError` where there is no row to vote."""
    if not len(snapshot):
        raise UserError("This base is empty and knows nothing; add images: itae knowledge add KB dataset=...")
    if not len(snapshot.voters):
        raise UserError(
            f"None of the {len(snapshot)} rows of this base has a label to vote with; give labels: "
            "itae knowledge correct KB LABEL ID..."
        )


def _choose(snapshot: Snapshot, voter: Any, options: Any, device: str) -> Choice:
    most = max((option.k for option in options if isinstance(option, Voter) and option.k is not None), default=1)
    found = held_out(snapshot, most, voters=True, device=device)
    if (found.positions_RK == MISSING).all():
        note = f"{told(options[0], kept=voter)}: not chosen, as no labelled row has another that is not of its group"
        return Choice(options[0], note)
    asked_RE, groups = snapshot.vectors_ME[found.rows], Excluded(snapshot.groups_M, snapshot.groups_M[found.rows])
    won = winners(snapshot, options, asked_RE, found.positions_RK, found.similarities_RK, excluded=groups)
    scores = [balanced_accuracy(snapshot, found.rows, won_R) for won_R in won]
    ks = [getattr(option, "k", np.inf) for option in options]
    best = min(range(len(options)), key=lambda i: (-round(scores[i], _DECIMALS), ks[i], i))
    how = f"chosen by leave-one-group-out inside the base (balanced accuracy {scores[best]:.3f}"
    note = f"{told(options[best], kept=voter)}: {how}{', ' * bool(found.note)}{found.note})"
    return Choice(options[best], note, tuple(zip(map(told, options), scores, strict=True)))


def balanced_accuracy(snapshot: Snapshot, rows: np.ndarray, won_R: np.ndarray) -> float:
    """Return the mean over classes of the share of its rows that are named rightly, given the label each one got.

    A row with m labels is named rightly by any of them, and counts 1/m in each one's class.
    """
    codes_R = snapshot.labels_M[rows]
    truth: Truth = codes_R
    if (codes_R < 0).any():
        pairs = zip(rows.tolist(), codes_R.tolist(), strict=True)
        truth = [set(snapshot.several.get(row, (code,))) for row, code in pairs]
    recall_C = recalls(truth, won_R[:, None], len(snapshot.label_names))
    return float(recall_C[np.isfinite(recall_C)].mean())
