"""Files of weights as people have them: other heads, wrappers and types are taken, what lacks is named."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from itae.base.code import sha256
from itae.base.errors import UserError
from itae.vit.backbone import Backbone
from itae.vit.blank import blank
from itae.vit.checkpoint import check_weights

NAMES = {"cls": "test_vit", "mean": "test_vit3", "head": "test_vit3"}
"""A model for each pool: with a CLS token; with registers, and a pooling by attention between norm and classifier."""


@pytest.fixture(scope="module")
def whole():
    """Return the weights of each model, as timm makes them."""
    torch.manual_seed(0)
    return {name: timm.create_model(name).state_dict() for name in {*NAMES.values(), "test_vit2"}}


def built(tmp_path, state, name="test_vit", **options):
    """Return the model that a file of these weights makes."""
    path = tmp_path / "tuned.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    backbone = Backbone(name, checkpoint=str(path), **{"image_size": 160, **options})
    return backbone.build(backbone.facts(tmp_path / "facts"), torch.device("cpu"))


def refusal(*args, **options):
    with pytest.raises(UserError) as told:
        built(*args, **options)
    assert "\n" not in str(told.value)
    assert "tuned.safetensors" in str(told.value)
    return str(told.value)


def without(state, *parts):
    return {name: tensor for name, tensor in state.items() if not name.startswith(parts)}


def same(model, state, but=()):
    own = model.state_dict()
    return all(torch.equal(own[name], tensor.float()) for name, tensor in without(state, "head", *but).items())


HEADS = {
    "of 37 classes": {"head.weight": torch.ones(37, 96), "head.bias": torch.ones(37)},
    "without a bias": {"head.weight": torch.ones(37, 96)},
    "of two layers": {"head.fc1.weight": torch.ones(8, 96), "head.fc2.weight": torch.ones(2, 8)},
    "by another name": {"classifier.weight": torch.ones(5, 96)},
    "with NaN": {"head.weight": torch.full((37, 96), torch.nan)},
    "none": {},
}


@pytest.mark.parametrize("pool", NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_a_classifier_does_not_matter(tmp_path, whole, pool, head):
    name = NAMES[pool]
    state = without(whole[name], "head") | HEADS[head]
    model = built(tmp_path, state, name, pool=pool)
    assert same(model, state, but=("classifier",))
    assert model.state_dict().keys() == whole[name].keys()
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
    assert "state_dict" not in model.pretrained_cfg, "the weights are not kept twice"


def test_a_model_without_a_classifier_takes_the_weights_of_one_that_has_one(tmp_path):
    """As DINOv2, fine-tuned."""
    state = timm.create_model("vit_small_patch14_dinov2", img_size=56, depth=12, num_classes=37).state_dict()
    model = built(tmp_path, state, "vit_small_patch14_dinov2", image_size=56)
    assert same(model, state)
    assert not [name for name in model.state_dict() if name.startswith("head")]


def test_a_pooling_matters_where_it_is_the_embedding(tmp_path, whole):
    state = without(whole["test_vit3"], "attn_pool")
    assert same(built(tmp_path, state, "test_vit3", pool="mean"), state)
    assert "lacks attn_pool." in refusal(tmp_path, state, "test_vit3", pool="head")
    state = without(whole["test_vit2"], "fc_norm", "head")
    assert same(built(tmp_path, state, "test_vit2", pool="mean"), state)
    assert "lacks fc_norm." in refusal(tmp_path, state, "test_vit2", pool="head")


@pytest.mark.parametrize(
    "wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.backbone.", "module.model."]
)
def test_a_word_before_all_names_is_taken_away(tmp_path, whole, wrapper):
    state = {f"{wrapper}{name}": tensor for name, tensor in without(whole["test_vit"], "head").items()}
    beside = {f"{wrapper}head.weight": torch.ones(37, 64)}
    beside |= {"loss.weight": torch.ones(3)} if "model" in wrapper and "module" not in wrapper else {}
    assert same(built(tmp_path, state | beside), without(whole["test_vit"], "head"))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_weights_of_another_type_are_taken(tmp_path, whole, dtype):
    state = {name: tensor.to(dtype) for name, tensor in whole["test_vit"].items()}
    model = built(tmp_path, state)
    assert same(model, state)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert same(built(tmp_path, without(state, "head")), state)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool])
@pytest.mark.parametrize("head", ["head", "no head"])
def test_a_quantised_model_is_refused(tmp_path, whole, dtype, head):
    state = without(whole["test_vit"], head) | {"blocks.1.attn.qkv.weight": torch.ones(192, 64, dtype=dtype)}
    assert "blocks.1.attn.qkv.weight holds whole numbers" in refusal(tmp_path, state)


@pytest.mark.parametrize(("spoilt", "said"), [(torch.nan, "NaN"), (torch.inf, "infinite"), (-torch.inf, "infinite")])
@pytest.mark.parametrize("name", ["blocks.3.attn.qkv.weight", "norm.bias", "cls_token", "pos_embed"])
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_numbers_that_are_none_are_refused_by_name(tmp_path, whole, name, spoilt, said, wrapper):
    tensor = whole["test_vit"][name].clone()
    tensor.view(-1)[-1] = spoilt
    state = {f"{wrapper}{key}": value for key, value in (whole["test_vit"] | {name: tensor}).items()}
    told = refusal(tmp_path, state)
    assert f"{name} holds {said}" in told
    assert "backbone.checkpoint" in told


def test_a_file_whose_end_was_never_written_is_told(tmp_path, whole, caplog):
    """As a download leaves it that makes room first: the header is whole, the length is right."""
    blank_stem = {"patch_embed.proj.weight": torch.zeros_like(whole["test_vit"]["patch_embed.proj.weight"])}
    assert "patch_embed.proj.weight holds nothing but zeros" in refusal(tmp_path, whole["test_vit"] | blank_stem)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in whole["test_vit"].items()}
    assert "nothing but zeros" in refusal(tmp_path, nothing)
    with caplog.at_level(logging.WARNING):
        built(tmp_path, whole["test_vit"])
        assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
        built(tmp_path, whole["test_vit"] | {"blocks.4.mlp.fc1.weight": torch.zeros(192, 64)})
    assert "blocks.4.mlp.fc1.weight holds nothing but zeros" in caplog.text


def other(name="test_vit", **options):
    return timm.create_model(name, **options).state_dict()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (lambda: other(depth=5), "it has 5 blocks and the model 6"),
        (lambda: other(depth=8, num_classes=37), "it has 8 blocks and the model 6"),
        (lambda: other(embed_dim=32), "patch_embed.proj.weight is [32, 3, 16, 16] there and [64, 3, 16, 16] in the "),
        (lambda: other(mlp_ratio=2), "blocks.0.mlp.fc1.bias is [128] there and [192] in the model"),
        (lambda: other(init_values=1.0), "the model lacks blocks.0.ls1.gamma and 11 more"),
        (lambda: other(reg_tokens=1), "the model lacks reg_token"),
        (lambda: without(other(), "blocks.2.mlp"), "it lacks blocks.2.mlp.fc1.bias and 3 more"),
        (lambda: without(other(), "blocks.2."), "it has 5 blocks and the model 6"),
        (lambda: other("test_resnet"), "none of its names is the model's, its first is bn1."),
        (lambda: {f"x.{name}": t for name, t in other("test_resnet").items()}, "none of its names"),
    ],
)  # fmt: skip
def test_what_differs_is_said(tmp_path, state, said):
    told = refusal(tmp_path, state())
    assert said in told
    assert "Give the architecture that they were saved from." in told


def test_weights_that_timm_would_leave_random_are_missed(tmp_path, whole):
    """It asks for all weights of most models, and not of some: of SigLIP's with mean pooling, for one."""
    path, half = tmp_path / "half.safetensors", without(whole["test_vit"], "blocks.4")
    save_file(half, path)

    def create():
        model = timm.create_model("test_vit")
        model.load_state_dict(half, strict=False)
        return model

    with pytest.raises(UserError, match=r"blocks\.4\..*weight is not in it"):
        check_weights(blank(create), path, "cls")


