"""Every command of the README and the manual: run, or composed and checked where it needs a download."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from safetensors.numpy import save_file

import itae
from itae.app.compose import PORTABLE, conf_dir, plain_config, plain_values
from itae.app.compose import compose as itae_compose
from itae.app.experiment import run
from itae.app.portable.deploy_study import DATA, steps_of
from itae.app.portable.settings import read_alone
from itae.app.settings import Settings
from itae.app.verbs import VERBS
from itae.base.construct import construct

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
MANUAL = {path: path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "changes.md"}
TEXTS = {ROOT / "README.md": README, **MANUAL}
SET_BY_A_FILE = {"_target_", "defaults", "name", "variant", "vector", "spherical"}
"""What tells the files of a group apart, and nobody sets."""


def commands(text):
    """Return every line of a text that starts with `itae `, or with its path in the environment."""
    lines = [line.strip() for line in text.splitlines() if re.match(r"( {4})?(\.venv/bin/)?itae ", line)]
    return [re.split(r"\s{2,}#|\s{3,}|;", line.replace(".venv/bin/", ""))[0].strip() for line in lines]


def in_passing(text):
    """Return the runs that a text names between backticks; verbs stand there without what they are given."""
    told = re.findall(r"`(itae [^`]+)`", text)
    return [words for words in told if "..." not in words and words.split()[1] not in VERBS]


EVERY = sorted({command for text in TEXTS.values() for command in (*commands(text), *in_passing(text))})


def block(language, containing):
    every = [b for text in TEXTS.values() for b in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]
    (found,) = [b for b in every if containing in b]
    return found


def compose(*overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def test_there_are_commands():
    assert len(commands(README)) >= 7
    assert "itae experiment=demo" in commands(README)
    assert len(EVERY) >= 30


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Stand where the files are that commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_rules.py").write_text(block("python", "KeyPeak"))
    (tmp_path / "my_clusters.py").write_text(block("python", "MyBirch"))
    for group, name, told in (
        ("detector", "key_peak", "KeyPeak"), ("clusterer", "my_birch", "MyBirch"), ("recipe", "peaks", "key_peak")
    ):  # fmt: skip
        (tmp_path / "MINE" / group).mkdir(parents=True)
        (tmp_path / "MINE" / group / f"{name}.yaml").write_text(block("yaml", told))
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "WEIGHTS.safetensors")
    for name in ("PICTURES", "PHOTOS"):
        (tmp_path / name).mkdir()
    yield
    for module in ("my_rules", "my_clusters"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.usefixtures("places")
def test_every_command_is_understood(command, monkeypatch):
    words = shlex.split(command)[1:]
    if words[0] in VERBS:
        the_verb_takes(words[0], words[1:], monkeypatch)
    elif "--help" not in words:
        assert settings_of_first_job([word for word in words if word != "-m"])


@pytest.mark.usefixtures("places")
def test_the_clusterer_of_the_manual_clusters():
    clusterer = construct("clusterer", yaml.safe_load(block("yaml", "MyBirch")))
    assert clusterer.seed_list(0) is None
    assert clusterer.check(60, 3) == 3
    assert clusterer.to_choose(60, None), "k=auto comes with it"
    points_NE = np.repeat(np.float32([[0, 0], [9, 0], [0, 9]]), 20, axis=0)
    assert np.bincount(clusterer.fit(points_NE, 3, None, "cpu").assignments).tolist() == [20, 20, 20]


def the_verb_takes(verb, words, monkeypatch):
    """Have a verb read its words, check those of a run among them, and go no further."""

    def patch(name):
        parse = getattr(argparse.ArgumentParser, name)

        def read(parser, argv=None, namespace=None):
            raise EOFError(parse(parser, argv, namespace))

        monkeypatch.setattr(argparse.ArgumentParser, name, read)

    patch("parse_known_intermixed_args" if verb in ("knowledge", "search", "serve") else "parse_args")
    with pytest.raises(EOFError) as found:
        importlib.import_module(VERBS[verb]).main(words)
    told = getattr(found.value.args[0], "words", None)
    if told and verb == PORTABLE:
        plain = plain_values(itae_compose(told, found.value.args[0].config_dir, PORTABLE))
        plain = read_alone(plain, [] if "prepare" in words else told)
        for group in ("net", "measure", *DATA):
            assert group not in plain or construct(group, plain[group])
        assert "steps" not in plain or list(steps_of(plain["steps"], plain["optimise"])) == plain["optimise"]
    elif told:
        assert settings_of_first_job(told)


def settings_of_first_job(words):
    """Return the settings of a run of these words, of a sweep those of its first job."""
    config_dir = None
    if words[0] == "--config-dir":
        config_dir, words = words[1], words[2:]
    words = [re.sub(r"=(?:choice|interval)\((.*)\)$", r"=\1", word.removeprefix("+")) for word in words]
    overrides = [re.sub(r"=([^\[{,=]*),.*", r"=\1", word) for word in words]
    GlobalHydra.instance().clear()
    return Settings.of(plain_config(itae.compose(overrides, config_dir)))


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
    (command,) = [c for c in EVERY if "my_rules" in c]
    found = run(
        compose(*shlex.split(command)[1:], "dataset.limit=60", "clusterer.seeds=2", "tracker=none",
                f"paths.cache={tmp_path / 'cache'}", "layers=all"), tmp_path / "run"
    )  # fmt: skip
    assert found.result["edit"]["detector"]["class"] == "my_rules.KeyPeak"
    assert "source" in found.result["edit"]["detector"]
    assert any(found.result["artifact_rate"].values())
    sys.modules.pop("my_rules", None)


def test_a_rule_of_ones_own(tmp_path, monkeypatch):
    """Its yaml has all keys, and its `cut` flags on the side that the yaml says."""
    (tmp_path / "my_cut.py").write_text(block("python", "NormStd"))
    monkeypatch.syspath_prepend(tmp_path)
    told = yaml.safe_load(block("yaml", "NormStd"))
    rule = construct("detector", told)
    assert {field.name for field in fields(rule)} == told.keys() - {"_target_"}
    signal = torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9]).reshape(1, 1, -1)
    assert rule.flags(signal).mask[0, 0].nonzero().tolist() == [[12]]
    sys.modules.pop("my_cut", None)


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


def test_the_demo_installs_what_a_run_needs_and_the_tests_the_rest(tmp_path):
    """Each of the two has a stamp of its own, so that the one only adds to the other."""
    lines = {
        target: subprocess.run(
            ["make", "-n", f"VENV={tmp_path}/v", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for target in ("demo", "test")
    }
    assert re.search(r"-e \"\.\[(cpu|gpu)\]\"", lines["demo"])
    assert "dev" not in lines["demo"]
    assert re.search(r"-e \"\.\[(cpu|gpu),dev\]\"", lines["test"])


@pytest.mark.parametrize("text", TEXTS.values(), ids=lambda text: text[:20])
def test_the_pip_lines_are_the_makefiles(text):
    for line in re.findall(r"pip install (-c .*?\[cpu\]')", text):
        assert line.replace("'", "").replace("cpu", "$(EXTRA)") in (ROOT / "Makefile").read_text().replace('"', "")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_text_links_to_is_there(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXTS[path]):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_the_manual_defines_every_word_and_names_all_weights():
    """Every option of a group stands in the page of words, each backbone's weights on the page of installing."""
    words, install = MANUAL[ROOT / "docs/words.md"], MANUAL[ROOT / "docs/install.md"]
    for group in ("detector", "attenuator", "edit", "clusterer", "task", "backbone", "dataset"):
        assert f"`{group}" in words
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            options = yaml.safe_load(path.read_text())
            for option in options.keys() - SET_BY_A_FILE:
                assert f"`{group}.{option}`" in words, f"{group}.{option} is not defined in docs/words.md"
            if group == "backbone":
                assert f"| `{path.stem}` |" in install
                assert path.stem == "timm" or "digits" in path.stem or f"`{options['model_name']}`" in install
            elif group in ("detector", "attenuator"):
                assert f"`{path.stem}`" in words
