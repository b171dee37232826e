"""Both towers of every CLIP and SigLIP that is shipped are open_clip's own model, through one file of weights."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from itae.app.compose import compose, conf_dir, plain_values
from itae.base.construct import construct
from itae.base.runtime import Runtime
from itae.embed.replay import SharedPass
from itae.search.text import text_encoder
from itae.search.text.towers import tower_of

open_clip = pytest.importorskip("open_clip")

SHIPPED = sorted(
    path.stem for pattern in ("clip_*", "siglip_*") for path in (conf_dir() / "backbone").glob(f"{pattern}.yaml")
)
TEXTS = ["a dog", "a photo of two cats asleep on a red sofa", "a cat, " * 60, "Ein Haus, 1923!"]


def recipe(name, *words):
    joint = "projection" if name.startswith("clip") else "head"
    return {"backbone": plain_values(compose([f"backbone={name}", f"backbone.pool={joint}", *words]))["backbone"]}


def config_of(name):
    return tower_of(recipe(name)["backbone"]).configs[0]


@pytest.fixture
def shallow(monkeypatch):
    """Have both libraries build models of two blocks a tower, which are else as they are."""
    plain, config = timm.create_model, open_clip.get_model_config

    def two_blocks(name):
        told = config(name)
        told["text_cfg"]["layers"] = 2
        told["vision_cfg"] |= {} if "timm_model_name" in told["vision_cfg"] else {"layers": 2}
        return told

    monkeypatch.setattr("timm.create_model", functools.partial(plain, depth=2))
    for place in ("open_clip.get_model_config", "open_clip.factory.get_model_config"):
        monkeypatch.setattr(place, two_blocks)


def counted(config):
    """Return the tokens of a text, and how many there are to choose from."""
    told = open_clip.get_model_config(config)["text_cfg"]
    return told["context_length"], told["vocab_size"]


def saved(config, path, dtype):
    """Return open_clip's model with random weights, none of them 0 or 1, which are in the file without a loss."""
    torch.manual_seed(0)
    model = open_clip.create_model(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.copy_((weight + torch.randn(weight.shape, generator=generator) * 0.02).to(dtype))
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in model.state_dict().items()}, path)
    return model


def images_of(backbone, facts, pixels):
    shared = SharedPass(backbone.build(facts, torch.device("cpu")), facts.prefix, backbone.pool, [None])
    return torch.nn.functional.normalize(shared(pixels, [bytes(32)] * len(pixels))[0], dim=1)


def both_towers_are_open_clips(name, path, dtype=torch.float32):
    config = config_of(name)
    model = saved(config, path, dtype)
    context, words = counted(config)
    told = recipe(name, f"backbone.checkpoint={path}")
    backbone = construct("backbone", told["backbone"])
    facts = backbone.facts(path.parent / "facts")
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        images = model.encode_image(pixels, normalize=True)
        tokens = torch.randint(2, words - 2, (3, context), generator=torch.Generator().manual_seed(3))
        if "siglip" not in name:
            tokens = open_clip.get_tokenizer(config)(TEXTS)
        want = model.encode_text(tokens, normalize=True).numpy()
        del model  # the largest is of three gigabytes
        torch.testing.assert_close(images_of(backbone, facts, pixels), images, atol=1e-5, rtol=0)
    assert (images[0] - images[1]).abs().max() > 1e-3, "all images are one here, so this shows nothing"
    encoder = text_encoder(told, Runtime("cpu"))
    found = encoder.encode_tokens(tokens)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, want, atol=1e-5, rtol=0)
    assert np.abs(want[0] - want[1]).max() > 1e-3, "all texts are one here, so this shows nothing"
    if "siglip" not in name:
        np.testing.assert_allclose(encoder.encode(TEXTS), want, atol=1e-5, rtol=0)
        assert [bool(encoder.notes(text)) for text in TEXTS] == [False, False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "siglip_so400m14" else name for name in SHIPPED]
)
def test_both_towers_are_open_clips_but_for_their_depth(name, tmp_path, shallow):
    both_towers_are_open_clips(name, tmp_path / "both.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_both_towers_are_open_clips(name, tmp_path):
    both_towers_are_open_clips(name, tmp_path / "both.safetensors", torch.bfloat16)
    (tmp_path / "both.safetensors").unlink()
