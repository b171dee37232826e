"""The networks that a yaml may name, by their public names: `itae.deblur.UNet`."""

from itae.portable.nets.unet import UNet

__all__ = ["UNet"]
