"""Pairs that are drawn: rectangles and noise, and a line of light as their blur. No photograph, and no file."""

import numpy as np
from scipy.ndimage import convolve

from itae.portable.data.pairs import Pairs, Splits


def line(side, angle):
    """Return the PSF of a straight path, [side, side]."""
    psf = np.zeros((side, side))
    if side == 1:
        return np.ones((1, 1), np.float32)
    for at in np.linspace(-side / 2 + 1, side / 2 - 1, 8 * side):
        psf[round(side // 2 + at * np.sin(angle)), round(side // 2 + at * np.cos(angle))] += 1
    return (psf / psf.sum()).astype(np.float32)


def picture(rng, side):
    """Return light of a drawn picture, [3, side, side] in 0..1."""
    made = np.full((3, side, side), 0.3)
    for _ in range(side // 2):
        top, left = rng.integers(-4, side, 2)
        height, width = rng.integers(3, side // 2, 2)
        made[:, max(top, 0) : top + height, max(left, 0) : left + width] = rng.random((3, 1, 1))
    return made


def srgb(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pairs(names, each=2, side=32, psf_side=7, noise=0.002, seed=0):
    """Return pairs of some photographs, `each` of them; their blur is in linear light."""
    rng = np.random.default_rng(seed)
    blurred, sharp, psfs = [], [], []
    edge = psf_side // 2
    for _ in range(len(names) * each):
        psf = line(psf_side, rng.uniform(0, np.pi))
        whole = picture(rng, side + 2 * edge)
        seen = np.stack([convolve(colour, psf) for colour in whole]) + noise * rng.standard_normal(whole.shape)
        inner = np.s_[:, edge : edge + side, edge : edge + side]
        blurred.append(np.round(255 * srgb(seen[inner])).astype(np.uint8))
        sharp.append(np.round(255 * srgb(whole[inner])).astype(np.uint8))
        psfs.append(psf)
    of = tuple(name for name in names for _ in range(each))
    lengths = np.full(len(of), max(psf_side - 2, 0), np.float32)
    return Pairs(np.stack(blurred), np.stack(sharp), of, lengths, np.stack(psfs))


def splits(photographs=4, each=2, side=32, seed=0, **options):
    """Return splits with so many photographs to learn from, and two of each of the others."""
    names = {"train": photographs, "validation": 2, "test": 2}
    made = [
        pairs([f"{split}{i}" for i in range(count)], each, side, seed=seed + at, **options)
        for at, (split, count) in enumerate(names.items())
    ]
    return Splits(*made, {}, f"drawn {photographs} {each} {side} {seed} {sorted(options.items())}")
