"""Settings: the keys that users rely on, and every shipped yaml as the constructor call that it is."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from itae.app.compose import PORTABLE, compose, conf_dir, plain_config, plain_values
from itae.app.settings import KEYS, Settings
from itae.app.words import OVERLAYS
from itae.base.construct import construct, locate
from itae.base.errors import UserError

GROUPS = ("backbone", "dataset", "detector", "attenuator", "control", "edit", "task", "clusterer", "voter",
          "corruption", "repair", "feedback", "user", "tracker")  # fmt: skip
# What has no default, because only the user knows it.
GIVEN = {"backbone/timm": ["backbone.model_name=vit_base_patch16_224.mae"], "dataset/imagefolder": ["dataset.root=x"],
         "user/conditioned": ["user.attribute=vendor"]}  # fmt: skip
YAMLS = sorted(
    path.relative_to(conf_dir()).with_suffix("").as_posix() for g in GROUPS for path in conf_dir().glob(f"{g}/*")
)
RECIPES = sorted(path.stem for path in (conf_dir() / "recipe").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


def test_the_keys_of_a_config_are_these():
    """Users and scripts rely on the names: a new one is a decision, a lost one breaks somebody."""
    keys = {
        "backbone", "dataset", "detector", "attenuator", "control", "edit", "task", "clusterer", "voter",
        "corruption", "repair", "feedback", "user", "tracker",
        "layers", "seed", "selection", "paths", "runtime",
    }  # fmt: skip
    assert set(KEYS) == keys
    assert set(compose([])) - set(OVERLAYS) == keys
    assert set(plain_config(compose([]))) == keys - {"voter", "corruption", "repair", "feedback", "user"}, (
        "what its task doesn't read is no setting of a run"
    )
    assert set(plain_config(compose([]))["paths"]) == {"cache", "data"}
    assert {path.name for path in conf_dir().iterdir() if path.is_dir()} == {*GROUPS, *OVERLAYS, "hydra", PORTABLE}


def test_the_contract_names_these_files():
    assert set(YAMLS) >= {
        *(f"backbone/dinov2_{size}14{registers}" for size in "sblg" for registers in ("", "_reg4")),
        *("backbone/digits_vit", "backbone/timm", "backbone/dinov3_s16", "backbone/clip_b16", "backbone/siglip_b16"),
        *(
            f"dataset/{name}"
            for name in (
                "digits",
                "cifar10",
                "cifar100",
                "stl10",
                "tiny_imagenet",
                "imagenet",
                "imagefolder",
                "digit_pairs",
                "digits_conditions",
                "cub200",
                "cars196",
                "sop",
                "inshop",
            )
        ),
        *(f"detector/{name}_norm" for name in ("value", "key", "query", "residual")),
        *(
            "detector/none",
            "detector/cls_attention",
            "detector/combined",
            "detector/singular_defect",
            "detector/random",
        ),
        *(f"attenuator/{name}" for name in ("floor", "scale", "fade", "blend", "cap", "mean_value")),
        *(
            "task/clustering",
            "task/incremental",
            "clusterer/kmeans",
            "clusterer/spherical_kmeans",
            "clusterer/agglomerative",
            "clusterer/hdbscan",
            "clusterer/spectral",
            "clusterer/gmm",
            "tracker/wandb",
            "tracker/none",
        ),
    }


@pytest.mark.parametrize("name", YAMLS)
def test_a_shipped_yaml_constructs_and_shows_every_option(name):
    group, option = name.split("/")
    node = plain_values(compose([f"{group}={option}", *GIVEN.get(name, [])]))[group]
    made = construct(group, node)
    cls = locate(group, node["_target_"])
    assert type(made) is cls
    parameters = inspect.signature(cls).parameters
    written = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text())
    defaults = written.pop("defaults", [])
    nested = {name.rpartition("@")[2] for each in defaults if isinstance(each, dict) for name in each}
    for base in defaults:
        if isinstance(base, str) and base != "_self_":  # a preset says what differs from a file that shows the rest
            written = yaml.safe_load((conf_dir() / group / f"{base}.yaml").read_text()) | written
    assert set(written) - {"_target_"} | nested == set(parameters)
    for key in parameters:
        assert not hasattr(made, key) or getattr(made, key) == node.get(key)


def test_runtime_shows_every_option():
    runtime = plain_config(compose([]))["runtime"]
    made = Settings.of(plain_config(compose([]))).runtime
    assert asdict(made) == runtime


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_an_edit_and_nothing_else(name):
    """So recipes compare: backbone, images and what is measured are the user's own."""
    told, plain = plain_config(compose([f"recipe={name}"])), plain_config(compose([]))
    Settings.of(told)
    changed = {key for key in plain if told[key] != plain[key]}
    assert changed
    assert changed <= {"edit", "detector", "attenuator", "layers", "control"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_makes_settings(name):
    given = ["detector.threshold=3.5"] if name == "reproduce" else []
    Settings.of(plain_config(compose([f"experiment={name}", *given])))


def test_settings_are_the_objects_of_the_config(tmp_path):
    plain = plain_config(compose(["layers=[1,-1]", "seed=3", "selection=proxy", f"paths.cache={tmp_path}"]))
    settings = Settings.of(plain)
    assert (settings.layers, settings.seed, settings.selection) == ([1, -1], 3, "proxy")
    assert settings.cache == tmp_path
    assert settings.detector == construct("detector", plain["detector"])
    relative = Settings.of(plain | {"paths": {"cache": "~/kept", "data": "data"}})
    assert relative.cache == Path.home() / "kept"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"foo": 1}, ["foo=1", "layers", "seed"]),
        ({"tasks": {}}, ["Did you mean 'task'?"]),
        ({"layers": None}, ["layers is not set"]),
        ({"seed": True}, ["seed=True", "at least 0"]),
        ({"seed": 1.0}, ["seed=1.0", "whole number"]),
        ({"paths": {"cache": ""}}, ["paths.cache=''"]),
        ({"paths": {"cache": "x", "dta": "y"}}, ["paths.dta='y'", "Did you mean 'data'?"]),
        ({"paths": "x"}, ["paths='x'"]),
        ({"runtime": [1]}, ["runtime=[1]"]),
        ({"detector": "value_norm"}, ["detector._target_ is not set"]),
        ({"detector": {"_target_": "Detector"}}, ["detector._target_=Detector", "package.module.Class"]),
        ({"detector": {"_target_": "itae.backbone.Backbone"}}, ["can't be a detector"]),
        ({"backbone": {"_target_": "itae.backbone.Backbone"}}, ["backbone.model_name is not set", "Backbone needs it"]),
        ({"dataset": {"_target_": "itae.data.Digits", "rooot": 1}}, ["dataset.rooot=1", "Digits has no option"]),
        ({"tracker": {"_target_": "itae.tracking.NoTracker", "x": 1}}, ["NoTracker", "no options at all"]),
    ],
)
def test_a_wrong_setting_is_told(change, words):
    with pytest.raises(UserError) as told:
        Settings.of(plain_config(compose([])) | change)
    for word in words:
        assert word in str(told.value)


class Anybodys:
    """A detector that has nothing to do with `itae.edits.detect.Detector`, and hands on what it is given."""

    def __init__(self, width, **others):
        self.given = {"width": width, **others}

    needs_cls = False
    fitted = False

    def __call__(self, site, theta=None):
        raise NotImplementedError

    def spec(self):
        return {}


def test_a_class_from_anywhere_will_do():
    node = {"_target_": f"{__name__}.Anybodys", "width": 2, "rule": "mine"}
    assert construct("detector", node).given == {"width": 2, "rule": "mine"}
    with pytest.raises(UserError, match=r"detector\.width is not set"):
        construct("detector", {"_target_": node["_target_"], "others": 3})
