"""The text tower of a base's own weights: where it is looked for, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from itae.app.compose import compose, plain_values
from itae.app.prepare import prepare
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.search.text import text_encoder
from itae.search.text.both_towers import name_of, weights_of_texts
from itae.search.text.open_clip_tower import OpenClipText
from itae.search.text.towers import CLIP, SIGLIP, tower_of

open_clip = pytest.importorskip("open_clip")

CLIP_B16, SIGLIP_B16 = ("backbone=clip_b16", "backbone.pool=projection"), ("backbone=siglip_b16",)
STEM, NORM = torch.linspace(-1, 1, 12).view(1, 3, 2, 2), torch.linspace(0.5, 1.5, 4)
IMAGES = {"patch_embed.proj.weight": STEM, "norm.weight": NORM}
TEXTS = {"token_embedding.weight": torch.zeros(49408, 1), "positional_embedding": torch.zeros(77, 1)}


def node(*words):
    return plain_values(compose(list(words)))["backbone"]


def saved(path, *parts):
    save_file({name: tensor for part in parts for name, tensor in part.items()}, path)
    return str(path)


def of_open_clip(stem=STEM, norm=NORM):
    return {"visual.conv1.weight": stem, "visual.ln_post.weight": norm}


def searched(words, monkeypatch, files):
    """Return the file with the text tower where the hub has these: file names, by repository."""
    asked = []

    def from_hub(repo, names):
        asked.append(repo)
        found = [files[repo, name] for name in names if (repo, name) in files]
        if not found:
            raise UserError(f"no {repo}")
        return Path(found[0])

    monkeypatch.setattr("itae.vit.backbone.from_hub", from_hub)
    monkeypatch.setattr("itae.search.text.both_towers.from_hub", from_hub)
    backbone = construct("backbone", node(*words))
    return weights_of_texts(backbone, backbone.facts(Path("facts")), tower_of(node(*words))), asked


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


REPO = "timm/vit_base_patch16_clip_224.openai"


def test_the_file_of_images_is_taken_where_it_has_both_towers(tmp_path, monkeypatch):
    both = saved(tmp_path / "both", of_open_clip(), TEXTS)
    found, _ = searched(CLIP_B16, monkeypatch, {(REPO, "open_clip_model.safetensors"): both})
    assert str(found) == both


@pytest.mark.parametrize("words", [CLIP_B16, SIGLIP_B16])
def test_else_the_text_tower_is_of_open_clips_file_of_the_same_images(tmp_path, monkeypatch, words):
    repo, texts = (
        (REPO, REPO) if words == CLIP_B16 else ("timm/vit_base_patch16_siglip_224.webli", "timm/ViT-B-16-SigLIP")
    )
    images = saved(tmp_path / "images", IMAGES)
    both = saved(tmp_path / "both", of_open_clip((STEM * 1).half(), NORM.half()), TEXTS)
    files = {(repo, "model.safetensors"): images, (texts, "open_clip_model.safetensors"): both}
    found, asked = searched(words, monkeypatch, files)
    assert str(found) == both
    assert asked[0] == repo
    assert asked[-1] == texts


@pytest.mark.parametrize(
    "other", [of_open_clip(STEM.flip(2)), of_open_clip(norm=NORM.flip(0)), {}, of_open_clip(STEM[:, :1])]
)
def test_texts_of_another_training_are_refused(tmp_path, monkeypatch, other):
    files = {
        (REPO, "model.safetensors"): saved(tmp_path / "images", IMAGES),
        (REPO, "open_clip_model.safetensors"): saved(tmp_path / "both", other, TEXTS),
    }
    with pytest.raises(UserError, match=r"isn't the one in .*images that the base's images were embedded with"):
        searched(CLIP_B16, monkeypatch, files)


def test_no_text_tower_anywhere_is_told(tmp_path, monkeypatch):
    files = {(REPO, "model.safetensors"): saved(tmp_path / "images", IMAGES)}
    with pytest.raises(
        UserError, match=r"is not on this machine.*itae prepare backbone=\.\.\. backbone\.pool=projection"
    ):
        searched(CLIP_B16, monkeypatch, files)


def test_a_local_file_of_the_image_tower_alone_is_told(tmp_path, monkeypatch):
    path = saved(tmp_path / "images.safetensors", IMAGES)
    with pytest.raises(
        UserError, match=r"images\.safetensors holds an image tower and no text tower.*knowledge rebuild"
    ):
        searched((*CLIP_B16, f"backbone.checkpoint={path}"), monkeypatch, {})


def test_a_missing_open_clip_is_told_with_its_extra_before_weights_are_looked_for(monkeypatch):
    plain = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "open_clip" else plain(name))
    with pytest.raises(UserError, match=r"needs open_clip, which is not installed: pip install 'itae\[text\]'"):
        text_encoder({"backbone": node(*CLIP_B16)}, Runtime("cpu"))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {"token_embedding.weight": torch.zeros(5, 1), "positional_embedding": torch.zeros(7, 1)},
            "5 words and 7 places",
        ),
        ({"token_embedding.weight": torch.zeros(5, 1)}, "5 words and 0 places"),
        (TEXTS, "isn't that of open_clip's ViT-B-16-quickgelu"),
    ],
)
def test_a_text_tower_that_is_not_the_backbones_is_told(tmp_path, texts, said):
    path = saved(tmp_path / "both.safetensors", of_open_clip(), texts)
    with pytest.raises(UserError, match=said):
        text_encoder({"backbone": node(*CLIP_B16, f"backbone.checkpoint={path}")}, Runtime("cpu")).encode(["a dog"])


def test_numbers_that_are_none_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("open_clip.get_model_config", smaller(open_clip.get_model_config))
    tower = tower_of(node(*CLIP_B16))
    state = tiny_tower()
    state["ln_final.bias"][1] = torch.nan
    path = tmp_path / "spoilt.safetensors"
    save_file(state, path)
    with pytest.raises(UserError, match=r"ln_final\.bias holds NaN"):
        OpenClipText(tower, path, torch.device("cpu")).encode(["a dog"])


def smaller(config):
    """Return `open_clip.get_model_config` with a text tower of one narrow block."""

    def get(name):
        told = config(name)
        told["text_cfg"] |= {"layers": 1, "width": 8, "heads": 2}
        return told | {"embed_dim": 6}

    return get


def tiny_tower():
    from open_clip.model import _build_text_tower

    torch.manual_seed(0)
    told = open_clip.get_model_config("ViT-B-16-quickgelu")
    return {n: t.clone() for n, t in _build_text_tower(6, told["text_cfg"], True).state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "text.", "module.", "module.text."])
def test_a_text_tower_is_found_under_all_names_of_it(tmp_path, monkeypatch, prefix):
    monkeypatch.setattr("open_clip.get_model_config", smaller(open_clip.get_model_config))
    path = tmp_path / "both.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in tiny_tower().items()}, path)
    encoder = OpenClipText(tower_of(node(*CLIP_B16)), path, torch.device("cpu"))
    one, two = encoder.encode(["a dog", "a cat"])
    assert one.shape == (6,)
    np.testing.assert_allclose(np.linalg.norm(one), 1, rtol=1e-6)
    assert not np.allclose(one, two)
    assert np.array_equal(encoder.mean_E, encoder.encode(encoder.usual).mean(axis=0))


def test_weights_that_were_trained_with_another_activation_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("open_clip.get_model_config", smaller(open_clip.get_model_config))
    path = tmp_path / "both.safetensors"
    save_file(tiny_tower(), path)
    name = "vit_base_patch16_clip_224"
    notes = []
    for tag in (".openai", ".laion2b", ""):
        words = ("backbone=timm", f"backbone.model_name={name}{tag}", "backbone.pool=projection")
        notes.append(OpenClipText(tower_of(node(*words)), path, torch.device("cpu")).notes("a dog"))
    assert [len(each) for each in notes] == [1, 0, 0]
    assert "QuickGELU" in notes[0][0]


def test_the_tables_name_models_that_timm_and_open_clip_have():
    import timm

    for name, configs in {**{name: (config,) for name, config in CLIP.items()}, **SIGLIP}.items():
        assert timm.is_model(name), name
        for config in configs:
            told = open_clip.get_model_config(config)
            assert told["vision_cfg"].get("timm_model_name", name) == name
            assert bool(told.get("quick_gelu")) == ("quickgelu" in name)
            assert str(told["vision_cfg"]["image_size"]) == name.rpartition("_")[2]
        counts = [open_clip.get_model_config(config)["text_cfg"]["vocab_size"] for config in configs]
        assert len(set(counts)) == len(counts), "the file tells which it is by its words"


@pytest.mark.parametrize(("config", "words"), [("ViT-B-16-SigLIP", 32000), ("ViT-B-16-SigLIP2", 256000)])
def test_the_file_tells_which_siglip_it_is(tmp_path, config, words):
    texts = {"text.token_embedding.weight": torch.zeros(words, 1), "text.positional_embedding": torch.zeros(64, 1)}
    path = saved(tmp_path / "both.safetensors", texts)
    assert name_of(tower_of(node(*SIGLIP_B16)), Path(path)) == config


# --- SigLIP's tokenizer, which is on the hub


def on_the_hub(cache):
    """Write a small tokenizer of SigLIP's kind as the hub's client leaves it, with what it found to be missing."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    repo = cache / "models--timm--ViT-B-16-SigLIP"
    for folder in ("refs", "snapshots/abc", ".no_exist/abc"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    (repo / ".no_exist/abc/config.json").touch()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁a", -1.0), ("▁dog", -1.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -3.0) for letter in "abcdefghijklmnop")], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(repo / "snapshots/abc/tokenizer.json"))
    told = {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (repo / "snapshots/abc/tokenizer_config.json").write_text(json.dumps(told | {"extra_ids": 0}))


TOKENS = """
import sys
from itae.search.text.open_clip_tower import tokenizer_of
try:
    tokenizer = tokenizer_of("ViT-B-16-SigLIP", local_files_only=True)
    print(tokenizer(["A dog!", "a " * 100]).tolist())
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_siglips_tokenizer_is_read_from_the_hubs_cache_or_told(tmp_path):
    pytest.importorskip("transformers")
    on_the_hub(tmp_path / "there")

    def asked(cache):
        env = os.environ | {"HF_HUB_CACHE": str(cache)}
        return subprocess.run([sys.executable, "-c", TOKENS], capture_output=True, text=True, env=env).stdout.strip()

    short, long = json.loads(asked(tmp_path / "there"))
    assert short == [4, 5] + [1] * 62, "lower case, no punctuation, and ends up to the last place"
    assert long == [4] * 63 + [1]
    told = asked(tmp_path / "empty")
    assert told.startswith("UserError The tokenizer timm/ViT-B-16-SigLIP is not on this machine")
    assert "itae prepare" in told
    assert "\n" not in told


def test_missing_transformers_are_told(monkeypatch):
    from itae.search.text.open_clip_tower import tokenizer_of

    plain = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "transformers" else plain(name))
    with pytest.raises(UserError, match=r"needs transformers, which is not installed: pip install 'itae\[text\]'"):
        tokenizer_of("ViT-B-16-SigLIP", local_files_only=True)


# --- itae prepare


@pytest.mark.parametrize(
    ("words", "installed", "fetched"),
    [
        (CLIP_B16, True, True),
        (SIGLIP_B16, True, True),
        (CLIP_B16, False, False),
        (("backbone=clip_b16",), True, False),
        (("backbone=dinov2_s14",), True, False),
        (("backbone=digits_clip",), True, False),
    ],
)
def test_prepare_fetches_the_text_tower_of_a_joint_space(monkeypatch, words, installed, fetched):
    plain, asked = importlib.util.find_spec, []
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "open_clip" and not installed else plain(name)
    )
    monkeypatch.setattr("itae.vit.backbone.from_hub", lambda repo, names: Path("there"))
    monkeypatch.setattr("itae.search.text.open_clip_tower.fetch", lambda *about: asked.append(about))
    prepare(compose(list(words)))
    assert len(asked) == fetched


def test_prepare_goes_on_without_a_text_tower_and_says_so(monkeypatch, tmp_path, caplog):
    images = saved(tmp_path / "images", IMAGES)
    searched_at = {(REPO, "model.safetensors"): images}
    with pytest.raises(UserError):
        searched(CLIP_B16, monkeypatch, searched_at)
    prepare(compose(list(CLIP_B16)))
    assert "Images can be embedded, and texts can't" in caplog.text
