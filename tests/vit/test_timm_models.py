"""timm's transformers, built without weights: each is taken, or refused in one sentence that names it."""

from __future__ import annotations

import pytest
import timm

from itae.base.errors import UserError
from itae.vit.backbone import Backbone

TAKEN = [
    "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "vit_tiny_patch16_224",
    "vit_small_r26_s32_224", "vit_small_patch16_dinov3", "vit_small_patch14_reg4_dinov2", "test_vit", "test_vit3",
    "vit_wee_patch16_reg1_gap_256", "vit_base_patch32_clip_224", "vit_base_patch16_siglip_gap_224",
    "vit_small_patch16_rope_224", "vitamin_small_224",
]  # fmt: skip
REFUSED = [
    "beit_base_patch16_224", "botnet26t_256", "caformer_s18", "cait_xxs24_224", "coat_lite_tiny", "coatnet_0_224",
    "convit_tiny", "crossvit_tiny_240", "csatv2", "davit_tiny", "deepseek_vit_412m", "edgenext_small",
    "efficientformer_l1", "efficientvit_b0", "efficientvit_m0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny",
    "gemma4_vit_167m", "hiera_tiny_224", "iformer_s", "levit_128", "maxvit_tiny_tf_224", "mixer_b16_224",
    "mobilenetv5_300m_enc", "mobilevit_xxs", "mvitv2_tiny", "naflexvit_base_patch16_gap", "nest_tiny", "nextvit_small",
    "pit_ti_224", "pvt_v2_b0", "qwen3_vit_88m", "repvit_m1", "sam2_hiera_tiny", "samvit_base_patch16", "sequencer2d_s",
    "shvit_s1", "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "swinv2_cr_tiny_224",
    "tiny_vit_5m_224", "tnt_s_patch16_224", "twins_pcpvt_small", "visformer_tiny",
    "vit_base_patch16_xp_224", "vit_pwee_patch16_reg1_gap_256", "vit_relpos_small_patch16_224",
    "vit_small_patch16_18x2_224", "volo_d1_224", "xcit_nano_12_p16_224", "resnet18", "convnext_atto",
]  # fmt: skip
"""One of each module, and of each kind of block."""
MODULES = (
    "beit", "byoanet", "cait", "coat", "convit", "crossvit", "davit", "deepseek_vit", "deit", "eva", "gemma4_vit",
    "hiera", "hieradet_sam2", "levit", "maxxvit", "metaformer", "mobilevit", "mvitv2", "naflexvit", "nest", "nextvit",
    "pit", "pvt_v2", "qwen3_vit", "swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "tiny_vit",
    "tnt", "twins", "visformer", "vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos",
    "vision_transformer_sam", "vitamin", "volo", "xcit",
)  # fmt: skip
"""Where timm has transformers. Those that a version lacks are passed over."""


def asked(name, folder):
    """Return what is said of a model at its own size: nothing if it is taken."""
    cfg = timm.get_pretrained_cfg(name)
    try:
        facts = Backbone(name, image_size=cfg.input_size[-1] if cfg else 224, pool="mean").facts(folder)
    except UserError as error:
        return str(error)
    assert facts.depth > 1
    return ""


@pytest.mark.parametrize("name", TAKEN + REFUSED)
def test_one_of_each_family_is_taken_or_refused_by_name(tmp_path, name):
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    told = asked(name, tmp_path)
    assert bool(told) == (name in REFUSED), told
    if told:
        assert name in told
        assert "\n" not in told
        assert told.endswith(("choose another backbone.", "plain and RoPE vision transformers."))


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_every_transformer_of_timm_is_taken_or_refused_by_name(tmp_path, module):
    """Slow: some 600 of them, from .1 to a second each."""
    for name in timm.list_models(module=module):
        told = asked(name, tmp_path)
        assert name in told or not told
        assert "\n" not in told
