"""A U-Net that has lost channels: a net like any other, whose widths stand in its options and not in a pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.portable.devices.device import Cost
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.nets.weights import identity_of, load_into

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Pruned(UNet):
    """A U-Net whose convolutions have other widths than its spec would give them.

    Parameters
    ----------
    channels, depth, blocks, kernel, up, skip, down, activation, conv, expansion, unshuffle, residual
        See `Spec`: those of the net that was pruned. Channels are those that it had.
    seed, weights, name
        See `UNet`. Without weights, the first channels of the whole net's are taken.
    widths
        Of each convolution, by its name in the module: channels that come in, and channels that go out.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    name: str = "pruned"
    widths: Mapping[str, Sequence[int]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check every value but whether the widths fit together, which the module knows."""
        super().__post_init__()
        if not isinstance(self.widths, Mapping):
            raise UserError(f"net.widths={self.widths!r} is not a table of widths, [in, out] of each convolution.")
        for name, pair in self.widths.items():
            whole = isinstance(pair, Sequence) and all(type(each) is int and each > 0 for each in pair)
            if not whole or len(pair) != 2:
                raise UserError(f"net.widths.{name}={pair!r} must be two whole numbers above 0, [in, out].")

    def settings(self) -> dict[str, Any]:
        """Return what it is built from: architecture, widths, and its seed or the sha256 of its weights file."""
        widths = {name: list(pair) for name, pair in sorted(self.widths.items())}
        return {"class": "Pruned"} | self.architecture() | {"widths": widths} | identity_of(self.seed, self.weights)

    def build(self) -> nn.Module:
        """Return the module in eval mode on the CPU.

        Raises
        ------
        UserError
            When the widths aren't those of such a net, or don't fit together; when the file has other weights.
        """
        from itae.portable.nets.unet_module import UNetModule
        from itae.portable.optimise.pruned_module import narrow

        module = UNetModule(self, self.seed)
        narrow(module, self.widths, self.multiple)
        if self.weights is not None:
            load_into(module, self.weights)
        return module.eval()

    def cost(self, height: int, width: int) -> Cost:
        """Return MACs of a picture of this size, padded to `multiple`, and parameters, counted as `costs` does."""
        places = -(-height // self.multiple) * -(-width // self.multiple) * 4**self.depth
        macs = parameters = 0
        for name, (c, d) in self.widths.items():
            scale, taps, activated = _about(self, name)
            each = abs(taps) * (d if taps < 0 else c * d)
            macs += each * places // 4**scale
            parameters += each + d + (d if activated and self.activation == "prelu" else 0)
        return Cost(macs, parameters)


def widths_from(spec: Spec, weights: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the widths of a net of a spec from its weights, tensors or arrays under the names of its module."""
    found = {}
    for name, tensor in weights.items():
        if name.endswith(".weight") and len(tensor.shape) == 4:
            own = name.removesuffix(".weight")
            d, c = tensor.shape[:2]
            if own.startswith("ups.") and spec.up in ("transposed", "transposed4"):
                c, d = d, c
            found[own] = [d if _about(spec, own)[1] < 0 else c, d]
    return found


def _about(spec: Spec, name: str) -> tuple[int, int, bool]:
    """Return of a convolution the scale of its places, its taps (negative: each channel alone), and if it's activated.

    Its places are those of its output, of a transposed one those of its input; names are those of `UNetModule`.
    """
    part, number, *rest = [*name.split("."), ""]
    scale = {
        "encoders": lambda n: n, "downs": lambda n: n + 1,
        "ups": lambda n: spec.depth - n, "decoders": lambda n: spec.depth - 1 - n,
    }.get(part, lambda n: spec.depth if part == "bottom" else 0)(int(number or 0))  # fmt: skip
    if part in ("head", "tail"):
        return scale, 9, part == "head"
    if part == "downs":
        return scale, 9 if spec.down == "stride" else 1, False
    if part == "ups":
        return scale, {"transposed": 4, "transposed4": 16}.get(spec.up, 1), False
    place, taps = rest[-2], spec.kernel**2
    if spec.conv == "dense":
        return scale, taps, True
    if spec.conv == "depthwise":
        return scale, -taps if place == "0" else 1, place == "1"
    return scale, -taps if place == "2" else 1, place != "4"
