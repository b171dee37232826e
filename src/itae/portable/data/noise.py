"""Noise of a sensor, in linear light and before it is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from itae.base.checks import number


class Noise(Protocol):
    """A way to make light noisy."""

    def settings(self) -> dict[str, Any]:
        """Return all that its results depend on, as plain values."""

    def of(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return noisy light, which may be below 0 or above 1; of any shape, float32."""


@dataclass(frozen=True)
class PoissonGaussian:
    """Photons that are counted, and a reading that isn't exact: y = gain * Poisson(x / gain) + sigma * Normal(0, 1).

    Its variance is gain * x + sigma^2 (Foi, Trimeche, Katkovnik and Egiazarian, "Practical Poissonian-Gaussian noise
    modeling and fitting for single-image raw-data", IEEE TIP 2008).

    Parameters
    ----------
    gain
        Light of one photon, of 1 for white; 0 for none of its noise, to .1. Default .0001: white is 10,000 photons.
    sigma
        Standard deviation of the reading, in light of 1 for white; 0 to 1. Default .002.

    Raises
    ------
    UserError
        When one is out of its range.
    """

    gain: float = 1e-4
    sigma: float = 2e-3

    def __post_init__(self) -> None:
        """Check both."""
        number("noise.gain", self.gain, 0, 0.1)
        number("noise.sigma", self.sigma, 0, 1)
        if 0 < self.gain < 1e-9:  # more photons than numpy counts
            number("noise.gain", self.gain, 1e-9, 0.1)

    def settings(self) -> dict[str, Any]:
        """Return its options."""
        return {"gain": self.gain, "sigma": self.sigma}

    def of(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return noisy light; see `Noise.of`."""
        out = light
        if self.gain:
            out = self.gain * rng.poisson(np.maximum(light, 0) / self.gain)
        if self.sigma:
            out = out + self.sigma * rng.standard_normal(light.shape, dtype=np.float32)
        return out.astype(np.float32, copy=False)


@dataclass(frozen=True)
class NoNoise:
    """No noise."""

    def settings(self) -> dict[str, Any]:
        """Return that it has no options."""
        return {}

    def of(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return light as it is."""
        return light
