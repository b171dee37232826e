"""Sweeps on the shared pass, through Hydra as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import itae
import itae.experiment
from itae import sweep
from itae.cli import compose
from itae.errors import UserError
from itae.replay import SharedPass
from itae.worker import Worker

SMALL = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "detector.rule=quantile", "tracker=none")


def sweeps():
    return sorted(Path("outputs/sweeps").glob("*/"))


def results(folder):
    return {int(path.parent.name): json.loads(path.read_text()) for path in folder.glob("*/result.json")}


@pytest.fixture
def images_seen(monkeypatch):
    """Count the images that go through the model."""
    seen, call = [], SharedPass.__call__

    def counting(self, pixels, index):
        if len(index) > 1:  # one is the proof that the model can be edited
            seen.append((len(index), len(self.edits)))
        return call(self, pixels, index)

    monkeypatch.setattr(SharedPass, "__call__", counting)
    return seen


def test_a_sweep_is_one_pass_and_each_job_is_as_if_alone(itae_, images_seen):
    status, out, err = itae_("-m", "layers=last,last2", "attenuator=floor,scale", *SMALL)
    assert (status, err) == (0, "")
    assert images_seen == [(32, 5), (28, 5)], "the untouched model and four edits, together"
    assert "4 jobs, 4 of them run now" in out
    assert "dataset.limit" not in out, "what all jobs have in common is not told four times"
    (folder,) = sweeps()
    there = results(folder)
    assert {(r["settings"]["layers"], r["settings"]["attenuator"]["_target_"].rpartition(".")[2])
            for r in there.values()} == {(a, b) for a in ("last", "last2") for b in ("Floor", "Scale")}  # fmt: skip
    assert all(r["status"] == "ok" and r["cached"] for r in there.values())
    assert all((folder / str(i) / ".hydra" / "config.yaml").is_file() for i in there)
    status, out, _ = itae_("layers=last2", "attenuator=scale", *SMALL, "hydra.run.dir=alone")
    assert status == 0
    assert len(images_seen) == 2, "a later single run finds its embeddings"
    alone = itae.load_run("alone").result
    assert alone["edited"] == there[3]["edited"]
    itae_("layers=last2", "attenuator=scale", *SMALL, "hydra.run.dir=fresh", "paths.cache=other")
    fresh, shared = itae.load_run("fresh").edited, itae.load_run(folder / "3").edited
    np.testing.assert_allclose(fresh.vectors, shared.vectors, atol=1e-5)


def test_jobs_of_other_data_or_backbones_have_passes_of_their_own(itae_, images_seen):
    words = [w for w in SMALL if not w.startswith("dataset")]
    assert itae_("-m", "dataset.limit=40,50", "layers=last,all", *words)[0] == 0
    assert [edits for _, edits in images_seen] == [3, 3, 3, 3]
    assert sum(images for images, _ in images_seen) == 90


def test_a_failed_job_costs_only_itself_and_the_next_call_does_what_is_missing(itae_, monkeypatch, images_seen):
    measure = itae.experiment._measure

    def broken(job, folder):
        if job.settings.layers == "last2" and not Path("mended").exists():
            raise ZeroDivisionError("a bug")
        return measure(job, folder)

    monkeypatch.setattr(itae.experiment, "_measure", broken)
    words = ("-m", "layers=last,last2,all", *SMALL)
    status, out, err = itae_(*words)
    assert status == 2
    assert err.startswith("itae: job 1 (layers=last2")
    assert "ZeroDivisionError: a bug" in err
    assert "run.log" in err
    assert "failed     job 1 (layers=last2" in out
    (folder,) = sweeps()
    assert {i: r["status"] for i, r in results(folder).items()} == {0: "ok", 1: "failed", 2: "ok"}
    assert "Traceback" in (folder / "1" / "run.log").read_text()
    before = {i: (folder / str(i) / "result.json").stat().st_mtime_ns for i in range(3)}
    passes = len(images_seen)

    Path("mended").touch()
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert sweeps() == [folder], "the same sweep goes on in its folder"
    assert "3 jobs, 1 of them run now" in out
    after = {i: (folder / str(i) / "result.json").stat().st_mtime_ns for i in range(3)}
    assert [i for i in before if before[i] != after[i]] == [1]
    assert len(images_seen) == passes
    assert "3 jobs, 0 of them run now" in itae_(*words)[1]
    assert itae_("-m", "layers=last,last2,all", "seed=1", *SMALL)[0] == 0
    assert len(sweeps()) == 2, "another sweep has another folder"


def test_a_pass_that_breaks_off_is_not_the_end_of_its_jobs(itae_, monkeypatch, caplog):
    pass_ = itae.embed._compute

    def breaking(source, edits, *rest):
        if len(edits) > 2:
            raise RuntimeError("out of something")
        return pass_(source, edits, *rest)

    monkeypatch.setattr(itae.embed, "_compute", breaking)
    status, _, err = itae_("-m", "layers=last,last2", *SMALL)
    assert status == 0
    assert "The pass that 2 jobs share broke off (RuntimeError: out of something)" in err
    assert {r["status"] for r in results(sweeps()[0]).values()} == {"ok"}


def test_an_edit_that_overflows_does_not_take_the_others_with_it(itae_, monkeypatch):
    finite = Worker._not_finite
    calls = []

    def one_is_not(self, vectors, first):
        calls.append(first)
        return UserError("not finite") if len(calls) == 2 else finite(self, vectors, first)

    monkeypatch.setattr(Worker, "_not_finite", one_is_not)
    status, _, err = itae_("-m", "layers=last,last2", *SMALL)
    assert status == 0, "and computed again alone it was finite"
    assert "broke off (not finite)" in err
    assert len(calls) == 3 + 1


def test_a_run_after_a_sweep_is_a_run_again(itae_, capsys):
    assert itae_("-m", "layers=last", *SMALL)[0] == 0
    itae.experiment.run(compose([*SMALL, "clusterer.k=3"]), Path("later"))
    assert "ACC" in capsys.readouterr().out


def test_what_can_not_run_is_said_before_anything_runs(itae_, images_seen):
    status, out, err = itae_("-m", "layers=last,77,78", "attenuator.strength=0.5,2", *SMALL)
    assert (status, out) == (2, "")
    assert err.startswith("itae: 5 of 6 jobs can't run, so none was started: job 1 (layers=last attenuator.strength=2")
    assert "there is no block 77" in err
    assert err.count("\n") == 1
    assert not images_seen
    assert not sweeps(), "not even a folder is left"


def test_under_wandb_agent_a_process_is_one_run(itae_, monkeypatch, images_seen):
    monkeypatch.setenv("WANDB_SWEEP_ID", "agents")
    words = ("-m", "layers=last,all", *SMALL)
    status, _, err = itae_(*words, "tracker=wandb")
    assert status == 2
    assert "--multirun under `wandb agent` (WANDB_SWEEP_ID is set)" in err
    assert not images_seen
    assert itae_(*words)[0] == 0, "without W&B there is nothing to mix up"


def test_a_disk_that_is_too_small_for_the_sweep_is_told_before_the_pass(itae_, monkeypatch, images_seen):
    monkeypatch.setattr("itae.store.free_bytes", lambda root: 64_000_000 + 60 * 96 * 4 * 3)
    status, _, err = itae_("-m", "layers=last,last2,all", *SMALL)
    assert status == 2
    assert "No room for the embeddings" in err
    assert not images_seen


def test_two_sweeps_at_a_time_never_share_a_folder(itae_):
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words)[0] == 0
    (first,) = sweeps()
    with FileLock(first / ".lock"):
        assert itae_(*words)[0] == 0
        assert len(sweeps()) == 2
        status, _, err = itae_(*words, f"hydra.sweep.dir={first}")
        assert status == 2
        assert "in use by another sweep" in err


def test_a_folder_of_ones_own_is_gone_on_with(itae_):
    words = ("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=mine")
    assert itae_(*words)[0] == 0
    assert "0 of them run now" in itae_(*words)[1]
    assert "2 of them run now" in itae_("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=yours")[1]


def test_a_job_is_not_done_when_something_changed(itae_, monkeypatch):
    words = ("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=mine")
    itae_(*words)
    monkeypatch.setattr(sweep, "versions", lambda: {"torch": "another"})
    assert "2 of them run now" in itae_(*words)[1]


def test_the_stock_launcher_gives_the_same(itae_):
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words, "hydra.sweep.dir=ours")[0] == 0
    assert itae_(*words, "hydra.sweep.dir=stock", "hydra/launcher=basic")[0] == 0
    ours, stock = results(Path("ours")), results(Path("stock"))
    assert all(ours[i]["edited"] == stock[i]["edited"] for i in (0, 1))


@pytest.mark.parametrize("name", ["layer_ablation", "threshold_sweep"])
def test_a_whole_sweep_is_an_experiment(itae_, name):
    status, out, err = itae_(f"+experiment={name}", *[w for w in SMALL if "rule" not in w])
    assert (status, err) == (0, "")
    assert out.count("%") >= 4


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_and_the_same_command_goes_on(tmp_path):
    command = [sys.executable, "-m", "itae", "-m", "layers=last,last2,all", "tracker=none", "clusterer.restarts=400"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("outputs/sweeps/*/0/result.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1].startswith("itae: Interrupted")
    assert "Traceback" not in err
