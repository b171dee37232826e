"""Every command beside names that mean something to rich, matplotlib, HTML, Hydra or a shell, in any encoding."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
from app.test_environments import SMALL, pictures, started

from itae.base.console import one_line
from itae.base.typed import quoted
from itae.look.view import load_run

CLASSES = (
    "[red]",
    "$5_$10",
    "_hidden",
    "2024_05",
    "<b>&amp;'\"",
    ":smile:",
    "{title}",
    "%s",
    "=1+1",
    "é日😀",
    os.fsdecode(b"caf\xe9"),
)
ODD = "odd [/y] [red] $5_$10 :smile: {x} 100% <i> 'é😀', #1"
ROOT = f"dataset.root={quoted(f'{ODD}/photos')}"
WORDS = ("dataset=imagefolder", ROOT, "tracker=none", "clusterer.seeds=2", "clusterer.restarts=1")


def in_ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A folder of pictures whose classes, and which itself, have such names."""
    top = tmp_path_factory.mktemp("names")
    pictures(top / ODD / "photos", CLASSES, n=2)
    return top


@pytest.fixture
def say(itae_, odd, monkeypatch):
    """Return a function that runs a command there and returns what it prints; nothing may go wrong."""
    monkeypatch.chdir(odd)
    monkeypatch.setenv("ITAE_CACHE", str(odd / ODD / "cache"))

    def run(*words: str) -> str:
        status, out, err = itae_(*words)
        assert (status, err) == (0, ""), err
        return out

    return run


@pytest.mark.slow  # ten commands, each of which runs as a user has it
@pytest.mark.figures
def test_every_command_prints_them_as_they_are(say, odd):
    out = say(*WORDS, f"hydra.run.dir={quoted(f'{ODD}/run')}")
    assert f"results    {ODD}/run\n" in out
    assert f"page       {odd}/{ODD}/run/report.html\n" in out
    run = load_run(odd / ODD / "run")
    assert set(run.read_assignments().labels or ()) == {one_line(name) for name in CLASSES}
    assert len(list((run.folder / "figures").glob("*.png"))) == 6
    again = run.result["started"]["overrides"]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<b>&amp;'\"" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert again[:2] == list(WORDS[:2])

    sweep = f"{ODD}/sweep"
    tags = ("tracker=wandb", "tracker.tags=[paper],[a]")  # its jobs' words in brackets
    out = say("-m", *WORDS[:2], *WORDS[3:], *tags, f"hydra.sweep.dir={quoted(sweep)}", "runtime.report=false")
    assert "tracker.tags=[paper]" in out
    assert f"results    {odd}/{sweep}\n" in out
    out = say("collect", sweep)
    assert f"{sweep}/results.parquet, {sweep}/results.csv" in out
    assert pd.read_csv(odd / sweep / "results.csv")["dataset.root"].tolist() == [f"{ODD}/photos"] * 2
    assert f"{ODD}" in say("report", sweep)
    assert f"in {odd}/{ODD}/cache, " in say("cache", "ls")
    assert f"0 damaged in {odd}/{ODD}/cache\n" in say("cache", "verify")
    assert f"left in {odd}/{ODD}/cache\n" in say("cache", "prune", "--max-gb=9", "--dry-run")
    out = say("calibrate", f"{ODD}/fits.json", *WORDS[:2], "detector.rule=bimodal")
    assert f"thresholds {ODD}/fits.json\n" in out
    assert "found      " in say("sync", ODD, "--dry-run")
    shown = say("--cfg", "job", *WORDS)
    assert "$5_$10" in shown
    assert ":smile:" in shown


@pytest.mark.slow  # a protocol is three programs
def test_a_protocol_prints_them_as_they_are(odd, tmp_path):
    for seed, part in enumerate("ab"):
        pictures(tmp_path / ODD / part, CLASSES, n=2, seed=seed)
    root, held_out = (f"dataset.root={quoted(f'{ODD}/{part}')}" for part in "ab")
    words = ("dataset=imagefolder", root, *WORDS[2:], "detector.k=3,5", "--held-out", held_out, "--out", f"{ODD}/p")
    done = started("protocol", *words, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    frozen = next(line for line in done.stdout.splitlines() if line.startswith("frozen"))
    assert in_ascii(held_out) in shlex.split(frozen)
    assert done.stdout.endswith(f"results    {in_ascii(str(tmp_path / ODD / 'p'))}\n")


ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.slow  # programs of their own, which alone have another locale
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_takes_what_is_printed(odd, tmp_path, encoding):
    env = os.environ | ENCODINGS[encoding] | {"ITAE_CACHE": str(tmp_path / "cache")}
    sweep = [("-m", *WORDS, "layers=last,none", "hydra.sweep.dir=sweep", "hydra.launcher.n_jobs=2")]
    others = (("collect", "run"), ("cache", "ls"), ("--help",), *(sweep if encoding == "C" else ()))
    for words in ((*WORDS, "hydra.run.dir=run"), *others):
        done = started(*[word.replace(ODD, str(odd / ODD)) for word in words], cwd=tmp_path, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout
        assert "results    run" in done.stdout or words[0] != "dataset=imagefolder"
    assert len(list((tmp_path / "run/figures").glob("*.png"))) == 6
    plain = load_run(tmp_path / "run").read_assignments()
    assert set(plain.labels or ()) == {one_line(name) for name in CLASSES}, "files are UTF-8 all the same"


def test_a_run_from_python_prints_on_a_stream_that_takes_ascii_alone(tmp_path, monkeypatch):
    from itae.app.compose import compose
    from itae.app.experiment import run

    monkeypatch.chdir(tmp_path)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    run(compose([*SMALL, "dataset.limit=40"]), tmp_path / "é")
    out.flush()
    assert "results    ?\n" in out.buffer.getvalue().decode()
