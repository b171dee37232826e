"""The experiment of searches: its commands are ones that are understood, and what is told of it is in what it left."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
HERE = ROOT / "experiments" / "10_portable"
GAIN = re.compile(r"([+-]\d+) %\s+area on `(\w+)`")
LEARNED = re.compile(r"([+-]\d+\.\d\d) dB\s+at (\d+) CPU seconds")
AT = re.compile(r"`(\w+)`:\s+([\d.]+) ms, ([\d.]+) dB on `(\w+)`")


def not_in(table: pd.DataFrame, gains: dict[str, float], text: str) -> list[str]:
    """Return what a text tells that a search hasn't: ``+12 % area on `ort```, ```net`: 3.1 ms, 28.41 dB on `ort```."""
    wrong = [f"{percent} % area on {device}" for percent, device in GAIN.findall(text)
             if device not in gains or round(100 * gains[device]) != int(percent)]  # fmt: skip
    for net, ms, psnr, device in AT.findall(text):
        rows = table[(table["net"] == net) & (table["device"] == device)]
        if not any(f"{row.ms:.1f}" == ms and f"{row.psnr:.2f}" == psnr for row in rows.itertuples()):
            wrong.append(f"{net}: {ms} ms, {psnr} dB on {device}")
    return wrong


def test_what_a_search_has_not_is_found():
    table = pd.DataFrame({"net": ["a", "a"], "device": ["ort", "ncnn"], "ms": [3.14, 9.0], "psnr": [28.41, 28.4]})
    gains = {"ort": 0.121}
    assert not_in(table, gains, "+12 % area on `ort`; `a`: 3.1 ms, 28.41 dB on `ort`") == []
    wrong = not_in(table, gains, "+13 % area on `ort`, +12 % area on `ncnn`; `a`: 9.0 ms, 28.41 dB on `ncnn`")
    assert wrong == ["+13 % area on ort", "+12 % area on ncnn", "a: 9.0 ms, 28.41 dB on ncnn"]


@pytest.mark.parametrize(
    "path", [HERE / "README.md", ROOT / "docs" / "deblurring.md"], ids=lambda path: path.parent.name
)
def test_what_is_told_is_in_what_was_found(path):
    found = json.loads((HERE / "front.json").read_text(encoding="utf-8"))
    gains = {name: of["hypervolume"]["gain"]["value"] for name, of in found["devices"].items()}
    told = path.read_text(encoding="utf-8")
    assert path.parent != HERE or len(GAIN.findall(told)) >= 5
    assert not_in(pd.read_csv(HERE / "search.csv"), gains, told) == []


def test_the_table_tells_of_each_device_what_was_found():
    found = json.loads((HERE / "front.json").read_text(encoding="utf-8"))
    table = (HERE / "README.md").read_text(encoding="utf-8").partition("| `torch` |")[2].splitlines()[2:8]
    told = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table]
    lost = {one["on"]: one["share"] for one in found["portable"]["regret"]}
    for i, (name, errors) in enumerate(found["predictor"].items()):
        later, gain = errors["afterwards"], found["devices"][name]["hypervolume"]["gain"]["value"]
        assert [row[i] for row in told] == [
            f"{100 * errors['mean_error'][0]:.1f} %", f"{errors['spearman'][0]:.2f}".lstrip("0"),
            f"{100 * later['mean_error'][0]:.1f} %", f"{later['spearman'][0]:.2f}".lstrip("0"),
            f"{100 * gain:+.0f} %", f"{100 * lost[name]:.0f} %",
        ]  # fmt: skip


def test_what_is_told_of_the_training_is_in_its_curve():
    found = json.loads((HERE / "training.json").read_text(encoding="utf-8"))["training"]
    curve = {(f"{each['validation_psnr'] - found['blurred_psnr']:+.2f}", f"{each['seconds']:.0f}")
             for each in found["curve"]}  # fmt: skip
    told = LEARNED.findall((HERE / "README.md").read_text(encoding="utf-8"))
    assert len(told) == 4
    assert set(told) <= curve


def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("experiment_10", HERE / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("training", [False, True])
def test_it_runs_a_study_and_keeps_what_is_told(training, tmp_path, monkeypatch):
    module, ran = experiment(), []

    def run(words: list[str], check: bool) -> None:
        assert check
        ran.extend(words[4:])
        out = Path(next(word for word in words if word.startswith("out=")).removeprefix("out=").strip("'"))
        (out / "figures").mkdir(parents=True)
        for name in ("search.csv", "front.json", "figures/curve.png", "figures/fronts.png"):
            (out / name).write_text(name)
        names = module.TRAINING if training else (*module.SEARCH, "guidelines")
        result = {name: [{"text": "so it is"}] if name == "guidelines" else name for name in names}
        (out / "result.json").write_text(json.dumps(result))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module.subprocess, "run", run)
    words = ["run.py", "--work", str(tmp_path / "kept"), *(["--training"] if training else []), "seed=1"]
    monkeypatch.setattr(module.sys, "argv", words)
    module.main()
    assert ran[-1] == "seed=1"
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    if training:
        assert "train.steps=4000" in ran
        assert kept == {"curve.png", "training.json"}
    else:
        assert ran[0] == "experiment=search"
        assert kept == {"search.csv", "front.json", "guidelines.md", "machine.json", "curve.png", "fronts.png"}
        assert (tmp_path / "kept" / "guidelines.md").read_text() == "- so it is\n"
