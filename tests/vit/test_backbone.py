from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import tiny_models
import torch
import yaml
from safetensors.numpy import load_file, save_file

from itae.app.compose import conf_dir
from itae.base.code import sha256
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone

TESTS = Path(__file__).parents[1]


def tiny(tmp_path, name="tiny_vit", **options):
    path = tmp_path / f"{name}.safetensors"
    if not path.exists():
        tiny_models.save(path, name)
    return Backbone(
        **{"model_name": name, "checkpoint": str(path), "image_size": 32, "module": "tiny_models", **options}
    )


def test_facts_are_read_without_weights_and_remembered(tmp_path, monkeypatch):
    backbone = Backbone("vit_small_patch14_reg4_dinov2.lvd142m")
    facts = backbone.facts(tmp_path)
    assert (facts.architecture, facts.depth, facts.width) == ("vit_small_patch14_reg4_dinov2", 12, 384)
    assert (facts.prefix, facts.has_cls, facts.grid) == (5, True, (16, 16))
    assert facts.interpolation == "bicubic"
    monkeypatch.setattr(Backbone, "_read_facts", lambda self: pytest.fail("read again"))
    assert backbone.facts(tmp_path) == facts


def test_what_a_module_makes_when_it_is_imported_has_data(tmp_path, monkeypatch):
    """Facts are read from a model without data, on torch's meta device; its module is imported outside of that."""
    (tmp_path / "one_with_a_constant.py").write_text("import tiny_models, torch\nSCALE = torch.ones(1).item()\n")
    monkeypatch.syspath_prepend(tmp_path)
    facts = Backbone("tiny_vit", module="one_with_a_constant", image_size=32).facts(tmp_path)
    assert facts.depth == 2


def test_remembered_facts_need_no_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None  # whoever imports it fails\n"
        "from pathlib import Path; from itae.vit.backbone import Backbone;"
        f"print(Backbone('vit_small_patch14_dinov2').facts(Path({str(tmp_path)!r})))"
    )

    def asked():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "import of torch halted" in asked().stderr
    facts = Backbone("vit_small_patch14_dinov2").facts(tmp_path)
    assert asked().stdout == f"{facts}\n"


def test_a_damaged_memory_of_facts_is_read_again(tmp_path):
    backbone = tiny(tmp_path)
    facts = backbone.facts(tmp_path / "memo")
    (file,) = (tmp_path / "memo").iterdir()
    for damage in ("", "{}", json.dumps([1]), file.read_text()[:20]):
        file.write_text(damage)
        assert backbone.facts(tmp_path / "memo") == facts


def test_facts_of_another_version_of_timm_are_read_again(tmp_path, monkeypatch):
    backbone = tiny(tmp_path)
    backbone.facts(tmp_path / "memo")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    backbone.facts(tmp_path / "memo")
    assert len(list((tmp_path / "memo").iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["vit_small_r26_s32_224", "vit_base_mci_224", "eva02_tiny_patch14_224", "deit_tiny_patch16_224"]
)
def test_other_vision_transformers_are_taken(tmp_path, name):
    facts = Backbone(name).facts(tmp_path)
    assert facts.depth > 1
    assert facts.has_cls


def test_facts_of_another_size_are_others(tmp_path):
    small, large = (Backbone("vit_small_patch14_dinov2", image_size=s).facts(tmp_path) for s in (56, 224))
    assert (small.grid, large.grid) == ((4, 4), (16, 16))


def test_build_loads_the_file_and_freezes(tmp_path):
    backbone = tiny(tmp_path)
    model = backbone.build(backbone.facts(tmp_path), torch.device("cpu"))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    from safetensors.torch import load_file

    for name, weight in load_file(backbone.checkpoint).items():
        assert torch.equal(model.state_dict()[name], weight)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_name": "vit_smal_patch14_dinov2"}, "Did you mean 'vit_small_patch14_dinov2'"),
        ({"model_name": "resnet18"}, "resnet18"),
        ({"model_name": "convnext_tiny"}, "convnext_tiny"),
        ({"model_name": "swin_tiny_patch4_window7_224"}, "swin_tiny_patch4_window7_224"),
        ({"model_name": "cait_xxs24_224"}, "cait_xxs24_224"),  # for another reason in older releases of timm
        ({"model_name": "tiny_by_hand", "module": "tiny_models", "image_size": 32}, "attention 0 times"),
        ({"model_name": "hiera_tiny_224"}, "hiera_tiny_224"),
        ({"model_name": "beit_base_patch16_224"}, "attn_mask"),
        ({"model_name": "vit_small_patch14_dinov2", "image_size": 225}, "use 224"),
        ({"model_name": "vit_base_patch16_siglip_224"}, "backbone.pool=mean or head"),
        ({"model_name": "vit_base_patch16_xp_224"}, "block 0, a ParallelScalingBlock, has no attention by itself"),
        ({"model_name": "vit_small_patch16_18x2_224"}, "block 0, a ParallelThingsBlock, has no attention by itself"),
        ({"model_name": "tiny_twice", "module": "tiny_models", "image_size": 32}, "block 1"),
        ({"model_name": "tiny_lost", "module": "tiny_models", "image_size": 32}, "puts out 16 tokens and not 17"),
        ({"model_name": "tiny_vit", "module": "tiny_modells", "image_size": 32}, "backbone.module=tiny_modells"),
    ],
)
def test_a_backbone_that_an_edit_can_not_reach_is_refused_by_name(tmp_path, options, words):
    with pytest.raises(UserError) as told:
        Backbone(**options).facts(tmp_path)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_forward_that_does_more_than_its_blocks_is_refused(tmp_path):
    backbone = tiny(tmp_path, "tiny_afterthought", pool="mean")
    with pytest.raises(UserError, match="replaying its blocks gives other embeddings"):
        extract(Source.open(Digits(limit=4), backbone, Store(tmp_path / "cache")), [None], Runtime("cpu"))


