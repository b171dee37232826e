"""The table at the end of a sweep, and its run of the tracker, of whatever task its jobs are."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from spreads import SAID, spread_result, write_results

from itae.app import sweep
from itae.app.settings import Settings
from itae.app.sweep import Job
from itae.base.console import console

BEFORE = Path(__file__).parents[1] / "data" / "before_rooms" / "runs"


def table_of(*results):
    """Return the lines of the table and the cells of its rows."""
    jobs = [Job(i, (f"detector.k={i}",), {}, Path(str(i))) for i in range(len(results))]
    with redirect_stdout(io.StringIO()) as out:
        sweep.report(dict(zip(jobs, results, strict=True)), Path("sweep"), len(jobs))
    lines = out.getvalue().splitlines()
    rows = [[cell.strip() for cell in line.split(mark)[1:-1]] for line in lines for mark in "┃│" if mark in line]
    return " ".join(" ".join(lines).split()), rows


@pytest.mark.parametrize("delta", [True, False])
def test_a_sweep_ends_with_the_headline_of_its_task(delta):
    failed = {"status": "failed", "error": "no room [/]"}
    text, rows = table_of(spread_result(2.0, k=3.0, delta=delta), failed)
    assert rows[0] == ["job", "settings", "baseline", "edited", *(["delta"] if delta else []), "flagged"]
    change = ["-1.0000 ± 0.0200"] if delta else []
    assert rows[1] == ["0", "detector.k=0", "3.0000 ± 0.0200", "2.0000 ± 0.0200", *change, "3.00 %"]
    assert rows[2][:3] == ["1", "detector.k=1", "failed"]
    assert "Width, mean ± std over 3 draws; flagged" in text
    assert "failed job 1 (detector.k=1): no room [/]" in text


def test_the_caption_is_not_folded(monkeypatch, capsys):
    monkeypatch.setattr("itae.app.sweep.console", lambda _: console(40))
    job = Job(0, ("detector.k=0",), {}, Path("0"))
    sweep.report({job: spread_result(2.0)}, Path("sweep"), 1)
    caption = "Width, mean ± std over 3 draws; flagged: mean share of patches over the edited blocks"
    assert caption in capsys.readouterr().out.splitlines()


def test_one_value_has_no_deviation():
    text, rows = table_of(spread_result(2.0, draws=1, shown=SAID | {"over": None}))
    assert rows[1][2:5] == ["3.0000", "2.0000", "-1.0000"]
    assert "mean ± std" not in text


def test_an_old_sweep_ends_with_accuracy():
    result = json.loads((BEFORE / "sweep/0/result.json").read_text())
    text, rows = table_of(result)
    want = f"{result['edited']['acc']['mean']:.4f} ± {result['edited']['acc']['std']:.4f}"
    assert rows[1][3] == want
    assert f"ACC, mean ± std over {len(result['edited']['seeds'])} seeds" in text
    unlabelled, rows = table_of(result | {"delta": None})
    assert "inertia, mean" in unlabelled
    assert rows[1][3].split()[0] == f"{result['edited']['inertia']['mean']:.4f}"


def test_jobs_of_several_tasks_have_each_its_own_headline():
    other = {"headline": "tone", "criterion": None, "table": ["tone"], "metrics": {"tone": SAID["metrics"]["tone"]}}
    text, rows = table_of(spread_result(2.0, k=3.0), spread_result(2.0, shown=other, kind="tones"))
    assert rows[0] == ["job", "settings", "metric", "baseline", "edited", "delta", "flagged"]
    assert rows[1][2:5] == ["Width", "3.0000 ± 0.0200", "2.0000 ± 0.0200"]
    assert rows[2][2:6] == ["Tone", "0.5000 ± 0.0200", "0.7000 ± 0.0200", "+0.2000 ± 0.0200"]
    assert "Width, mean" not in text


def test_the_tracker_gets_the_figures_of_the_headline(tmp_path, monkeypatch):
    write_results(tmp_path, *(spread_result(width, k=width) for width in (2.0, 1.0)))
    logged = {}

    @contextmanager
    def run(*_, **__):
        yield SimpleNamespace(metrics=logged.update, table=lambda name, rows: logged.update({name: rows()}),
                              figures=lambda paths: logged.update(figures=[path.stem for path in paths]))  # fmt: skip

    monkeypatch.setattr(Settings, "of", lambda _: SimpleNamespace(tracker=SimpleNamespace(run=run)))
    sweep.track([{"tracker": {"tables": True}}], tmp_path)
    assert (logged["jobs"], logged["ok"], logged["figures"]) == (2, 2, ["metric_threshold", "delta_artifact_rate"])
    assert [row["edited.width.mean"] for row in logged["runs"]] == [2.0, 1.0]
