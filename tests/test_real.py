"""The whole of it on a real checkpoint and real pictures (ITAE_TEST_ASSETS)."""

from __future__ import annotations

import families
import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from itae.app.compose import conf_dir
from itae.app.experiment import run
from itae.edits.attenuate import Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.edits.detect import Nothing, ResidualNorm, VectorNorm
from itae.edits.edit import Edit
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.images.batches import batches
from itae.images.datasets import ImageFolder
from itae.images.transform import normalise
from itae.store.store import Store
from itae.vit.backbone import Backbone

pytestmark = pytest.mark.weights
EVERY = tuple(range(12))
RULES = (Floor(), Floor(queries="cls"), Scale(), Fade(), Blend(), Cap(), MeanValue())


@pytest.fixture(scope="module")
def real(assets, tmp_path_factory):
    backbone = Backbone(
        "vit_small_patch14_dinov2.lvd142m", checkpoint=str(assets / "weights" / "dinov2_vits14.safetensors")
    )
    dataset = ImageFolder(root=str(assets / "images" / "emoji"), limit=8)
    source = Source.open(dataset, backbone, Store(tmp_path_factory.mktemp("cache")))
    model = backbone.build(source.facts, torch.device("cpu"))
    (raw,) = batches(source.images, source.transform, 0, 8, 8)
    return model, normalise(torch.from_numpy(raw), source.transform)


@pytest.mark.slow
def test_an_edit_that_flags_nothing_is_the_untouched_model(real):
    model, pixels = real
    edits = [None, *(Edit(Nothing(), rule, layers) for rule in RULES for layers in (EVERY, (11,)))]
    baseline, *out = SharedPass(model, 1, "cls", edits)(pixels[:2], families.digests(2))
    with torch.inference_mode():
        assert torch.equal(baseline, model.forward_features(pixels[:2])[:, 0])
    for embedding in out:
        torch.testing.assert_close(embedding, baseline, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_batch_one_is_batch_eight_and_a_pass_shared_is_a_pass_alone(real):
    model, pixels = real
    detectors = [VectorNorm(rule="mad", k=3.0), ResidualNorm(rule="quantile", quantile=0.02)]
    edits = [None, *(Edit(d, rule, layers) for d in detectors for rule in RULES[:4] for layers in ((9, 10, 11), (11,)))]
    together = SharedPass(model, 1, "cls", edits)(pixels, families.digests(8))
    first = SharedPass(model, 1, "cls", edits)(pixels[:1], families.digests(1))
    for edit, one, all_ in zip(edits, first, together, strict=True):
        torch.testing.assert_close(one[0], all_[0], atol=2e-4, rtol=2e-4)
        (alone,) = SharedPass(model, 1, "cls", [edit])(pixels[:1], families.digests(1))
        torch.testing.assert_close(alone, one, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_bf16_is_near_fp32(real):
    model, pixels = real
    shared = SharedPass(model, 1, "cls", [None, Edit(VectorNorm(rule="quantile", quantile=0.03), Scale(), EVERY)])
    exact = shared(pixels, families.digests(8))
    with torch.autocast("cpu", torch.bfloat16):
        low = shared(pixels, families.digests(8))
    for a, b in zip(exact, low, strict=True):
        assert torch.nn.functional.cosine_similarity(a, b).min() > 0.995


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_one_command_clusters_real_pictures(assets, tmp_path, resize):
    GlobalHydra.instance().clear()
    overrides = [
        "backbone=dinov2_s14", f"backbone.checkpoint={assets / 'weights' / 'dinov2_vits14.safetensors'}",
        "dataset=imagefolder", f"dataset.root={assets / 'images' / 'emoji'}", "dataset.limit=72", "tracker=none",
        f"dataset.resize={resize}", "layers=last4", "detector.rule=quantile", "clusterer.seeds=3",
        f"paths.cache={tmp_path / 'cache'}",
    ]  # fmt: skip
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("config", overrides)
    found = run(cfg, tmp_path / "run")
    assert found.result["images"] == {"n": 72, "classes": 24, "skipped": {}}
    assert found.baseline.vectors.shape == (72, 384)
    assert found.result["baseline"]["acc"]["mean"] > 0.2, "24 classes, and a model that has seen pictures"
    assert set(found.result["artifact_rate"]) == {"8", "9", "10", "11"}
    moved = np.linalg.norm(found.baseline.vectors - found.edited.vectors, axis=1)
    assert (moved > 1e-3).all()
