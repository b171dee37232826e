"""The networks that a yaml may name, by their public names: `itae.deblur.UNet`."""

from itae.portable.nets.spandrel_net import Spandrel
from itae.portable.nets.unet import UNet

__all__ = ["Spandrel", "UNet"]
