"""Pictures of a search, drawn of what one might come to."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from search_results import DEVICES, result
from search_run_results import lengths, whole

from itae.look.figures import save
from itae.portable.search.figures import FIGURES


@pytest.fixture(scope="module")
def found():
    return result()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = whole(tmp_path_factory.mktemp("run"))
    return one | {"quality": one["quality"] | {"by_length": lengths()}}


@pytest.mark.parametrize("name", FIGURES)
def test_each_is_drawn(tmp_path, run, name):
    caption, draw = FIGURES[name]
    assert caption.endswith(".")
    (path,) = save(draw(run), tmp_path, name)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("devices", [DEVICES[:1], DEVICES])
def test_no_title_and_no_label_is_cut_off(found, devices):
    few = found | {name: {one: found[name][one] for one in devices} for name in ("devices", "predictor")}
    for name in ("fronts", "searched_macs", "predicted"):
        figure = FIGURES[name][1](few)
        FigureCanvasAgg(figure).draw()  # which lays it out
        labels = [text for ax in figure.axes for text in (ax.title, ax.xaxis.label, ax.yaxis.label)]
        labels += [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
        for text in labels:
            if text.get_text():
                box = text.get_window_extent()
                assert box.x0 >= 0 <= box.y0, text.get_text()
                assert box.x1 <= figure.bbox.x1, text.get_text()
                assert box.y1 <= figure.bbox.y1, text.get_text()


def words(figure):
    figure.canvas.draw()
    return [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title, *ax.get_xticklabels())]


def test_fronts_tell_the_gain_of_each_device(found):
    told = words(FIGURES["fronts"][1](found))
    for name in DEVICES:
        gain = found["devices"][name]["hypervolume"]["gain"]["value"]
        assert f"{name}: area {gain:+.0%} over hand-made" in told


def test_a_gain_is_of_differences_photograph_by_photograph(found):
    for of in found["devices"].values():
        for cell in of["nets"].values():
            gain, psnr = cell["gain_db"], cell["psnr"]
            assert gain["value"] == pytest.approx(psnr["value"] - of["reference"]["psnr"])
            assert gain["high"] - gain["low"] < (psnr["high"] - psnr["low"]) / 2, (
                "photographs differ more than networks"
            )


def test_the_matrix_tells_each_regret(found):
    told = words(FIGURES["regret"][1](found))
    for one in (*found["regret"], *found["portable"]["regret"]):
        share = 0.0 if abs(one["share"]) < 0.005 else one["share"]
        assert f"{share:.0%}\nx{one['times']:.2f}" in told


def test_the_order_of_the_supernet_is_told_with_its_interval(run):
    figure = FIGURES["supernet_ranks"][1](run)
    assert "Spearman's rank correlation: 0.91 (0.70 to 0.98)" in words(figure)
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == [one["by_supernet"] for one in run["ranks"]["nets"]]
    assert list(line.get_ydata()) == [one["by_training"] for one in run["ranks"]["nets"]]
    untold = FIGURES["supernet_ranks"][1](run | {"ranks": run["ranks"] | {"spearman": float("nan")}})
    assert "Spearman's rank correlation: none can be told" in words(untold)


def test_gains_by_length_are_told_with_how_many_pairs_they_are_of(run):
    figure = FIGURES["lengths"][1](run)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [
        "2.0 to 5.0\n12 pairs", "5.0 to 8.0\n12 pairs"
    ]  # fmt: skip
    assert [float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_marker() == "o"] == [1.8, 1.5]


def test_what_there_is_too_little_for_is_not_drawn():
    one = result(("ort",))
    assert FIGURES["regret"][1](one) is None
    assert FIGURES["fronts"][1](one) is not None
    assert FIGURES["predicted"][1](one | {"predictor": {}}) is None
    assert FIGURES["fronts"][1](one | {"devices": {}}) is FIGURES["searched_macs"][1](one | {"devices": {}}) is None
    assert all(FIGURES[name][1](one) is None for name in ("supernet_ranks", "lengths"))
