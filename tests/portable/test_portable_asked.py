"""What the study is asked for: a network and its changes, or one that can't be changed, by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from itae.base.errors import UserError
from itae.portable.cells.asked import Asked
from itae.portable.nets.spandrel_net import Spandrel
from itae.portable.nets.unet import UNet
from itae.portable.operators.rows import BASE, by_itself, rows_of


@pytest.fixture
def trained(tmp_path):
    from safetensors.torch import save_file

    net = UNet(channels=2, depth=1)
    save_file(net.build().state_dict(), tmp_path / "net.safetensors")
    return replace(net, weights=str(tmp_path / "net.safetensors"))


def asked(rows):
    return Asked({}, {}, SimpleNamespace(size=64), Path(), 0, rows)


def test_a_network_from_a_spec_has_a_row_for_each_change_and_no_note():
    rows = rows_of(UNet(), "all")
    assert [row.name for row in rows][:3] == [BASE, "up_transposed4", "up_bilinear"]
    assert len(rows) == 15
    assert by_itself(rows[0].net) is None


@pytest.mark.parametrize("kind", ["others", "trained"])
def test_a_network_that_cannot_be_changed_is_measured_by_itself_and_that_is_said(kind, trained):
    net = trained if kind == "trained" else Spandrel("nafnet", {}, name="naf")
    (row,) = rows_of(net, "all")
    assert (row.name, row.net) == (BASE, net)
    told = by_itself(row.net)
    assert told.endswith("it was measured by itself.")
    assert ("net.safetensors" if kind == "trained" else "net=naf has no parts") in told
    with pytest.raises(UserError, match="leave changes out"):
        rows_of(net, ["prelu"])
