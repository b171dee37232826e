"""Ten U-Nets that a practitioner would draw, listed before any search: what a search has to beat.

They are a ladder from 4 to 32 channels, in the manners that are common: of the paper of Ronneberger et al. (2015,
max-pool, transposed convolutions, concatenation); of PUNET, MediaTek's baseline of MAI 2021 (the same with leaky ReLU,
16 channels); of what runs well on a phone's accelerator (strided convolutions, nearest, sums, ReLU); of MobileNets
(depthwise); and of sub-pixel convolution (unshuffled input, pixel shuffle; Shi et al. 2016). Where those have another
number of scales, these have two or three. Nobody has tuned them, and nobody may after a search has been seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from itae.portable.nets.spec import Spec

_PHONE: Mapping[str, Any] = {"up": "nearest", "skip": "add", "down": "stride", "activation": "relu"}
_PUNET: Mapping[str, Any] = {"up": "transposed", "skip": "concat", "down": "max_pool", "activation": "leaky_relu"}
_CLASSIC: Mapping[str, Any] = {"up": "transposed", "skip": "concat", "down": "max_pool", "activation": "relu"}
_MOBILE: Mapping[str, Any] = {"up": "bilinear", "skip": "concat", "activation": "relu", "conv": "depthwise"}
_SHUFFLED: Mapping[str, Any] = {"up": "pixel_shuffle", "skip": "concat", "activation": "relu", "unshuffle": 2}

HAND_MADE: Mapping[str, Spec] = MappingProxyType(
    {
        "phone_4": Spec(channels=4, depth=2, blocks=1, **_PHONE),
        "punet_4": Spec(channels=4, depth=3, blocks=2, **_PUNET),
        "shuffled_12": Spec(channels=12, depth=2, blocks=1, **_SHUFFLED),
        "phone_8": Spec(channels=8, depth=3, blocks=1, **_PHONE),
        "mobile_16": Spec(channels=16, depth=3, blocks=2, **_MOBILE),
        "punet_8": Spec(channels=8, depth=3, blocks=2, **_PUNET),
        "shuffled_24": Spec(channels=24, depth=2, blocks=2, **_SHUFFLED),
        "phone_16": Spec(channels=16, depth=3, blocks=2, **_PHONE),
        "punet_16": Spec(channels=16, depth=3, blocks=2, **_PUNET),
        "classic_32": Spec(channels=32, depth=3, blocks=2, **_CLASSIC),
    }
)
"""Each by its name."""
