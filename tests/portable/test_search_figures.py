"""Pictures of a search, drawn of what one might come to."""

from __future__ import annotations

import pytest
from search_results import DEVICES, result

from itae.look.figures import save
from itae.portable.search.figures import FIGURES


@pytest.fixture(scope="module")
def found():
    return result()


@pytest.mark.parametrize("name", FIGURES)
def test_each_is_drawn(tmp_path, found, name):
    caption, draw = FIGURES[name]
    assert caption.endswith(".")
    assert all(path.stat().st_size > 10_000 for path in save(draw(found), tmp_path, name))


def words(figure):
    figure.canvas.draw()
    return [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title, *ax.get_xticklabels())]


def test_fronts_tell_the_gain_of_each_device(found):
    told = words(FIGURES["fronts"][1](found))
    for name in DEVICES:
        gain = found["devices"][name]["hypervolume"]["gain"]["value"]
        assert f"{name}: area {gain:+.0%} over hand-made" in told


def test_the_matrix_tells_each_regret(found):
    told = words(FIGURES["regret"][1](found))
    for one in (*found["regret"], *found["portable"]["regret"]):
        share = 0.0 if abs(one["share"]) < 0.005 else one["share"]
        assert f"{share:.0%}\nx{one['times']:.2f}" in told


def test_what_there_is_too_little_for_is_not_drawn():
    one = result(("ort",))
    assert FIGURES["regret"][1](one) is None
    assert FIGURES["fronts"][1](one) is not None
    assert FIGURES["predicted"][1](one | {"predictor": {}}) is None
    assert FIGURES["fronts"][1](one | {"devices": {}}) is FIGURES["searched_macs"][1](one | {"devices": {}}) is None
