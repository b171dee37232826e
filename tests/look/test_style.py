"""Pictures are the same whatever a matplotlibrc or a notebook has set, and names stand in them as they are."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.text import Text
from results.test_collect import result, table_of, write

from itae.base.console import one_line
from itae.look.artifact_figures import layer_figure
from itae.look.embedding_figures import cluster_figure, embedding_figure
from itae.look.figures import save
from itae.look.style import plain_style, short
from itae.look.sweep_figures import draw_sweep
from itae.results.shown import shown_of

SRC = Path(__file__).parents[2] / "src"
HOSTILE = ("$5_$10", "$5 to $10", "_hidden", "100 %", "a\\b", r"\frac{1}", "two\nlines", "x" * 300, "日本", "😀", "{}",
           "a^b", "\udcff", "#1", "\x1b[0m", " ")  # fmt: skip
RC = (
    {"text.usetex": True},
    {"text.parse_math": True, "axes.formatter.use_mathtext": True},
    {"font.family": "no such font", "font.size": 30.0, "mathtext.fontset": "stix"},
    {"savefig.bbox": "tight", "savefig.dpi": 10, "savefig.transparent": True, "savefig.facecolor": "red"},
    {"figure.autolayout": True, "figure.dpi": 40, "figure.figsize": (1, 1)},
    {"axes.prop_cycle": cycler(color=["red"]), "image.cmap": "jet", "image.origin": "lower"},
    {"axes.grid": True, "axes.spines.left": False, "legend.frameon": True, "svg.fonttype": "none"},
)


def vectors(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)


def figures(names=("a", "b")):
    """Draw one figure after the other in which names of classes stand, or ticks that are left to matplotlib."""
    groups, labels = list(names) * 3, np.tile(np.arange(len(names)), 3)
    row = {"layer": 3, "artifact_rate": 0.1, "cls_attention_before": 0.2, "cls_attention_after": 0.1}
    yield embedding_figure(vectors(len(groups)), vectors(len(groups)), groups, "class")
    yield cluster_figure(labels, names, labels, labels[::-1])
    yield layer_figure([row, row | {"layer": 4}])


def drawn(folder: Path) -> dict[str, bytes]:
    """Return the pictures of all kinds, as PNG."""
    for i, figure in enumerate(figures()):
        save(figure, folder, str(i), svg=False)
    table = table_of(write(folder / "runs", *(result(k=k) for k in (3.0, 4.0))))
    draw_sweep(table, "acc", folder, shown_of({}), svg=False)
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("rc", RC, ids=lambda rc: next(iter(rc)))
def test_a_matplotlibrc_changes_no_picture_and_is_left_as_it_is(tmp_path, plain, rc):
    assert len(plain) >= 4
    with matplotlib.rc_context(rc):
        before = dict(matplotlib.rcParams)
        assert drawn(tmp_path) == plain
        assert dict(matplotlib.rcParams) == before


def test_a_style_changes_none_either(tmp_path, plain):
    with plt.style.context("dark_background"):
        assert drawn(tmp_path) == plain


def texts(figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def test_names_stand_in_figures_as_they_are(tmp_path, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedding, clusters, _ = figures(HOSTILE)
        shown = [short(name, 20) for name in HOSTILE]
        named = [text.get_text() for text in embedding.legends[0].get_texts()]
        assert named == [short(name, 20) for name in sorted(HOSTILE)]
        assert [text.get_text() for text in clusters.axes[0].get_yticklabels()] == shown
        for figure in (embedding, clusters):
            assert all(not text.get_parse_math() and not text.get_usetex() for text in texts(figure))
            assert save(figure, tmp_path, "figure")
    assert caplog.text == ""
    svg = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "<!-- $5_$10 -->" in svg


def test_so_they_do_in_figures_of_sweeps(tmp_path, monkeypatch, caplog):
    said = []
    monkeypatch.setattr("itae.look.sweep_figures.save", lambda figure, *_: said.append(figure) or [])
    rows = [result(k=k, model=name) for name in HOSTILE for k in (3.0, 4.0)]
    for one, name in zip(rows, np.repeat(HOSTILE, 2), strict=True):
        one["settings"]["dataset"] = {"root": f"/p/{name}"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = table_of(write(tmp_path, *rows))
        draw_sweep(table, "acc", tmp_path, shown_of({}))
    found = [text for figure in said for text in texts(figure)]
    assert all(not text.get_parse_math() for text in found)
    assert any("$5_$10" in text.get_text() for text in found)
    for figure in said:
        assert save(figure, tmp_path / "drawn", "figure")
    assert caplog.text == ""


def test_a_label_that_starts_with_an_underscore_is_in_the_legend():
    figure = embedding_figure(vectors(4), vectors(4), ["_a", "b"] * 2, "class")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_a", "b"]


def test_long_names_are_cut_and_stay_one_line():
    assert short("x" * 30, 20) == "x" * 19 + "…"
    assert short("a\nb", 20) == one_line("a\nb") == "a\\nb"


@pytest.mark.slow
def test_every_figure_is_made_in_one_style():
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in SRC.rglob("*.py")]
    makers = {
        one.name: [ast.unparse(each) for each in one.decorator_list]
        for module in modules
        for one in ast.walk(module)
        if isinstance(one, ast.FunctionDef)
        and any(isinstance(line, ast.ImportFrom) and line.module == "matplotlib.figure" for line in one.body)
    }
    assert len(makers) >= 6
    assert makers.pop("_axes") == [], "which `draw_sweep` calls"
    assert set(map(tuple, makers.values())) == {("plain_style()",)}


def test_a_figure_in_a_notebook_is_drawn_so_later_too(tmp_path):
    with plain_style():
        figure = layer_figure([{"layer": 3, "artifact_rate": 0.1, "cls_attention_before": None}])
        figure.draw_without_rendering()
    with matplotlib.rc_context({"text.usetex": True, "text.latex.preamble": "no such macro"}):
        figure.savefig(tmp_path / "later.png")


@pytest.mark.slow
def test_no_setting_of_the_surroundings_costs_a_figure(tmp_path):
    """As a program of its own: what matplotlib reads when it is imported."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\nfont.family: no such font\n")
    env = os.environ | {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    words = ("tracker=none", "dataset.limit=40", "clusterer.seeds=2", "hydra.run.dir=run")
    command = [sys.executable, "-m", "itae", *words]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "run/figures").glob("*.png"))) >= 5
