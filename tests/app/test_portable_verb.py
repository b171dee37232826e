"""``itae portable``: its words, one sentence for each mistake, and a whole run on devices of a test's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import toy_devices
import yaml
from operator_results import result_of
from toy_devices import result, toys

import itae
from itae.app.compose import PORTABLE, compose, conf_dir, groups_of, options_of, plain_values
from itae.app.portable import study_run
from itae.base.lock import Lock
from itae.look.page import write_page
from itae.portable.clock import alone
from itae.portable.nets.changes import CHANGES
from itae.portable.operators.result import texts
from itae.portable.written import write, write_texts
from itae.results.table import read_table

SMALL = (
    *("experiment=operators", "net.channels=2", "net.depth=1", "net.blocks=1", "changes=[skip_add,gelu]"),
    *("measure.size=32", "measure.budget_s=30", "measure.rounds=8", "measure.max_split_half=1"),
    *("runtime.report=false", "out=out"),
)


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """Measure in a machine of this test's own: others measure side by side."""
    monkeypatch.setattr(alone, "SHARED", tmp_path)


# --- words


def test_without_a_study_it_says_to_name_one(itae_):
    status, out, err = itae_("portable", "study=null")
    assert (status, out) == (2, "")
    assert err == "itae: study=None says nothing of what to do; set study to deploy or operators or search.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["experiment=demo"], ["experiment=demo is not one of operators, quick, search", "--config-dir"]),
        (["experiment=opertors"], ["is not one of operators, quick, search"]),
        (["net=fo"], ["net=fo is not one of", "unet", "--config-dir"]),
        (["backbone=dinov2_s14"], ["no option 'backbone'", "The config has study, device"]),
        (["net.chanels=3"], ["no option 'net.chanels'", "Did you mean 'net.channels'?"]),
        (["experiment=quick", "device=orrt"], ["device=orrt: there is no such device", "Did you mean 'ort'?"]),
        (["experiment=quick", "device=[ort,ort]"], ["names ort twice"]),
        (["experiment=quick", "device=[]"], ["device=[] must be all"]),
        (["experiment=quick", "device=3"], ["device=3 must be all"]),
        (["experiment=quick", "changes=prelux"], ["changes=prelux: there is no such change", "Did you mean 'prelu'?"]),
        (["experiment=quick", "net.up=nearest", "changes=up_nearest"], ["up: nearest already"]),
        (["experiment=quick", "changes=[]"], ["changes=[] must be all, or names"]),
        (["experiment=quick", "changes=[[prelu]]"], ["changes=[['prelu']] must be all, or names"]),
        (["experiment=quick", "measure.size=3"], ["measure.size=3 must be a whole number of at least 16"]),
        (["experiment=quick", "measure.threads=4096"], ["measure.threads=4096 are more than the CPUs"]),
        (["experiment=quick", "seed=-1"], ["seed=-1 must be a whole number"]),
        (["experiment=quick", "paths.cache=''"], ["paths.cache='' is not a folder"]),
        (["experiment=quick", "out=''"], ["out='' is not a folder"]),
        (["experiment=quick", "study=serach"], ["study='serach' is not one of deploy, operators, search"]),
        (["experiment=quick", "train.steps=3"], ["train.steps=3: study=operators has no use for train; it reads net"]),
        (["changes=prelu"], ["changes=prelu: study=deploy has no use for changes; it reads net, teacher, data, blur"]),
        (["experiment=quick", "runtime.report=3"], ["runtime.report=3 must be true or false"]),
        (["experiment=quick", "measure=3"], ["measure=3 is not one of"]),
        (["recipe=paper"], ["itae portable has no recipes"]),
        (["seed=1,2"], ["seed=1,2 is several values", "one setting at a time"]),
        (["-m", "seed=1"], ["unrecognized arguments: -m", "itae portable --help"]),
        (["operators"], ["'operators' is not key=value"]),
        (["experiment=quick", "tracker=wandbb"], ["tracker=wandbb is not one of none, wandb"]),
        (["experiment=quick", "devices.ort.provider=x"], ["itae: devices.ort.provider='x' is not one of cpu, cuda"]),
        (["experiment=quick", "+devices.x={_target_:itae.clock.Measure}", "device=x"], ["can't be a devices"]),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(itae_, words, told):
    status, out, err = itae_("portable", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert [word for word in told if word not in err] == [], err
    assert not Path("outputs").exists()


def test_the_words_of_a_run_know_nothing_of_it(itae_):
    status, _, err = itae_("portable=3")
    assert (status, err) == (
        2, "itae: portable=3: itae portable is a command of its own; write itae portable key=value.\n"
    )  # fmt: skip
    assert "net=unet" not in itae_("--help")[1]
    lines = itae_("--help")[1].splitlines()
    assert [line for line in lines if line.startswith("portable")] == []
    assert any(line.startswith("backbone: ") for line in lines)


def test_help_names_its_groups(itae_):
    status, out, err = itae_("portable", "--help")
    assert (status, err) == (0, "")
    assert "itae portable experiment=operators" in out
    assert [group for group in groups_of(PORTABLE) if f"  {group}: " not in out] == []
    assert "experiment: operators, quick, search" in out


def test_the_config_is_shown_without_secrets(itae_):
    words = ["+devices.mine={_target_:toy_devices.Toy,token:hunter2}"]
    status, out, _ = itae_("portable", "--cfg", "experiment=quick", *words)
    assert status == 0
    assert "_target_: itae.deblur.UNet" in out
    assert "'***'" in out
    assert "hunter2" not in out


def test_configs_of_ones_own(itae_, tmp_path):
    for name, text in {"experiment": "# @package _global_\nstudy: operators\nseed: 77\n", "net": None}.items():
        (tmp_path / "mine" / name).mkdir(parents=True)
        if text:
            (tmp_path / "mine" / name / "mine.yaml").write_text(text)
    (tmp_path / "mine/net/tiny.yaml").write_text("_target_: itae.deblur.UNet\nchannels: 2\n")
    status, out, _ = itae_("portable", "--config-dir", "mine", "--cfg", "experiment=mine", "net=tiny")
    assert status == 0
    assert "seed: 77" in out
    assert "channels: 2" in out
    assert (
        "is not one of mine, operators, quick, search." in itae_("portable", "--config-dir", "mine", "experiment=x")[2]
    )


def test_trackers_are_those_of_a_run():
    assert plain_values(compose(["tracker=wandb"], part=PORTABLE))["tracker"]["_target_"] == "itae.tracking.Wandb"
    assert plain_values(compose([], part=PORTABLE))["tracker"] == {"_target_": "itae.tracking.NoTracker"}


# --- a run


@pytest.mark.slow
@pytest.mark.figures
def test_a_run_writes_its_table_its_page_and_what_it_says(itae_):
    words = [word for word in SMALL if word != "runtime.report=false"]
    status, out, err = itae_("portable", *words, *toys(one="", other="slow"))
    assert (status, err) == (0, ""), out
    found = result()
    assert (found["status"], found["kind"], found["size"]) == ("ok", "operators", [32, 32])
    assert [row["name"] for row in found["rows"]] == ["base", "skip_add", "gelu"]
    for row in found["rows"]:
        assert row["cells"]["other"]["ms"] > row["cells"]["one"]["ms"]
        assert row["cells"]["one"]["parity_db"] >= 90
    with open("out/operators.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 6
    assert "not asked for" in found["not_run"].values()
    assert found["clock"]["rounds"] >= 2
    assert {"results", "page"} <= {line.split(" ")[0] for line in out.splitlines()}
    assert "base" in out
    text = Path("out/report.html").read_text()
    assert "What does an operator cost?" in text
    assert Path("out/figures/ratios.png").stat().st_size > 5_000
    assert found["settings"]["measure"]["rounds"] == 8
    assert found["started"]["overrides"][0] == "experiment=operators"
    view = itae.load_run("out")
    assert view.result["rows"] == found["rows"]
    Path("out/report.html").unlink()
    status, out, _ = itae_("report", "out")
    assert status == 0
    assert Path("out/report.html").read_text() == text, "the same page again"


def test_a_run_that_is_killed_has_left_word(itae_, monkeypatch):
    from itae.portable.operators import study

    seen = []
    monkeypatch.setattr(study, "operators", lambda *_: seen.append(result()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        itae_("portable", *SMALL, *toys(one=""))
    assert (seen[0]["status"], seen[0]["error"]) == ("running", "The run did not end, or has not yet.")
    assert (result()["status"], result()["error"]) == ("failed", "ZeroDivisionError: division by zero")


def test_all_is_what_is_installed_and_what_is_missing_is_told_with_its_pip_line(itae_):
    Path("mine/devices").mkdir(parents=True)
    Path("mine/devices/toys.yaml").write_text(
        "one: {_target_: toy_devices.Toy}\ngone: {_target_: toy_devices.Toy, fault: missing}\n"
    )
    words = ["portable", "--config-dir", "mine", *SMALL, "devices=toys"]
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert result()["not_run"] == {"gone": "toy needs the package toys, which isn't installed; pip install toys"}
    assert "not run    gone: toy needs the package toys, which isn't installed; pip install toys" in out
    status, _, err = itae_(*words, "device=gone")
    assert (status, err) == (2, "itae: device=gone can't be run on here: toy needs the package toys, which isn't "
                                "installed; install it: pip install toys\n")  # fmt: skip


@pytest.mark.slow
def test_an_operator_that_is_not_supported_costs_its_cell_alone(itae_):
    status, out, _ = itae_("portable", *SMALL, *toys(one="", picky="no GELU"))
    assert status == 0
    assert "note       activation: gelu is not run on picky: toy has no operator Gelu (node up.0.act)" in out
    cells = {row["name"]: row["cells"]["picky"] for row in result()["rows"]}
    assert cells["gelu"] == {"reason": "toy has no operator Gelu (node up.0.act) in toys 1.0; take activation=relu."}
    assert "ms" in cells["skip_add"]
    assert "picky" not in result()["not_run"]


@pytest.mark.slow
def test_a_broken_conversion_is_refused_and_a_crash_told(itae_):
    status, out, _ = itae_("portable", *SMALL, *toys(one="", odd="swapped", bad="crashes"))
    assert status == 0
    assert "its channels come out swapped, as G, R, B" in result()["not_run"]["odd"]
    assert result()["not_run"]["bad"] == "RuntimeError: segment 7 is full"
    assert "base is not run on odd" in out
    for row in result()["rows"]:
        assert "ms" not in row["cells"]["odd"]


def test_the_first_run_of_all_is_told_by_itself(itae_):
    """Not the first of the clock's: parity is checked before."""
    assert itae_("portable", *SMALL, *toys(one="", late="slow at first"))[0] == 0
    for row in result()["rows"]:
        late = row["cells"]["late"]
        assert late["p50_ms"] < 50 <= late["first_ms"]


def test_where_nothing_runs_the_first_reason_is_told(itae_):
    status, _, err = itae_("portable", *SMALL, *toys(none="nothing"))
    assert (status, err) == (2, "itae: toy has no operator Conv (node first) in toys 1.0; take another device.\n")
    assert (result()["status"], result()["error"]) == ("failed", err.removeprefix("itae: ").strip())


def test_what_is_padded_and_what_is_emulated_is_said_first(itae_):
    words = [word for word in SMALL if not word.startswith(("measure.size", "net.depth"))]
    status, out, _ = itae_("portable", *words, "measure.size=30", "net.depth=2", *toys(one="emulated"))
    assert status == 0
    notes = [line for line in out.splitlines() if line.startswith("note ")][:2]
    assert notes == [
        "note       measure.size=30: pictures are padded to 32 x 32, since these networks need heights and widths that "
        "are multiples of 4.",
        "note       one: bf16 is emulated here, so its times say nothing of hardware that has it.",
    ]
    assert result()["size"] == [32, 32]


def test_two_jobs_do_not_measure_side_by_side(itae_, tmp_path):
    folder = tmp_path / "itae-measuring"
    folder.mkdir()
    (folder / "holder").write_text("itae portable experiment=operators (ada's)")
    write(Path("out"), earlier := result_of())
    other = Lock(folder / "lock")
    assert other.take()
    try:
        status, _, err = itae_("portable", *SMALL, *toys(one=""))
    finally:
        other.release()
    assert (status, err.count("\n")) == (2, 1)
    assert "Another job measures on this machine: itae portable experiment=operators (ada's)" in err
    assert result()["rows"] == earlier["rows"], "an earlier run's results stand"


def test_too_noisy_is_told(itae_):
    status, out, _ = itae_("portable", *SMALL, *toys(one=""), "measure.max_split_half=1e-9", "measure.budget_s=1")
    assert status == 0
    assert "The base itself is unsteady or wrong on one, so nothing is said of what changes cost there" in out
    assert not [one for one in result()["guidelines"] if one["kind"] != "noise"]


def test_secrets_are_in_no_file(itae_):
    word = "+devices.one={_target_:toy_devices.Toy,token:hunter2}"
    status, _, _ = itae_("portable", *SMALL, word, "device=one")
    assert status == 0
    for file in (path for path in Path("out").rglob("*") if path.is_file()):
        assert b"hunter2" not in file.read_bytes(), file
    assert result()["settings"]["devices"]["one"]["token"] == "***"
    assert result()["devices"]["one"]["provider"] == "tool --password=***"
    assert result()["statistic"] == "minimum of wall time", "what runs in a tool is no CPU time of this process"


def test_a_tracker_gets_scores_table_and_figures(itae_):
    toy_devices.Tracker.runs.clear()
    status, _, err = itae_("portable", *SMALL, *toys(one=""), "tracker._target_=toy_devices.Tracker")
    assert (status, err) == (0, "")
    (kept,) = toy_devices.Tracker.runs
    assert (kept["job_type"], kept["name"]) == ("operators", "operators one")
    assert kept["metrics"]["devices"]["one"]["base_ms"] == result()["rows"][0]["cells"]["one"]["ms"]
    assert [row["change"] for row in kept["operators"]] == ["base", "skip_add", "gelu"]
    assert all(path.is_file() for path in kept["figures"])
    assert kept["config"]["run"]["folder"] == str(Path("out").absolute())


def test_a_run_by_itself_gets_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = study_run._folder(None)
    assert folder.parent == Path("outputs/portable")
    assert study_run._folder(None) != folder


# --- what other commands make of it


@pytest.fixture
def runs(tmp_path):
    """Return a folder with two such runs."""
    for name in ("a", "b"):
        folder = tmp_path / "runs" / name
        found = result_of()
        write(folder, found)
        write_texts(folder, texts(found))
    return tmp_path / "runs"


def test_collect_leaves_it_out_and_says_so(itae_, runs):
    status, out, err = itae_("collect", str(runs))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "a run of itae portable, which has a table and a page of its own" in err


def test_beside_other_runs_collect_calls_it_whole(runs):
    table, left_out, _ = read_table(sorted(runs.glob("*/result.json")), runs)
    assert table.empty
    assert set(left_out.values()) == {"a run of itae portable, which has a table and a page of its own"}


def test_pages_are_of_one_such_run(itae_, runs):
    status, _, err = itae_("report", str(runs))
    assert (status, err.count("\n")) == (2, 1)
    assert "its page is of that one run, so give one such run" in err
    assert itae_("report", str(runs / "a"))[0] == 0


def test_beside_other_runs_none_is_named_for_a_page(itae_, runs):
    write(runs / "other", {"status": "failed", "error": "Of another kind.", "settings": {}, "started": {}})
    status, _, err = itae_("report", str(runs / "a"), str(runs / "other"))
    assert (status, err.count("\n")) == (2, 1)
    assert f"{runs / 'a'} is a run of itae portable, which has a page of its own: give it alone" in err
    assert not (runs / "a" / "report.html").exists()
    status, _, err = itae_("report", str(runs))
    assert (status, err.count("\n")) == (0, 1)
    assert "2 runs of itae portable are left out" in err


def test_a_run_that_failed_has_a_page_that_says_why(runs):
    found = {"status": "failed", "error": "No room <b>left</b>.", "kind": "operators", "settings": {}, "started": {}}
    write(runs / "a", found)
    text = write_page([runs / "a"]).read_text()
    assert "No room &lt;b&gt;left&lt;/b&gt;." in text


@pytest.mark.parametrize("broken", [{"rows": 3}, {"devices": 3}, {"clock": None}, {"size": "x"}])
def test_a_damaged_result_is_told(itae_, runs, broken):
    write(runs / "a", result_of() | broken)
    status, _, err = itae_("report", str(runs / "a"))
    assert (status, err.count("\n")) == (2, 1)
    assert "is damaged, or of another version of itae" in err


def test_names_are_text_on_the_page(tmp_path):
    hostile = "<img src=x onerror=alert(1)>"
    found = result_of({hostile: (1, 2, 3, 4, 5, 6, 7), "b": (7, 6, 5, 4, 3, 2, 1)})
    found["rows"][1]["told"] = found["notes"][0] = hostile
    write(tmp_path, found)
    text = write_page([tmp_path]).read_text()
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") >= 3


def test_the_manual_defines_every_word():
    words = (Path(__file__).parents[2] / "docs/words.md").read_text().partition("## A network over devices")[2]
    home = conf_dir() / PORTABLE
    mappings, overlays = ("devices", "steps"), ("experiment",)
    keys = {f"{group}.{key}" for group in groups_of(PORTABLE) if group not in (*mappings, *overlays)
            for file in (home / group).glob("*.yaml") for key in yaml.safe_load(file.read_text())}  # fmt: skip
    for group in mappings:
        nodes = yaml.safe_load((home / group / "all.yaml").read_text())
        keys |= {f"{group}.NAME.{key}" for node in nodes.values() for key in node}
    devices = yaml.safe_load((home / "devices/all.yaml").read_text())
    top = {*groups_of(PORTABLE), *yaml.safe_load((home / "config.yaml").read_text())}
    keys |= top - {"defaults", "paths", "runtime"} | {"paths.cache", "runtime.report"}
    assert [key for key in sorted(keys) if not key.endswith("_target_") and f"`{key}`" not in words] == []
    groups = [group for group in groups_of(PORTABLE) if group not in (*mappings, "tracker")]
    choices = {f"`{name}`" for group in groups for name in options_of(group, PORTABLE)}
    assert [choice for choice in sorted(choices) if choice not in words] == []
    assert [change.name for change in CHANGES if change.options and f"`{change.name}`" not in words] == []
    chapter = (Path(__file__).parents[2] / "docs/operators.md").read_text()
    assert [name for name in devices if f"`{name}`" not in chapter] == []
