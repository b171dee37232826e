"""What `choose_rule` makes of its rows: the scores of rules, how they differ from ours, and intervals of both.

Shapes: D draws of the bootstrap, Q queries, S settings, L rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

SETTING = ["user", "data", "embedding", "judged", "clicks"]
DRAWS = 1000


def by_setting(rows: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return a row for each setting and rule: MAP@R, and how much more ours has, with 95 % intervals over queries.

    ``without_yes`` is the share of queries without a yes among their marks, ``map_at_r_without`` MAP@R of those.
    """
    means, draws = _means(rows)
    extra = rows.assign(without=rows["yes"] == 0, value=rows.map_at_r.where(rows["yes"] == 0))
    extra = extra.groupby([*SETTING, "rule"]).agg(
        queries=("map_at_r", "size"), without_yes=("without", "mean"), map_at_r_without=("value", "mean")
    )
    found = extra.assign(map_at_r=means.stack(), **_ends("map_at_r", draws, means))
    at = list(means.columns).index(ours)
    more = -means.sub(means[ours], axis=0)
    found = found.assign(ours_more=more.stack(), **_ends("ours_more", draws[:, :, [at]] - draws, means))
    return found.reset_index()


def by_rule(rows: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return a row a rule: its score by the protocol, by user and in all, and how much more ours has, with intervals.

    ``best_in`` settings it has the highest MAP@R; ``ours_surely_more_in`` and ``ours_surely_less_in`` count those where
    the interval of ours less this one leaves zero out.
    """
    means, draws = _means(rows)
    users = means.index.get_level_values("user")
    share = pd.DataFrame(_of_best(means.to_numpy()), means.index, means.columns)
    share_draws = _of_best(draws)
    found = share.groupby("user").mean().T
    kinds = list(found.columns)
    score_DL = np.mean([share_draws[:, users == user].mean(axis=1) for user in kinds], axis=0)
    found["score"] = found[kinds].mean(axis=1)
    found["score_low"], found["score_high"] = np.quantile(score_DL, [0.025, 0.975], axis=0)
    found["ours_more"] = found.score[ours] - found.score
    at = list(means.columns).index(ours)
    found["ours_more_low"], found["ours_more_high"] = np.quantile(score_DL[:, [at]] - score_DL, [0.025, 0.975], axis=0)
    found["map_at_r"] = means.groupby("user").mean().mean()
    found["best_in"] = means.idxmax(axis=1).value_counts().reindex(means.columns, fill_value=0)
    below = np.quantile(draws[:, :, [at]] - draws, [0.025, 0.975], axis=0)
    found["ours_surely_more_in"], found["ours_surely_less_in"] = (below[0] > 0).sum(axis=0), (below[1] < 0).sum(axis=0)
    return found.reset_index().sort_values("score", ascending=False)


def choice(rows: pd.DataFrame, contract: Sequence[str], tried: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Return a row for each pair of numbers, the best first: its score, and that of the best of the eight beside it."""
    means = rows.groupby([*SETTING, "rule"]).map_at_r.mean().unstack("rule")
    found = []
    for name, pair in tried.items():
        these = means[[*contract, name]]
        share = pd.DataFrame(_of_best(these.to_numpy()), these.index, these.columns)
        scores = share.groupby("user").mean().mean()
        best = scores[list(contract)].idxmax()
        found.append((*pair, scores[name], best, scores[best]))
    names = ["power", "gamma", "score", "best_of_eight", "its_score"]
    return pd.DataFrame(found, columns=names).sort_values("score", ascending=False)


def _means(rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return MAP@R by setting and rule, and the same of each draw of queries, [D, S, L].

    A query of a data set is drawn with all it gave there: the draws of rules, users, pages and embeddings are paired.
    """
    means = rows.groupby([*SETTING, "rule"]).map_at_r.mean().unstack("rule")
    draws = np.empty((DRAWS, *means.shape))
    rng = np.random.default_rng(0)
    for data in means.index.unique("data"):
        own = rows[rows.data == data].pivot(index="query", columns=[*SETTING, "rule"], values="map_at_r")
        at = np.flatnonzero(means.index.get_level_values("data") == data)
        order = pd.MultiIndex.from_tuples([(*means.index[s], rule) for s in at for rule in means.columns])
        values = own.reindex(columns=order).to_numpy()
        times_DQ = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), DRAWS).astype(np.float64)
        there = np.isfinite(values)
        total = times_DQ @ np.where(there, values, 0) / (times_DQ @ there)
        draws[:, at] = total.reshape(DRAWS, len(at), means.shape[1])
    return means, draws


def _of_best(values_xL: np.ndarray) -> np.ndarray:
    """Return the share that each rule has of the best one; where none has anything, all are the best."""
    best = values_xL.max(axis=-1, keepdims=True)
    return np.where(best > 0, values_xL / np.where(best > 0, best, 1), 1.0)


def _ends(name: str, draws: np.ndarray, like: pd.DataFrame) -> dict[str, pd.Series]:
    ends = np.quantile(draws, [0.025, 0.975], axis=0)
    return {
        f"{name}_{end}": pd.DataFrame(each, like.index, like.columns).stack()
        for end, each in zip(("low", "high"), ends, strict=True)
    }
