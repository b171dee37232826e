"""Names that were ever written down are found, wherever their files lie."""

from __future__ import annotations

import importlib
import sys

import pytest

from itae.base.identity import identity
from itae.base.names import PUBLIC, public_name
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
