"""``backbone.pool=cls_registers``: [CLS ; mean of the trained registers], by shape and slices of what timm puts out."""

from __future__ import annotations

import json
from unittest import mock

import families
import numpy as np
import pytest
import tiny_models
import torch
from mixes import ATTENUATORS, MIXES, fast_detector
from slow_forward import slow

from itae import load_run, open_knowledge
from itae.base.errors import UserError
from itae.edits.attenuate import Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import Edit
from itae.edits.neighbour_mean import NeighbourMean, NeighbourMeanEdit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.embed.prove import prove
from itae.embed.replay import SharedPass, Watch
from itae.vit.backbone import Backbone
from itae.vit.tokens import registers

WITH_BOTH = ["registers", "dinov3", "dinov3_qkvb"]


def both(tokens):
    """Return the embedding that these tokens make, of a CLS token and four registers."""
    return torch.cat([tokens[:, 0], (tokens[:, 1] + tokens[:, 2] + tokens[:, 3] + tokens[:, 4]) / 4], dim=1)


@pytest.mark.parametrize("family", WITH_BOTH)
def test_a_pass_of_many_edits_is_the_slow_model(family):
    model = families.small(family)
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edits = [
        Edit(fast_detector(*detector), ATTENUATORS[how](strength=strength, queries=queries), layers)
        for detector, (how, strength, queries), layers in MIXES
    ]
    untouched, *out = SharedPass(model, 5, "cls_registers", [None, *edits])(pixels, digests)
    tokens = model.forward_features(pixels)
    assert untouched.shape == (2, 2 * model.embed_dim)
    torch.testing.assert_close(untouched, both(tokens), atol=1e-6, rtol=1e-6)
    for mix, embedding in zip(MIXES, out, strict=True):
        want = both(slow(model, pixels, *mix))
        torch.testing.assert_close(embedding.double(), want, atol=5e-5, rtol=5e-5, msg=lambda m, mix=mix: f"{mix}: {m}")
        assert (want - both(tokens.double())).norm() > 1e-3 * want.norm(), f"{mix} has no effect here"


@pytest.mark.parametrize("queries", ["all", "cls"])
@pytest.mark.parametrize("how", ATTENUATORS)
def test_the_finish_on_prefix_rows_is_the_block_as_a_whole(how, queries):
    """A rule for the CLS row leaves the registers of the last block as they are; one for all rows doesn't."""
    model = families.small("registers")
    pixels, digests = families.pixels(model, 3), families.digests(3)
    edits = [
        Edit(VectorNorm(k=1.0), ATTENUATORS[how](strength=0.7, queries=queries), layers) for layers in ((2,), (1, 2))
    ]
    shared = SharedPass(model, 5, "cls_registers", [None, *edits])
    assert shared.finish_rows == 5
    untouched, *fast = shared(pixels, digests)
    shared.finish_rows = 0
    _, *whole = shared(pixels, digests)
    for one, other in zip(fast, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    width = model.embed_dim
    moved = (fast[0] - untouched).abs()
    assert moved[:, :width].max() > 1e-3, "the CLS token moves"
    assert (moved[:, width:].max() > 1e-3) == (queries == "all"), "registers move by a rule for all rows alone"


@pytest.mark.parametrize("layers", [(2,), (1, 2)])
def test_tokens_that_are_replaced_where_they_enter_the_last_block_reach_the_registers_too(layers):
    model = families.small("registers")
    pixels, digests = families.pixels(model, 3), families.digests(3)
    edit = NeighbourMeanEdit(VectorNorm(k=1.0), NeighbourMean(), layers, model.patch_embed.grid_size)
    shared = SharedPass(model, 5, "cls_registers", [None, edit, Edit(VectorNorm(k=1.0), Scale(), layers)])
    untouched, fast, _ = shared(pixels, digests)
    shared.finish_rows = 0
    torch.testing.assert_close(fast, shared(pixels, digests)[1], atol=1e-5, rtol=1e-5)
    assert (fast - untouched)[:, model.embed_dim :].abs().max() > 1e-3


def test_the_last_block_runs_on_prefix_tokens_alone_and_computes_their_queries_alone():
    model = families.small("registers")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    lengths, queries = [], []
    model.blocks[-1].mlp.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    edit = Edit(VectorNorm(k=1.0), Scale(), (1, 2))
    plain = torch.nn.functional.linear

    def linear(x, weight, bias=None):
        queries.append(x.shape[1]) if x.ndim == 3 and len(weight) == weight.shape[1] else None
        return plain(x, weight, bias)

    with mock.patch("torch.nn.functional.linear", linear):
        SharedPass(model, 5, "cls_registers", [edit])(pixels, digests)
    assert lengths == [5]
    assert 5 in queries


def test_embeddings_depend_on_no_other_image_of_the_batch():
    model = families.small("dinov3")
    pixels, digests = families.pixels(model, 3), families.digests(3)
    edits = [None, Edit(VectorNorm(k=1.0), Scale(), (0, 2))]
    together = SharedPass(model, 5, "cls_registers", edits)(pixels, digests)
    for i in range(3):
        alone = SharedPass(model, 5, "cls_registers", edits)(pixels[i : i + 1], digests[i : i + 1])
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[i], atol=1e-6, rtol=1e-6)


