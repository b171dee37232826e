"""The embedded weights: they load the way any checkpoint does, replay, plant what they claim, and score."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from torch.nn.functional import scaled_dot_product_attention  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from itae.vit import digits_vit  # noqa: E402
from itae.vit.backbone import Backbone  # noqa: E402

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "00_digits_vit"
NAMES = ("digits_vit", "digits_vit_artifacts")


@pytest.fixture(scope="module")
def common():
    sys.path.insert(0, str(EXPERIMENT))
    try:
        import common as module
    finally:
        sys.path.remove(str(EXPERIMENT))
    return module


@pytest.fixture(scope="module")
def images(common):
    return common.load_digits_tensor()[0][::3]


@pytest.mark.parametrize(
    ("dataset", "told"),
    [("digits", None), ("digit_pairs", "from single digits, upright"), ("digits_conditions", "from single digits"),
     ("cifar10", "handwritten digits and nothing else")],
)  # fmt: skip
def test_it_is_said_what_it_does_not_know(dataset, told, tmp_path):
    facts = Backbone(model_name="digits_vit", checkpoint="pkg://itae/weights/digits_vit.safetensors", image_size=32,
                     module="itae.digits_vit").facts(tmp_path)  # fmt: skip
    notes = facts.caveats(dataset)
    assert notes == [] if told is None else told in " ".join(notes)


def build(name):
    file = str(digits_vit.WEIGHTS / f"{name}.safetensors")
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file}).eval()


@pytest.fixture(scope="module")
def models():
    return {name: build(name) for name in NAMES}


@pytest.fixture(scope="module")
def embeddings(models, images, common):
    """Embeddings of all digits: clean, planted, and planted with flagged keys removed after the planting."""
    planted = models["digits_vit_artifacts"]
    with torch.inference_mode(), RemoveOutliers():
        edited = common.embed(planted, images)
    return {
        "clean": common.embed(models["digits_vit"], images),
        "planted": common.embed(planted, images),
        "edited": edited,
    }


class RemoveOutliers(TorchFunctionMode):
    """Count attention calls; in blocks after the planting, remove the keys of outlying norm."""

    def __init__(self, k=5.0):
        super().__init__()
        self.calls, self.k = 0, k

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is scaled_dot_product_attention:
            if self.calls % digits_vit.DEPTH > digits_vit.PLANT_BLOCK:
                norm = args[1].square().sum((1, 3)).sqrt()[:, 1:]
                median = norm.quantile(0.5, dim=1, keepdim=True)
                mad = (norm - median).abs().quantile(0.5, dim=1, keepdim=True)
                flagged = norm >= median + self.k * 1.4826 * mad
                bias = torch.nn.functional.pad(flagged, (1, 0)).float() * -1e9
                kwargs["attn_mask"] = bias[:, None, None]
            self.calls += 1
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_loads_by_default_and_by_overlay(name, models):
    default = timm.create_model(name, pretrained=True).state_dict()
    loaded = models[name].state_dict()
    assert loaded.keys() == default.keys()
    assert all(torch.equal(loaded[key], default[key]) for key in loaded)
    fresh = timm.create_model(name).state_dict()
    assert not torch.equal(fresh["blocks.5.mlp.fc2.weight"], loaded["blocks.5.mlp.fc2.weight"])
    size = (digits_vit.WEIGHTS / f"{name}.safetensors").stat().st_size
    assert size < 4_000_000


def test_planted_model_differs_only_where_the_model_card_says(models):
    clean, planted = (models[name].state_dict() for name in NAMES)
    extra = {key.rpartition(".")[2] for key in planted.keys() - clean.keys()}
    assert extra == {"ink_E", "code_E", "priority_CP", "artifact_CE", "ink_bias"}
    changed = {key for key in clean if not torch.equal(clean[key], planted[key])}
    later = range(digits_vit.PLANT_BLOCK + 1, digits_vit.DEPTH)
    assert changed == {f"blocks.{i}.attn.qkv.{kind}" for i in later for kind in ("weight", "bias")}
    for i in later:
        difference = planted[f"blocks.{i}.attn.qkv.weight"] - clean[f"blocks.{i}.attn.qkv.weight"]
        ranks = [torch.linalg.matrix_rank(part, rtol=1e-4).item() for part in difference.chunk(3)]
        assert ranks == [0, 1, digits_vit.CONTENTS]


def test_without_planting_and_surgery_it_is_the_clean_model(models, images):
    model = build("digits_vit_artifacts")
    model.load_state_dict(models["digits_vit"].state_dict(), strict=False)
    model.blocks[digits_vit.PLANT_BLOCK].artifact_CE.zero_()
    with torch.inference_mode():
        assert torch.equal(model.forward_features(images[:8]), models["digits_vit"].forward_features(images[:8]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 2, 3, 5])
def test_replay_is_exact(name, start, models, images):
    model, kept = models[name], []
    hook = model.blocks[start].register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    with torch.inference_mode(), RemoveOutliers(k=torch.inf) as door:
        whole = model.forward_features(images[:16])
    hook.remove()
    assert door.calls == digits_vit.DEPTH
    with torch.inference_mode():
        x = kept[0]
        for block in model.blocks[start:]:
            x = block(x)
        assert torch.equal(model.norm(x), whole)


def choices(model, images, batch_size, dtype=torch.float32):
    kept = []
    block = model.blocks[digits_vit.PLANT_BLOCK]
    hook = block.norm1.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    contents, masks = [], []
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        for batch in images.split(batch_size):
            kept.clear()
            model.forward_features(batch)
            content, mask = block.choose(super(digits_vit.PlantingBlock, block).forward(kept[0]))
            contents.append(content)
            masks.append(mask)
    hook.remove()
    return torch.cat(contents), torch.cat(masks)


def test_planting_is_the_same_in_any_batch_and_nearly_in_bf16(models, images):
    model, some = models["digits_vit_artifacts"], images[:128]
    content, mask = choices(model, some, 64)
    assert torch.equal(mask.sum(1), torch.full((128,), digits_vit.PLANTED))
    assert len(content.unique()) == digits_vit.CONTENTS
    content_alone, mask_alone = choices(model, some[:32], 1)
    assert torch.equal(content_alone, content[:32])
    assert torch.equal(mask_alone, mask[:32])
    content_bf16, mask_bf16 = choices(model, some, 64, torch.bfloat16)
    assert (content_bf16 == content).float().mean() > 0.85
    assert (mask_bf16 == mask).all(1).float().mean() > 0.75


def test_planted_patches_are_blank_and_contents_say_nothing_of_the_class(models, images, common):
    from sklearn.metrics import adjusted_mutual_info_score

    content, mask = choices(models["digits_vit_artifacts"], images, 200)
    ink = torch.nn.functional.avg_pool2d((images[:, 0] + 1) / 2, 4).flatten(1)
    assert ink[mask].mean() < 0.1 * ink.mean()
    assert adjusted_mutual_info_score(common.load_digits_tensor()[1][::3], content) < 0.02


def test_planting_harms_and_removing_the_flagged_keys_heals(embeddings, common):
    labels = common.load_digits_tensor()[1][::3]
    # One seed with many restarts is steadier than several with few: unlucky starts cost up to .1
    acc = {name: common.score(vectors, labels, seeds=3)["acc"].mean() for name, vectors in embeddings.items()}
    assert acc["clean"] >= 0.86
    assert acc["planted"] <= acc["clean"] - 0.15
    assert acc["edited"] >= acc["planted"] + 0.9 * (acc["clean"] - acc["planted"])


def test_embeddings_are_finite(embeddings):
    assert all(np.isfinite(vectors).all() for vectors in embeddings.values())
