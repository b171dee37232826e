from __future__ import annotations

import numpy as np
import pytest

from itae.edits.combined import Combined
from itae.edits.detect import Random, VectorNorm
from itae.edits.local_outlier import LocalOutlierFactor
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES
from itae.embed.diagnostics.flags import by_layer
from itae.look.figures import FLAGGED, KEPT, save, signal_figure


def diagnostics(layers):
    signal = np.zeros((len(layers), len(SIGNAL_EDGES) - 1), np.int64)
    for i in range(len(layers)):
        signal[i, 700:760] = 50
        signal[i, 800] = 10
    flagged = np.where(np.arange(signal.shape[1]) > 780, signal, 0)
    ones = np.ones(len(layers))
    return {
        "layers": np.array(layers), "signal": signal, "signal_flagged": flagged, "signal_edges": SIGNAL_EDGES,
        "rate": ones * 0.05 * 10,
        "threshold": ones * SIGNAL_EDGES[780] * 10, "left_alone": ones * 0, "threshold_of": ones * 10,
        "flagged": np.ones((10, len(layers))),
    }  # fmt: skip


def spec(detector):
    return {"detector": {"class": f"itae.detect.{type(detector).__name__}", **detector.spec()}}


def test_the_figure_shows_what_is_beyond_the_threshold(tmp_path, monkeypatch):
    drawn = []
    from matplotlib.axes import Axes

    stairs = Axes.stairs
    monkeypatch.setattr(
        Axes, "stairs", lambda self, *args, **kw: drawn.append((args[0], kw["color"])) or stairs(self, *args, **kw)
    )
    found = diagnostics([3, 4, 5, 6, 7])
    figure = signal_figure(found, by_layer(found, 10), spec(VectorNorm(side="high")))
    (png,) = save(figure, tmp_path, "signal")
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "signal.svg").read_text().lstrip().startswith("<?xml")
    assert [colour for _, colour in drawn] == [KEPT, FLAGGED] * 5
    for (every, _), (flagged, _) in zip(drawn[::2], drawn[1::2], strict=True):
        every, flagged = (np.where(height > np.log10(0.5), 10**height, 0) for height in (every, flagged))
        assert (every.sum(), flagged.sum()) == (pytest.approx(3010), pytest.approx(10))
        assert flagged.nonzero()[0].min() > len(every) / 2


def test_a_signal_is_told_in_words():
    found = diagnostics([2])
    for detector, words in (
        (VectorNorm(), "signal: value norm; rule: mad; "),
        (
            Combined(signals=["key", "value"]),
            "signal: key and value norm, each over its median (root mean square); rule: ",
        ),
        (LocalOutlierFactor(), "signal: local outlier factor; rule: absolute; "),
    ):
        figure = signal_figure(found, by_layer(found, 10), spec(detector))
        assert figure.texts[0].get_text().replace("\n", " ").startswith(words)


def test_no_threshold_marks_nothing_and_no_edit_draws_nothing(tmp_path):
    found = diagnostics([2])
    found["threshold"] = np.array([np.nan])
    for detector in (VectorNorm(rule="bimodal"), Random()):
        assert signal_figure(found, by_layer(found, 10), spec(detector))
    assert signal_figure({}, [], None) is None
    assert save(None, tmp_path / "none", "signal") == []
    assert not (tmp_path / "none").exists()
