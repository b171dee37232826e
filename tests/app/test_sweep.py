"""Sweeps on the shared pass, through Hydra as a user starts them."""

from __future__ import annotations

import errno
import fcntl
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hydra._internal.config_loader_impl import ConfigLoaderImpl

import itae
import itae.app.experiment
from itae.app import sweep
from itae.app.compose import compose, plain_config
from itae.app.job import open_job
from itae.app.settings import Settings
from itae.base import lock
from itae.base.errors import UserError
from itae.embed.worker import Worker
from itae.images.datasets import Digits
from itae.look import run_figures
from itae.look.figures import save, signal_figure

SMALL = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "detector.rule=quantile", "tracker=none")


def sweeps():
    return sorted(Path("outputs/sweeps").glob("*/"))


def results(folder):
    return {int(path.parent.name): json.loads(path.read_text()) for path in folder.glob("*/result.json")}


@pytest.mark.slow
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


def test_a_pass_has_diagnostics_if_any_of_its_jobs_wants_them(itae_, images_seen):
    status, _, err = itae_("-m", "runtime.diagnostics=false,true", *SMALL)
    assert (status, err) == (0, "")
    assert images_seen == [(32, 2), (28, 2)]


@pytest.mark.slow
def test_jobs_of_other_data_or_backbones_have_passes_of_their_own(itae_, images_seen):
    words = [w for w in SMALL if not w.startswith("dataset")]
    assert itae_("-m", "dataset.limit=40,50", "layers=last,all", *words)[0] == 0
    assert [edits for _, edits in images_seen] == [3, 3, 3, 3]
    assert sum(images for images, _ in images_seen) == 40 + 50 - 10, "ten are in both"


@pytest.mark.slow
def test_jobs_of_other_seeds_are_as_if_alone(itae_):
    words = [*SMALL, "clusterer.seeds=1"]
    assert itae_("-m", "seed=0,1", "layers=last,all", *words)[0] == 0
    (folder,) = sweeps()
    there = results(folder)
    kept = [one["baseline"]["silhouette_common"] for one in there.values()]
    assert (kept[0], kept[2]) == (kept[1], kept[3])
    assert kept[0] != kept[2], "other seeds end elsewhere here"
    for i, shared in there.items():
        settings = shared["settings"]
        itae_(f"seed={settings['seed']}", f"layers={settings['layers']}", *words, f"hydra.run.dir=alone{i}")
        alone = itae.load_run(f"alone{i}").result
        assert [alone[side] for side in ("baseline", "edited")] == [shared[side] for side in ("baseline", "edited")]


@pytest.mark.slow
def test_a_failed_job_costs_only_itself_and_the_next_call_does_what_is_missing(itae_, monkeypatch, images_seen):
    measure = itae.app.experiment._measure

    def broken(job, folder):
        if job.settings.layers == "last2" and not Path("mended").exists():
            raise ZeroDivisionError("a bug")
        return measure(job, folder)

    monkeypatch.setattr(itae.app.experiment, "_measure", broken)
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
    pass_ = itae.embed.extract._compute

    def breaking(source, edits, *rest):
        if len(edits) > 2:
            raise RuntimeError("out of something")
        return pass_(source, edits, *rest)

    monkeypatch.setattr(itae.embed.extract, "_compute", breaking)
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
    itae.app.experiment.run(compose([*SMALL, "clusterer.k=3"]), Path("later"))
    assert "ACC" in capsys.readouterr().out


def test_what_can_not_run_is_said_before_anything_runs(itae_, images_seen):
    status, out, err = itae_("-m", "layers=last,77,78", "attenuator.strength=0.5,2", *SMALL)
    assert (status, out) == (2, "")
    assert err.startswith("itae: 5 of 6 jobs can't run, so none was started: job 1 (layers=last attenuator.strength=2")
    assert "there is no block 77" in err
    assert err.count("\n") == 1
    assert not images_seen
    assert not sweeps(), "not even a folder is left"


def test_what_can_not_be_composed_is_said_with_what_can_not_run(itae_, images_seen):
    status, _, err = itae_("-m", "attenuator=floor,flor", "layers=last,99", *SMALL)
    assert status == 2
    assert err.startswith("itae: 3 of 4 jobs can't run, so none was started: job 2 (attenuator=flor layers=last):")
    assert "attenuator=flor is not one of" in err
    assert "job 1 (attenuator=floor layers=99): layers=[99]" in err or "there is no block 99" in err
    status, _, err = itae_("-m", "dataset=digits,imagefolder", "tracker=none")
    assert status == 2
    assert "1 of 2 jobs can't run, so none was started: job 1 (dataset=imagefolder): dataset.root" in err
    assert not images_seen
    assert not sweeps()


