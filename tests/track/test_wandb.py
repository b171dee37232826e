"""W&B for real: what offline runs hold when they are read back, what is sent, and servers that fail."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from wandb_files import items, records
from wandb_server import KEY, wandb_server

from itae.embed.diagnostics.collect import EXAMPLES, looked_at
from itae.look.figures import FLAGGED
from itae.look.view import load_run
from itae.track.dashboard import panels

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wandb")]
ORANGE = np.round(255 * np.array(to_rgb(FLAGGED)))
CACHE = Path()
FEW = ["dataset.limit=160", "clusterer.seeds=2", "clusterer.restarts=1", "runtime.report=false"]
DEMO = ["experiment=demo", *FEW]


def itae(folder, *words, **env):
    """Run ``itae`` in a process of its own, W&B's service and all."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    clean |= {"ITAE_CACHE": str(CACHE), "NETRC": str(folder / "none"), "PYTHONPATH": path} | env
    return subprocess.run(
        [sys.executable, "-m", "itae", *words], env=clean, cwd=folder, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """All runs of this file share their embeddings: it is about what becomes of results."""
    global CACHE
    CACHE = tmp_path_factory.mktemp("cache")


class Read:
    """An offline run, read back."""

    def __init__(self, folder):
        (self.folder,) = (folder / "wandb").glob("offline-run-*")
        (file,) = self.folder.glob("*.wandb")
        self.config, self.rows, self.summary, self.files, self.exit = {}, [], {}, [], None
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.config |= items(record.run.config.update)
                self.run = record.run
            elif kind == "history":
                self.rows.append(items(record.history.item))
            elif kind == "summary":
                self.summary |= items(record.summary.update)
            elif kind == "artifact":
                self.manifest = {one.path: Path(one.local_path) for one in record.artifact.manifest.contents}
            elif kind == "files":
                self.files += [one.path for one in record.files.files]
            elif kind == "exit":
                self.exit = record.exit.exit_code
        self.history = {key: value for row in self.rows for key, value in row.items()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = itae(folder, *DEMO, "hydra.run.dir=run", "tracker.tags=[paper]")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_config_and_metrics_are_in_it(demo):
    read, result = Read(demo), load_run(demo).result
    assert {key: read.config[key] for key in result["settings"]} == result["settings"]
    told = {"overrides": [*DEMO, "tracker.tags=[paper]"], "folder": str(demo)}
    assert read.config["run"] == told | {"blocks": 6, "first_block": 0, "last_block": 5}
    assert (read.run.job_type, list(read.run.tags), read.run.run_group) == ("Clustering", ["paper"], "")
    for side in ("baseline", "edited", "delta"):
        assert read.history[f"{side}/acc/mean"] == result[side]["acc"]["mean"]
        assert read.summary[f"{side}/acc/mean"] == result[side]["acc"]["mean"]
    assert read.history["moved/mean"] == result["moved"]["mean"]
    assert read.exit == 0


def test_series_and_histograms_of_every_block_are_in_it(demo):
    read, result = Read(demo), load_run(demo).result
    rows = [row for row in read.rows if "layer" in row]
    assert [row["layer"] for row in rows] == list(range(6))
    for row, layer in zip(rows, result["layers"], strict=True):
        assert row["layer/artifact_rate"] == pytest.approx(layer["artifact_rate"])
        assert row["layer/cls_attention_before"] == pytest.approx(layer["cls_attention_before"])
        for site in ("q", "k", "v", "resid_post"):
            known = result["norms"][f"{site}[{layer['layer']}]"]
            assert row[f"layer/{site}_p50"] == pytest.approx(known["norm"]["p50"])
            assert (f"layer/{site}_gap" in row) == (known["modes"] is not None)
            assert row[f"layer/{site}_log10_norm/_type"] == "histogram"
            counts, edges = (row[f"layer/{site}_log10_norm/{key}"] for key in ("values", "bins"))
            assert len(edges) == len(counts) + 1
            assert sum(counts) == len(looked_at(160)) * 64, "8 by 8 patches of each image that is looked at"
    gaps = [row["layer"] for row in rows if "layer/v_gap" in row]
    assert gaps == [3, 4, 5], "where artifacts are planted"


def test_figures_and_a_table_of_artifacts_are_in_it(demo):
    read, result = Read(demo), load_run(demo).result
    for name in result["figures"]:
        stem = name.removeprefix("figures/").removesuffix(".png")
        path = read.history[f"figures/{stem}/path"]
        assert path in read.files
        data = (read.folder / "files" / path).read_bytes()
        assert data == (demo / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == read.history[f"figures/{stem}/sha256"]
    assert read.history["artifacts/path"] in read.files
    table = json.loads(read.manifest["artifacts.table.json"].read_text())
    assert table["columns"] == ["id", "block", "patches flagged", "image", "flagged", "attention before",
                                "attention after"]  # fmt: skip
    assert len(table["data"]) == EXAMPLES
    for row in table["data"]:
        assert row[1:3] == [5, 3], "three patches of an image are planted"
        image, flagged, before, after = (np.array(Image.open(read.manifest[cell["path"]])) for cell in row[3:])
        orange = (flagged == ORANGE).all(axis=-1)
        assert image.shape == before.shape == (32, 32, 3)
        assert orange.sum() == 3 * 16
        assert before[orange].max() > after[orange].max(), "what they drew, they draw no more"


def test_the_dashboard_shows_what_runs_log(demo):
    """Every key of every panel is in a run; but for gaps and numbers that another rule reads."""
    read = Read(demo)
    names = set()
    for panel in (panel for some in panels().values() for panel in some):
        asked = (
            [*getattr(panel, "y", [])] if isinstance(getattr(panel, "y", None), list) else [getattr(panel, "y", None)]
        )
        asked += [getattr(panel, "x", None), getattr(panel, "groupby", None), *getattr(panel, "metrics", [])]
        asked += [column.metric for column in getattr(panel, "columns", [])]
        names |= {getattr(one, "name", one) for one in asked if one is not None}
        names |= {f"{key}/path" for key in getattr(panel, "media_keys", [])}
    known = set(read.history) | set(_flat(read.config))
    missing = {name for name in names if name not in known and name.replace(".", "/") not in known}
    # q has one mode in every block, and these detectors have no number of standard deviations.
    assert missing == {"layer/q_gap", "detector.stds"}


def _flat(node, prefix=""):
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


RULE = """
from dataclasses import dataclass
from itae.edits.detect import VectorNorm

@dataclass(frozen=True)
class Brittle(VectorNorm):
    def signal(self, site):
        if self.k == 4:
            raise RuntimeError("brittle")
        return super().signal(site)
"""


def test_three_jobs_of_a_process_are_three_runs_also_when_one_raises(tmp_path):
    (tmp_path / "rules.py").write_text(RULE)
    words = ["detector._target_=rules.Brittle", "detector.rule=mad", "detector.k=3,4,5", "hydra.sweep.dir=many", *FEW]
    done = itae(tmp_path, "-m", *words, "tracker.tables=true")
    assert done.returncode == 2
    assert "brittle" in done.stdout
    reads = [Read(tmp_path / "many" / str(i)) for i in range(3)]
    assert len({read.run.run_id for read in reads}) == 3
    assert {read.run.run_group for read in reads} == {"many"}
    assert [read.config["detector"]["k"] for read in reads] == [3, 4, 5]
    assert [read.config["run"]["overrides"][2] for read in reads] == [f"detector.k={k}" for k in (3, 4, 5)]
    assert [read.exit for read in reads] == [0, 1, 0]
    for i, read in enumerate(reads):
        assert ("artifacts/path" in read.history) == (i != 1), "asked for by tracker.tables"
        if i != 1:
            assert (
                read.history["edited/acc/mean"] == load_run(tmp_path / "many" / str(i)).result["edited"]["acc"]["mean"]
            )
    one = Read(tmp_path / "many")
    assert (one.run.job_type, one.run.run_group, one.history["jobs"], one.history["ok"]) == ("sweep", "many", 3, 2)
    table = json.loads((one.folder / "files" / one.history["runs/path"]).read_text())
    assert [row[table["columns"].index("detector.k")] for row in table["data"]] == [3, 4, 5]
    assert [row[table["columns"].index("status")] for row in table["data"]] == ["ok", "failed", "ok"]
    assert any(key.startswith("figures/metric_threshold") for key in one.history)


def test_a_sweeps_jobs_log_no_pictures_unless_asked(tmp_path):
    done = itae(tmp_path, "-m", "layers=last,all", "hydra.sweep.dir=many", *FEW)
    assert done.returncode == 0, done.stderr
    read = Read(tmp_path / "many" / "1")
    assert "artifacts/path" not in read.history
    assert "layer/q_p50" in read.history
    assert not (tmp_path / "many" / "wandb").exists()


@pytest.mark.parametrize("mode", ["refuses", "hangs", "500"])
def test_a_server_that_fails_costs_seconds_and_no_result(demo, tmp_path, mode):
    want = load_run(demo).result
    with wandb_server(mode) as server:
        began = time.monotonic()
        done = itae(tmp_path, *DEMO, "hydra.run.dir=run", "tracker.mode=online", "tracker.init_timeout=3",
                    "tracker.finish_timeout=3", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.address)  # fmt: skip
        seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    got = load_run(tmp_path / "run").result
    for side in ("baseline", "edited", "delta", "artifact_rate", "layers"):
        assert got[side] == want[side]
    assert done.stderr.count("W&B failed") == 1, done.stderr
    assert seconds < got["timing"]["total_s"] + 30, "start-up, and the two limits"


def test_a_server_that_works_is_sent_all(demo, tmp_path):
    with wandb_server() as server:
        done = itae(tmp_path, *DEMO, "hydra.run.dir=run", "tracker.mode=online", WANDB_API_KEY=KEY,
                    WANDB_BASE_URL=server.address)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "W&B failed" not in done.stderr
        assert any(b"layer/q_p50" in body for _, body in server.streams)
        assert any("figures/artifacts" in path for path, _ in server.streams)


def test_sync_sends_each_run_once(tmp_path):
    done = itae(tmp_path, "-m", "layers=last,all", "hydra.sweep.dir=outputs/sweeps/many", *FEW)
    assert done.returncode == 0, done.stderr
    done = itae(tmp_path, *FEW, "hydra.run.dir=outputs/runs/killed")
    result = tmp_path / "outputs" / "runs" / "killed" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"status": "running"}))
    assert "Nobody is logged in" in itae(tmp_path, "sync").stderr
    for mode in ("refuses", "hangs", "500"):
        with wandb_server(mode) as server:
            env = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address}
            done = itae(tmp_path, "sync", "--timeout", "3", **env)
            assert done.returncode == 2, done.stdout
            assert "2 of 2 runs could not be sent" in done.stderr
            assert done.stderr.count("\n") == 1, "one sentence"
    with wandb_server() as server:
        env = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address}
        assert "2 to send" in itae(tmp_path, "sync", "--dry-run", **env).stdout
        assert server.asked == []
        done = itae(tmp_path, "sync", **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert (
            done.stdout == "found      3 offline runs: 0 sent before, 1 still going on, 2 to send\nsent       2 runs\n"
        )
        groups = [variables["name"] for name, variables in server.asked if name == "UpsertBucket"]
        assert len(set(groups)) == 2
        server.asked.clear()
        done = itae(tmp_path, "sync", **env)
        assert done.stdout == "found      3 offline runs: 2 sent before, 1 still going on, 0 to send\n"
        assert server.asked == [], "nothing is sent again"
    assert "nowhere: there is no such folder" in itae(tmp_path, "sync", "nowhere").stderr
    assert "--timeout=0" in itae(tmp_path, "sync", "--timeout", "0").stderr


def test_sync_sends_a_run_that_was_killed_and_none_that_goes_on(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    words = [*FEW, "clusterer.restarts=100000", "hydra.run.dir=outputs/runs/killed"]
    process = subprocess.Popen(
        [sys.executable, "-m", "itae", *words], cwd=tmp_path, env=env | {"ITAE_CACHE": str(CACHE)}
    )
    try:
        deadline = time.monotonic() + 120
        files = "outputs/runs/killed/wandb/*/*.wandb"
        while sum(file.stat().st_size for file in tmp_path.glob(files)) < 100 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "1 still going on, 0 to send" in itae(tmp_path, "sync", "--dry-run").stdout
    finally:
        process.kill()
        process.wait()
    with wandb_server() as server:
        env = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address, "WANDB_PROJECT": "another"}
        done = itae(tmp_path, "sync", **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert "0 still going on, 1 to send\nsent       1 runs\n" in done.stdout
        projects = {variables["project"] for name, variables in server.asked if name == "UpsertBucket"}
        assert projects == {"itae"}, "where it was logged to"


def test_the_dashboard_is_a_workspace_and_a_report(tmp_path):
    pytest.importorskip("wandb_workspaces")
    mine = {"WANDB_ENTITY": "me", "WANDB_PROJECT": "mine"}
    with wandb_server() as server:
        env = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address}
        done = itae(tmp_path, "dashboard", "me/itae", **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["workspace", "report"]
        views = [variables for name, variables in server.asked if name.lower().startswith("upsertview")]
        assert [(view["entityName"], view["projectName"]) for view in views] == [("me", "itae")] * 2
        for view in views:
            for key in ("delta.acc.mean", "layer/q_p50", "layer/cls_attention_before", "figures/artifacts"):
                assert key in view["spec"]
        server.asked.clear()
        assert itae(tmp_path, "dashboard", **env, **mine).returncode == 0
        views = [variables for name, variables in server.asked if name.lower().startswith("upsertview")]
        assert [(view["entityName"], view["projectName"]) for view in views] == [("me", "mine")] * 2
        server.asked.clear()
        told = itae(tmp_path, "dashboard", "me/itae", "--dry-run", **env)
        assert [line.split()[0] for line in told.stdout.splitlines()] == list(panels())
        assert server.asked == []
    wrong = (
        (["me"], {}, "'me' is not ENTITY/PROJECT"),
        (["me/a#b"], {}, "PROJECT='a#b' can't hold '#'"),
        (["me/itae"], {}, "Nobody is logged in"),
        ([], {}, "set WANDB_ENTITY"),
        ([], mine, "Nobody is logged in"),
    )
    for words, env, said in wrong:
        done = itae(tmp_path, "dashboard", *words, **env)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    with wandb_server("refuses") as server:
        done = itae(tmp_path, "dashboard", "me/itae", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.address)
        assert done.returncode == 2
        assert "W&B did not take the workspace" in done.stderr
        assert "Traceback" not in done.stderr


STOPPING = """
import psutil
from itae.app import cli; from itae.track import dashboard

saved = dashboard._saved

def and_stop(kind, save):
    try:
        return saved(kind, save)
    finally:
        if kind == LAST:
            if not psutil.Process().children():
                import wandb
                wandb.setup()  # W&B before 0.28 has not started its service for this
            for child in psutil.Process().children():
                child.suspend()
                print(child.name(), child.pid)

dashboard._saved = and_stop
cli.main()
"""


@pytest.mark.parametrize(("mode", "last", "status"), [("works", "report", 0), ("refuses", "workspace", 2)])
def test_the_dashboard_ends_in_seconds_when_the_service_hangs(tmp_path, mode, last, status):
    """Stopped, W&B's service never ends by itself, and W&B waits for it at exit without a limit."""
    pytest.importorskip("wandb_workspaces")
    with wandb_server(mode) as server:
        env = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        env |= {"NETRC": str(tmp_path / "none"), "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address}
        command = [sys.executable, "-c", STOPPING.replace("LAST", repr(last)), "dashboard", "me/itae"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert ("W&B did not take the workspace" in done.stderr) == (status == 2)
    assert "Traceback" not in done.stderr
    (service,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("wandb-core")]
    assert not psutil.pid_exists(int(service))
