"""The network that a training begins with. Only what trains imports this."""

from __future__ import annotations

import torch
from torch import nn

from itae.portable.devices.device import Net
from itae.portable.nets.unet_module import UNetModule
from itae.portable.train.options import Train

TAIL = 0.1
"""What the last convolution of drawn weights is multiplied by."""


def begun(net: Net, options: Train) -> nn.Module:
    """Return a network in train mode, laid in memory as it will be trained.

    Weights from a file stay as they are. Drawn ones are made for tests of parity, where what a network adds to a
    picture has to be seen; a training begins nearer to the blurred input.
    """
    module = net.build()
    if isinstance(module, UNetModule) and getattr(net, "weights", None) is None and module.residual:
        with torch.no_grad():
            for parameter in module.tail.parameters():
                parameter.mul_(TAIL)
    return laid_out(module, options).train()


def laid_out(module: nn.Module, options: Train) -> nn.Module:
    """Return a module with its weights in the order in memory that pictures have."""
    return module.to(memory_format=torch.channels_last) if options.channels_last else module