def test_another_size_of_images_is_resampled_and_one_of_patches_is_told(tmp_path, whole, caplog):
    state = without(whole["test_vit"], "head")
    with caplog.at_level(logging.WARNING):
        model = built(tmp_path, state, image_size=64)
        assert model.pos_embed.shape == (1, 1 + 4 * 4, 64)
        assert same(model, state, but=("pos_embed",))
        assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
        built(tmp_path, other(patch_size=32, num_classes=5))
    assert "was saved with patches of 32 pixels, and is resampled to the model's 16" in caplog.text


CLIP, SIGLIP = "vit_xsmall_patch16_clip_224", "vit_base_patch16_siglip_224"


@pytest.fixture(scope="module")
def clip():
    """Return the weights of a CLIP whose joint space has a width of 20, and not the 512 of timm's settings for it."""
    torch.manual_seed(0)
    state = timm.create_model(CLIP, img_size=32, num_classes=20).state_dict()
    return state | {"head.bias": torch.zeros(20)}


def as_open_clip(state):
    """Return timm's weights of a CLIP under the names of OpenAI's and open_clip's files, which hold the texts' too."""
    names = {"patch_embed.proj": "conv1", "pos_embed": "positional_embedding", "blocks.": "transformer.resblocks."}
    names |= {
        "norm_pre": "ln_pre",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "norm.": "ln_post.",
        "cls_token": "class_embedding",
    }
    names |= {"attn.proj": "attn.out_proj", "qkv.": "in_proj_", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    out = {"text_projection": torch.ones(4, 20), "logit_scale": torch.ones(())}
    for name, tensor in without(state, "head").items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        squeezed = tensor.squeeze() if name in ("positional_embedding", "class_embedding") else tensor
        out[f"visual.{name}"] = squeezed
    return out | {"visual.proj": state["head.weight"].t()}


@pytest.mark.parametrize("names", ["timm's", "timm's without a bias", "open_clip's", "wrapped", "open_clip's wrapped"])
def test_a_projection_is_taken_with_its_width_from_files_of_all_names(tmp_path, clip, names):
    """timm drops a head without a word where its width isn't the one in its settings."""
    state = as_open_clip(clip) if "open_clip" in names else without(clip, "head.bias") if "bias" in names else clip
    prefix = "module." if "wrapped" in names else ""
    state = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    model = built(tmp_path, state, CLIP, image_size=32, pool="projection")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in clip.items())
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert model(image).shape == (1, 20)


