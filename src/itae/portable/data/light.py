"""From the numbers of a picture to light and back: blur is a sum of light, not of numbers.

Averages of an sRGB picture's numbers are too dark: of a black and a white stripe the sensor sees half of the light,
whose number is 188 of 255 (.735), not 128.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from itae.base.checks import one_of


def srgb_to_linear(numbers: np.ndarray) -> np.ndarray:
    """Return light in [0, 1] of sRGB numbers in [0, 1], of any shape (IEC 61966-2-1, 5.2)."""
    return np.where(numbers <= 0.04045, numbers / 12.92, ((np.maximum(numbers, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Return sRGB numbers in [0, 1] of light in [0, 1], of any shape (IEC 61966-2-1, 5.3)."""
    low = light <= 0.0031308
    return np.where(low, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def gamma_to_linear(numbers: np.ndarray) -> np.ndarray:
    """Return numbers^2.2, by which GoPro's ``blur_gamma`` takes light from frames (Nah et al. 2017, equation 2)."""
    return np.maximum(numbers, 0) ** 2.2


def linear_to_gamma(light: np.ndarray) -> np.ndarray:
    """Return light^(1/2.2), the other way."""
    return np.maximum(light, 0) ** (1 / 2.2)


def _same(numbers: np.ndarray) -> np.ndarray:
    return numbers


_CURVES = MappingProxyType(
    {
        "srgb": (srgb_to_linear, linear_to_srgb),
        "gamma": (gamma_to_linear, linear_to_gamma),
        "none": (_same, _same),
    }
)
LIGHTS = tuple(_CURVES)


@dataclass(frozen=True)
class Light:
    """A curve between bytes and light.

    Parameters
    ----------
    curve
        ``srgb`` (default); ``gamma``, 2.2, as GoPro's ``blur_gamma``; ``none``, the numbers themselves, as GoPro's
        ``blur``.
    option
        What the curve is called in an error.

    Raises
    ------
    UserError
        When it is none of those.
    """

    curve: str = "srgb"
    option: str = "pairs.light"

    def __post_init__(self) -> None:
        """Check the curve."""
        one_of(self.option, self.curve, LIGHTS)

    def of(self, picture: np.ndarray) -> np.ndarray:
        """Return float32 light in [0, 1] of a uint8 picture, of any shape."""
        return _TABLES[self.curve][picture]

    def seen(self, light: np.ndarray) -> np.ndarray:
        """Return the uint8 picture of light of any shape, clipped to [0, 1] and rounded."""
        return np.rint(_CURVES[self.curve][1](np.clip(light, 0, 1)) * 255).astype(np.uint8)


_TABLES: Mapping[str, np.ndarray] = {
    name: to_light(np.arange(256) / 255).astype(np.float32) for name, (to_light, _) in _CURVES.items()
}
"""Light of each of 256 bytes, float32 [256]."""
