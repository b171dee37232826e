"""Networks of others, by the library spandrel: their authors' architectures, under the names that its weights have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.portable.devices.device import Cost
from itae.portable.devices.library import absent
from itae.portable.nets.weights import checked, identity_of, load_into

if TYPE_CHECKING:
    from torch import nn


class _Architecture(NamedTuple):
    """One of spandrel's."""

    module: str
    name: str
    multiple: Callable[[Mapping[str, Any]], int]
    """What height and width have to be multiples of, with these options."""


ARCHITECTURES = {
    "nafnet": _Architecture("NAFNet", "NAFNet", lambda options: 1 << len(options.get("enc_blk_nums", ()))),
    "kbnet": _Architecture("KBNet", "KBNet_s", lambda options: 1 << len(options.get("enc_blk_nums", (2, 2, 4, 8)))),
    "scunet": _Architecture("SCUNet", "SCUNet", lambda options: 64),
    "drunet": _Architecture("DRUNet", "DRUNet", lambda options: 8),
    "fftformer": _Architecture("FFTformer", "FFTformer", lambda options: 32),
}
"""Those that restore pictures of any shape; Uformer takes square ones alone."""


@dataclass(frozen=True)
class Spandrel:
    """A network of spandrel's: its architecture, and where its weights come from.

    Parameters
    ----------
    architecture
        ``nafnet`` (default), ``kbnet`` (its small form), ``scunet``, ``drunet``, ``fftformer``. The last one has
        Fourier transforms, which ONNX of opset 17 has no operator for.
    options
        Of its constructor in spandrel. Default none: its own defaults.
    seed
        Weights are drawn from it, at least 0, as the library draws them; what the library sets to a constant, so that
        an untrained network does nothing in part, gets normal noise of deviation .2. Default 0.
    weights
        In their place, a .safetensors file under the authors' names. Default None.
    name
        What tables call it. Default ``nafnet``.

    Raises
    ------
    UserError
        When spandrel isn't installed; when a value isn't one that is allowed; when the file isn't there or whole.
    """

    architecture: str = "nafnet"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0
    weights: str | None = None
    name: str = "nafnet"

    def __post_init__(self) -> None:
        """Check what can be checked without the library."""
        one_of("net.architecture", self.architecture, ARCHITECTURES)
        if not isinstance(self.options, Mapping):
            raise UserError(
                f"net.options={self.options!r} is not a group of options; set one, as net.options.width=16."
            )
        whole("net.seed", self.seed, low=0, high=2**63 - 1)
        if absent("net", ("spandrel",)):
            raise UserError(
                f"net.architecture={self.architecture} is built by spandrel, which isn't installed; "
                "pip install spandrel==0.4.2, or take net=unet."
            )
        if self.weights is not None:
            checked(self.weights)

    @property
    def multiple(self) -> int:
        """What height and width have to be multiples of."""
        try:
            return ARCHITECTURES[self.architecture].multiple(self.options)
        except TypeError as error:  # no list where the constructor takes one
            raise UserError(
                f"net.options={dict(self.options)}: {self.architecture} doesn't work with these ({error}); set others."
            ) from error

    def settings(self) -> dict[str, Any]:
        """Return what it is built from: its architecture, options, and its seed or the sha256 of its weights file."""
        said = {"class": "Spandrel", "architecture": self.architecture, "options": dict(self.options)}
        return said | identity_of(self.seed, self.weights)

    def build(self) -> nn.Module:
        """Return the module in eval mode on the CPU.

        Raises
        ------
        UserError
            When the library refuses the options, or the network that they make takes no picture of three colours to
            one of the same size; when the weights file has other weights.
        """
        from itae.portable.nets.spandrel_module import made, takes_pictures

        architecture = ARCHITECTURES[self.architecture]
        try:
            module = made(architecture.module, architecture.name, self.options, self.seed)
            takes_pictures(module, self.multiple)
        except Exception as error:  # whatever a constructor, or a network that doesn't fit together, ends in
            raise UserError(
                f"net.options={dict(self.options)}: spandrel's {architecture.name} doesn't work with these "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); set others."
            ) from error
        if self.weights is not None:
            load_into(module, self.weights)
        return module.eval()

    def cost(self, height: int, width: int) -> Cost:
        """Return MACs of a picture of this size, padded to `multiple`, and parameters.

        There is no closed form: torch counts (`torch.utils.flop_counter`) once a size, without computing. As in
        `costs`, a MAC is a product that is added up, in convolutions and matrix products; norms, gates, softmax and
        Fourier transforms count nothing.
        """
        height, width = (-(-side // self.multiple) * self.multiple for side in (height, width))
        return _counted(Spandrel(self.architecture, self.options), height, width)


@functools.lru_cache(maxsize=64)
def _counted(net: Spandrel, height: int, width: int) -> Cost:
    from itae.portable.nets.spandrel_module import counted

    return Cost(*counted(net.build(), height, width))
