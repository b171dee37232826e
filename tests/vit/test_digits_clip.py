"""The embedded backbone that shares a space with words: digits_vit's image tower, and a projection of its CLS token."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from itae.app.compose import compose, plain_values
from itae.base.construct import construct
from itae.embed.replay import SharedPass
from itae.vit.digits_clip import JOINT, TEXT
from itae.vit.digits_vit import WEIGHTS


def built(tmp_path, *words):
    backbone = construct("backbone", plain_values(compose(["backbone=digits_clip", *words]))["backbone"])
    facts = backbone.facts(tmp_path)
    return backbone, facts, backbone.build(facts, torch.device("cpu"))


def test_its_image_tower_is_digits_vit_to_the_last_bit():
    locked, both = load_file(WEIGHTS / "digits_vit.safetensors"), load_file(WEIGHTS / "digits_clip.safetensors")
    images = {name: tensor for name, tensor in both.items() if not name.startswith((TEXT, "head."))}
    assert images.keys() == locked.keys()
    assert all(torch.equal(images[name], tensor) for name, tensor in locked.items())
    assert not both["head.bias"].any()
    texts = [tensor for name, tensor in both.items() if name.startswith(TEXT)]
    assert 1e5 < sum(tensor.nbytes for tensor in texts) < 1e6, "some hundred kilobytes of words"


def test_its_embedding_is_the_projected_cls_token(tmp_path):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone, facts, model = built(tmp_path)
    assert (backbone.pool, facts.projects, facts.width) == ("projection", True, 96)
    (found,) = SharedPass(model, facts.prefix, backbone.pool, [None])(pixels, [bytes(32)] * 3)
    cls_BE = model.forward_features(pixels)[:, 0]
    assert found.shape == (3, JOINT)
    torch.testing.assert_close(found, cls_BE @ load_file(WEIGHTS / "digits_clip.safetensors")["head.weight"].T)


@pytest.mark.parametrize("pool", ["cls", "mean", "head"])
def test_its_other_pools_are_those_of_digits_vit(tmp_path, pool):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    out = []
    for name in ("digits_clip", "digits_vit"):
        _, facts, model = built(tmp_path, f"backbone={name}", f"backbone.pool={pool}")
        out.append(SharedPass(model, facts.prefix, pool, [None])(pixels, [bytes(32)] * 3)[0])
    assert torch.equal(*out)


def test_it_is_said_to_know_digits_alone(tmp_path):
    _, facts, _ = built(tmp_path)
    assert "handwritten digits and nothing else" in facts.caveats("emoji")[0]
    assert not facts.caveats("digits")
