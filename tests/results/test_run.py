"""A run that did not end well, read from Python: what it has no more of is told, and why."""

from __future__ import annotations

import json

import pytest

from itae.base.errors import UserError
from itae.look.view import load_run
from itae.results.run import read_run

WANTED = {
    "scores": "baseline", "norms": "norms", "layers": "layers", "baseline": "baseline embeddings",
    "edited": "edited embeddings", "settings": "settings",
}  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "running"])
@pytest.mark.parametrize("name", WANTED)
def test_what_a_failed_run_has_none_of_is_a_sentence(tmp_path, status, name):
    (tmp_path / "result.json").write_text(json.dumps({"status": status, "error": "No room is left.", "started": {}}))
    run = read_run(tmp_path)
    assert not run.ok
    with pytest.raises(UserError) as told:
        getattr(run, name)
    assert str(told.value) == f"The run {tmp_path} has no {WANTED[name]}: it ended with 'No room is left.'."


@pytest.mark.parametrize("figure", ["signal", "norms", "layers", "embeddings", "clusters"])
def test_a_failed_run_has_no_figure_and_says_so(tmp_path, figure):
    (tmp_path / "result.json").write_text(json.dumps({"status": "failed", "error": "No room is left."}))
    with pytest.raises(UserError, match="it ended with 'No room is left"):
        load_run(tmp_path).figure(figure)
