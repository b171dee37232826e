"""The experiments: their one command runs, what their READMEs print is understood, and their numbers come from it."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.numpy import save_file

from itae.app.compose import compose, conf_dir, plain_config
from itae.app.settings import Settings

ROOT = Path(__file__).parents[1]
HERE = ROOT / "experiments"
NAMES = ("01_layers", "02_thresholds", "03_strength", "05_controls")
PLACES = ("WEIGHTS.safetensors", "PICTURES")


def script(path):
    """Import a script, with its own folder on the path as when it is run."""
    spec = importlib.util.spec_from_file_location(f"experiments_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


run, fill = script(HERE / "run.py"), script(HERE / "reproduce" / "fill.py")


def jobs(words):
    """Return the words of each job of ``itae -m``, as Hydra's sweeper makes them."""
    GlobalHydra.instance().clear()
    chosen = [word for word in words if word.startswith("experiment=")]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        params = hydra.compose("config", chosen, return_hydra_config=True).hydra.sweeper.params or {}
    told = [f"{key}={value}" for key, value in params.items()] + [w for w in words if not w.startswith("hydra.")]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(told), None)[0]


def lines(readme):
    """Return the commands of a README, each with what it is a command of."""
    found = re.findall(r"^    (itae|python experiments/\S+) (.*?)(?: {2,}.*)?$", readme.read_text(), re.MULTILINE)
    return [(what, shlex.split(words)) for what, words in found]


VERBS = [
    pytest.param(what, words, id=f"{path.parent.name}-{i}")
    for path in sorted(HERE.glob("*/README.md"))
    for i, (what, words) in enumerate(lines(path))
]


def check(words):
    """Compose the job of these words and construct all of its settings."""
    GlobalHydra.instance().clear()
    return Settings.of(plain_config(compose([word for word in words if not word.startswith("hydra")])))


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / PLACES[0])
    (tmp_path / PLACES[1]).mkdir()


def test_there_are_commands():
    assert len(VERBS) >= 12


@pytest.mark.parametrize(("what", "words"), VERBS)
def test_every_command_of_a_readme_is_understood(what, words, places):
    if what == "itae" and words[0] == "collect":
        return
    if what == "itae":
        mine = jobs([word for word in words if word not in ("-m", "prepare")])
        assert check(mine[0])
        assert check(mine[-1])
    elif what.endswith("experiments/run.py"):
        run.parser().parse_intermixed_args(words)
    elif what.endswith("reproduce/fill.py"):
        fill.parser().parse_args(words)
    else:
        assert (ROOT / what.removeprefix("python ")).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_shows_what_its_one_command_runs(name):
    told = [words for what, words in lines(HERE / name / "README.md") if what == "itae"]
    assert told == [["-m", *words] for sweeps in run.commands(name, *PLACES).values() for words in sweeps]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_the_one_command_runs(name, itae_, tmp_path, monkeypatch, capsys):
    ran = []

    def start(words):
        ran.append(itae_("-m", *words))
        assert ran[-1][0] == 0, ran[-1]

    monkeypatch.setattr(run, "start", start)
    assert run.main([name, "--quick", "--out", str(tmp_path / "out")]) == 0
    assert "Left out: DINOv2-S" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert list(table) == [*run.COLUMNS, *run.MORE.get(name, ())]
    assert len(table) == sum(len(jobs(words)) for words in run.commands(name, quick=True)["digits"])
    assert table["edited_acc"].between(0, 1).all()
    assert (tmp_path / "out" / "figure.png").stat().st_size > 10_000
    if name == "01_layers":  # a smaller grid in the same folder leaves no row of the larger one
        again = [name, "--quick", "--out", str(tmp_path / "less"), "layers=last,all"]
        assert run.main(again) == 0
        assert list(pd.read_csv(tmp_path / "less" / "results.csv")["layers"]) == ["last", "all"]


