"""The U-Net that a study of operators changes part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itae.base.checks import whole
from itae.portable.devices.device import Cost
from itae.portable.nets.costs import cost
from itae.portable.nets.reach import receptive_field
from itae.portable.nets.spec import Spec
from itae.portable.nets.weights import checked, identity_of, load_into

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class UNet(Spec):
    """A U-Net for deblurring: its architecture, and where its weights come from.

    Parameters
    ----------
    channels, depth, blocks, kernel, up, skip, down, activation, conv, expansion, unshuffle, residual
        See `Spec`.
    seed
        Weights are drawn from it, at least 0. Default 0. The same seed draws the same weights.
    weights
        In their place, a .safetensors file with those of such a network. Default None.
    name
        What tables call it. Default ``unet``.

    Raises
    ------
    UserError
        When a value isn't one that is allowed; when the file isn't there or isn't whole.
    """

    seed: int = 0
    weights: str | None = None
    name: str = "unet"

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        whole("net.seed", self.seed, low=0, high=2**63 - 1)
        if self.weights is not None:
            checked(self.weights)

    @property
    def receptive_field(self) -> int:
        """The most pixels, along one axis, that a pixel of the output depends on."""
        return receptive_field(self)

    def settings(self) -> dict[str, Any]:
        """Return what it is built from: its architecture, and its seed or the sha256 of its weights file."""
        return {"class": "UNet"} | self.architecture() | identity_of(self.seed, self.weights)

    def build(self) -> nn.Module:
        """Return the module in eval mode on the CPU.

        Raises
        ------
        UserError
            When the weights file has other weights than the spec asks for.
        """
        from itae.portable.nets.unet_module import UNetModule

        module = UNetModule(self, self.seed)
        if self.weights is not None:
            load_into(module, self.weights)
        return module.eval()

    def cost(self, height: int, width: int) -> Cost:
        """Return MACs of a picture of this size, padded to `multiple`, and parameters, as `costs` counts."""
        return cost(self, height, width)