@pytest.mark.parametrize(
    "words", [["hydra.sweeper.max_batch_size=2"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"]]
)
def test_a_launcher_that_is_asked_for_nonsense_leaves_no_folder(itae_, words):
    status, _, err = itae_("-m", "layers=last,all,99", *SMALL, *words)
    assert status == 2
    assert words[-1] in err
    assert not sweeps()


OWN = {
    "a word": ["hydra.sweep.dir=mine"],
    "a forced word": ["++hydra.sweep.dir=mine"],
    "an experiment": ["--config-dir", "own", "+experiment=there"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", OWN)
def test_nothing_is_removed_from_a_folder_of_ones_own(itae_, way):
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/there.yaml").write_text("# @package _global_\nhydra:\n  sweep:\n    dir: mine\n")
    Path("mine").mkdir()
    Path("mine/paper.csv").write_text("precious")
    assert itae_("-m", *OWN[way], "layers=last,99", *SMALL)[0] == 2
    assert Path("mine/paper.csv").read_text() == "precious"
    assert itae_("-m", "layers=last,all", *SMALL)[0] == 0, "a sweep of the same jobs elsewhere"
    assert itae_("-m", *OWN[way], "layers=last,all", *SMALL)[0] == 0
    assert sorted(results(Path("mine"))) == [0, 1], "and yet it runs where it was told to"
    assert Path("mine/paper.csv").read_text() == "precious"


@pytest.mark.slow
def test_a_folder_of_ones_own_takes_no_other_sweep(itae_):
    assert itae_("-m", "layers=last,last2,all", *SMALL, "hydra.sweep.dir=mine")[0] == 0
    before = results(Path("mine"))
    for other in ("layers=all,last2", "layers=last,last2"):  # other jobs; and one of the old ones would be left over
        status, _, err = itae_("-m", other, *SMALL, "hydra.sweep.dir=mine")
        assert status == 2
        assert "mine holds jobs of another sweep (" in err
        assert results(Path("mine")) == before
    status, out, _ = itae_("-m", "layers=last,last2,all,last3", *SMALL, "hydra.sweep.dir=mine")
    assert status == 0
    assert "4 jobs, 1 of them run now" in out, "a sweep may grow at its end"


def test_two_jobs_never_share_a_folder(itae_, images_seen):
    status, _, err = itae_("-m", "layers=last,all", *SMALL, "hydra.sweep.subdir=same")
    assert status == 2
    assert "2 of 2 jobs can't run" in err
    assert "is another job's folder, too; have ${hydra.job.num} in hydra.sweep.subdir." in err
    assert not images_seen


def test_under_wandb_agent_a_process_is_one_run(itae_, monkeypatch, images_seen):
    monkeypatch.setenv("WANDB_SWEEP_ID", "agents")
    words = ("-m", "layers=last,all", *SMALL)
    status, _, err = itae_(*words, "tracker=wandb")
    assert status == 2
    assert "--multirun under `wandb agent` (WANDB_SWEEP_ID is set)" in err
    assert not images_seen
    assert itae_(*words)[0] == 0, "without W&B there is nothing to mix up"


@pytest.mark.parametrize("short", [0, 1])
def test_a_disk_that_is_too_small_for_the_sweep_is_told_before_the_pass(itae_, monkeypatch, images_seen, short):
    """Two groups, each with its untouched embeddings and two edits."""
    words = ("-m", "layers=last,last2", "dataset.limit=40,60", *(word for word in SMALL if "limit" not in word))
    jobs = [
        open_job(Settings.of(plain_config(compose([f"layers={layers}", f"dataset.limit={n}", *words[3:]]))))
        for n in (40, 60)
        for layers in ("last", "last2")
    ]
    needed = sum(
        some[0].source.room([None, *(job.edit for job in some)], len(some[0].source.images))
        for some in (jobs[:2], jobs[2:])
    )
    monkeypatch.setattr("itae.store.store.free_bytes", lambda root: 64_000_000 + needed - short)
    status, _, err = itae_(*words)
    assert status == 2 * short
    if short:
        assert "No room for the embeddings" in err
        assert not images_seen


@pytest.mark.slow
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


def test_a_folder_that_is_in_use_says_by_whom(itae_, monkeypatch):
    words, notes, plan = ("-m", "layers=last", *SMALL, "hydra.sweep.dir=mine"), [], sweep.plan
    monkeypatch.setattr(sweep, "plan", lambda *args: notes.append(Path("mine/.lock.who").read_text()) or plan(*args))
    assert itae_(*words)[0] == 0
    assert not Path("mine/.lock.who").exists(), "nobody uses it now"
    Path("mine/.lock.who").write_text(*notes)
    with FileLock("mine/.lock"):
        status, _, err = itae_(*words)
    assert status == 2
    assert f"mine is in use by another sweep (process {os.getpid()} on {socket.gethostname()} of " in err


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_a_sweep_on_a_disk_without_locks_goes_on_where_one_died_on_another_machine(itae_, monkeypatch, error):
    def unable(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", unable)
    monkeypatch.setattr(lock, "LEASE", 1.0)
    monkeypatch.setattr(lock, "_SIGN", 0.2)
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words)[0] == 0
    (first,) = sweeps()
    dead = lock.Lock(first / ".lock")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        patch.setattr(lock, "_SIGN", 0.9)
        assert dead.take()
    dead._lock._stop_heartbeat()  # as if its machine was gone
    status, out, err = itae_(*words)
    assert status == 0, err
    assert "2 jobs, 0 of them run now" in out
    assert sweeps() == [first]
    dead.release()


@pytest.mark.slow
def test_a_folder_of_ones_own_is_gone_on_with(itae_):
    words = ("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=mine")
    assert itae_(*words)[0] == 0
    assert "0 of them run now" in itae_(*words)[1]
    assert "2 of them run now" in itae_("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=yours")[1]


@pytest.mark.slow
def test_a_job_is_not_done_when_something_changed(itae_, monkeypatch):
    words = ("-m", "layers=last,last2", *SMALL, "hydra.sweep.dir=mine")
    itae_(*words)
    monkeypatch.setattr(sweep, "versions", lambda: {"torch": "another"})
    assert "2 of them run now" in itae_(*words)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "words"),
    [
        (
            "toy_task.Width",
            ("task._target_=somebodys.Mine", "~task.knn", "~task.temperature", "~task.words", "dataset.limit=30"),
        ),
        ("toy_clusterer.Two", ("clusterer=mine", "dataset.limit=30", "hydra.searchpath=[file://conf]")),
    ],
)
def test_a_job_is_not_done_when_the_code_of_somebodys_own_changed(itae_, monkeypatch, tmp_path, base, words):
    module, _, name = base.rpartition(".")
    monkeypatch.syspath_prepend(tmp_path)
    Path("conf/clusterer").mkdir(parents=True)
    Path("conf/clusterer/mine.yaml").write_text("_target_: somebodys.Mine\n")

    def calls(value):
        Path("somebodys.py").write_text(f"from {module} import {name}\n\nclass Mine({name}):\n    value = {value}\n")
        monkeypatch.delitem(sys.modules, "somebodys", raising=False)
        importlib.invalidate_caches()
        return itae_("-m", "layers=last", "tracker=none", "runtime.report=false", *words)[1]

    assert "1 of them run now" in calls(1)
    assert "0 of them run now" in calls(1)
    (folder,) = sweeps()
    shutil.copytree(folder, "mine")
    assert "1 of them run now" in calls(22), "in a folder of its own"
    assert len(sweeps()) == 2
    words = (*words, "hydra.sweep.dir=mine")
    assert "1 of them run now" in calls(22), "and where the old result is"
    assert "0 of them run now" in calls(22)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["settings", "embeddings"])
def test_a_result_of_other_settings_or_embeddings_is_not_taken_for_the_job_s(itae_, key):
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words)[0] == 0
    (folder,) = sweeps()
    there = results(folder)
    (folder / "0" / "result.json").write_text(json.dumps(there[0] | {key: there[1][key]}))
    assert "2 jobs, 1 of them run now" in itae_(*words)[1]
    assert results(folder)[0][key] == there[0][key]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[]", '{"status": "ok"}', '{"status": 3}', "no json"])
