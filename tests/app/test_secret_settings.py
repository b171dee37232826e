"""Keys and passwords in settings: the run has them, and nothing that it writes or sends does."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

import itae.app.experiment
from itae.look.view import load_run
from itae.track.tracking import Log, Wandb

SECRET = "tops3cret"
FEW = (
    "dataset.limit=60",
    "clusterer.seeds=2",
    "clusterer.restarts=1",
    f"runtime.ray.runtime_env={{env_vars:{{KEY:{SECRET}}}}}",
)
HIDDEN = "runtime.ray.runtime_env={env_vars:***}"


def telling(folder):
    """Return the files under a folder in which the secret can be read."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.fixture
def given(monkeypatch):
    """Return the environments that runs were given."""
    found, open_job = [], itae.app.experiment.open_job

    def opening(settings):
        found.append(settings.runtime.ray.runtime_env)
        return open_job(settings)

    monkeypatch.setattr(itae.app.experiment, "open_job", opening)
    return found


@pytest.mark.figures
@pytest.mark.slow
def test_a_run_has_the_secret_and_its_folder_does_not(itae_, monkeypatch, given):
    sent = []

    @contextlib.contextmanager
    def track(self, folder, config, *names, **more):
        sent.append(str(config))
        yield Log()

    monkeypatch.setattr(Wandb, "run", track)
    status, out, err = itae_(*FEW, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert [SECRET in config for config in sent] == [False]
    assert given == [{"env_vars": {"KEY": SECRET}}]
    assert telling(Path("run")) == []
    assert SECRET not in out
    assert "report.html" in {path.name for path in Path("run").iterdir()}
    run = load_run("run")
    assert run.settings["runtime"]["ray"]["runtime_env"] == {"env_vars": {"KEY": "***"}}
    assert HIDDEN in run.result["started"]["overrides"]
    assert HIDDEN in Path("run/.hydra/overrides.yaml").read_text()


def test_a_run_that_fails_says_so_without_it(itae_, monkeypatch):
    def fail(*args):
        raise RuntimeError(f"no answer with {SECRET}")

    monkeypatch.setattr(itae.app.experiment, "open_job", fail)
    with pytest.raises(RuntimeError):
        itae_(*FEW, "tracker=none", "hydra.run.dir=run")
    assert telling(Path("run")) == []
    assert json.loads(Path("run/result.json").read_text())["error"] == "RuntimeError: no answer with ***"
    assert "RuntimeError: no answer with ***" in Path("run/run.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", [(), ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2")])
def test_a_sweep_has_the_secret_and_its_folder_does_not(itae_, given, sweeper):
    words = ("-m", *sweeper, *FEW, "tracker=none", "detector.k=2,3", "hydra.sweep.dir=sweep")
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert {str(one) for one in given} == {str({"env_vars": {"KEY": SECRET}})}
    assert Path("sweep/multirun.yaml").exists()
    assert telling(Path("sweep")) == []
    assert SECRET not in out
    if not sweeper:
        assert "0 of them run now" in itae_(*words)[1], "the same jobs are known again"
