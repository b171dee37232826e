"""What a network costs: closed forms against counts over the built module, in the whole space of specs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from itae.portable.named import Spandrel, UNet
from itae.portable.nets.changes import CHANGES
from itae.portable.nets.spec import ACTIVATIONS, CONVS, DOWNS, KERNELS, SKIPS, UNSHUFFLES, UPS

NOTES = {
    "base": 1.66, "up_transposed4": 1.83, "up_bilinear": 1.62, "up_nearest": 1.62, "up_pixel_shuffle": 1.66,
    "skip_add": 1.40, "prelu": 1.66, "leaky_relu": 1.66, "silu": 1.66, "gelu": 1.66, "hardswish": 1.66,
    "down_max_pool": 1.55, "down_space_to_depth": 1.59, "depthwise": 0.42, "kernel_5": 4.23,
}  # fmt: skip
"""GMAC of a picture of 192x192, from the study that ours repeats."""
SPECS = {
    "channels": st.integers(1, 4), "depth": st.integers(1, 3), "blocks": st.integers(1, 3),
    "kernel": st.sampled_from(KERNELS), "up": st.sampled_from(UPS), "skip": st.sampled_from(SKIPS),
    "down": st.sampled_from(DOWNS), "activation": st.sampled_from(ACTIVATIONS), "conv": st.sampled_from(CONVS),
    "expansion": st.integers(1, 4), "unshuffle": st.sampled_from(UNSHUFFLES), "residual": st.booleans(),
}  # fmt: skip


def counted(module, height, width):
    """Return MACs, by the shapes that each convolution sees while the module runs, and parameters."""
    macs = []

    def count(layer, args, output):
        tall, wide = layer.kernel_size
        if isinstance(layer, nn.ConvTranspose2d):  # each value of its input meets each weight of its channel
            macs.append(args[0].numel() * layer.out_channels // layer.groups * tall * wide)
        else:
            macs.append(output.numel() * layer.in_channels // layer.groups * tall * wide)

    convolutions = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [each.register_forward_hook(count) for each in convolutions]
    picture = torch.empty(1, 3, height, width, device="meta")
    assert module.to("meta")(picture).shape == picture.shape
    for hook in hooks:
        hook.remove()
    assert len(macs) == len(convolutions), "each convolution runs once"
    return sum(macs), sum(parameter.numel() for parameter in module.parameters())


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries(SPECS), st.integers(1, 3), st.integers(1, 3))
def test_costs_are_those_of_the_module_for_every_spec(options, tall, wide):
    net = UNet(**options)
    height, width = tall * net.multiple, wide * net.multiple
    assert net.cost(height, width) == counted(net.build(), height, width)
    assert net.cost(height - net.multiple + 1, width) == net.cost(height, width), "a picture is padded"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_the_operators_of_the_study_cost_what_the_notes_say(change):
    net = UNet(**change.options)
    assert net.cost(192, 192) == counted(net.build(), 192, 192)
    assert round(net.cost(192, 192).macs / 1e9, 2) == NOTES[change.name]


def test_the_base_is_the_net_of_the_notes():
    macs, parameters = UNet().cost(256, 256)
    assert (macs, parameters) == (2_950_692_864, 678_531)  # 2.95 GMAC, and 679 thousand


def test_a_small_net_counted_by_hand():
    # Head, one block, down, bottom, up, one block that reads both, tail; 16x16 places, 8x8 below.
    places, below = 16 * 16, 8 * 8
    macs = places * 9 * (3 * 2 + 2 * 2 + 4 * 2 + 2 * 3) + below * 9 * (2 * 4 + 4 * 4) + below * 4 * 4 * 2
    parameters = 9 * (3 * 2 + 2 * 2 + 4 * 2 + 2 * 3) + 9 * (2 * 4 + 4 * 4) + 4 * 4 * 2 + (2 + 2 + 2 + 3 + 4 + 4 + 2)
    assert UNet(channels=2, depth=1, blocks=1).cost(16, 16) == (macs, parameters)


def test_each_change_names_options_that_differ_from_the_base():
    base = UNet()
    assert [change.name for change in CHANGES] == list(NOTES)
    for change in CHANGES[1:]:
        ((option, value),) = change.options.items()
        assert value != getattr(base, option)
        assert change.group in (option, "activation")


def test_what_spandrel_s_networks_cost_is_counted_without_computing():
    options = {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    net = Spandrel(options=options)
    module = net.build()
    pooled = sum(8 * size * 8 * size for size in (1, 2, 1))  # the attention of channels, of one place a block
    assert net.cost(32, 31) == counted(module, 32, 32)
    assert net.cost(64, 64).macs == 4 * (net.cost(32, 32).macs - pooled) + pooled
    assert Spandrel(options=options | {"width": 16}).cost(32, 32) != net.cost(32, 32)


def test_parts_that_cost_the_same_are_told_apart_by_time_alone():
    assert len({UNet(activation=each).cost(64, 64).macs for each in ACTIVATIONS}) == 1
    assert UNet(up="bilinear").cost(64, 64) == UNet(up="nearest").cost(64, 64)
