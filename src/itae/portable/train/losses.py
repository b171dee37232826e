"""What a network's output is held against in training. Only what trains imports this.

Shapes: B pictures, H, W height and width of them.
"""

from __future__ import annotations

import torch


def charbonnier(output: torch.Tensor, sharp: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the mean of sqrt(error^2 + eps^2) over all values (Charbonnier et al. 1994; Lai et al. 2017, LapSRN).

    Parameters
    ----------
    output, sharp
        Float32 [B, 3, H, W].
    eps
        Above 0; in their units.
    """
    return torch.sqrt((output - sharp) ** 2 + eps**2).mean()


def spectral(output: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute error of real and imaginary parts of the Fourier transforms of [B, 3, H, W].

    The transform is unitary (norm ``ortho``), so that it is in units of pictures, whatever their size; the half that a
    real picture doesn't mirror is counted. As in MIMO-UNet (Cho et al. 2021), whose transform isn't scaled.
    """
    return torch.view_as_real(torch.fft.rfft2(output - sharp, norm="ortho")).abs().mean()


def loss_of(output: torch.Tensor, sharp: torch.Tensor, eps: float, fft: float) -> torch.Tensor:
    """Return the Charbonnier loss and `fft` times the spectral one."""
    found = charbonnier(output, sharp, eps)
    return found + fft * spectral(output, sharp) if fft else found
