"""Where a training stands: weights, their running mean, Adam's moments, the step and the curve, in one file.

One file, so that there is no half of a checkpoint: it is replaced at once, and what was there before stays until then.
Only what trains imports this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from itae.base.disk import replace_file
from itae.portable.train.options import Train

BETAS = (0.9, 0.99)
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class State:
    """A network in training.

    Parameters
    ----------
    module
        It, in train mode.
    options
        How it is trained.
    """

    module: nn.Module
    options: Train
    step: int = 0
    """Steps done."""
    cpu_s: float = 0.0
    """CPU seconds of this process that they took."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last validation."""

    def __post_init__(self) -> None:
        """Make the optimizer, and begin the running mean at the weights."""
        self.named = dict(self.module.named_parameters())
        self.mean = {name: value.detach().clone() for name, value in self.named.items()}
        self.adam = torch.optim.Adam(self.named.values(), self.options.lr, BETAS)

    def averaged(self) -> None:
        """Move the running mean towards the weights.

        Its decay after n steps is min(ema, (1 + n) / (10 + n)), or else it would remember the first weights for long.
        """
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self.named[name].detach(), 1 - decay)

    def kept(self) -> dict[str, torch.Tensor]:
        """Return what is kept of the training: the module's state, with the running mean in place of the weights."""
        state = self.module.state_dict() | self.mean
        return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}

    def save(self, file: Path) -> None:
        """Write all to a .safetensors file, at once or not at all."""
        from safetensors.torch import save

        tensors = {f"weights/{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"mean/{name}": value for name, value in self.mean.items()}
        for name, parameter in self.named.items():
            moments = self.adam.state[parameter]
            tensors |= {f"{part}/{name}": moments[part] for part in _MOMENTS if part in moments}
        plain = {"step": self.step, "cpu_s": self.cpu_s, "curve": self.curve, "losses": self.losses}
        whole = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        replace_file(file, save(whole, {"state": json.dumps(plain)}))

    def load(self, file: Path) -> None:
        """Go on from what `save` wrote.

        Raises
        ------
        Exception
            When the file isn't whole, or of another network; then nothing of this is to be used.
        """
        from safetensors import safe_open

        with safe_open(file, framework="pt") as opened:
            plain = json.loads(opened.metadata()["state"])
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, it is no dict
        parts = {part: _part(found, part) for part in ("weights", "mean", *_MOMENTS)}
        self.module.load_state_dict(parts["weights"])
        self.step, self.cpu_s = plain["step"], plain["cpu_s"]
        self.curve, self.losses = plain["curve"], plain["losses"]
        with torch.no_grad():
            for name, parameter in self.named.items():
                self.mean[name].copy_(parts["mean"][name])
                if name in parts["step"]:  # else it never had a gradient
                    moments = {part: parts[part][name] for part in _MOMENTS}
                    for part in _MOMENTS[1:]:  # laid out in memory as the weights are, as Adam itself lays them
                        moments[part] = torch.empty_like(parameter).copy_(moments[part])
                    self.adam.state[parameter] = moments


def _part(found: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{part}/"): value for name, value in found.items() if name.startswith(f"{part}/")}
