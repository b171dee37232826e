"""Simulated feedback on real pictures by a real checkpoint (ITAE_TEST_ASSETS)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.weights


@pytest.mark.slow
def test_feedback_finds_another_vendors_emoji(itae_, assets, tmp_path):
    root = tmp_path / "emoji"
    for name in ("clothing", "fruit", "mammal", "sport"):
        shutil.copytree(assets / "images" / "emoji" / name, root / name)
    lines = [f"{one.relative_to(root)},{one.stem.rpartition('-')[2]},{one.stem.rpartition('-')[0]}"
             for one in sorted(root.glob("*/*.png"))]  # fmt: skip
    (tmp_path / "emoji.csv").write_text("\n".join(["id,vendor,glyph", *lines]))
    words = (
        "experiment=feedback_emoji", f"dataset.root={root}", "task.attributes=emoji.csv",
        f"backbone.checkpoint={assets / 'weights' / 'dinov2_vits14.safetensors'}", "layers=none", "tracker=none",
        "runtime.diagnostics=false", "task.rules=[none,mean_difference]", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    status, _, err = itae_(*words)
    assert status == 0, err
    for i, user in enumerate(("Category", "Conditioned")):
        result = json.loads(Path(f"sweep/{i}/result.json").read_text())
        assert result["settings"]["user"]["_target_"] == f"itae.users.{user}"
        assert result["feedback"]["searches"] > 150
        table = pd.read_csv(f"sweep/{i}/feedback.csv").query("side == 'baseline' and judged == 10").set_index("rule")
        assert table.loc["mean_difference", "r_at_1"] > table.loc["none", "r_at_1"]
        assert table.loc["mean_difference", "gain_low"] > 0
