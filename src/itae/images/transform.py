"""From decoded images to what a backbone takes: transform, load ahead, normalise.

What is done to the pixels is plain data (`Transform.spec`), because it is part of what an embedding means.
When and where it is done is not: decoding runs in threads beside a forward pass that wants every core.

Shape suffixes: B images of a batch, S pixels of a side, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.checks import is_number, one_of, whole
from itae.base.device import on_device
from itae.base.errors import UserError
from itae.images.decode import DECODER, Least

if TYPE_CHECKING:
    import torch
    from PIL import Image


RESIZES = ("squash", "crop", "pad")
DECODES = ("full", "reduced")
ENOUGH = 2  # times the size that a picture is brought to: no fewer pixels a side are decoded of a JPEG
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Transform:
    """How a picture is brought to the input of a backbone: part of what an embedding means.

    Parameters
    ----------
    image_size
        Side S of the square input, in pixels.
    resize
        ``squash``: straight to S x S, nothing is lost, the aspect ratio changes. ``crop``: short side to
        256/224 of S, then the central S x S (the usual ImageNet evaluation). ``pad``: long side to S, centred
        on white.
    interpolation
        ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``; Pillow's, hence antialiased when shrinking.
    mean, std
        Three numbers each, on the scale 0..1, for red, green and blue.
    decode
        ``full``: all pixels of a file. ``reduced``: of a JPEG that is far larger than what it is brought to, a half,
        a quarter or an eighth a side, but no less than `ENOUGH` times that: several times as fast, and not the same
        to the last bit.

    Raises
    ------
    UserError
        For a value outside of these.
    """

    image_size: int
    resize: str = "squash"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    decode: str = "full"

    def __post_init__(self) -> None:
        whole("image_size", self.image_size, low=1)
        one_of("dataset.resize", self.resize, RESIZES)
        one_of("interpolation", self.interpolation, INTERPOLATIONS)
        one_of("dataset.decode", self.decode, DECODES)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise UserError(f"std={list(self.std)} has to be positive in all three colours.")

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Bring an RGB image of any size, or the `box` of it that its `info` has, to uint8 [S, S, 3]."""
        from PIL import Image

        side, box = self.image_size, image.info.get("box", (0, 0, *image.size))
        width, height = box[2] - box[0], box[3] - box[1]
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.resize == "pad":
            scale = side / max(width, height)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            padded = Image.new("RGB", (side, side), "white")
            padded.paste(image.resize(size, filter_, box=box), ((side - size[0]) // 2, (side - size[1]) // 2))
            return np.asarray(padded)
        if self.resize == "crop":
            # Only what will be kept is resized, so that a strip of 10 x 100,000 pixels costs no gigabytes.
            half = 0.5 * min(width, height) * side / self._short_side
            x, y = box[0] + width / 2, box[1] + height / 2
            box = (x - half, y - half, x + half, y + half)
        return np.asarray(image.resize((side, side), filter_, box=box))

    @property
    def _short_side(self) -> int:
        """To how many pixels ``crop`` brings the short side."""
        return round(self.image_size * 256 / 224)

    @property
    def least(self) -> Least | None:
        """What tells from a picture's size how much of it has to be decoded; None for all."""
        return self._least if self.decode == "reduced" else None

    def _least(self, size: tuple[int, int]) -> tuple[int, int]:
        side = ENOUGH * self.image_size
        if self.resize == "squash":
            return side, side
        side, of = (ENOUGH * self._short_side, min(size)) if self.resize == "crop" else (side, max(size))
        return math.ceil(size[0] * side / of), math.ceil(size[1] * side / of)

    def spec(self) -> dict[str, Any]:
        """Return the settings as plain values, in the form in which they enter a cache key."""
        reduced = {"decode": self.decode} if self.decode != "full" else {}  # as keys were before there was a choice
        return reduced | {
            "decoder": DECODER,
            "image_size": self.image_size,
            "resize": self.resize,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Transform:
        """Return the transform with this `spec`, whichever decoder it was used with."""
        return cls(**{name: value for name, value in spec.items() if name != "decoder"})


def _three_numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return `value` as three finite floats, or raise a `UserError` that calls it `name`."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(values) != 3 or not all(is_number(x) and math.isfinite(x) for x in values):
        raise UserError(f"{name}={value!r} is not a list of three numbers, for red, green and blue.")
    return tuple(float(x) for x in values)


def normalise(pixels_BSSC: torch.Tensor, transform: Transform) -> torch.Tensor:
    """Return (pixels / 255 - mean) / std, on the device of the pixels.

    Parameters
    ----------
    pixels_BSSC
        uint8 [B, S, S, 3], as `batches` yields them.
    transform
        Where mean and std come from.

    Returns
    -------
    torch.Tensor
        float32 [B, 3, S, S], contiguous: faster than channels-last in a timm ViT on a CPU.
    """
    import torch

    scale, shift = (
        on_device(torch.tensor(three), pixels_BSSC.device)
        for three in (
            [1 / (255 * std) for std in transform.std],
            [-m / s for m, s in zip(transform.mean, transform.std, strict=True)],
        )
    )
    images_BCSS = pixels_BSSC.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images_BCSS.mul_(scale.view(3, 1, 1)).add_(shift.view(3, 1, 1))