def test_what_is_no_projection_is_refused(tmp_path, clip, whole):
    classifier = clip | {"head.bias": torch.ones(20)}
    options = {"image_size": 32, "pool": "projection"}
    assert "a classifier of 20 classes and no projection" in refusal(tmp_path, classifier, CLIP, **options)
    for state in (without(clip, "head"), without(as_open_clip(clip), "visual.proj")):
        assert "have no projection" in refusal(tmp_path, state, CLIP, **options)
    spoilt = clip | {"head.weight": torch.full((20, 256), torch.nan)}
    assert "head.weight holds NaN" in refusal(tmp_path, spoilt, CLIP, **options)
    assert "it lacks blocks.3" in refusal(tmp_path, without(clip, "blocks.3.mlp"), CLIP, **options)
    built(tmp_path, classifier, CLIP, image_size=32)


@pytest.mark.parametrize("name", [SIGLIP, "vit_small_patch14_dinov2.lvd142m"])
def test_a_model_without_a_projection_is_refused_before_its_weights_are_looked_for(tmp_path, name):
    with pytest.raises(UserError, match=rf"backbone\.pool=projection: {name} has no projection.*head"):
        Backbone(name, pool="projection").facts(tmp_path)


def test_the_key_is_the_files(tmp_path, whole):
    """Two files of the same features and other heads are two models: their bytes are the key, as ever."""
    keys = []
    for head in ({}, {"head.weight": torch.ones(37, 64)}):
        path = tmp_path / f"{len(keys)}.safetensors"
        save_file(without(whole["test_vit"], "head") | head, path)
        backbone = Backbone("test_vit", checkpoint=str(path), image_size=160)
        keys.append(backbone.space(backbone.facts(tmp_path))["weights"])
        assert keys[-1] == sha256(path)
    assert len(set(keys)) == 2