def test_a_model_is_proven_once_for_its_weights_settings_device_and_versions(tmp_path, monkeypatch):
    proven = []
    monkeypatch.setattr("itae.embed.prove.prove", lambda *about: proven.append(about[2:]))

    def embed(limit, **options):
        source = Source.open(Digits(limit=limit), tiny(tmp_path, **options), Store(tmp_path / "cache"))
        extract(source, [None], Runtime("cpu"))
        return len(proven)

    assert [embed(4), embed(5)] == [1, 1]
    assert [embed(4, pool="mean"), embed(5, pool="mean")] == [2, 2]
    assert embed(4, precision="bf16") == 3
    other = tmp_path / "other.safetensors"
    save_file({name: array + 1 for name, array in load_file(tmp_path / "tiny_vit.safetensors").items()}, other)
    assert [embed(4, checkpoint=str(other)), embed(5, checkpoint=str(other))] == [4, 4]
    for file in (tmp_path / "cache" / ".facts").glob("proof-*"):
        file.write_text("damaged")
    assert embed(6) == 5
    monkeypatch.setattr("itae.embed.worker.versions", lambda: {"torch": "another"})
    assert embed(7) == 6


def test_weights_of_another_architecture_are_refused(tmp_path):
    other = tiny_models.save(tmp_path / "other.safetensors", embed_dim=24)
    backbone = tiny(tmp_path, checkpoint=str(other))
    with pytest.raises(UserError, match=r"other\.safetensors don't fit backbone\.model_name=tiny_vit"):
        backbone.build(backbone.facts(tmp_path), torch.device("cpu"))


def test_a_supervised_model_with_half_of_its_weights_missing_is_refused(tmp_path):
    """timm drops strictness where the number of classes differs; then missing weights stay random, silently."""
    import timm
    from safetensors.torch import save_file

    whole = timm.create_model("vit_tiny_patch16_224", img_size=32)
    half = {k: v.contiguous() for k, v in whole.state_dict().items() if not k.startswith("blocks.7")}
    save_file(half, tmp_path / "half.safetensors")
    backbone = Backbone("vit_tiny_patch16_224", checkpoint=str(tmp_path / "half.safetensors"), image_size=32)
    with pytest.raises(UserError, match="don't fit"):
        backbone.build(backbone.facts(tmp_path), torch.device("cpu"))


@pytest.mark.parametrize(
    "name", ["gone.safetensors", "weights.pth", "pkg://itae/weights/gone.safetensors", "pkg://nope/x"]
)
def test_a_checkpoint_that_is_not_there_or_is_a_pickle_is_refused(tmp_path, name):
    (tmp_path / "weights.pth").write_bytes(b"\x80\x04.")
    path = name if name.startswith("pkg:") else str(tmp_path / name)
    with pytest.raises(UserError, match=r"backbone\.checkpoint="):
        Backbone("vit_small_patch14_dinov2", checkpoint=path)


