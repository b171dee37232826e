"""A small U-Net that is trained, with photographs for it: those of the wheels of scikit-image and scikit-learn.

``python tests/small_unet.py`` trains it again (some CPU minutes) into `WEIGHTS`. It learned from five photographs;
`pairs` gives tests those two that it never saw, one of which calibrates.
"""

import importlib.util
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).parent / "small_unet.safetensors"
SPEC = {"channels": 8, "depth": 2, "blocks": 1, "up": "nearest"}
LEARNED = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
NOISE = 0.004


def net(**options):
    from itae.portable.nets.unet import UNet

    return UNet(**SPEC, weights=str(WEIGHTS), name="small", **options)


def photograph(name):
    """Return a photograph of a wheel, half as large, in linear light [3, H, W] in 0..1."""
    from PIL import Image

    package = "sklearn/datasets/images" if name in ("china.jpg", "flower.jpg") else "skimage/data"
    top, _, rest = package.partition("/")
    place = Path(importlib.util.find_spec(top).submodule_search_locations[0]) / rest / name
    with Image.open(place) as image:
        half = image.convert("RGB").reduce(2 if package.startswith("skimage") else 1)
    return linear(np.asarray(half, np.float64).transpose(2, 0, 1) / 255)


def linear(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encoded(x):
    x = np.clip(x, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def psf(rng, length, side=9):
    """Return what a shaken camera makes of a point: a path of so many pixels that turns as it goes."""
    turned = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, 64))
    path = np.cumsum(np.stack((np.sin(turned), np.cos(turned))), 1) * length / 64
    path = np.clip(path - path.mean(1, keepdims=True) + side // 2, 0, side - 1.001)
    low, kernel = np.floor(path).astype(int), np.zeros((side, side))
    part = path - low
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
            np.add.at(kernel, (low[0] + down, low[1] + right), weight)
    return kernel / kernel.sum()


def pairs(name, count, side=96, seed=0):
    """Return blurred and sharp crops of a photograph, uint8 [count, 3, side, side] each."""
    from scipy.signal import fftconvolve

    rng, light = np.random.default_rng(seed), photograph(name)
    blurred, sharp = [], []
    while len(sharp) < count:
        top, left = (rng.integers(8, size - side - 8) for size in light.shape[1:])
        around = light[:, top - 8 : top + side + 8, left - 8 : left + side + 8]
        kernel = psf(rng, rng.uniform(2, 5))
        if around.std() < 0.04:  # nothing to see
            continue
        seen = fftconvolve(around, kernel[None], "same", (1, 2))[:, 8:-8, 8:-8]
        blurred.append(encoded(seen + rng.normal(0, NOISE, seen.shape)))
        sharp.append(encoded(around[:, 8:-8, 8:-8]))
    return tuple(np.round(255 * np.stack(each)).astype(np.uint8) for each in (blurred, sharp))


def train(steps=6000, batch=16, crop=48):
    import torch
    from safetensors.torch import save_file

    from itae.portable.nets.unet import UNet

    torch.set_num_threads(1)
    drawn = [pairs(name, 200, seed=number) for number, name in enumerate(LEARNED)]
    blurred, sharp = (torch.from_numpy(np.concatenate(each)).float() / 255 for each in zip(*drawn, strict=True))
    rng, module = np.random.default_rng(0), UNet(**SPEC).build().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        chosen = rng.integers(len(sharp), size=batch)
        top, left = rng.integers(blurred.shape[-1] - crop + 1, size=2)
        x, y = (each[chosen, :, top : top + crop, left : left + crop] for each in (blurred, sharp))
        if rng.random() < 0.5:
            x, y = x.flip(3), y.flip(3)
        if rng.random() < 0.5:
            x, y = x.transpose(2, 3), y.transpose(2, 3)
        loss = ((module(x) - y) ** 2 + 1e-6).sqrt().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 500 == 0 or step == steps - 1:
            print(step, float(loss.detach()), *_gain(module), flush=True)
    save_file(module.state_dict(), WEIGHTS)


def _gain(module):
    import torch

    for name in ("china.jpg", "flower.jpg"):
        blurred, sharp = (torch.from_numpy(each).float() / 255 for each in pairs(name, 16))
        with torch.no_grad():
            out = module(blurred).clamp(0, 1)
        yield name
        for each in (blurred, out):
            yield round(float((-10 * ((each - sharp) ** 2).mean((1, 2, 3)).log10()).mean()), 3)


if __name__ == "__main__":
    train()
