from __future__ import annotations

import importlib.util
import sys

import pytest

from itae.base.errors import UserError
from itae.base.identity import identity
from itae.edits.attenuate import Floor, Scale
from itae.edits.detect import Nothing, OtherEnd, Random, VectorNorm
from itae.edits.edit import Edit, make_edit, parse_layers


@pytest.mark.parametrize(
    ("layers", "want"),
    [
        ("none", ()),
        ("last", (11,)),
        ("last1", (11,)),
        ("last4", (8, 9, 10, 11)),
        ("last12", tuple(range(12))),
        ("all", tuple(range(12))),
        ([8, 9, -1], (8, 9, 11)),
        ([9, 8, 9, -4], (8, 9)),
        (-1, (11,)),
        (0, (0,)),
        ([], ()),
    ],
)
def test_every_form_of_layers(layers, want):
    assert parse_layers(layers, 12) == want


@pytest.mark.parametrize(
    "layers", ["first", "lats", "last0", "last00", "last13", [12], [-13], [1.5], [True], ["2"], 12, "8,9"]
)
def test_layers_that_are_not_there_are_told(layers):
    with pytest.raises(UserError, match="layers="):
        parse_layers(layers, 12)


def spec(layers=(3, 4), pool="cls", detector=None, attenuator=None, depth=5):
    edit = make_edit(detector or VectorNorm(), attenuator or Floor(), list(layers), depth)
    return edit.spec(depth, pool)


def test_settings_that_can_give_other_vectors_have_another_spec():
    base = spec()
    others = [
        spec(layers=(3,)),
        spec(attenuator=Scale()),
        spec(attenuator=Floor(strength=0.5)),
        spec(attenuator=Floor(queries="cls")),
        spec(detector=VectorNorm(vector="key")),
        spec(detector=VectorNorm(scope="head")),
        spec(detector=VectorNorm(side="high")),
        spec(detector=VectorNorm(k=4.0)),
        spec(detector=VectorNorm(rule="ratio")),
        spec(detector=Random()),
        spec(detector=Random(seed=1)),
    ]
    assert all(base != other for other in others)
    assert len({str(other) for other in others}) == len(others)


def test_settings_that_give_the_same_vectors_share_one_spec():
    assert spec(layers=(3, 4)) == spec(layers=(4, -2, 4))
    assert spec(attenuator=Floor(strength=1)) == spec(attenuator=Floor(strength=1.0))
    assert spec(detector=VectorNorm(rule="quantile", quantile=1)) == spec(
        detector=VectorNorm(rule="quantile", quantile=1.0)
    )
    assert spec(detector=VectorNorm(k=5, ratio=9.0)) == spec(detector=VectorNorm(k=5.0))
    # Only the CLS row of the last block reaches a CLS embedding ...
    assert spec(layers=(4,), attenuator=Floor(queries="cls")) == spec(layers=(4,), attenuator=Floor(queries="all"))
    # ... but every row reaches a mean of the patches.
    pooled = [spec(layers=(4,), pool="mean", attenuator=Floor(queries=q)) for q in ("cls", "all")]
    assert pooled[0] != pooled[1]


RULE = """
from itae.edits.detect import Detector

class Mine(Detector):
    def signal(self, site):
        return site.x[:, site.prefix:, {channel}].float().unsqueeze(1)
"""


class ReadsK(VectorNorm):
    def signal(self, site):
        return site.k.norm(dim=-1)[:, :1, site.prefix :] * self.k


def test_a_signal_of_somebodys_own_may_read_any_number():
    one, other = (spec(detector=ReadsK(rule="quantile", quantile=0.1, k=k)) for k in (1.0, 40.0))
    assert one["detector"]["k"] != other["detector"]["k"]


def load(path, channel):
    path.write_text(RULE.format(channel=channel))
    module_spec = importlib.util.spec_from_file_location("somebodys_rules", path)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["somebodys_rules"] = module
    module_spec.loader.exec_module(module)
    return module.Mine()


