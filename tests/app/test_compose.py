"""Jobs of a sweep are composed as Hydra composes them, whatever mixture of overrides they have."""

from __future__ import annotations

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from itae.app.compose import conf_dir, plain_config
from itae.app.launch.composer import Composer

MASTER = ["clusterer.seeds=2", "hydra/launcher=shared_pass", "hydra.job.config.override_dirname.kv_sep=-"]
WORDS = [
    "layers=last", "layers=[1,2]", "layers='last4'", "seed=3", "selection=null",
    "attenuator=scale", "attenuator.strength=0.5", "attenuator.strength=1", "attenuator.queries=cls",
    "detector=random", "detector.rule=mad", "detector.quantile=0.1", "detector.like.rule=mad",
    "dataset=imagefolder", "dataset.root=/a b", "dataset.limit=${seed}", "tracker=none", "tracker.tags=[a,b]",
    "+tracker.notes=x", "++tracker.notes=y", "~tracker.mode", "tracker.mode=online",
    "+experiment=demo", "+experiment=rivals", "hydra.job.name=other", "hydra/job_logging=none",
    "attenuator@other=scale", "+attenuator@other=scale", "nothing=1", "attenuator.nothing=1", "dataset.nothing.at=1",
    "attenuator={strength: 1}", "attenuator.strength=a,b", "dataset=nothing", "experiment=demo",
]  # fmt: skip


@pytest.fixture(scope="module")
def loader():
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture(scope="module")
def composer(loader):
    return Composer(loader, loader.load_configuration("config", MASTER, RunMode.MULTIRUN))


def outcome(compose, words):
    try:
        config = compose(list(words))
    except ConfigCompositionException as error:
        return str(error), str(error.__cause__)
    return OmegaConf.to_container(config), OmegaConf.is_struct(config), OmegaConf.is_readonly(config.hydra)


def theirs(loader, composer, words):
    return outcome(lambda words: loader.load_sweep_config(composer._master, words), words)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=5))
@pytest.mark.slow
def test_a_job_is_composed_as_hydra_does(loader, composer, words):
    assert outcome(composer, words) == theirs(loader, composer, words)


@pytest.mark.parametrize(
    "words",
    [
        ["tracker.mode=online", "~tracker.mode"],
        ["~tracker.mode", "tracker.mode=online"],
        ["tracker.new=1", "+tracker.new=2"],
        ["+tracker.new=1", "tracker.new=2"],
        ["attenuator.strength=0.5", "++attenuator.strength=1"],
        ["+attenuator={strength: 1}", "attenuator.strength=0.5"],
    ],
)
def test_the_order_of_what_is_added_and_taken_away_is_kept(loader, composer, words):
    assert outcome(composer, words) == theirs(loader, composer, words)


@pytest.mark.parametrize("word", WORDS)
def test_any_word_beside_values_is_composed_as_hydra_does(loader, composer, word):
    words = ["layers=all", word, "attenuator.strength=0.25"]
    assert outcome(composer, words) == theirs(loader, composer, words)


def test_files_are_read_once_for_the_jobs_that_choose_the_same(loader, composer, monkeypatch):
    read = []
    load = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *args: read.append(args) or load(*args))
    compose = Composer(loader, composer._master)
    for strength in range(8):
        for attenuator in ("floor", "cap"):
            config = compose([f"attenuator={attenuator}", f"attenuator.strength={strength / 8}"])
            assert config.attenuator.strength == strength / 8
            assert config.attenuator._target_.endswith(attenuator.title())
    assert len(read) == 2


def test_a_job_can_not_change_the_next(composer):
    composer(["layers=last"]).attenuator.strength = 0.125
    assert composer(["layers=last"]).attenuator.strength != 0.125


def test_a_class_goes_by_its_public_name_at_any_depth():
    config = {
        "edit": {"_target_": "itae.edits.edit.Attention"},
        "detector": {"like": {"_target_": "itae.edits.detect.VectorNorm"}, "_target_": "mine.Detector"},
        "tracker": {"all": [{"_target_": "itae.track.tracking.Wandb", "name": "itae.track.tracking.Wandb"}]},
    }
    assert plain_config(config) == {
        "edit": {"_target_": "itae.edit.Attention"},
        "detector": {"like": {"_target_": "itae.detect.VectorNorm"}, "_target_": "mine.Detector"},
        "tracker": {"all": [{"_target_": "itae.tracking.Wandb", "name": "itae.track.tracking.Wandb"}]},
    }


def test_an_option_that_one_job_of_a_sweep_lacks_is_told_by_job(itae_):
    """What is known is composed while Hydra runs the sweep."""
    status, _, err = itae_("-m", "clusterer=kmeans,hdbscan", "clusterer.k=auto", "tracker=none")
    assert status == 2
    assert "1 of 2 jobs can't run" in err
    assert "job 1 (clusterer=hdbscan): There is no option 'clusterer.k' as things are; it belongs to" in err
