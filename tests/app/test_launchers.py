"""Sweeps on other processes: joblib, a real local Ray cluster, and a real Slurm of one node."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shutil
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import hydra_plugins.itae_sweeps as plugins
import itae
from itae.app import sweep
from itae.app.compose import compose, conf_dir
from itae.app.launch import launch as _launch
from itae.app.launch import processes as _processes
from itae.app.launch.parcel import Parcel
from itae.base import waiting
from itae.base.errors import UserError
from itae.base.place import Place
from itae.look import page
from itae.results.run import write_result

WORDS = (
    "clusterer.seeds=2",
    "clusterer.restarts=1",
    "detector.rule=quantile",
    "tracker=none",
    "hydra.sweep.dir=sweep",
)
DEADLY = """
import os, signal
from itae.measure.cluster.kmeans import KMeans

class Dies(KMeans):
    def check(self, n, classes):
        if n == 45 and os.getpid() != {parent}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().check(n, classes)

class Dies4(KMeans):
    def fit(self, vectors, k, seed, device="auto"):
        if self.restarts == 4 and os.getpid() != {parent}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(vectors, k, seed, device)

class DiesOnce(KMeans):
    def fit(self, vectors, k, seed, device="auto"):
        if self.restarts == 2 and not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(vectors, k, seed, device)
"""
LAUNCHERS = {"joblib": "joblib", "slurm": "submitit", "ray": "ray"}


@pytest.fixture
def deadly(itae_, monkeypatch):
    """Have a clusterer in the folder that a sweep is started in, which kills a worker for 45 images."""
    Path("deadly.py").write_text(DEADLY.format(parent=os.getpid()))
    monkeypatch.syspath_prepend(str(Path.cwd()))
    yield "clusterer._target_=deadly.Dies"
    sys.modules.pop("deadly", None)


@pytest.fixture
def slurm(slurm_node, monkeypatch):
    """Have commands go to the Slurm of this session."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("SLURM_CONF", str(slurm_node.conf))
    return slurm_node


def check_a_sweep_in_which_a_group_dies(itae_, deadly, *words):
    """Run three groups, of which the last dies; the others are as in one process. Return what was told."""
    grid = (deadly, "layers=last,all")
    status, out, err = itae_("-m", "dataset.limit=40,50,45", *grid, *WORDS, "paths.cache=cache", *words)
    told = f"{out}\n{err}"
    assert status == 2, told
    assert "6 jobs, 6 of them run now" in out
    failed = [line for line in out.splitlines() if line.startswith("failed")]
    assert [line.split()[2] for line in failed] == ["4", "5"], told
    assert err.splitlines()[-1].startswith("itae: job 4 (")
    assert (Path("cache") / "digits-all").is_dir(), "a relative path is meant from where the sweep was started"

    assert itae_("-m", "dataset.limit=40,50", *grid, *WORDS, "hydra.sweep.dir=here", "paths.cache=other")[0] == 0
    for i in range(4):
        ours, alone = itae.load_run(f"sweep/{i}"), itae.load_run(f"here/{i}")
        assert ours.settings == {**alone.settings, "paths": ours.settings["paths"]}
        np.testing.assert_allclose(ours.edited.vectors, alone.edited.vectors, atol=1e-5)
        for side in ("baseline", "edited"):
            assert ours.result[side]["acc"]["mean"] == pytest.approx(alone.result[side]["acc"]["mean"])
    return failed, err


