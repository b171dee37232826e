"""The last line of a first run names the command to try next, and that of any other run doesn't."""

from __future__ import annotations

import pytest

from itae.app.next_step import next_step

SMALL = ("dataset.limit=40", "clusterer.seeds=1", "clusterer.restarts=1", "tracker=none")


def result(model="digits_vit", dataset="digits", rates=None):
    settings = {"backbone": {"model_name": model}, "dataset": {"name": dataset}}
    return {"settings": settings, "artifact_rate": {"5": 0.0} if rates is None else rates}


def test_the_last_line_of_the_default_run_names_the_demo(itae_):
    status, out, err = itae_(*SMALL)
    assert status == 0, err
    assert "Nothing was flagged" in out
    assert out.splitlines()[-1].startswith("try next   itae experiment=demo ")


@pytest.mark.parametrize("words", [("layers=none",), ("detector.rule=quantile",), ("-m", "detector.k=5,6")])
def test_where_there_is_something_to_see_or_nothing_was_asked_for_no_command_is_named(words, itae_):
    status, out, err = itae_(*words, *SMALL)
    assert status == 0, err
    assert "try next" not in out


@pytest.mark.parametrize(
    "other", [{"model": "vit_small_patch14_dinov2.lvd142m"}, {"dataset": "imagefolder"}, {"rates": {"5": 0.1}}]
)
def test_only_the_default_job_without_artifacts_has_a_next_step(other):
    assert next_step(result()) == "itae experiment=demo"
    assert next_step(result(**other)) is None
