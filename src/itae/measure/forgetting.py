"""How well queries are told while what there is to know arrives in steps, and how much of it is lost again.

``R[i, j]`` is the accuracy on the queries of task j after step i; task j arrives at step j. Where all is asked from the
first step on, there is one task. Scores are means over queries of what each of them adds, so that two sides are paired
query by query (`itae.measure.intervals.mean_interval`).

Letters: O orders, S steps, T tasks, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def accuracy_matrix(right_SQ: np.ndarray, task_Q: np.ndarray, tasks: int) -> np.ndarray:
    """Return R, float64 [S, T]; NaN before a task's own step, and for a task without queries.

    Parameters
    ----------
    right_SQ
        Whether each query is told rightly after each step, bool.
    task_Q
        Of which task each is, from 0.
    tasks
        How many there are: S, or 1.
    """
    sizes_T = np.bincount(task_Q, minlength=tasks)
    hits_ST = np.array([np.bincount(task_Q, right_Q, minlength=tasks) for right_Q in right_SQ])
    there_ST = (np.arange(tasks) <= np.arange(len(right_SQ))[:, None]) & (sizes_T > 0)
    return np.divide(hits_ST, sizes_T, out=np.full(hits_ST.shape, np.nan), where=there_ST)


def accuracy_by_step(right_SQ: np.ndarray, task_Q: np.ndarray) -> np.ndarray:
    """Return the accuracy after each step on the queries of the tasks that have arrived, float64 [S]; NaN for none."""
    seen_SQ = task_Q <= np.arange(len(right_SQ))[:, None]
    counts_S = seen_SQ.sum(axis=1)
    return np.divide((right_SQ & seen_SQ).sum(axis=1), counts_S, out=np.full(len(counts_S), np.nan), where=counts_S > 0)


def image_values(right_OSQ: np.ndarray, task_OQ: np.ndarray, tasks: int) -> dict[str, np.ndarray]:
    """Return what each query adds to each score, float64 [O, Q]; the means over Q are the scores of the orders.

    Parameters
    ----------
    right_OSQ, task_OQ, tasks
        As of `accuracy_matrix`, for each order.

    Returns
    -------
    dict
        ``final``: the accuracy after the last step, over queries. ``final_by_task``: the mean of ``R[T, j]`` over
        tasks. ``average``: the mean over steps of the accuracy on what has arrived, over queries (average incremental
        accuracy: Rebuffi et al., 2017, arXiv:1611.07725). ``backward_transfer``: the mean over tasks but the last of
        ``R[T, j] - R[j, j]`` (Lopez-Paz & Ranzato, 2017, arXiv:1706.08840). ``forgetting``: the mean over tasks but the
        last of ``max over i < T of R[i, j]``, less ``R[T, j]`` (Chaudhry et al., 2018, arXiv:1801.10112); below 0 where
        the last step is the best. Tasks without queries are in no mean. Of one task there are ``final`` and ``average``
        alone; the last two are left out where only the last task has queries.

        Forgetting has a maximum in it. Which step is the best of a task is taken as it is: in other queries it might be
        another, which no interval of these values knows.
    """
    each = [_values(*one, tasks) for one in zip(right_OSQ, task_OQ, strict=True)]
    return {name: np.array([one[name] for one in each]) for name in each[0] if all(name in one for one in each)}


def _values(right_SQ: np.ndarray, task_Q: np.ndarray, tasks: int) -> dict[str, np.ndarray]:
    queries = np.arange(len(task_Q))
    last_Q = right_SQ[-1].astype(np.float64)
    seen_SQ = task_Q <= np.arange(len(right_SQ))[:, None]
    some = seen_SQ.any(axis=1)
    shares_SQ = len(queries) / seen_SQ[some].sum(axis=1, keepdims=True)
    found = {"final": last_Q, "average": ((right_SQ & seen_SQ)[some] * shares_SQ).mean(axis=0)}
    if tasks == 1:
        return found
    sizes_T = np.bincount(task_Q, minlength=tasks)
    there, share_Q = np.flatnonzero(sizes_T), len(queries) / sizes_T[task_Q]
    found["final_by_task"] = last_Q * share_Q / len(there)
    past = there[there < tasks - 1]
    if len(past):
        best_T = np.zeros(tasks, np.int64)
        best_T[past] = np.nanargmax(accuracy_matrix(right_SQ, task_Q, tasks)[:-1, past], axis=0)
        weight_Q = np.where(task_Q < tasks - 1, share_Q, 0) / len(past)
        found["backward_transfer"] = weight_Q * (last_Q - right_SQ[task_Q, queries])
        found["forgetting"] = weight_Q * (right_SQ[best_T[task_Q], queries] - last_Q)
    return found


def summary(values_O: np.ndarray) -> dict[str, Any]:
    """Return mean, standard deviation (None of one value) and each value of a score over orders."""
    std = float(values_O.std(ddof=1)) if len(values_O) > 1 else None
    return {"mean": float(values_O.mean()), "std": std, "per_seed": values_O.tolist()}


def paired(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], groups_Q: np.ndarray | None
) -> dict[str, dict[str, Any]]:
    """Return `after` less `before` of each score, as `summary`, with its 95 % ``interval`` over queries and orders.

    Parameters
    ----------
    before, after
        Of `image_values`, with the same orders and queries.
    groups_Q
        Equal numbers, 0 and more, for queries that are drawn together; None: each is by itself.
    """
    from itae.measure.intervals import by_group, mean_interval

    found = {}
    for name in before:
        change_OQ = after[name] - before[name]
        ends = mean_interval(by_group(change_OQ, groups_Q))
        found[name] = summary(change_OQ.mean(axis=1)) | {"interval": None if ends is None else list(ends)}
    return found
