"""Words for ``itae portable`` as it deploys: a tiny network, or a trained one, and few small photographs."""

import numpy as np
import small_unet
from PIL import Image

TINY = ("net.channels=2", "net.depth=1", "net.blocks=1", "train.steps=4", "train.crop=16", "train.batch=2")
SMALL = (
    *TINY,
    *("pairs.train=6", "pairs.validation=3", "pairs.test=3", "pairs.train_size=32", "blur.length=[2,4]"),
    *("measure.size=32", "measure.budget_s=30", "measure.rounds=8", "measure.max_split_half=1"),
    *("data=folder", "data.root=photographs", "runtime.report=false", "out=out"),
)
TRAINED = (
    *SMALL,
    *(f"net.{name}={value}" for name, value in {**small_unet.SPEC, "skip": "concat"}.items()),
    *(f"net.weights={small_unet.WEIGHTS}", "train.lr=1e-6", "blur.length=[3,5]"),
)
"""With a network that restores already, and stays so."""


def photographs(folder):
    """Make a folder with three small photographs, and return it."""
    folder.mkdir()
    for name in ("coffee", "chelsea", "astronaut"):
        light = small_unet.photograph(f"{name}.png")[:, 20:116, 20:116]
        picture = np.round(255 * small_unet.encoded(light)).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder
