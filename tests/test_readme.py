"""Every command and every block of the README: run, or composed and checked where it needs a download."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from safetensors.numpy import save_file

import itae
from itae.app.compose import conf_dir, plain_config
from itae.app.experiment import run
from itae.app.settings import Settings
from itae.app.verbs import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""


def commands():
    """Return every line of the README that starts with `itae `, or with its path in the environment."""
    lines = [line.strip() for line in README.splitlines() if re.match(r"( {4})?(\.venv/bin/)?itae ", line)]
    return [re.split(r"\s{2,}#|\s{3,}|;", line.replace(".venv/bin/", ""))[0].strip() for line in lines]


def block(language, containing):
    (found,) = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in b]
    return found


def compose(*overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def test_there_are_commands():
    assert len(commands()) >= 7
    assert "itae experiment=demo" in commands()


@pytest.mark.parametrize("command", commands())
def test_every_command_is_understood(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_rules.py").write_text(block("python", "KeyPeak"))
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "WEIGHTS.safetensors")
    for name in ("PICTURES", "PHOTOS"):
        (tmp_path / name).mkdir()
    words = [word for word in shlex.split(command)[1:] if word not in ("-m", "prepare")]
    if words == ["--help"] or words[0] in VERBS:
        return
    words = [re.sub(r"=(?:choice|interval)\((.*)\)$", r"=\1", word.removeprefix("+")) for word in words]
    overrides = [re.sub(r"=([^\[,=]*),.*", r"=\1", word) for word in words]  # a sweep: its first job
    Settings.of(plain_config(compose(*overrides)))
    sys.modules.pop("my_rules", None)


@pytest.mark.slow
def test_the_demo_wins_back_what_the_planted_artifacts_cost(tmp_path):
    """Issue and README: clean minus planted at least .15, and at least 90 % of it won back, over 10 seeds."""
    cache = f"paths.cache={tmp_path / 'cache'}"
    demo = run(compose("experiment=demo", cache, "tracker=none"), tmp_path / "demo").result
    clean = run(compose("layers=none", cache, "tracker=none"), tmp_path / "clean").result
    acc = {name: result[side]["acc"]["mean"] for name, result, side in (
        ("planted", demo, "baseline"), ("edited", demo, "edited"), ("clean", clean, "baseline"))}  # fmt: skip
    assert len(demo["baseline"]["seeds"]) == 10
    assert acc["clean"] >= 0.88
    assert acc["planted"] <= acc["clean"] - 0.15
    assert acc["edited"] >= acc["planted"] + 0.9 * (acc["clean"] - acc["planted"])
    shown = README.partition("<!-- demo -->")[2].partition("<!-- /demo -->")[0]
    row = [float(cell.split()[0]) for cell in re.search(r"ACC (.*)", shown)[1].split("\u2502")[1:3]]
    assert row == pytest.approx([acc["planted"], acc["edited"]], abs=0.02), "the README shows other figures"
    paid = float(re.search(r"attention  of the CLS token on them: (.*?) % before", shown)[1])
    blocks = [row["cls_attention_before"] for row in demo["layers"] if row["cls_attention_before"]]
    assert paid == pytest.approx(100 * sum(blocks) / len(blocks), abs=0.5)
    said = re.search(r"clean model, without them: ACC (\.\d+)", README)[1]
    assert float(said) == pytest.approx(acc["clean"], abs=0.02)


def test_a_detector_in_ten_lines(tmp_path, monkeypatch):
    code = block("python", "KeyPeak")
    (tmp_path / "my_rules.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (command,) = [c for c in commands() if "my_rules" in c]
    found = run(
        compose(*shlex.split(command)[1:], "dataset.limit=60", "clusterer.seeds=2", "tracker=none",
                f"paths.cache={tmp_path / 'cache'}", "layers=all"), tmp_path / "run"
    )  # fmt: skip
    assert found.result["edit"]["detector"]["class"] == "my_rules.KeyPeak"
    assert "source" in found.result["edit"]["detector"]
    assert any(found.result["artifact_rate"].values())
    sys.modules.pop("my_rules", None)


def test_reading_a_run(tmp_path):
    folder = tmp_path / "run"
    run(compose("experiment=smoke", f"paths.cache={tmp_path / 'cache'}"), folder)
    scope = {}
    exec(block("python", "load_run").replace("outputs/runs/...", str(folder)), scope)
    assert scope["run"].result == itae.load_run(folder).result


def test_the_two_commands_are_targets_of_the_makefile():
    for target in ("demo", "test", "test-all"):
        assert f"make {target}" in README
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (
        "itae experiment=demo"
        in subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )


def test_the_pip_lines_are_the_makefiles():
    (line,) = re.findall(r"pip install (-c constraints\.txt -e '\.\[cpu\]')", README)
    assert line.replace("'", "").replace("[cpu]", "") in (ROOT / "Makefile").read_text().replace('"', "").replace(
        "[$(EXTRA),dev]", ""
    )


def test_what_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
