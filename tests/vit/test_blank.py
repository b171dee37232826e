from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import timm
import torch
from families import FAMILIES, SMALL
from safetensors.torch import save_file
from torch import nn

from itae.vit.blank import without_draws


def everything(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return all parameters and buffers, those that are in no checkpoint too."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("larger", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_the_same_bit_for_bit_and_no_number_is_drawn(tmp_path, family, larger):
    name, options = FAMILIES[family]
    options = {**SMALL, **options}
    path = tmp_path / "weights.safetensors"
    saved = timm.create_model(name, **options)
    save_file({key: value.contiguous() for key, value in saved.state_dict().items()}, path)
    if larger:
        options["img_size"] *= 2  # position embeddings are resampled
    overlay = {"file": str(path), "custom_load": False}

    def create() -> Any:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)

    expected = everything(create())
    before = torch.get_rng_state()
    found = everything(without_draws(create))
    # Mixed RoPE draws its angles outside of any parameter.
    assert family == "rope_mixed" or torch.equal(torch.get_rng_state(), before), "numbers were drawn"
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_what_no_weight_comes_to_is_as_its_model_makes_it():
    def create() -> nn.Module:
        torch.manual_seed(3)
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        with torch.no_grad():
            first.weight.copy_(torch.eye(4))
        return nn.Sequential(first, second)

    found, expected = without_draws(create).state_dict(), create().state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_what_is_wrong_is_told_as_ever():
    def create() -> nn.Module:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        without_draws(create)


@pytest.mark.slow  # in the end it imports the compiler
def test_neither_the_compiler_nor_sympy_nor_wandb_is_imported_for_a_small_model(tmp_path):
    code = f"""
import sys, torch
from pathlib import Path
from itae.vit.backbone import Backbone
backbone = Backbone("digits_vit", "pkg://itae/weights/digits_vit.safetensors", 32, module="itae.digits_vit")
backbone.build(backbone.facts(Path({str(tmp_path)!r})), torch.device("cpu"))
print([name for name in ("torch._dynamo", "sympy", "wandb") if name in sys.modules])
from torchvision.ops import roi_align
print(sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu"), torch._dynamo.__name__)
import timm.layers, wandb
print(timm.layers.disable_compiler(abs)(-1), bool(wandb.init))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.splitlines() == ["[]", "True torch._dynamo", "1 True"], said.stderr
