"""W&B: what a real offline run holds, and that no failure of it costs a run anything."""

import ast
import logging
import os
import shutil
import subprocess
import sys
import time
import types

import psutil
import pytest
from wandb_files import items, records

from itae.base.errors import UserError
from itae.track import tracking
from itae.track.tracking import NoTracker, Wandb


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch, tmp_path):
    # A service that another test of this process really started is not the fake one's to kill.
    monkeypatch.setattr("psutil.Process.children", lambda self: [])
    for key in [key for key in os.environ if key.startswith("WANDB_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


class FakeRun:
    def __init__(self, fake):
        self.fake, self.dir = fake, os.path.join(os.environ["HOME"], "offline-run-1", "files")

    def log(self, values):
        self.fake.did("log", values)

    def define_metric(self, name, **how):
        self.fake.did("define_metric", name)

    def finish(self, exit_code):
        self.fake.did("finish", exit_code)


class FakeWandb(types.ModuleType):
    """Records what is called; `faults` names calls that raise or, given a number, sleep for so many seconds."""

    def __init__(self, **faults):
        super().__init__("wandb")
        self.faults, self.calls, self.environ = faults, [], {}
        self.Settings = type("Settings", (dict,), {"model_fields": ["mode", "silent", "init_timeout"]})

    def did(self, name, what):
        self.calls.append((name, what))
        fault = self.faults.get(name)
        if isinstance(fault, (int, float)):
            time.sleep(fault)
        elif fault:
            raise fault

    def init(self, **about):
        self.environ = dict(os.environ)
        self.did("init", about)
        return FakeRun(self)

    def teardown(self):
        self.calls.append(("teardown", None))

    def named(self, name):
        return [what for called, what in self.calls if called == name]


@pytest.fixture
def fake(monkeypatch):
    def install(**faults):
        module = FakeWandb(**faults)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return module

    return install


def log_all(tracker, folder, body=None):
    with tracker.run(folder, {"a": {"b": 1}}, "name", "group", "cluster") as log:
        log.layers([{"layer": 4, "rate": 0.1, "norm": 1.0}, {"layer": 11, "rate": 0.2}])
        log.metrics({"acc": 0.5})
        if body:
            body()
    return "done"


def test_what_is_sent(fake, tmp_path):
    wandb = fake()
    log_all(Wandb(tags=["t"], entity="me"), tmp_path)
    (about,) = wandb.named("init")
    assert about["settings"] == {"mode": "offline", "silent": True, "init_timeout": 30.0}
    del about["settings"]
    assert len(about.pop("id")) == 8
    assert about == {
        "project": "itae",
        "entity": "me",
        "notes": None,
        "tags": ["t"],
        "reinit": "create_new",
        "resume": "never",
        "dir": str(tmp_path),
        "config": {"a": {"b": 1}},
        "name": "name",
        "group": "group",
        "job_type": "cluster",
    }
    assert wandb.named("log") == [
        {"layer": 4, "layer/rate": 0.1, "layer/norm": 1.0},
        {"layer": 11, "layer/rate": 0.2},
        {"acc": 0.5},
    ]
    assert wandb.named("finish") == [0]


def test_figures_are_logged_as_images(fake, tmp_path):
    wandb = fake()
    wandb.Image = lambda path: f"image of {path}"
    with Wandb().run(tmp_path, {}, "name") as log:
        log.figures([])
        log.figures([tmp_path / "tokens.png"])
    assert wandb.named("log") == [{"figures/tokens": f"image of {tmp_path / 'tokens.png'}"}]


@pytest.mark.parametrize("fault", ["init", "log", "finish"])
@pytest.mark.parametrize("how", [RuntimeError("no\nway"), SystemExit(3), "hangs"])
def test_no_failure_reaches_the_run(fake, tmp_path, caplog, monkeypatch, fault, how):
    monkeypatch.setattr(tracking, "LOG_TIMEOUT", 0.3)
    wandb = fake(**{fault: 5 if how == "hangs" else how})
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert log_all(Wandb(init_timeout=0.3, finish_timeout=0.3), tmp_path) == "done"
    assert time.monotonic() - started < 2.5
    assert len(caplog.records) == 1
    told = caplog.text
    assert f"W&B failed to {fault.replace('init', 'start')} (" in told
    assert {"hangs": "no answer within 0.3 s"}.get(how, "") in told
    # A run that can still be closed is closed; after a call that never came back nothing else is called.
    assert len(wandb.named("finish")) == (0 if fault == "init" or (fault, how) == ("log", "hangs") else 1)


def test_no_wandb(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with caplog.at_level(logging.WARNING):
        assert log_all(Wandb(), tmp_path) == "done"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("faults", [{}, {"finish": RuntimeError("theirs")}, {"log": RuntimeError("theirs")}])
def test_the_bodys_error_goes_through_and_marks_the_run(fake, tmp_path, error, faults):
    wandb = fake(**faults)

    def fail():
        raise error

    with pytest.raises(type(error)) as raised:
        log_all(Wandb(), tmp_path, fail)
    assert raised.value is error
    assert wandb.named("finish") == [1]


def test_online_that_fails_goes_offline(fake, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    wandb = fake()
    modes, init = [], wandb.init

    def only_offline(**about):
        modes.append(about["settings"]["mode"])
        if modes[-1] == "online":
            raise ConnectionError("no route to host")
        return init(**about)

    wandb.init = only_offline
    with caplog.at_level(logging.WARNING):
        log_all(Wandb(mode="online"), tmp_path)
    assert modes == ["online", "offline"]
    assert len(wandb.named("log")) == 3
    assert "failed to start online (no route to host)" in caplog.text


@pytest.mark.parametrize(
    ("asked", "variables", "got"),
    [
        ("online", {"WANDB_API_KEY": "k"}, "online"),
        ("online", {}, "offline"),
        ("online", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("online", {"WANDB_API_KEY": "k", "WANDB_MODE": "dryrun"}, "offline"),
        ("online", {"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, None),
        ("offline", {"WANDB_API_KEY": "k", "WANDB_MODE": "online"}, "offline"),
        ("offline", {"WANDB_MODE": "disabled"}, None),
        ("offline", {"WANDB_DISABLED": "true"}, None),
        (None, {}, "offline"),
        (None, {"WANDB_API_KEY": "k"}, "offline"),
        (None, {"WANDB_API_KEY": "k", "WANDB_MODE": "online"}, "online"),
        (None, {"WANDB_API_KEY": "k", "WANDB_MODE": "dryrun"}, "offline"),
        (None, {"WANDB_MODE": "Disabled"}, None),
    ],
)
def test_the_environment_only_makes_it_quieter(fake, tmp_path, monkeypatch, caplog, asked, variables, got):
    wandb = fake()
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    log_all(Wandb(mode=asked), tmp_path)
    assert [about["settings"]["mode"] for about in wandb.named("init")] == ([got] if got else [])
    assert ("nobody is logged in" in caplog.text) == (asked == "online" and not variables)


def test_a_login_in_netrc_counts_for_its_host(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    monkeypatch.delenv("NETRC")
    assert tracking.logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not tracking.logged_in()
    (tmp_path / ".netrc").write_text("what is this")
    assert not tracking.logged_in()


def test_environment_is_scrubbed_and_put_back(fake, tmp_path, monkeypatch):
    wandb = fake()
    inherited = {"WANDB_RUN_ID": "old", "WANDB_SERVICE": "3-old", "WANDB_RESUME": "must", "WANDB_DIR": "/elsewhere"}
    for key, value in inherited.items():
        monkeypatch.setenv(key, value)
    before = dict(os.environ)
    log_all(Wandb(), tmp_path)
    (about,) = wandb.named("init")
    assert "WANDB_SERVICE" not in wandb.environ
    assert about["id"] != "old"
    assert about["resume"] == "never"
    assert about["dir"] == str(tmp_path), "and not elsewhere"
    for key in ("CACHE", "DATA", "ARTIFACT"):
        assert wandb.environ[f"WANDB_{key}_DIR"].startswith(str(tmp_path))
    assert wandb.environ["WANDB_ERROR_REPORTING"] == "false"
    assert dict(os.environ) == before
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")  # then the agent's choice stays
    log_all(Wandb(), tmp_path)
    assert wandb.environ["WANDB_RUN_ID"] == "old"
    assert "id" not in wandb.named("init")[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "onlin"}, "Did you mean 'online'"),
        ({"tags": "paper"}, "tracker.tags='paper'"),
        ({"tags": [1]}, "tracker.tags="),
        ({"tags": ["a", ""]}, "A tag of tracker.tags='' is no name"),
        ({"tags": ["a" * 65]}, "has 65 letters, and W&B takes 64"),
        ({"project": "a/b"}, "tracker.project='a/b' can't hold '/'"),
        ({"project": "50%"}, "can't hold '%'"),
        ({"project": ""}, "tracker.project='' is no name"),
        ({"project": "p" * 129}, "has 129 letters, and W&B takes 128"),
        ({"project": 2024}, "write 'tracker.project=\"2024\"'"),
        ({"entity": "my team/x"}, "tracker.entity='my team/x' can't hold '/'"),
        ({"entity": []}, "tracker.entity=[] is no name"),
        ({"group": "g" * 129}, "tracker.group=gggggggggggggggggggg... has 129 letters"),
        ({"name": True}, "tracker.name=True is no text"),
        ({"notes": " "}, "tracker.notes=' ' is no name"),
        ({"init_timeout": 0}, "tracker.init_timeout=0"),
        ({"finish_timeout": "1m"}, "tracker.finish_timeout='1m'"),
    ],
)
def test_settings_out_of_range(settings, said):
    with pytest.raises(UserError) as error:
        Wandb(**settings)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_PROJECT", "a#b", "WANDB_PROJECT='a#b' can't hold '#'"),
        ("WANDB_ENTITY", "a:b", "WANDB_ENTITY='a:b' can't hold ':'"),
        ("WANDB_RUN_GROUP", "g" * 200, "WANDB_RUN_GROUP="),
        ("WANDB_NAME", "n" * 200, "WANDB_NAME="),
        ("WANDB_TAGS", "a," + "b" * 65, "A tag of WANDB_TAGS="),
        ("WANDB_MODE", "ofline", "Did you mean 'offline'"),
    ],
)
def test_variables_out_of_their_range(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as error:
        Wandb()
    assert said in str(error.value)
    Wandb(project="p", entity="e", group="g", name="n", tags=["t"]) if variable != "WANDB_MODE" else None
    NoTracker()


def test_our_limits_are_those_of_wandb():
    """Whatever W&B's own settings refuse of a project or of tags, we refuse before them, and nothing else."""
    import wandb

    for name, values in {
        "project": ["a", "a" * 128, "a" * 129, "ü b", *(f"a{letter}b" for letter in "/\\#?%:;,&+=@!~'\"<>|*")],
        "run_tags": [["a"], ["a" * 64], ["a" * 65], [""], ["a b", "ü/#"]],
    }.items():
        for value in values:
            try:
                wandb.Settings(**{name: value})
                taken = True
            except Exception:
                taken = False
            try:
                Wandb(**{name.removeprefix("run_"): value})
                ours = True
            except UserError:
                ours = False
            assert ours == taken, (name, value)


def test_variables_of_wandb_count_where_nothing_is_given(fake, tmp_path, monkeypatch):
    wandb = fake()
    said = {"PROJECT": "mine", "ENTITY": "us", "RUN_GROUP": "many", "NAME": "one", "NOTES": "why", "TAGS": "a, b,"}
    for key, value in said.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    log_all(Wandb(), tmp_path)
    log_all(Wandb(project="p", entity="e", group="g", name="n", notes="o", tags=[]), tmp_path)
    keys = ("project", "entity", "group", "name", "notes", "tags")
    by_variable, given = ([about[key] for key in keys] for about in wandb.named("init"))
    assert by_variable == ["mine", "us", "many", "one", "why", ["a", "b"]]
    assert given == ["p", "e", "g", "n", "o", []]


def test_names_of_ours_are_no_longer_than_wandb_takes(fake, tmp_path):
    """A name lists all blocks that are edited, a group is a folder, and a job type somebody's class."""
    wandb = fake()
    with Wandb().run(tmp_path, {}, "n" * 300, "g" * 255, "j" * 100):
        pass
    (about,) = wandb.named("init")
    assert [len(about[key]) for key in ("name", "group", "job_type")] == [128, 128, 64]


def test_no_tracker_forgets(tmp_path):
    assert log_all(NoTracker(), tmp_path) == "done"
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), NoTracker().run(tmp_path, {}, "x"):
        raise KeyError


# ---- the real one, in processes of its own: its service lives as long as the process

THREE_RUNS = """
import logging, sys, os, psutil
from pathlib import Path
from itae.track.tracking import Wandb
logging.basicConfig(level=logging.WARNING)
ids = []
for i in range(3):
    folder = Path(sys.argv[1]) / str(i)
    folder.mkdir()
    try:
        config = {"layers": [4, 5], "dataset": {"name": "digits"}}
        with Wandb(group="g", init_timeout=20).run(folder, config, f"n{i}") as log:
            ids.append(log.run.id)
            if i == 1:
                if "kill" in sys.argv:
                    [c.kill() for c in psutil.Process().children() if c.name().startswith("wandb-core")]
                else:
                    raise KeyError
            log.layers([{"layer": i, "artifact_rate": 0.25 * (i + 1)} for i in range(3)])
            log.metrics({"acc": 0.5, "baseline": {"acc": {"mean": 0.375}}})
    except KeyError:
        pass
print(ids)
"""


def three_runs(folder, *words, before=()):
    command = [*before, sys.executable, "-c", THREE_RUNS, str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1]), done.stderr


def test_a_real_run_holds_config_metrics_and_layers(tmp_path):
    ids, stderr = three_runs(tmp_path)
    assert stderr == ""
    assert len(set(ids)) == 3
    codes = []
    for i, one in enumerate(ids):
        (file,) = (tmp_path / str(i)).glob("wandb/offline-run-*/*.wandb")
        assert one in file.name
        found = list(records(file))
        run = next(record.run for record in found if record.WhichOneof("record_type") == "run")
        config = items(run.config.update)
        assert (config["layers"], config["dataset"]) == ([4, 5], {"name": "digits"})
        assert (run.project, run.run_group, run.display_name, run.run_id) == ("itae", "g", f"n{i}", one)
        codes += [record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit"]
        rows = [items(record.history.item) for record in found if record.WhichOneof("record_type") == "history"]
        if i != 1:
            layers = [(row["layer"], row["layer/artifact_rate"]) for row in rows if "layer" in row]
            assert layers == [(0, 0.25), (1, 0.5), (2, 0.75)]
            assert any(row.get("acc") == 0.5 for row in rows)
    assert codes == [0, 1, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]  # nothing outside the run folders


def test_a_killed_service_costs_one_log_and_no_run(tmp_path):
    ids, stderr = three_runs(tmp_path, "kill")
    assert stderr.count("W&B failed") == 1
    assert len(set(ids)) == 3
    assert list((tmp_path / "2").glob("wandb/offline-run-*/*.wandb"))


STOPPED = """
import sys, psutil
from pathlib import Path
from itae.track.tracking import Wandb
with Wandb(init_timeout=20).run(Path(sys.argv[1]), {}, "n") as log:
    log.metrics({"acc": 0.5})
service, = [child for child in psutil.Process().children() if child.name().startswith("wandb-core")]
service.suspend()
print(service.pid, flush=True)
"""


@pytest.mark.slow
def test_a_service_that_hangs_is_not_waited_for_at_exit(tmp_path):
    """W&B waits for it without a limit; stopped, it never ends by itself."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(int(done.stdout))


SOMEBODY_ELSES = """
import os, sys, psutil
from pathlib import Path
import wandb
from itae.track.tracking import Wandb
folder = Path(sys.argv[1])
wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
service, = [child for child in psutil.Process().children() if child.name().startswith("wandb-core")]
ours = Wandb()
object.__setattr__(ours, "project", "no/name")
with ours.run(folder, {}, "n"):
    pass
wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True)).log({"acc": 1})
print(service.is_running() and service.status() != psutil.STATUS_ZOMBIE)
"""


def test_a_service_of_somebody_elses_is_left_when_a_run_of_ours_fails(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SOMEBODY_ELSES, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert "W&B failed to start" in done.stderr
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


BESIDE = """
import os, sys, time, psutil
from pathlib import Path
import wandb
from itae.track.tracking import Wandb
folder = Path(sys.argv[1])
os.chdir(folder)
def theirs(name):
    return wandb.init(project="theirs", name=name, mode="offline", settings=wandb.Settings(silent=True))
def alive():
    return [c.pid for c in psutil.Process().children() if c.name().startswith("wandb-core") and c.status() != "zombie"]
def ours(name, body=lambda log: None):
    (folder / name).mkdir()
    with Wandb().run(folder / name, {}, name) as log:
        log.metrics({"acc": 0.5})
        body(log)
def fails(log):
    log.run.finish = lambda exit_code: 1 / 0
    alive_before.append(alive())
alive_before = []
"""
FIRST = """
run = theirs("first")
run.log({"x": 1})
ours("ours")
wandb.log({"x": 2})
ours("outer", lambda log: (ours("inner", fails), log.metrics({"more": 1})))
assert wandb.run is run
run.log({"x": 3})
run.finish()
assert alive_before == [alive()]
"""
LATER = """
ours("ours")
run = theirs("later")
run.log({"x": 1})
ours("failing", fails)
run.log({"x": 2})
assert alive_before == [alive()] and len(alive()) == 1, "ours, and theirs is in it"
ours("outer", lambda log: (ours("inner"), log.metrics({"more": 1})))
run.log({"x": 3})
run.finish()
ours("last", fails)
time.sleep(0.2)
assert alive() == [], "nobody else's run is in it any more"
"""


@pytest.mark.parametrize(
    ("order", "failed"), [(FIRST, {"inner"}), (LATER, {"failing", "last"})], ids=["before", "between"]
)
def test_a_run_of_the_users_own_lives_on(tmp_path, order, failed):
    """Begun before ours or between them: it is theirs all along, with every number, where they want it."""
    env = os.environ | {"WANDB_RUN_ID": "theirs", "WANDB_PROJECT": "mine"}
    command = [sys.executable, "-c", BESIDE + order, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=env)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    read = records(file)
    (run,) = (record.run for record in read if record.WhichOneof("record_type") == "run")
    assert (run.project, run.run_id) == ("theirs", "theirs")
    rows = [items(record.history.item) for record in read if record.WhichOneof("record_type") == "history"]
    assert [row["x"] for row in rows] == [1, 2, 3]
    names = {path.parent.name for path in tmp_path.glob("*/wandb") if not path.parent.name.startswith(".")}
    assert names == {"ours", "inner", "outer"} | failed
    for folder in (tmp_path / name for name in names - failed):
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        read = records(file)
        (run,) = (record.run for record in read if record.WhichOneof("record_type") == "run")
        assert (run.project, run.display_name) == ("mine", folder.name)
        assert run.run_id != "theirs"
        rows = [items(record.history.item) for record in read if record.WhichOneof("record_type") == "history"]
        kept = {key: value for row in rows for key, value in row.items() if not key.startswith("_")}
        assert kept == {"acc": 0.5} | ({"more": 1} if folder.name == "outer" else {})
    assert done.stderr.count("W&B failed to finish") == len(failed)


def test_offline_makes_no_network_call(tmp_path):
    """Without any network it works; the kernel counts no packet and no attempt at one."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a namespace without network is not permitted here")
    snmp = (
        "import sys, subprocess; code = subprocess.run(sys.argv[1:]).returncode; "
        "print(open('/proc/net/snmp').read(), file=sys.stderr); sys.exit(code)"
    )
    ids, stderr = three_runs(tmp_path, before=("unshare", "-n", sys.executable, "-c", snmp))
    assert len(set(ids)) == 3
    lines = [line.split() for line in stderr.splitlines()]
    counts = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        counts |= {names[0] + name: int(value) for name, value in zip(names[1:], values[1:], strict=True)}
    tried = ("Ip:OutRequests", "Ip:OutNoRoutes", "Tcp:ActiveOpens", "Udp:OutDatagrams")
    assert {name: counts[name] for name in tried} == dict.fromkeys(tried, 0)


def test_importing_is_light():
    """A config error is told without importing W&B, FAISS, sklearn or torch."""
    code = (
        "import sys, itae.track.tracking, itae.measure.cluster.kmeans, itae.measure.scores, itae.tasks.clustering; "
        "print([m for m in ('wandb', 'faiss', 'sklearn', 'scipy', 'torch', 'psutil') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