def test_the_one_command_starts_itae(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(run.subprocess, "run", lambda command, check: calls.append(command) or Ended(2))
    with pytest.raises(SystemExit, match="2"):
        run.main(["01_layers", "--checkpoint", "my weights", "--images", "PICTURES", "runtime.batch_size=8"])
    assert len(calls) == 1, "a sweep that failed ends it"
    assert calls[0][1:4] == ["-m", "itae", "-m"]
    assert {"tracker=none", "runtime.batch_size=8", "backbone=digits_vit_artifacts"} <= set(calls[0])
    assert "backbone.checkpoint='my weights'" in run.commands("01_layers", "my weights", "x")["dinov2_s"][0]
    with pytest.raises(SystemExit):
        run.main(["01_layers", "--images", "PICTURES"])
    assert "go together" in capsys.readouterr().err


class Ended:
    def __init__(self, returncode):
        self.returncode = returncode


@pytest.mark.parametrize("name", NAMES)
def test_the_results_are_those_of_the_one_command(name):
    table = pd.read_csv(HERE / name / "results.csv")
    assert list(table) == [*run.COLUMNS, *run.MORE.get(name, ())]
    for part, mine in zip(run.commands(name, *PLACES).values(), (True, False), strict=True):
        assert (table["data"].eq("digits") == mine).sum() == sum(len(jobs(words)) for words in part)
    assert set(table["selection"]) == {"fixed"}
    assert set(table[table["data"] == "digits"]["images"]) == {1797}
    assert (HERE / name / "figure.png").stat().st_size < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_readme_are_in_its_results(name):
    """Every mean with a spread, `.512 ± .003`, is that of some row."""
    table = pd.read_csv(HERE / name / "results.csv")
    there = {
        tuple(f"{value:.3f}" for value in pair)
        for side in ("baseline", "edited", "delta")
        for pair in table[[f"{side}_acc", f"{side}_acc_std"]].to_numpy()
    }
    said = re.findall(r"([+-]?)(\.\d{3}) ± (\.\d{3})", (HERE / name / "README.md").read_text())
    assert len(said) >= 5
    for sign, mean, std in said:
        value = (f"{'-' if sign == '-' else ''}0{mean}", f"0{std}")
        assert any(_near(value, pair) for pair in there), (sign, mean, std)


def _near(said, there):  # the table has four digits: a half of the third may go either way
    return all(abs(float(a) - float(b)) < 0.00051 for a, b in zip(said, there, strict=True))


@pytest.mark.slow
def test_rows_of_the_results_come_out_again(itae_):
    (words,) = run.commands("01_layers")["digits"]
    words = [word if not word.startswith("layers=") else "layers=[4],all" for word in words]
    assert itae_("-m", *words, "tracker=none", "clusterer.seeds=3", "hydra.sweep.dir=again")[0] == 0
    table = pd.read_csv(HERE / "01_layers" / "results.csv")
    for i, layers in enumerate(("[4]", "all")):
        (row,) = table[(table["data"] == "digits") & (table["layers"] == layers)].to_dict("records")
        result = json.loads(Path(f"again/{i}/result.json").read_text())
        assert result["edited"]["acc"]["mean"] == pytest.approx(row["edited_acc"], abs=0.02)
        assert result["baseline"]["acc"]["mean"] == pytest.approx(row["baseline_acc"], abs=0.02)
        rates = result["artifact_rate"].values()
        assert sum(rates) / len(rates) == pytest.approx(row["flagged"], abs=0.002)


# --- reproduce


def paper(data="cifar10", model="dinov2_b14", acc=0.8, **more):
    """Return the settings and scores of a run of the paper's rule as its result.json has them."""
    GlobalHydra.instance().clear()
    words = [f"dataset={data}", f"backbone={model}", *(f"{k}={v}" for k, v in more.items() if k != "status")]
    rule = [] if any(word.startswith("detector.rule") for word in words) else ["detector.rule=bimodal"]
    plain = plain_config(compose(["experiment=reproduce", *rule, *words]))
    sides = {
        name: {metric: {"mean": value, "std": 0.01} for metric in ("acc", "nmi", "ari")} | {"seeds": [1, 2]}
        for name, value in (("baseline", 0.7), ("edited", acc), ("delta", acc - 0.7))
    }
    sides["delta"].pop("seeds")
    return {
        "status": more.get("status", "ok"), "error": None, "selection": plain["selection"], "settings": plain,
        **sides, "artifact_rate": {"11": 0.0213}, "bimodality": 0.5, "images": {"n": 10_000, "classes": 10},
        "timing": {},
    }  # fmt: skip


def filled(folder, *results):
    for i, result in enumerate(results):
        (folder / "runs" / str(i)).mkdir(parents=True)
        (folder / "runs" / str(i) / "result.json").write_text(json.dumps(result))
    assert fill.main([str(folder / "runs"), "--out", str(folder)]) == 0
    return pd.read_csv(folder / "results.csv").set_index(["data", "backbone"])


def test_the_published_scores_stand_beside_empty_columns():
    table = pd.read_csv(HERE / "reproduce" / "results.csv").set_index(["data", "backbone"])
    assert len(table) == 16
    assert list(table.loc[("cifar100", "dinov2_b14"), ["published_acc", "published_nmi", "published_ari"]]) == [
        0.6502, 0.7710, 0.5053
    ]  # fmt: skip
    assert table["published_acc"].notna().sum() == 4
    if table["ours_acc"].isna().all():
        assert table.filter(regex="ours|untouched").isna().all(axis=None)


def test_the_columns_of_ours_are_filled_from_runs(tmp_path):
    table = filled(tmp_path, paper(acc=0.81234), paper("tiny_imagenet", "dinov2_g14", acc=0.6))
    row = table.loc[("cifar10", "dinov2_b14")]
    assert (row["ours_acc"], row["ours_acc_std"], row["untouched_acc"]) == (0.8123, 0.01, 0.7)
    assert (row["published_acc"], row["ours_flagged"]) == (0.8449, 0.0213)
    assert (row["ours_setting"], row["ours_selection"]) == ("value norm, bimodal", "fixed")
    assert table.loc[("tiny_imagenet", "dinov2_g14"), "ours_ari"] == 0.6
    assert table["ours_acc"].notna().sum() == 2


def test_a_row_that_is_chosen_among_several_is_an_oracle(tmp_path):
    quantiles = [
        paper(acc=acc, **{"detector.rule": "quantile", "detector.quantile": q})
        for acc, q in ((0.8, 0.01), (0.9, 0.02), (0.7, 0.1))
    ]
    row = filled(tmp_path, *quantiles, quantiles[0]).loc[("cifar10", "dinov2_b14")]
    assert (row["ours_acc"], row["ours_setting"]) == (0.9, "value norm, quantile 0.02")
    assert row["ours_selection"] == "oracle"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"layers": "all"}, "layers is all, and not last"),
        ({"attenuator": "scale"}, "attenuator._target_"),
        ({"attenuator.queries": "all"}, "attenuator.queries is all"),
        ({"dataset.limit": 100}, "dataset.limit is 100"),
        ({"dataset.split": "train"}, "dataset.split is train"),
        ({"data": "digits"}, "digits is not in the table"),
        ({"status": "failed"}, "it is failed"),
    ],
)
def test_what_is_not_the_papers_rule_is_left_out(tmp_path, capsys, more, reason):
    table = filled(tmp_path, paper(**more))
    assert table["ours_acc"].isna().all()
    assert reason in capsys.readouterr().out