def test_a_damaged_checkpoint_is_told(tmp_path):
    path = tmp_path / "bad.safetensors"
    whole = tiny_models.save(tmp_path / "whole.safetensors").read_bytes()
    for damaged in (b"no safetensors at all", whole[:-100], whole[:40], b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"bad\.safetensors can't be read .*is it whole"):
            tiny(tmp_path, checkpoint=str(path))


def test_weights_come_from_the_hub_as_safetensors_only(tmp_path, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(repo, name, local_files_only):
        asked.append((repo, name, local_files_only))
        if name != "open_clip_model.safetensors" or local_files_only:
            raise EntryNotFoundError("no such file")
        return str(tmp_path / "from_hub.safetensors")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: None)
    backbone = Backbone("vit_base_patch16_clip_224.openai")
    assert backbone.weights(backbone.facts(tmp_path)) == tmp_path / "from_hub.safetensors"
    assert all(name.endswith(".safetensors") for _, name, _ in asked)
    assert asked[0][2], "what is on this machine comes first"


def test_no_network_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    backbone = Backbone("vit_small_patch14_dinov2.lvd142m")
    with pytest.raises(UserError, match=r"itae prepare.*backbone\.checkpoint"):
        backbone.weights(backbone.facts(tmp_path))


def test_a_model_without_weights_is_told(tmp_path):
    backbone = Backbone("tiny_vit", module="tiny_models", image_size=32)
    with pytest.raises(UserError, match=r"no weights for backbone\.model_name=tiny_vit"):
        backbone.weights(backbone.facts(tmp_path))


def test_space_holds_what_vectors_depend_on_and_nothing_else(tmp_path):
    base = tiny(tmp_path)
    facts = base.facts(tmp_path)
    space = base.space(facts)
    assert space["weights"] == sha256(Path(base.checkpoint))
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(Path(base.checkpoint).read_bytes())
    assert tiny(tmp_path, checkpoint=str(moved)).space(facts) == space, "a path is no property of weights"
    assert tiny(tmp_path).space(facts)["code"] == sha256(Path(tiny_models.__file__))
    for change in ({"pool": "mean"}, {"precision": "bf16"}, {"image_size": 64}):
        assert tiny(tmp_path, **change).space(facts) != space
    moved.write_bytes(moved.read_bytes()[:-1] + b"\x01")
    assert tiny(tmp_path, checkpoint=str(moved)).space(facts) != space


@pytest.mark.parametrize(
    "options", [{"pool": "max"}, {"precision": "fp8"}, {"image_size": 0}, {"image_size": 22.4}, {"model_name": ""}]
)
def test_wrong_settings_are_told(options):
    with pytest.raises(UserError, match="backbone"):
        Backbone(**{"model_name": "vit_small_patch14_dinov2", **options})


SHIPPED = sorted(path.stem for path in (conf_dir() / "backbone").glob("*.yaml") if path.stem != "timm")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_backbone_can_be_edited_and_has_weights(tmp_path, name):
    node = yaml.safe_load((conf_dir() / "backbone" / f"{name}.yaml").read_text())
    node.pop("_target_")
    backbone = Backbone(**node)
    facts = backbone.facts(tmp_path)
    assert facts.depth >= 6
    assert facts.prefix == (0 if "siglip" in name else 5 if "reg4" in name or "dinov3" in name else 1)
    assert backbone.checkpoint or facts.hub_repo, "timm has no weights for this name"
    pretrained = timm.list_pretrained(node["model_name"].partition(".")[0] + "*")
    assert backbone.checkpoint or node["model_name"] in pretrained, "no such tag"
    notes = None if backbone.checkpoint else timm.get_pretrained_cfg(node["model_name"]).notes
    assert "QuickGELU" not in str(notes) or "_quickgelu_" in node["model_name"], "not what it learnt with"


@pytest.mark.weights
def test_a_real_checkpoint_goes_through_timms_filter(assets, tmp_path):
    path = assets / "weights" / "dinov2_vits14.safetensors"
    backbone = Backbone("vit_small_patch14_dinov2.lvd142m", checkpoint=str(path), image_size=224)
    model = backbone.build(backbone.facts(tmp_path), torch.device("cpu"))
    assert model.pos_embed.shape == (1, 257, 384), "resampled from 518 px"
    assert model.pos_embed.dtype == torch.float32
