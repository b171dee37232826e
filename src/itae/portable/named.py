"""The classes that a yaml of ``itae portable`` may name, by their public names: `itae.deblur.UNet`.

Devices and the clock have names of their own, `itae.device` and `itae.clock`.
"""

from itae.portable.data.debian import Debian
from itae.portable.data.frames import Frames
from itae.portable.data.layouts import GoPro, Hide, Layout, RealBlur, Reds, RsBlur, TwoFolders
from itae.portable.data.noise import Noise, NoNoise, PoissonGaussian
from itae.portable.data.objects import Objects
from itae.portable.data.photographs import Folder, Photograph, Shipped, Source
from itae.portable.data.shake import NoBlur, Shake
from itae.portable.data.wanted import Wanted
from itae.portable.nets.spandrel_net import Spandrel
from itae.portable.nets.unet import UNet
from itae.portable.optimise.aware import QuantisationAware
from itae.portable.optimise.post_training import PostTraining
from itae.portable.optimise.prune import Prune
from itae.portable.optimise.swap import Swap
from itae.portable.search.options import Search
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.train.options import Train

__all__ = [
    "Debian",
    "Folder",
    "Frames",
    "GoPro",
    "Hide",
    "Layout",
    "NoBlur",
    "NoNoise",
    "Noise",
    "Objects",
    "Photograph",
    "PoissonGaussian",
    "PostTraining",
    "Prune",
    "QuantisationAware",
    "RealBlur",
    "Reds",
    "RsBlur",
    "Sandwich",
    "Search",
    "Shake",
    "Shipped",
    "Source",
    "Space",
    "Spandrel",
    "Swap",
    "Train",
    "TwoFolders",
    "UNet",
    "Wanted",
]
