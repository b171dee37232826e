"""Modules of spandrel's, with weights that let a signal through. Only what builds a network imports this."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

NOISE = 0.2
"""Deviation of what is added to parameters that an untrained network has as constants."""


def made(module: str, name: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    """Return one of spandrel's networks, drawn from a seed; torch's own generator is left as it was."""
    cls = getattr(importlib.import_module(f"spandrel.architectures.{module}"), name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = cls(**options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter += NOISE * torch.randn(parameter.shape, generator=generator)
    return net.eval()


def takes_pictures(net: nn.Module, side: int) -> None:
    """Raise a `ValueError` unless a picture of three colours comes out as it went in, by size; nothing is computed."""
    picture = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad():
        output = copy.deepcopy(net).to("meta")(picture)
    if output.shape != picture.shape:
        raise ValueError(f"takes {list(picture.shape)} to {list(output.shape)}")


def counted(net: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Return MACs and parameters; nothing is computed."""
    parameters = sum(parameter.numel() for parameter in net.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2, parameters
