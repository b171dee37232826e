"""The classes of this room that a yaml may name."""

from itae.portable.data.debian import Debian
from itae.portable.data.frames import Frames
from itae.portable.data.layouts import GoPro, Hide, RealBlur, Reds, RsBlur, TwoFolders
from itae.portable.data.noise import NoNoise, PoissonGaussian
from itae.portable.data.objects import Objects
from itae.portable.data.photographs import Folder, Shipped
from itae.portable.data.shake import NoBlur, Shake
from itae.portable.data.wanted import Wanted

__all__ = [
    "Debian",
    "Folder",
    "Frames",
    "GoPro",
    "Hide",
    "NoBlur",
    "NoNoise",
    "Objects",
    "PoissonGaussian",
    "RealBlur",
    "Reds",
    "RsBlur",
    "Shake",
    "Shipped",
    "TwoFolders",
    "Wanted",
]
