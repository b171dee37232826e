"""Pictures as a camera that moves and turns would see them one after the other, by kornia."""

from __future__ import annotations

import math

import numpy as np


def poses(path_T: np.ndarray, turn: float) -> np.ndarray:
    """Return where a camera points at each time, and how far it is turned: 0 in the middle of the exposure.

    Parameters
    ----------
    path_T
        Complex [T], in pixels, with an odd T.
    turn
        Degrees from the first to the last, at a constant speed.

    Returns
    -------
    ndarray
        Float64 [T, 3]: x, y in pixels, and radian.
    """
    at = path_T - path_T[len(path_T) // 2]
    return np.stack([at.real, at.imag, math.radians(turn) * np.linspace(-0.5, 0.5, len(path_T))], axis=1)


def moves(poses_T3: np.ndarray, side: int) -> np.ndarray:
    """Return the map of a picture's pixels to where each pose has them, float64 [T, 3, 3]; turned about its middle."""
    middle = (side - 1) / 2
    x, y, angle = poses_T3.T
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.zeros((len(poses_T3), 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = cos, -sin, x + middle - middle * (cos - sin)
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = sin, cos, y + middle - middle * (sin + cos)
    out[:, 2, 2] = 1
    return out


def warped(picture_HWC: np.ndarray, poses_T3: np.ndarray, outside: str = "reflection") -> np.ndarray:
    """Return a square picture in each pose, float32 [T, H, W, C]: bilinear, and a pose of zeros the picture itself.

    What it doesn't show is mirrored at its edges (``reflection``, default) or 0 (``zeros``).
    """
    import torch
    from kornia.geometry.transform import warp_perspective

    picture = torch.from_numpy(np.ascontiguousarray(picture_HWC.transpose(2, 0, 1)))[None]
    maps = torch.from_numpy(moves(poses_T3, len(picture_HWC)).astype(np.float32))
    with torch.no_grad():
        out = warp_perspective(
            picture.expand(len(maps), -1, -1, -1), maps, picture_HWC.shape[:2], padding_mode=outside, align_corners=True
        )
    seen = out.permute(0, 2, 3, 1).numpy()
    seen[~poses_T3.any(axis=1)] = picture_HWC  # interpolation is off by a few millionths
    return seen


def length(poses_T3: np.ndarray, side: int, points: int = 5) -> float:
    """Return how long the way of a pixel is, in pixels, on average over `points` by `points` of a picture."""
    at = np.linspace(0, side - 1, points)
    grid_3P = np.stack([*(each.ravel() for each in np.meshgrid(at, at)), np.ones(points * points)])
    ways_T2P = (moves(poses_T3, side) @ grid_3P)[:, :2]
    return float(np.hypot(*np.diff(ways_T2P, axis=0).swapaxes(0, 1)).sum(axis=0).mean())
