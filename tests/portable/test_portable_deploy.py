"""One network on devices, from photographs to a result: on toy devices, with a small net that is trained already."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import small_unet
from PIL import Image
from toy_devices import Toy

from itae.base.errors import UserError
from itae.portable.clock.measure import Measure
from itae.portable.data.noise import PoissonGaussian
from itae.portable.data.photographs import Photograph, content
from itae.portable.data.shake import Shake
from itae.portable.data.wanted import Wanted
from itae.portable.deploy.asked import Deploy
from itae.portable.deploy.figures import FIGURES
from itae.portable.deploy.result import CSV, flat, show, texts
from itae.portable.deploy.study import deploy
from itae.portable.train.options import Train

NAMES = ("coffee.png", "chelsea.png", "astronaut.png", "china.jpg")
SIDE = 48


@dataclass(frozen=True)
class Few:
    """Pieces of four photographs."""

    def settings(self):
        return {}

    def photographs(self):
        return [self._one(name) for name in NAMES]

    def _one(self, name):
        light = small_unet.photograph(name)[:, 20:132, 20:132]
        picture = np.round(255 * small_unet.encoded(light)).astype(np.uint8).transpose(1, 2, 0)
        return Photograph(name, content(picture), "a test's", lambda: picture, picture.shape[:2])


@pytest.fixture
def asked(tmp_path):
    devices = {name: Toy(fault=fault, name=name) for name, fault in (("good", ""), ("bad", "swapped"))}
    return Deploy(
        net=small_unet.net(),
        source=Few(),
        blur=Shake(length=(3, 6), lens=0),
        noise=PoissonGaussian(),
        pairs=Wanted(train=8, validation=4, test=4, train_size=SIDE, size=SIDE),
        train=Train(steps=1, crop=16, batch=2, lr=1e-6),
        steps={},
        devices=devices,
        left_out={"gone": "not installed"},
        measure=Measure(size=SIDE, rounds=8, budget_s=30, max_split_half=1),
        cache=tmp_path / "cache",
        seed=0,
    )


def test_from_photographs_to_what_each_device_restores(asked, tmp_path, capsys):
    lines = []
    result = deploy(asked, tmp_path / "run", lines.append)
    assert json.loads(json.dumps(result, allow_nan=False)) == result, "plain values"
    good, bad = (result["devices"][name]["quality"] for name in ("good", "bad"))
    assert good["verdict"] == "kept"
    assert good["drop_db"]["mean"] == pytest.approx(0, abs=1e-6)
    assert good["psnr"]["mean"] == pytest.approx(result["quality"]["torch"]["psnr"]["mean"])
    assert good["gain_db"]["mean"] == pytest.approx(
        good["psnr"]["mean"] - result["quality"]["blurred"]["psnr"]["mean"], abs=1e-9
    )
    assert good["gain_db"]["mean"] > 0.3, "the net is trained on such blur"
    assert bad["verdict"] == "refused"
    assert result["not_run"] == {"gone": "not installed", "bad": bad["why"]}
    assert any(line.startswith("refused    bad ") for line in lines)
    (row,) = result["rows"]
    assert list(row["cells"]) == ["good"], "of what is refused nobody needs to know how quick it is"
    assert row["cells"]["good"]["ms"] > 0
    weights = tmp_path / "run" / "net.safetensors"
    assert result["net"]["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert replace(asked.net, weights=str(weights)).build() is not None
    shares = [{each["name"] for each in of} for of in result["data"]["photographs"].values()]
    assert sum(map(len, shares)) == len(set.union(*shares)) == len(NAMES), "no photograph in two splits"
    show(result, tmp_path / "run")
    told = capsys.readouterr().out
    assert "Wiener, told the PSF" in told
    assert "The blur is made, not found" in told
    assert "not run    gone: not installed" in told
    _tables_and_figures(result)
    _pictures(result, tmp_path / "run")


def _tables_and_figures(result):
    rows = list(csv.DictReader(io.StringIO(texts(result)[CSV])))
    assert [row["device"] for row in rows] == ["good", "bad"]
    assert float(rows[0]["ms"]) == flat(result)[0]["ms"]
    assert rows[1]["ms"] == ""
    drawn = {name: draw(result) for name, (_, draw) in FIGURES.items()}
    assert drawn["devices"].axes[0].get_ylabel() == "PSNR over the blurred input, dB"
    assert len(drawn["curve"].axes[0].lines[0].get_xdata()) == len(result["training"]["curve"])


def _pictures(result, folder):
    (one,) = result["pictures"]
    assert one["device"] == "good"
    shown = {what: np.asarray(Image.open(folder / file)) for what, file in one["files"].items()}
    assert set(shown) == {"blurred", "restored", "sharp", "psf"}
    error = {what: np.mean((shown[what].astype(float) - shown["sharp"]) ** 2) for what in ("blurred", "restored")}
    assert error["restored"] < error["blurred"]


def test_where_no_device_is_kept_nothing_is_timed_and_that_is_told(asked, tmp_path):
    bad = {"bad": asked.devices["bad"]}
    result = deploy(replace(asked, devices=bad), tmp_path / "run", lambda _: None)
    assert result["rows"] == []
    assert set(result["not_run"]) == {"gone", "bad"}
    assert FIGURES["devices"][1](result) is None
    show(result, tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pairs": Wanted(size=64)}, "pairs.size=64 must be measure.size=48"),
        ({"train": Train(crop=18)}, "train.crop=18 must be a multiple of 4"),
        ({"train": Train(crop=64)}, "train.crop=64 is larger than pairs.train_size=48"),
    ],
)
def test_sizes_that_do_not_fit_are_told_before(asked, changed, told):
    with pytest.raises(UserError, match=told):
        replace(asked, **changed)
