"""The config of ``itae portable``: every shipped yaml as the constructor call that it is, and who reads what."""

from __future__ import annotations

import inspect

import pytest
import yaml

from itae.app.compose import PORTABLE, compose, conf_dir, options_of, plain_values
from itae.app.portable.deploy_study import DATA, steps_of
from itae.app.portable.search_study import SEARCH
from itae.app.portable.settings import KEYS, PortableSettings, read_alone
from itae.base.construct import construct, locate

GIVEN = {**{name: ["data.root=x"] for name in options_of("data", PORTABLE) if name not in ("shipped", "debian")}}
CHOICES = [(group, name) for group in (*DATA, *SEARCH) for name in options_of(group, PORTABLE)]


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_a_shipped_yaml_constructs_and_shows_every_option(group, name):
    node = plain_values(compose([f"{group}={name}", *GIVEN.get(name, ())], part=PORTABLE))[group]
    made, cls = construct(group, node), locate(group, node["_target_"])
    assert type(made) is cls
    assert node["_target_"] == f"itae.deblur.{cls.__name__}"
    written = yaml.safe_load((conf_dir() / PORTABLE / group / f"{name}.yaml").read_text())
    assert set(written) - {"_target_"} == set(inspect.signature(cls).parameters)
    for option, value in node.items():
        if option != "_target_":
            kept = getattr(made, option)
            assert (list(kept) if isinstance(kept, tuple) else kept) == value


def test_the_steps_construct_and_show_every_option():
    nodes = plain_values(compose([], part=PORTABLE))["steps"]
    assert list(nodes) == ["swap", "prune", "post_training", "quantisation_aware"]
    for name, made in steps_of(nodes, list(nodes)).items():
        assert set(nodes[name]) - {"_target_"} == set(inspect.signature(type(made)).parameters)
        if hasattr(made, "tune"):
            assert (made.tune.batch, made.tune.crop) == (16, 64), "as the training's"
    changed = plain_values(compose(["train.batch=3"], part=PORTABLE))["steps"]
    assert steps_of(changed, "prune")["prune"].tune.batch == 3


def test_the_config_of_a_demo(tmp_path):
    plain = plain_values(compose([], part=PORTABLE))
    assert set(plain) <= set(KEYS)
    assert (plain["study"], plain["net"]["name"], plain["measure"]["size"]) == ("deploy", "small", 128)
    assert plain["pairs"]["size"] == 128
    assert plain_values(compose(["measure.size=64"], part=PORTABLE))["pairs"]["size"] == 64
    made = PortableSettings.of(read_alone(plain) | {"paths": {"cache": str(tmp_path / "cache")}, "device": "torch"})
    assert made.study.name == "deploy"
    assert made.measure.budget_s == 20, "all of it in a minute and a half"


@pytest.mark.parametrize("experiment", ["operators", "quick"])
def test_the_operators_are_measured_on_their_own_network_as_before(experiment):
    plain = read_alone(plain_values(compose([f"experiment={experiment}"], part=PORTABLE)))
    assert (plain["net"]["name"], plain["net"]["channels"]) == ("unet", 16)
    assert plain["measure"]["size"] == {"operators": 192, "quick": 64}[experiment]
    assert {"train", "data", "optimise", "teacher"} & set(plain) == set(), "they read nothing of it"
    theirs = plain_values(compose([f"experiment={experiment}", "net=nafnet"], part=PORTABLE))
    assert theirs["net"]["name"] == "nafnet"


def test_the_config_of_a_search(tmp_path):
    plain = read_alone(plain_values(compose(["experiment=search"], part=PORTABLE)))
    assert plain["study"] == "search"
    assert len(plain["device"]) == 7
    assert (plain["measure"]["size"], plain["pairs"]["size"], plain["pairs"]["test"]) == (128, 128, 24)
    assert (plain["train"]["steps"], plain["supernet"]["steps"]) == (300, 600)
    assert {"net", "optimise", "teacher", "changes"} & set(plain) == set(), "it reads nothing of it"
    made = PortableSettings.of(plain | {"paths": {"cache": str(tmp_path / "cache")}, "device": ["torch"]})
    assert (made.study.name, made.study.told) == ("search", "search torch")