def test_attention_is_watched_as_with_the_cls_token_alone():
    model = families.small("registers")
    pixels, digests = families.pixels(model, 2), families.digests(2)
    seen = {}
    for pool in ("cls", "cls_registers"):
        watch = Watch(lambda *args, pool=pool: seen.setdefault(pool, []).append(args), attention=True)
        SharedPass(model, 5, pool, [Edit(VectorNorm(k=1.0), Scale(), (1, 2))], watch)(pixels, digests, True)
    for one, other in zip(*seen.values(), strict=True):
        assert torch.equal(one[2].mask, other[2].mask)
        for before, after in zip(one[3], other[3], strict=True):
            torch.testing.assert_close(before, after)


@pytest.mark.parametrize("family", ["registers", "dinov3"])
def test_tokens_of_test_time_registers_are_none_of_the_models_registers(family):
    """They stand behind the patches and are left out; the model's own are read as they are under that edit."""
    model = families.small(family)
    pixels, digests = families.pixels(model, 2), families.digests(2)
    edit = RegisterEdit(TestTimeRegisters(), {1: (2, 5)})
    (fast,) = SharedPass(model, 5, "cls_registers", [edit])(pixels, digests)
    (cls,) = SharedPass(model, 5, "cls", [edit])(pixels, digests)
    assert fast.shape == (2, 2 * model.embed_dim)
    torch.testing.assert_close(fast[:, : model.embed_dim], cls, atol=1e-6, rtol=1e-6)
    whole = SharedPass(model, 5, "cls_registers", [edit])
    whole.finish_rows = 0
    torch.testing.assert_close(fast, whole(pixels, digests)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", WITH_BOTH)
def test_the_model_is_proved_with_it(family):
    model = families.small(family)
    prove(model, 5, "cls_registers", model.patch_embed.img_size[0], family)


def test_registers_are_the_models_own():
    counts = {"registers": 4, "dinov3": 4, "plain": 0, "eva02": 0, "siglip": 0, "clip": 0}
    assert {family: registers(families.small(family)) for family in counts} == counts


@pytest.mark.parametrize(
    ("model", "lacks"),
    [
        ("vit_small_patch14_dinov2", "has no register tokens; use backbone.pool=cls, mean or head"),
        ("deit_tiny_distilled_patch16_224", "has no register tokens"),
        ("vit_little_patch16_reg1_gap_256", "has no CLS token; use backbone.pool=mean or head"),
    ],
)
def test_a_model_without_is_refused_by_name(tmp_path, model, lacks):
    with pytest.raises(UserError, match=f"backbone.pool=cls_registers: {model} {lacks}"):
        Backbone(model, pool="cls_registers", image_size=112).facts(tmp_path)


def test_a_key_has_it_and_an_embedding_is_twice_as_wide(tmp_path):
    facts = Backbone("vit_small_patch14_reg4_dinov2.lvd142m").facts(tmp_path)
    assert facts.registers == 4
    widths = {pool: Backbone("x", pool=pool).width(facts) for pool in ("cls", "cls_registers")}
    assert widths == {"cls": 384, "cls_registers": 768}


@pytest.mark.slow
def test_a_run_and_a_base_hold_rows_twice_as_wide(itae_, tmp_path):
    weights = tiny_models.save(tmp_path / "reg4.safetensors", "tiny_reg4")
    words = ("backbone=timm", "backbone.module=tiny_models", "backbone.model_name=tiny_reg4", "dataset.limit=60",
             f"backbone.checkpoint={weights}", "backbone.image_size=32", "backbone.pool=cls_registers")  # fmt: skip
    status, _, err = itae_("tracker=none", *words, "clusterer.seeds=1", "layers=all", "detector.k=1")
    assert status == 0, err
    run = load_run(max(tmp_path.glob("outputs/runs/*")))
    assert run.baseline.vectors.shape == run.edited.vectors.shape == (60, 32)
    assert not np.allclose(run.baseline.vectors[:, 16:], run.edited.vectors[:, 16:])
    meta = json.loads((run.baseline.path / "meta.json").read_text())
    assert meta["space"]["pool"] == "cls_registers"
    status, _, err = itae_("tracker=none", *words[:-1], "clusterer.seeds=1", "layers=all", "detector.k=1")
    assert status == 0, err
    cls = load_run(max(tmp_path.glob("outputs/runs/*")))
    np.testing.assert_allclose(cls.edited.vectors, run.edited.vectors[:, :16], atol=1e-5)
    kb = str(tmp_path / "kb")
    for verb in (("init", kb, *words[:3], *words[4:]), ("add", kb, "dataset=digits", "dataset.limit=60")):
        status, _, err = itae_("knowledge", *verb)
        assert status == 0, err
    assert open_knowledge(kb).snapshot().vectors_ME.shape == (60, 32)
