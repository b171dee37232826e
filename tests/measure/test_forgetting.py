"""Scores of what arrives step by step, against loops over the formulas of the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itae.measure.forgetting import accuracy_by_step, accuracy_matrix, image_values, paired, summary
from itae.measure.intervals import mean_interval


def slow_scores(right_SQ, task_Q, tasks):
    """Return the scores of one order as the papers write them."""
    steps = len(right_SQ)
    mine = {j: [q for q in range(len(task_Q)) if task_Q[q] == j] for j in range(tasks)}
    there = [j for j in range(tasks) if mine[j]]
    r = {(i, j): np.mean([right_SQ[i][q] for q in mine[j]]) for i in range(steps) for j in there}
    seen = [[q for q in range(len(task_Q)) if task_Q[q] <= i] for i in range(steps)]
    found = {
        "final": np.mean(right_SQ[-1]),
        "average": np.mean([np.mean([right_SQ[i][q] for q in some]) for i, some in enumerate(seen) if some]),
    }
    if tasks > 1:
        found["final_by_task"] = np.mean([r[steps - 1, j] for j in there])
        past = [j for j in there if j < tasks - 1]
        if past:
            found["backward_transfer"] = np.mean([r[steps - 1, j] - r[j, j] for j in past])
            best = [max(r[i, j] for i in range(j, steps - 1)) for j in past]
            found["forgetting"] = np.mean([b - r[steps - 1, j] for b, j in zip(best, past, strict=True)])
    return found


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_scores_are_the_formulas_of_the_papers(seed, steps, queries, orders, one_task):
    draw = np.random.default_rng(seed)
    tasks = 1 if one_task else steps
    task_OQ = draw.integers(0, tasks, (orders, queries))
    arrived = task_OQ[:, None] <= np.arange(steps)[:, None]
    right_OSQ = draw.integers(0, 2, (orders, steps, queries)).astype(bool) & arrived
    values = image_values(right_OSQ, task_OQ, tasks)
    slow = [slow_scores(right_OSQ[o].tolist(), task_OQ[o].tolist(), tasks) for o in range(orders)]
    assert set(values) == set.intersection(*map(set, slow))
    for name, each in values.items():
        assert each.shape == (orders, queries)
        np.testing.assert_allclose(each.mean(axis=1), [one[name] for one in slow], atol=1e-12)


def test_a_matrix_with_a_known_answer():
    """Two tasks of two and one queries: one of the first is lost at the second step."""
    right, task = np.array([[True, True, False], [True, False, True]]), np.array([0, 0, 1])
    np.testing.assert_array_equal(accuracy_matrix(right, task, 2), [[1, np.nan], [0.5, 1]])
    np.testing.assert_array_equal(accuracy_by_step(right, task), [1, 2 / 3])
    scores = {name: values.mean() for name, values in image_values(right[None], task[None], 2).items()}
    want = {"final": 2 / 3, "final_by_task": 0.75, "average": 5 / 6, "backward_transfer": -0.5, "forgetting": 0.5}
    assert scores == pytest.approx(want)


def test_tasks_without_queries_are_in_no_mean():
    right, task = np.array([[False, False], [True, False], [True, True]]), np.array([1, 2])
    assert np.isnan(accuracy_matrix(right, task, 3)[:, 0]).all()
    assert np.isnan(accuracy_by_step(right, task)[0])
    scores = {name: values.mean() for name, values in image_values(right[None], task[None], 3).items()}
    want = {"final": 1, "final_by_task": 1, "average": 1, "backward_transfer": 0, "forgetting": 0}
    assert scores == pytest.approx(want)


def test_forgetting_is_below_0_where_the_end_is_best():
    right, task = np.array([[[False, False], [True, True]]]), np.array([[0, 1]])
    assert image_values(right, task, 2)["forgetting"].mean() == -1


def test_sides_are_paired_by_query_and_order():
    draw = np.random.default_rng(0)
    before, after = ({"final": draw.random((3, 40))} for _ in range(2))
    found = paired(before, after, None)["final"]
    change = after["final"] - before["final"]
    assert found["per_seed"] == change.mean(axis=1).tolist()
    assert found["interval"] == list(mean_interval(change))
    groups = np.repeat(np.arange(20), 2)
    assert paired(before, after, groups)["final"]["interval"] != found["interval"]
    assert summary(np.array([0.5])) == {"mean": 0.5, "std": None, "per_seed": [0.5]}
