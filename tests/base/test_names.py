"""Names that were ever written down are found, wherever their files lie."""

from __future__ import annotations

import importlib
import sys

import pytest

from itae.base.identity import identity
from itae.base.names import EXPORTED, GATHERED, PUBLIC, choice_of, public_name, public_target
from itae.edits.detect import VectorNorm


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_the_very_module(name, monkeypatch):
    place = importlib.import_module(PUBLIC[name])
    before = place.__spec__
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert importlib.import_module(name) is place
    assert place.__spec__ is before
    assert place.__name__ == PUBLIC[name]


def test_a_class_is_one_class_under_both_names():
    assert importlib.import_module("itae.detect").VectorNorm is VectorNorm
    assert public_name(VectorNorm) == "itae.detect.VectorNorm" == identity(VectorNorm(vector="value"))["class"]


@pytest.mark.parametrize("package", EXPORTED)
def test_a_package_exports_its_classes_by_its_own_name(package):
    exported = vars(importlib.import_module(package))
    for name in exported["__all__"]:
        assert exported[name].__module__ == EXPORTED[package]
        assert public_name(exported[name]) == f"{package}.{name}"


@pytest.mark.parametrize("place", GATHERED)
def test_a_public_name_has_the_classes_of_all_modules_that_it_gathers(place):
    module, gathering = importlib.import_module(place), importlib.import_module(PUBLIC[GATHERED[place]])
    classes = {name: one for name, one in vars(module).items() if isinstance(one, type) and one.__module__ == place
               and not name.startswith("_")}  # fmt: skip
    assert classes
    for name, cls in classes.items():
        assert getattr(gathering, name) is cls
        assert name in gathering.__all__
        assert public_name(cls) == f"{GATHERED[place]}.{name}"


@pytest.mark.parametrize(
    ("target", "public"),
    [
        ("itae.images.digits.Digits", "itae.data.Digits"),
        ("itae.images.datasets.Digits", "itae.data.Digits"),
        ("itae.edits.edit.Attention", "itae.edit.Attention"),
        ("itae.edit.Attention", "itae.edit.Attention"),
        ("itae.tasks.clustering.Clustering", "itae.tasks.clustering.Clustering"),
        ("itae.tasks.clustering.task.Clustering", "itae.tasks.clustering.Clustering"),
        ("mine.itae.edits.edit.Attention", "mine.itae.edits.edit.Attention"),
        ("Attention", "Attention"),
        ("", ""),
    ],
)
def test_a_class_has_one_name_however_it_was_named(target, public):
    assert public_target(target) == public


def test_what_is_no_public_name_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("itae.nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("itae.experiment")


def test_importing_itae_again_adds_no_second_importer():
    import itae

    count = len(sys.meta_path)
    importlib.reload(itae)
    assert len(sys.meta_path) == count


@pytest.mark.parametrize(
    ("target", "choice"),
    [("itae.feedback.MeanDifference", "mean_difference"), ("itae.feedback.Unchanged", "none"),
     ("itae.controls.NoControl", "none"), ("Svm", "svm"), ("mine.Top5Mean", "top5_mean")],
)  # fmt: skip
def test_a_class_is_called_as_on_a_command_line(target, choice):
    assert choice_of(target) == choice
