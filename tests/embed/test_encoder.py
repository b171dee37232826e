"""An encoder gives what a run's cache holds, for pictures that belong to no data set."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itae.app.compose import compose, plain_config
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.embed.extract import extract
from itae.images.datasets import ImageFolder
from itae.knowledge.exchange.recipe import encoder_of, recipe_of, refuse_another_space
from itae.store.store import Store

CPU = Runtime("cpu", batch_size=4, num_workers=0)


def plain(*words):
    return {**plain_config(compose(list(words))), "resize": "squash", "decode": "full"}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a/1", "a/2", "b/3", "b/deep/4", "b/5"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("words", [(), ("detector.rule=quantile", "layers=all")], ids=["untouched", "edited"])
def test_it_gives_the_vectors_of_a_run(folder, tmp_path, words):
    recipe, encoder = recipe_of(plain(*words), bool(words), Store(tmp_path / "cache"), CPU)
    [entry] = extract(encoder.source(ImageFolder(root=str(folder))), [encoder.edit], CPU)
    images = encoder.pictures([str(folder)])
    assert images.ids == [f"{folder}/{id_}" for id_ in entry.ids]
    np.testing.assert_allclose(encoder(images), entry.vectors, atol=1e-6)
    assert encoder.space == entry.meta["space"]
    again = encoder_of(recipe, Store(tmp_path / "other"), CPU)
    assert again.space == encoder.space
    np.testing.assert_array_equal(again(images), encoder(images))
    again.close()
    np.testing.assert_array_equal(again(images), encoder(images))


@pytest.mark.parametrize("words", [("layers=none",), ("detector=none",), ("attenuator.strength=0",)])
def test_an_edit_that_does_nothing_is_the_untouched_space(tmp_path, words):
    store = Store(tmp_path)
    untouched, encoder = recipe_of(plain(), False, store, CPU)
    recipe, idle = recipe_of(plain(*words), True, store, CPU)
    assert recipe == untouched
    assert idle.space == encoder.space


def test_what_is_fitted_is_kept_as_numbers(tmp_path):
    words = ("backbone=digits_vit_artifacts", "detector.rule=bimodal")
    with pytest.raises(UserError, match=r"detector\.calibration=FILE"):
        recipe_of(plain(*words), True, Store(tmp_path), CPU)
    from itae.app.calibrate import calibrate

    file = tmp_path / "paper.json"
    calibrate(compose([*words, f"paths.cache={tmp_path}"]), file)
    recipe, encoder = recipe_of(plain(*words, f"detector.calibration={file}"), True, Store(tmp_path), CPU)
    file.unlink()
    again = encoder_of(recipe, Store(tmp_path), CPU)
    assert again.space == encoder.space
    assert list(again.space["edit"]["detector"]["thetas"].values()) == list(recipe["edit"]["thetas"].values())


def test_neurons_that_are_searched_make_no_space(tmp_path):
    with pytest.raises(UserError, match="edit=test_time_registers searches"):
        recipe_of(plain("edit=test_time_registers"), True, Store(tmp_path), CPU)


def test_an_edit_of_tokens_by_a_detector_makes_a_space(tmp_path):
    words = ("edit=neighbour_mean", "detector=lof", "layers=last2")
    recipe, encoder = recipe_of(plain(*words), True, Store(tmp_path), CPU)
    assert encoder.space["edit"]["neighbour_mean"]["strength"] == 1
    assert encoder_of(recipe, Store(tmp_path), CPU).space == encoder.space
    with pytest.raises(UserError, match=r"control=mean_value changes.*edit=neighbour_mean"):
        recipe_of(plain(*words, "control=mean_value"), True, Store(tmp_path), CPU)


def test_a_checkpoint_is_found_from_any_folder(tmp_path, monkeypatch):
    from importlib import resources

    weights = resources.files("itae.vit").joinpath("weights/digits_vit.safetensors").read_bytes()
    (tmp_path / "mine.safetensors").write_bytes(weights)
    monkeypatch.chdir(tmp_path)
    recipe, _ = recipe_of(plain("backbone.checkpoint=mine.safetensors"), False, Store(tmp_path), CPU)
    assert recipe["backbone"]["checkpoint"] == str(tmp_path / "mine.safetensors")


def test_another_space_is_told_by_its_field(tmp_path):
    _, cls = recipe_of(plain(), False, Store(tmp_path), CPU)
    _, mean = recipe_of(plain("backbone.pool=mean"), False, Store(tmp_path), CPU)
    with pytest.raises(UserError, match=r'birds is of another space: pool is "cls" in it, and "mean" here'):
        refuse_another_space("birds", cls.space, mean.space)
    refuse_another_space("birds", cls.space, dict(cls.space))


def test_pictures_that_would_be_resized_in_another_way_are_refused(folder, tmp_path):
    _, encoder = recipe_of(plain(), False, Store(tmp_path), CPU)
    with pytest.raises(UserError, match=r"dataset\.resize=crop is another space"):
        encoder.source(ImageFolder(root=str(folder), resize="crop"))


def test_what_is_no_picture_is_told(folder, tmp_path):
    _, encoder = recipe_of(plain(), False, Store(tmp_path), CPU)
    (folder / "text.png").write_text("no picture")
    for path, words in (
        (folder, r"text\.png can't be read as a picture"),
        (folder / "none.png", "there is no such file"),
        (tmp_path / "empty", "there are no pictures below this folder"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=words):
            encoder.pictures([str(path)])
    assert len(encoder.pictures([str(folder / "a/1.png"), str(folder / "b"), str(folder / "a/1.png")])) == 4