@pytest.mark.slow
def test_joblib(itae_, deadly):
    failed, err = check_a_sweep_in_which_a_group_dies(itae_, deadly, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert all("its worker died" in line and "SIGKILL" in line for line in failed)
    assert "run one at a time" in err


@pytest.mark.slow
def test_after_the_pass_jobs_run_in_processes(itae_, monkeypatch):
    grid = ("layers=last,last2,all", "attenuator.strength=0.5,1.0", "dataset.limit=60", *WORDS)
    passes, ensure = [], sweep.ensure
    monkeypatch.setattr(sweep, "ensure", lambda *a: passes.append(len(a[1])) or ensure(*a))
    status, out, err = itae_("-m", *grid, "hydra.launcher.n_jobs=2")
    assert status == 0, err
    assert "6 jobs, 6 of them run now" in out
    assert passes == [7], "in this process, with the baseline"
    assert itae_("-m", *grid, "hydra.sweep.dir=here", "hydra.launcher.n_jobs=1")[0] == 0
    for i in range(6):
        ours, alone = itae.load_run(f"sweep/{i}").result, itae.load_run(f"here/{i}").result
        for name in ("edit", "baseline", "edited", "delta", "layers", "norms", "moved", "notes"):
            assert ours[name] == alone[name]
        assert ours["cached"]
        assert Path(f"sweep/{i}/.hydra/config.yaml").read_text() == Path(f"here/{i}/.hydra/config.yaml").read_text()


def sweep_of_restarts(itae_, clusterer, restarts):
    """Run jobs that differ in the clusterer's restarts, in two processes."""
    words = [word for word in WORDS if "restarts" not in word]
    words += [clusterer, "dataset.limit=60", f"clusterer.restarts={restarts}", "hydra.launcher.n_jobs=2"]
    return itae_("-m", *words)


@pytest.mark.slow
def test_a_job_that_kills_its_process_costs_only_itself(itae_, deadly):
    status, out, err = sweep_of_restarts(itae_, f"{deadly}4", "1,2,3,4,5,6")
    assert status == 2, err
    (failed,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert failed.startswith("failed     job 3 (")
    assert "its worker died" in failed
    assert "SIGKILL" in failed
    assert [itae.load_run(f"sweep/{i}").ok for i in range(6)] == [True, True, True, False, True, True]
    assert "Job 3 (clusterer.restarts=4) runs once more" in err


@pytest.mark.slow
def test_a_job_whose_process_died_runs_once_more(itae_, deadly):
    status, _, err = sweep_of_restarts(itae_, f"{deadly}Once", "1,2,3")
    assert status == 0, err
    assert "Job 1 (clusterer.restarts=2) runs once more, by itself: its worker died: SIGKILL." in err
    assert Path("died").exists()
    assert [itae.load_run(f"sweep/{i}").ok for i in range(3)] == [True] * 3


@pytest.mark.slow
def test_processes_that_do_not_come_up_are_told(monkeypatch):
    monkeypatch.setattr(_processes, "_work", int)  # with five arguments: an error. Not sys.exit: W&B replaces it
    group = _launch.Group([sweep.Job(i, (), {}, Path()) for i in range(2)], [None] * 2, [OmegaConf.create()] * 2)
    with pytest.raises(UserError, match=r"ended at once \(exit code 1\)"):
        _processes.run(_launch.Program(None, None, None), group, 2, iter(()))


@pytest.mark.slow
def test_jobs_that_get_no_processes_run_in_this_one(itae_, monkeypatch):
    def refuse(*_):
        raise UserError("The processes for them ended at once (exit code 1).")

    monkeypatch.setattr(_processes, "run", refuse)
    status, _, err = itae_("-m", *WORDS, "dataset.limit=40", "layers=last,all", "hydra.launcher.n_jobs=2")
    assert status == 0, err
    assert "The jobs run in this process, one after the other: The processes for them ended at once" in err
    assert [itae.load_run(f"sweep/{i}").ok for i in range(2)] == [True, True]


@pytest.mark.slow
def test_a_job_that_can_not_begin_costs_only_itself(itae_):
    Path("sweep").mkdir()
    Path("sweep/1").write_text("a file where its folder would be")
    status, out, err = itae_("-m", *WORDS, "dataset.limit=40", "layers=last,last2,all", "hydra.launcher.n_jobs=2")
    assert status == 2, err
    (failed,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert failed.startswith("failed     job 1 (")
    assert "FileExistsError" in failed or "NotADirectoryError" in failed


@pytest.mark.slow
def test_processes_see_the_environment_as_it_is_now(itae_, monkeypatch):
    """And not as it was when their server began, for a sweep before."""
    words = (*WORDS, "dataset.limit=40", "layers=last,all", "hydra.launcher.n_jobs=2", "runtime.report=false")
    for place in ("one", "two"):
        monkeypatch.setenv("ITAE_PLACE", place)
        where = ("paths.data=${oc.env:ITAE_PLACE}", f"hydra.sweep.dir={place}", f"paths.cache={place}-cache")
        assert itae_("-m", *words, *where)[0] == 0
        assert [itae.load_run(f"{place}/{i}").settings["paths"]["data"] for i in range(2)] == [place] * 2


OPENED = """
import os
from itae.images.datasets import Digits
from itae.vit.backbone import Backbone

class Noted(Digits):
    def open(self):
        print(os.getpid(), file=open("opened", "a"))
        return super().open()

class Weighed(Backbone):
    def weights(self, facts):
        print(os.getpid(), file=open("weighed", "a"))
        return super().weights(facts)
"""


@pytest.mark.slow
def test_processes_are_given_the_images_and_the_weights_as_they_are_known(itae_, monkeypatch):
    """Each would read all bytes of both again: 349 MB of a ViT-B's weights became 3."""
    Path("noting.py").write_text(OPENED)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "noting", raising=False)
    classes = ("dataset._target_=noting.Noted", "backbone._target_=noting.Weighed")
    words = (*WORDS, *classes, "dataset.limit=40", "layers=last,all", "hydra.launcher.n_jobs=2")
    assert itae_("-m", *words)[0] == 0
    assert {file: set(Path(file).read_text().split()) for file in ("opened", "weighed")} == {
        "opened": {str(os.getpid())},
        "weighed": {str(os.getpid())},
    }
    assert itae_("-m", *words, "seed=1", "hydra.sweep.dir=again")[0] == 0
    for i in range(2):
        assert itae.load_run(f"again/{i}").result["cached"]
    monkeypatch.delitem(sys.modules, "noting", raising=False)


def test_all_that_a_page_is_made_of_can_be_imported_ahead():
    assert [part.__name__ for part in page.import_parts()] == list(page._PARTS)


@pytest.mark.slow
def test_what_can_not_be_pickled_runs_in_this_process(itae_, monkeypatch):
    def unfit(*_):
        raise TypeError("cannot pickle '_thread.lock' object")

    monkeypatch.setattr("cloudpickle.dumps", unfit)
    status, out, _ = itae_("-m", *WORDS, "dataset.limit=40", "layers=last,all", "hydra.launcher.n_jobs=2")
    assert status == 0
    assert "2 jobs, 2 of them run now" in out


def test_jobs_of_a_pass_that_broke_off_run_in_this_process(itae_, monkeypatch):
    def fails(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr("itae.app.sweep.ensure", fails)
    monkeypatch.setattr(_processes, "run", fails)  # there, passes of their own would want memory at a time
    words = (*WORDS, "dataset.limit=40", "layers=last,all", "hydra.launcher.n_jobs=2")
    assert itae_("-m", *words)[0] == 0


@pytest.mark.parametrize(
    ("jobs", "n_jobs", "cores", "images", "gpu", "expected"),
    [
        (64, None, 2, 1797, None, 2),
        (64, None, 16, 1797, None, 4),
        (31, None, 16, 1797, None, 1),
        (1000, None, 64, 1797, None, 8),
        (64, None, 1, 1797, None, 1),
        (64, None, 16, 20_001, None, 1),
        (64, None, 16, 1797, 0, 1),
        (3, 8, 16, 1797, None, 3),
        (64, -1, 16, 1797, None, 16),
        (64, 3, 16, 20_001, 0, 3),
        (64, 1, 16, 1797, None, 1),
        (1, -1, 16, 1797, None, 1),
    ],
)
def test_processes_are_as_many_as_pay(monkeypatch, jobs, n_jobs, cores, images, gpu, expected):
    source = types.SimpleNamespace(images=range(images))
    settings = types.SimpleNamespace(runtime=types.SimpleNamespace(device="auto"))
    opened = types.SimpleNamespace(source=source, settings=settings)
    monkeypatch.setattr("itae.app.job.open_job", lambda _: opened)
    monkeypatch.setattr("itae.app.settings.Settings.of", lambda _: None)
    monkeypatch.setattr("joblib.effective_n_jobs", lambda asked: cores if asked == -1 else asked)
    monkeypatch.setattr("itae.measure.faiss_backend.pick_gpu", lambda *_: gpu)
    group = _launch.Group([sweep.Job(i, (), {}, Path()) for i in range(jobs)], [], [])
    assert _processes.count(group, n_jobs) == expected


@pytest.mark.slow
def test_ray(itae_, deadly, ray):
    words = ("hydra/launcher=ray", "hydra.launcher.max_retries=0")
    failed, _ = check_a_sweep_in_which_a_group_dies(itae_, deadly, *words)
    assert all("its Ray worker was lost: WorkerCrashedError" in line for line in failed)
    assert ray.is_initialized(), "the cluster that was there before is left as it is"


@pytest.mark.slow
def test_slurm(itae_, deadly, slurm, monkeypatch):
    pytest.importorskip("submitit")
    from itae.app.launch import slurm as _slurm

    monkeypatch.setattr(_slurm, "ASK_EVERY", 0.5)
    monkeypatch.setattr(_slurm, "GRACE", 1.0)
    words = (
        "hydra/launcher=slurm",
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.setup_commands=['export SEEN=1']",
    )
    status, out, err = itae_("-m", *WORDS, *words, "seed=0,1", "hydra.launcher.partition=nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("itae: Slurm takes no such jobs: ")
    assert "invalid partition specified: nowhere" in err

    failed, _ = check_a_sweep_in_which_a_group_dies(itae_, deadly, *words)
    for line in failed:
        log = line.rpartition("its log is ")[2].rstrip(")")
        assert "broke off, " in line
        assert Path(log).is_file()
        assert Path(log).parent == Path("sweep/.slurm").absolute()
    assert "export SEEN=1" in next(Path("sweep/.slurm").glob("*.sh")).read_text()

    def interrupted(jobs, main):
        raise KeyboardInterrupt

    monkeypatch.setattr(_slurm, "_wait", interrupted)
    status, _, err = itae_("-m", *WORDS, *words, "seed=0,1", "hydra.sweep.dir=stopped")
    assert status == 130
    until = time.monotonic() + 15
    while slurm("squeue", "-h") and time.monotonic() < until:
        time.sleep(0.2)
    assert not slurm("squeue", "-h"), "Ctrl-C cancels the Slurm jobs"

    number = slurm("sbatch", "--parsable", "--wrap=sleep 60", "--output=/dev/null").strip()
    Path("stopped/.slurm/submitted").write_text(f"{number}\n")
    status, _, err = itae_("-m", *WORDS, *words, "seed=0,1", "hydra.sweep.dir=stopped")
    assert status == 2
    assert f"Slurm job {number} of an earlier call of this sweep still goes on" in err


@pytest.mark.slow
def test_what_slurm_can_not_start_is_told_with_its_reason(itae_, slurm, monkeypatch, caplog):
    """Four CPUs on a node of fewer: Slurm takes the job and queues it for ever."""
    from itae.app.launch import slurm as _slurm

    told, cpus = [], len(os.sched_getaffinity(0))

    def goes_on(self, what):
        told.append(what)
        raise KeyboardInterrupt

    monkeypatch.setattr(_slurm.Waiting, "goes_on", goes_on)
    words = ("hydra/launcher=slurm", f"hydra.launcher.cpus_per_task={2 * cpus}", "dataset.limit=40,50")
    assert itae_("-m", *WORDS, *words)[0] == 130
    (line,) = told
    assert re.fullmatch(r"Slurm: 2 of 2 groups of job \d+ are queued \(PartitionConfig\)", line)


@pytest.mark.slow
def test_a_wait_for_slurm_is_told_on_the_console(monkeypatch, caplog):
    pytest.importorskip("submitit")
    from itae.app.launch import slurm as _slurm

    answers = [{"7_0": ("PENDING", "Resources"), "7_1": ("RUNNING", "None")}, None]
    answers += [{"7_0": ("PENDING", "Resources"), "7_1": ("COMPLETED", "None")}] * 2 + [{}]
    monkeypatch.setattr(_slurm, "_queue", lambda main: answers.pop(0))
    monkeypatch.setattr(_slurm, "ASK_EVERY", 0.5)
    monkeypatch.setattr(waiting, "FIRST", 0.1)
    never = types.SimpleNamespace(result_pickle=Path("nowhere"))
    jobs = [types.SimpleNamespace(job_id=f"7_{i}", paths=never) for i in range(2)]
    assert _slurm._wait(jobs, "7") == {"7_0": "GONE", "7_1": "COMPLETED"}
    (record,) = caplog.records
    assert (record.levelname, record.message) == (
        "WARNING",
        "Waiting for Slurm: 1 of 2 groups of job 7 are queued (Resources).",
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("7_0|PENDING|Priority", {"7_0": ("PENDING", "Priority")}),
        ("7_1|PENDING|ReqNodeNotAvail, Reserved: a|b", {"7_1": ("PENDING", "ReqNodeNotAvail, Reserved: a|b")}),
        ("", {}),
    ],
)
def test_what_squeue_says_is_read(monkeypatch, line, told):
    pytest.importorskip("submitit")
    from itae.app.launch import slurm as _slurm

    done = types.SimpleNamespace(returncode=0, stdout=f"{line}\n", stderr="")
    monkeypatch.setattr(_slurm.subprocess, "run", lambda *_, **__: done)
    assert _slurm._queue("7") == told


def test_a_group_that_is_sent_again_goes_on_with_what_is_not_done(itae_, monkeypatch):
    from itae.app.launch import joblib as _joblib

    ran, run = [], _launch.Program.run

    def lost_after_one(program, config):
        if len(ran) == 1 and config.hydra.job.num == 1:
            ran.append("lost")
            raise RuntimeError("lost")
        ran.append(config.hydra.job.num)
        run(program, config)

    def send(launcher, parcels):
        (parcel,) = parcels
        with pytest.raises(RuntimeError, match="lost"):
            parcel()
        parcel()
        return [""]

    monkeypatch.setattr(_launch.Program, "run", lost_after_one)
    monkeypatch.setattr(_joblib, "send", send)
    assert itae_("-m", *WORDS, "dataset.limit=40", "layers=last,all", "seed=0,1", "hydra/launcher=joblib")[0] == 0
    assert ran == [0, "lost", 1, 2, 3]


def test_what_slurm_runs_after_the_time_limit_is_the_same_parcel(tmp_path):
    pytest.importorskip("submitit")
    parcel = Parcel(str(tmp_path), Place.here(), b"program", b"group", 1)
    again = parcel.checkpoint()
    assert again.function is parcel
    assert (again.args, again.kwargs) == ((), {})


def test_what_an_earlier_call_left_is_no_result_of_a_group_that_never_ran(itae_, monkeypatch):
    from itae.app.launch import joblib as _joblib

    assert itae_("-m", *WORDS, "dataset.limit=40", "layers=last,all")[0] == 0
    monkeypatch.setattr("itae.app.sweep.versions", lambda: {"torch": "another"})
    monkeypatch.setattr(_joblib, "send", lambda launcher, parcels: ["the roof fell in"] * len(parcels))
    status, out, _ = itae_("-m", *WORDS, "dataset.limit=40", "layers=last,all", "hydra/launcher=joblib")
    assert status == 2
    assert out.count("killed or never began (the roof fell in)") == 2


def test_a_job_that_was_killed_says_what_is_known_of_its_group(tmp_path):
    write_result(tmp_path, {"status": "running", "error": "The run did not end."})
    job = sweep.Job(0, (), {}, tmp_path)
    (result,) = sweep.outcomes([job], {job: None}, {job: "its log is here"}).values()
    assert (result["status"], result["error"]) == ("running", "The run did not end (its log is here)")


def test_a_group_is_split_on_request(itae_, monkeypatch):
    from itae.app.launch import joblib as _joblib

    sizes = []
    monkeypatch.setattr(_joblib, "send", lambda launcher, parcels: sizes.append(len(parcels)) or [""] * len(parcels))
    itae_("-m", *WORDS, "layers=last,all", "seed=0,1,2", "hydra/launcher=joblib", "hydra.launcher.max_group=4")
    assert sizes == [2]


def test_what_can_not_be_pickled_is_said_before_anything_is_sent(itae_, monkeypatch):
    def unfit(*_):
        raise TypeError("cannot pickle '_thread.lock' object")

    monkeypatch.setattr("cloudpickle.dumps", unfit)
    status, _, err = itae_("-m", *WORDS, "hydra/launcher=joblib")
    assert status == 2
    assert "This sweep can't be sent to another process (TypeError: cannot pickle '_thread.lock'" in err


@pytest.mark.parametrize(("name", "package"), LAUNCHERS.items())
def test_a_missing_package_is_told_with_the_line_that_installs_it(itae_, monkeypatch, name, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda each, *rest: None if each == package else found(each, *rest)
    )
    status, out, err = itae_("-m", *WORDS, f"hydra/launcher={name}")
    assert (status, out) == (2, "")
    line = "joblib" if name == "joblib" else f"'itae[{name}]'"
    assert err == f"itae: hydra/launcher={name} needs {package}, which is not installed: pip install {line}\n"
    assert not list(Path("sweep").glob("[0-9]*"))


def test_slurm_is_not_on_this_machine(itae_, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    status, _, err = itae_("-m", *WORDS, "hydra/launcher=slurm")
    assert status == 2
    assert "needs Slurm's sbatch, which is not on PATH" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"), "hydra.launcher.n_jobs=0 must be a whole number"),
        (
            ("hydra/launcher=joblib", "hydra.launcher.n_jobs=null"),
            "n_jobs=None must be a whole number but 0, -1 for all",
        ),
        (("hydra.launcher.n_jobs=0",), "n_jobs=0 must be a whole number but 0, -1 for all cores, or null"),
        (("hydra.launcher.n_jobs=two",), "hydra.launcher.n_jobs='two' must be a whole number"),
        (("hydra/launcher=joblib", "hydra.launcher.max_group=0"), "hydra.launcher.max_group=0 must be a whole number"),
        (("hydra/launcher=joblib", "hydra.launcher.njobs=2"), "There is no option 'hydra.launcher.njobs'"),
    ],
)
def test_a_value_that_can_not_be_meant_is_one_sentence(itae_, words, told):
    status, _, err = itae_("-m", *WORDS, *words)
    assert status == 2
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["shared_pass", *LAUNCHERS])
def test_a_preset_has_all_options_with_the_defaults(name):
    preset = OmegaConf.to_container(OmegaConf.load(conf_dir() / "hydra" / "launcher" / f"{name}.yaml"))
    cls = getattr(plugins, preset.pop("_target_").rpartition(".")[2])
    assert cls in plugins.PLUGINS
    empty = {"setup_commands": (), "additional_parameters": None}
    defaults = {each.name: each.default for each in inspect.signature(cls).parameters.values()}
    assert preset.keys() == defaults.keys()
    assert {k: v for k, v in preset.items() if k not in empty} == {k: v for k, v in defaults.items() if k not in empty}
    assert json.dumps(preset)
    compose([f"hydra/launcher={name}"])