def test_a_rule_of_ones_own_is_known_by_its_source(tmp_path):
    one, other = (identity(load(tmp_path / "somebodys_rules.py", channel)) for channel in (0, 1))
    assert one["class"] == other["class"] == "somebodys_rules.Mine"
    assert one["source"] != other["source"]
    assert "source" not in identity(VectorNorm()), "a package's own rules are known by METHOD"


def test_what_a_rule_inherits_is_part_of_it(tmp_path):
    found = []
    for channel in (0, 1):
        base = load(tmp_path / "somebodys_rules.py", channel)
        child = type("Child", (type(base),), {"__module__": "somebodys_rules"})
        grandchild = type("Grandchild", (child,), {"__module__": __name__})
        found.append(identity(grandchild())["source"])
    assert found[0] != found[1]


def test_a_fitted_edit_needs_its_thresholds():
    edit = Edit(VectorNorm(rule="bimodal"), Floor(), (1,))
    with pytest.raises(AssertionError, match="fitted"):
        edit.flag(None)


def test_the_block_of_the_patches_counts_from_either_end_and_is_told():
    last = make_edit(VectorNorm(layer=-1), Scale(), [2, 3], 5)
    assert (last.found_in, last.looks, last.layers) == (4, (4,), (2, 3))
    assert spec(detector=VectorNorm(layer=-1)) == spec(detector=VectorNorm(layer=4)) != spec()
    with pytest.raises(UserError, match=r"detector.layer=5: .* -5 to 4"):
        make_edit(VectorNorm(layer=5), Scale(), "all", 5)


def test_found_in_the_only_edited_block_is_found_there_anyway():
    assert spec(layers=[3], detector=VectorNorm(layer=3)) == spec(layers=[3])


def test_what_each_block_finds_untouched_is_told_unless_there_is_one_block():
    each = make_edit(VectorNorm(layer="each"), Scale(), [2, 3], 5)
    assert (each.found_in, each.looks, each.in_untouched) == (None, (2, 3), True)
    assert spec(layers=[2, 3], detector=VectorNorm(layer="each"))["detector"]["layer"] == "each"
    assert spec(layers=[3], detector=VectorNorm(layer="each")) == spec(layers=[3])
    assert VectorNorm(layer="each", scope="head").layer == "each", "a head of one block is itself"


def test_an_option_that_is_not_used_leaves_the_key_as_it_was():
    """Entries made before there was `layer`, `calibration` or `match` are found again."""
    assert not {"layer", "calibration", "match"} & set(VectorNorm(rule="bimodal").spec())
    assert Random().spec() == {"rate": 0.02, "seed": 0}


def test_what_is_matched_is_in_the_key():
    one = spec(detector=Random(match=VectorNorm(k=3.0)))["detector"]
    assert one["match"] == identity(VectorNorm()) | VectorNorm(k=3.0).spec()
    assert one != spec(detector=Random(match=VectorNorm(k=4.0)))["detector"]
    assert one != spec(detector=Random(match=VectorNorm(k=3.0), seed=1))["detector"]
    assert one != spec(detector=OtherEnd(match=VectorNorm(k=3.0)))["detector"]


def test_a_control_of_nothing_is_no_edit():
    assert make_edit(Random(match=Nothing()), Scale(), "all", 3) is None


def test_a_calibration_puts_its_thresholds_into_the_key_and_not_its_place():
    def told(path, theta):
        edit = make_edit(VectorNorm(rule="bimodal", calibration=path), Scale(), [1], 3)
        return edit.with_thetas({1: theta}).spec(3, "cls")

    assert told("a.json", 2.0) == told("b/c.json", 2.0) != told("a.json", 2.5)
    assert told("a.json", float("nan"))["detector"]["thetas"] == {"1": None}
    assert "calibration_images" not in told("a.json", 2.0)["detector"]