def test_a_result_that_is_none_is_made_again(itae_, text):
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words)[0] == 0
    (folder,) = sweeps()
    (folder / "1" / "result.json").write_text(text)
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert "2 jobs, 1 of them run now" in out


@pytest.mark.slow
def test_what_was_pruned_from_the_cache_is_made_again(itae_):
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words)[0] == 0
    (folder,) = sweeps()
    shutil.rmtree(itae.load_run(folder / "1").edited.path)
    assert "2 jobs, 1 of them run now" in itae_(*words)[1]
    assert itae.load_run(folder / "1").edited.vectors.shape == (60, 96)


@pytest.mark.slow
def test_the_stock_launcher_gives_the_same(itae_, monkeypatch):
    composed, load = [], ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", lambda *a: composed.append(a) or load(*a))
    words = ("-m", "layers=last,last2", *SMALL)
    assert itae_(*words, "hydra.sweep.dir=ours")[0] == 0
    assert len(composed) == 1
    assert itae_(*words, "hydra.sweep.dir=stock", "hydra/launcher=basic")[0] == 0
    assert len(composed) == 1 + 1 + 2, "once to check all jobs, and for each by the launcher"
    ours, stock = results(Path("ours")), results(Path("stock"))
    assert all(ours[i]["edited"] == stock[i]["edited"] for i in (0, 1))


