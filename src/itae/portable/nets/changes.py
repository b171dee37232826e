"""The operators of a study: a base network, and one thing changed at a time, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One row of the study."""

    name: str
    group: str
    """Which part of the network is another; ``base`` for the network that nothing is changed in."""
    options: Mapping[str, Any]
    """Options of `UNet` that are others than the base's."""


def _change(name: str, group: str, **options: Any) -> Change:
    return Change(name, group, MappingProxyType(options))


CHANGES = (
    _change("base", "base"),
    _change("up_transposed4", "up", up="transposed4"),
    _change("up_bilinear", "up", up="bilinear"),
    _change("up_nearest", "up", up="nearest"),
    _change("up_pixel_shuffle", "up", up="pixel_shuffle"),
    _change("skip_add", "skip", skip="add"),
    _change("prelu", "activation", activation="prelu"),
    _change("leaky_relu", "activation", activation="leaky_relu"),
    _change("silu", "activation", activation="silu"),
    _change("gelu", "activation", activation="gelu"),
    _change("hardswish", "activation", activation="hardswish"),
    _change("down_max_pool", "down", down="max_pool"),
    _change("down_space_to_depth", "down", down="space_to_depth"),
    _change("depthwise", "conv", conv="depthwise"),
    _change("kernel_5", "kernel", kernel=5),
)
"""The base first; its operators are `UNet`'s defaults."""
