"""Pictures of the artifacts: they show what is kept, at the right place, and are there in every single run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps

import itae
from itae.embed.diagnostics.norms import NORM_EDGES
from itae.look.artifact_figures import example_figure, examples, layer_figure, marked, norm_figure
from itae.look.figures import FLAGGED

pytestmark = pytest.mark.figures
WORDS = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "detector.rule=quantile")
ORANGE = tuple(int(FLAGGED[i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture(scope="module")
def norms():
    """Diagnostics of two blocks: in block 1 one patch in ten has ten times the norm."""
    draw = np.random.default_rng(0)
    low = np.exp(draw.normal(0, 0.1, (2, 9000)))
    rows = [np.concatenate([row, row[:1000] * (1, 10)[i]]) for i, row in enumerate(low)]
    counts = np.stack([np.histogram(row, NORM_EDGES)[0] for row in rows])
    return {f"norm.{name}": counts for name in ("q", "k", "v", "resid_post")}


def layer(number, threshold, before=0.5, after=0.1):
    return {"layer": number, "threshold": threshold, "artifact_rate": 0.1, "cls_attention_before": before,
            "cls_attention_after": after}  # fmt: skip


def test_norms_are_drawn_where_they_are_and_the_threshold_in_the_panel_of_its_signal(norms):
    edit = {"detector": {"vector": "key", "scope": "token"}}
    figure = norm_figure(norms, [layer(0, None), layer(1, 3.0)], edit)
    panels = figure.axes[:4]
    assert [len(ax.lines) for ax in panels] == [0, 1, 0, 0]
    assert list(panels[1].lines[0].get_ydata()) == [3.0, 3.0]
    assert list(panels[1].lines[0].get_xdata()) == [0.5, 1.5]
    (mesh,) = panels[0].collections
    shown = np.ma.filled(mesh.get_array(), 0.0)
    edges = mesh.get_coordinates()[:, 0, 1]
    high = shown[edges[:-1] > 3]
    assert high[:, 0].sum() == 0
    assert high[:, 1].sum() == pytest.approx(0.1)
    assert norm_figure({}, [], None) is None, "made without diagnostics"
    assert all(not ax.lines for ax in norm_figure(norms, [], None).axes[:4]), "no edit, no threshold"


def test_layers_show_shares_and_attention():
    figure = layer_figure([layer(3, 1.0, 0.5, 0.1), layer(5, 1.0, 0.25, 0.0)])
    rate, attention = figure.axes
    assert list(rate.lines[0].get_ydata()) == [10, 10]
    assert [list(line.get_ydata()) for line in attention.lines] == [[50, 25], [10, 0]]
    assert [text.get_text() for text in attention.get_xticklabels()] == ["3", "5"]
    assert len(layer_figure([layer(3, 1.0, None, None)]).axes) == 1, "no CLS token"
    assert layer_figure([]) is None


def test_sinks_are_drawn_beside_them_where_they_are_known():
    sinks = {str(i): {"attention_max": 2.0 + i} for i in range(4)}
    sinks["3"] |= {"attention_flagged": 8.0, "values_flagged": 0.05}
    panel = layer_figure([layer(3, 1.0)], sinks).axes[2]
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines[1:]}
    assert drawn == {
        "attention, most attended patch": ([0, 1, 2, 3], [2, 3, 4, 5]),
        "attention, flagged patches": ([3], [8.0]),
        "value norm, flagged patches": ([3], [0.05]),
    }
    low, high = panel.get_ylim()
    assert low < 0.05
    assert high > 8
    assert len(layer_figure([layer(3, 1.0)], {"0": {"attention_max": 1.5}}).axes[2].lines) == 2, "nothing flagged"


def cut(image, rows, columns):
    """Return the pictures of a mosaic, [rows][columns], each without the white around it."""
    found = [np.hsplit(row, columns) for row in np.vsplit(np.asarray(image.get_array()), rows)]
    for cell in (cell for row in found for cell in row):
        edge = np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]])
        assert (edge == 255).all()
    return [[cell[1:-1, 1:-1] for cell in row] for row in found]


def test_examples_show_each_image_with_its_own_mask():
    """Two images of ten, two edited blocks; nothing is flagged in the last, so the first is drawn."""
    masks = np.zeros((2, 2, 4), bool)
    masks[0, 0, 1] = masks[1, 0, 2] = True
    paid = np.zeros((2, 2, 2, 4), np.float16)
    paid[1, 0, 0, 2], paid[1, 1, 0, 0] = 0.75, 0.25
    found = {"examples": np.array([3, 8]), "layers": np.array([1, 2]), "example_mask": masks, "example_paid": paid,
             "flagged_at": masks.sum(axis=0)}  # fmt: skip
    asked = []

    def picture(name):
        asked.append(name)
        return np.full((8, 8, 3), 30 * int(name), np.uint8)

    block, few = examples(found, [str(i) for i in range(10)], (2, 2), picture)
    figure = example_figure(block, few)
    assert block == 1
    assert asked == ["3", "8"]
    assert "block 1" in figure.get_suptitle()
    (ax,) = figure.axes
    (image,) = ax.images
    assert image.get_extent() == [0, 4, 0, 2]
    first, second = cut(image, 2, 4)
    assert [(text.get_text(), text.get_position()[0]) for text in ax.texts] == [
        ("image", 0.5), ("flagged", 1.5), ("attention before", 2.5), ("and after", 3.5)
    ]  # fmt: skip
    assert (first[0] == 90).all()
    assert (second[0] == 240).all()
    for four, (row, column) in ((first, (0, 4)), (second, (4, 0))):
        orange = (four[1] == ORANGE).all(axis=-1)
        assert orange.sum() == 16
        assert orange[row : row + 4, column : column + 4].all()
    assert few[1].before[1, 0] == 0.75
    assert few[1].after[0, 0] == 0.25
    colour = {value: np.round(255 * np.array(colormaps["cividis"](value))[:3]) for value in (0.0, 1 / 3, 1.0)}
    before, after = second[2:]
    assert before.shape == after.shape == (8, 8, 3)
    assert (before[4:, :4] == colour[1.0]).all()
    assert (after[:4, :4] == colour[1 / 3]).all(), "one scale for both"
    assert (after[4:, 4:] == colour[0.0]).all()
    unknown = examples(
        found | {"example_paid": np.full_like(paid, np.nan)}, [str(i) for i in range(10)], (2, 2), picture
    )
    assert unknown[1][0].before is None
    assert example_figure(*unknown).axes[0].images[0].get_extent() == [0, 2, 0, 2], "no CLS token"
    assert examples({"examples": np.array([3])}, [], (2, 2), picture) == (-1, [])
    assert example_figure(-1, []) is None


@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 5), w=st.integers(1, 5), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_marks_cover_the_patches_and_nothing_else(h, w, size, seed):
    draw = np.random.default_rng(seed)
    side = h * w * size
    mask = draw.random((h, w)) < 0.5
    out = marked(draw.integers(0, 255, (side, side, 3), dtype=np.uint8), mask)
    want = np.kron(mask, np.ones((side // h, side // w), bool))
    assert ((out == ORANGE).all(axis=-1) == want).all()


@pytest.mark.slow
def test_a_run_has_its_pictures_and_a_job_of_a_sweep_the_quick_one(itae_):
    assert itae_(*WORDS, "hydra.run.dir=one")[0] == 0
    names = ["signal", "norms", "layers", "artifacts", "embeddings", "clusters"]
    assert itae.load_run("one").result["figures"] == [f"figures/{name}.png" for name in names]
    for name in names:
        assert Path(f"one/figures/{name}.png").stat().st_size > 5_000
        assert Path(f"one/figures/{name}.svg").is_file()
    assert itae_("-m", "layers=last,all", *WORDS, "hydra.sweep.dir=many")[0] == 0
    assert itae.load_run("many/1").result["figures"] == ["figures/signal.png"]
    assert [path.name for path in Path("many/1/figures").iterdir()] == ["signal.png"]
    assert itae_(*WORDS, "layers=none", "hydra.run.dir=none")[0] == 0
    assert itae.load_run("none").result["figures"] == [
        f"figures/{name}.png" for name in ("norms", "embeddings", "clusters")
    ]
    assert itae_(*WORDS, "runtime.diagnostics=false", "paths.cache=other", "hydra.run.dir=off")[0] == 0
    assert itae.load_run("off").result["figures"] == [
        f"figures/{name}.png" for name in ("signal", "layers", "embeddings", "clusters")
    ]


def test_a_picture_that_can_not_be_drawn_costs_no_number(itae_, monkeypatch):
    def broken(*_):
        raise RuntimeError("no canvas")

    monkeypatch.setattr("itae.look.run_figures.example_figure", broken)
    status, _, err = itae_(*WORDS, "hydra.run.dir=one")
    assert status == 0
    assert "The figure artifacts could not be written (no canvas)" in err
    assert len(itae.load_run("one").result["figures"]) == 5