def test_the_stock_launcher_begins_no_job_where_one_can_not_be_composed(itae_, images_seen):
    status, out, err = itae_("-m", "layers=last", "attenuator=floor,flor", *SMALL, "hydra/launcher=basic")
    assert status == 2
    assert "attenuator=flor" in err
    assert "Traceback" not in out + err
    assert not images_seen
    assert not list(Path().rglob("result.json"))


@pytest.mark.parametrize("name", ["layer_ablation", "threshold_sweep"])
def test_a_whole_sweep_is_an_experiment(itae_, name):
    status, out, err = itae_(f"+experiment={name}", *[w for w in SMALL if "rule" not in w])
    assert (status, err) == (0, "")
    assert out.count("%") >= 4


def test_the_images_of_a_sweep_are_looked_for_once(itae_, monkeypatch):
    opened, look = [], Digits.open
    monkeypatch.setattr(Digits, "open", lambda self: opened.append(self) or look(self))
    status, _, err = itae_("-m", "layers=last,last2", *SMALL, "runtime.report=false")
    assert status == 0, err
    assert len(opened) == 1


@pytest.mark.figures
@pytest.mark.parametrize(
    ("words", "pictures"),
    [
        (["layers=last", "attenuator.strength=0.5,1.0", "detector.quantile=0.02,0.05"], 2),
        (["layers=all", "attenuator.strength=0.5,1.0"], 2),
    ],
    ids=["a strength changes no signal of the first block that is edited", "but those of later ones"],
)
def test_jobs_that_show_the_same_signal_share_its_picture(itae_, tmp_path, monkeypatch, words, pictures):
    drawn = []
    monkeypatch.setattr(run_figures, "signal_figure", lambda *seen: drawn.append(seen) or signal_figure(*seen))
    status, _, err = itae_("-m", *words, *SMALL, "hydra.sweep.dir=sweep", "runtime.report=false")
    assert status == 0, err
    assert len(drawn) == pictures
    for folder in Path("sweep").glob("[0-9]*"):
        run = itae.load_run(folder)
        assert run.result["figures"] == ["figures/signal.png"]
        seen = run_figures.Seen.of(run, None, clustered=True)
        (alone,) = save(signal_figure(seen.edited.diagnostics, seen.layers, seen.edit), tmp_path, "alone", svg=False)
        assert (folder / "figures" / "signal.png").read_bytes() == alone.read_bytes()


PATIENT = """
from pathlib import Path
from itae.measure.cluster.kmeans import KMeans

class Patient(KMeans):
    def fit(self, vectors, k, seed, device="auto"):
        found = super().fit(vectors, k, seed, device)
        while self.restarts > 1 and not Path("go").exists():
            super().fit(vectors, k, seed, device)
        return found
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_a_sweep_and_the_same_command_goes_on(tmp_path, n_jobs):
    """Every second job goes on clustering until it is told to end, so the key is pressed in the midst of one.

    Whoever runs the tests in the background of a shell has the signal ignored, and children inherit that.
    """

    def ok() -> int:
        results = tmp_path.glob("outputs/sweeps/*/*/result.json")
        return sum(json.loads(path.read_text())["status"] == "ok" for path in results)

    (tmp_path / "patient.py").write_text(PATIENT)
    words = ("dataset.limit=60", "clusterer._target_=patient.Patient", "clusterer.restarts=1,2", "clusterer.seeds=2",
             "runtime.report=false", "tracker=none", f"hydra.launcher.n_jobs={n_jobs}")  # fmt: skip
    command = [sys.executable, "-m", "itae", "-m", "layers=last,all", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
    deadline = time.monotonic() + 90
    while not ok() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1].startswith("itae: Interrupted")
    assert "Traceback" not in err
    done = ok()
    assert 1 <= done < 4
    (tmp_path / "go").touch()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"4 jobs, {4 - done} of them run now" in again.stdout
    assert ok() == 4
