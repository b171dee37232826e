"""The supernet: a sliced sub-net is it to the bit, shares what it should, and learns by the sandwich rule."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.portable.nets.spec import CONVS, DOWNS, UPS, Spec
from itae.portable.nets.unet import UNet
from itae.portable.nets.unet_module import CORRECTION, UNetModule
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.settled import TAIL, settle
from itae.portable.search.sliced import kept, sliced
from itae.portable.search.space import Space
from itae.portable.search.supernet import Supernet

PLAIN = Space(channels=(2, 3, 5), depth=(1, 2), blocks=(1, 2))
ALL = Space(
    channels=(2, 3), depth=(1, 2), blocks=(1, 2), kernel=(3, 5), up=UPS, skip=("concat", "add", "none"), down=DOWNS,
    activation=("relu", "prelu", "gelu"), conv=CONVS, expansion=(1, 2), unshuffle=(1, 2),
)  # fmt: skip


@cache
def supernet(space: Space) -> Supernet:
    """Return a supernet as if it had been trained: no bias is 0, no gain 1, no slope .25."""
    net = Supernet(space, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in net.private.values():
            values += 0.1 * torch.randn(values.shape, generator=generator)
    return net


@cache
def all_alike() -> Supernet:
    """Return a supernet in which nothing belongs to one width alone: gains are 1 and biases 0."""
    net = Supernet(PLAIN, 0)
    with torch.no_grad():
        for key, values in net.private.items():
            values.fill_(1.0 if "/gain/" in key else 0.0)
        for key, weight in net.shared.items():
            if key.startswith("tail/"):
                weight *= 30  # or else it would say too little to be compared
    return net


def pictures(side: int = 16, n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(2))


def drawn(space: Space, seed: int) -> Spec:
    return space.sample(np.random.default_rng(seed))


@pytest.mark.parametrize("space", [PLAIN, pytest.param(ALL, marks=pytest.mark.slow)])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_sliced_network_is_the_supernets_to_the_bit(space, seed):
    spec, net, blurred = drawn(space, seed), supernet(space), pictures()
    with torch.no_grad():
        assert torch.equal(sliced(net, spec)(blurred), net(blurred, spec))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_narrow_network_is_the_wide_one_without_its_last_channels(seed):
    """Which channels are taken: with gains and biases that don't matter, the wide net with all others at 0 is the same.

    What is set to 0 are output channels only; that a convolution reads the right ones of its inputs, which of
    concatenated ones are two halves, follows.
    """
    wide = drawn(PLAIN, seed)
    wide, narrow = (Spec(**wide.architecture() | {"channels": channels}) for channels in (5, 2))
    net = all_alike()
    with torch.no_grad():
        module = UNetModule(wide, None)
        module.load_state_dict(net.weights(wide))
        small = net.weights(narrow)
        module.tail.weight *= (5 / 2) ** 0.5  # the gain that isn't learned
        for name, weight in module.named_parameters():
            if weight.ndim == 4 and not name.startswith("tail"):
                axis = 1 if name.startswith("ups") and wide.up == "transposed" else 0
                n, of = small[name].shape[axis], weight.shape[axis]
                left = torch.arange(of) < n
                if name.startswith("decoders") and name.split(".")[2:4] == ["0", "0"] and weight.shape[1] == 1:
                    left = torch.arange(of) % (of // 2) < n // 2 if wide.skip == "concat" else left
                weight *= left.view(-1, 1, 1, 1) if axis == 0 else left.view(1, -1, 1, 1)
        blurred = pictures()
        assert torch.allclose(module(blurred), net(blurred, narrow), atol=1e-5)
        assert not torch.allclose(net(blurred, wide), net(blurred, narrow), atol=1e-3)


def test_scales_of_one_size_share_weights_whatever_the_input():
    """A net with an unshuffled input has the middle of one without, that is a scale deeper and half as wide."""
    net = supernet(Space(channels=(2, 4), depth=(1, 2), conv=("dense",)))
    plain, shuffled = (
        net.weights(Spec(channels=c, depth=d, blocks=1, unshuffle=u)) for c, d, u in ((2, 2, 1), (4, 1, 2))
    )
    for theirs, ours in (("encoders.1", "encoders.0"), ("bottom", "bottom"), ("decoders.0", "decoders.0")):
        assert torch.equal(plain[f"{theirs}.0.0.weight"], shuffled[f"{ours}.0.0.weight"])
    assert plain["head.0.weight"].shape != shuffled["head.0.weight"].shape


def test_only_what_a_network_takes_learns_from_it():
    net = Supernet(PLAIN, 0)
    spec = Spec(channels=2, depth=2, blocks=1)
    net(pictures(), spec).square().mean().backward()
    weight = net.shared["encoder/0/dense3/0_0_weight"].grad
    assert weight[:2, :2].abs().min() > 0
    assert weight[2:].abs().max() == weight[:, 2:].abs().max() == 0
    met = net.shared["decoder/0/dense3/concat/0_0_weight"].grad
    assert met[:2, [0, 1, 5, 6]].abs().max() > 0
    assert met[:, [2, 3, 4, 7, 8, 9]].abs().max() == 0
    assert net.shared["decoder/0/depthwise3/concat/0_0_weight"].grad is None


@pytest.mark.parametrize("conv", ["dense", "depthwise"])
def test_a_signal_keeps_its_size_in_a_narrow_network(conv):
    """In the mean over five draws; without gains a narrow one would say a thousandth."""
    space = Space((4, 32), (3,), (2,), (3,), ("nearest",), ("concat",), ("stride",), ("relu",), (conv,), (2,), (1,))
    blurred = pictures(32, 2)
    said = []
    with torch.no_grad():
        for seed in range(5):
            net = Supernet(space, seed)
            nets = [replace(space.largest, channels=channels) for channels in (32, 4)]
            said.append([float((net(blurred, spec) - blurred).std()) for spec in nets])
    wide, narrow = np.exp(np.log(said).mean(0))
    assert wide / 4 < narrow < 4 * wide
    assert 0.0003 < wide < 0.03


@cache
def settled(space: Space) -> Supernet:
    net = Supernet(space, 0)
    settle(net, 0)
    return net


@pytest.mark.parametrize("space", [PLAIN, pytest.param(ALL, marks=pytest.mark.slow)])
def test_what_a_settled_network_says_differs_between_places_and_not_by_how_bright_a_picture_is(space):
    """Of drawn networks of all operators and widths, on other pictures than those by which they were settled."""
    wanted, far, bright = TAIL * CORRECTION, [], []
    blurred = pictures(32, 4)
    with torch.no_grad():
        for seed in range(40):
            said = settled(space)(blurred, drawn(space, seed)) - blurred
            far.append(float(said.std() / wanted))
            bright.append(float(said.mean((0, 2, 3)).abs().max() / wanted))
    assert 0.4 < np.median(far) < 2.5
    assert max(far) < 20
    assert np.median(bright) < 0.6


def test_every_layer_of_the_widest_network_is_settled_to_one():
    net, sizes = settled(PLAIN), []
    module = UNetModule(PLAIN.largest, None)
    module.load_state_dict(net.weights(PLAIN.largest))
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and layer is not module.tail:
            layer.register_forward_hook(lambda layer, given, said: sizes.append(float(said.std())))
    with torch.no_grad():
        module(pictures(32, 4))
    assert len(sizes) == 15
    assert 0.4 < min(sizes) <= max(sizes) < 2.5


def test_settling_hangs_on_its_seed_alone_and_leaves_float32():
    one, other, third = Supernet(PLAIN, 0), Supernet(PLAIN, 0), Supernet(PLAIN, 0)
    settle(one, 3), settle(other, 3), settle(third, 4)
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs), name
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))


def test_the_same_seed_draws_the_same_weights_and_torchs_own_generator_is_left_alone():
    before = torch.get_rng_state()
    one, same, other = (Supernet(PLAIN, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_network_that_is_not_in_the_space_is_refused():
    with pytest.raises(ValueError, match="not in the space"):
        Supernet(PLAIN, 0).weights(Spec(channels=4))


def test_a_kept_network_is_a_net_with_weights(tmp_path):
    net = supernet(PLAIN)
    spec, blurred = drawn(PLAIN, 3), pictures()
    found = kept(net, spec, tmp_path, "found")
    assert (found.name, found.architecture()) == ("found", spec.architecture())
    with torch.no_grad():
        assert torch.equal(found.build()(blurred), net(blurred, spec))
        assert torch.equal(sliced(net, found)(blurred), net(blurred, found))
    assert kept(net, spec, tmp_path, "found") == found
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


# --- learning


def test_the_networks_of_a_step_depend_on_its_number_alone():
    sandwich = Sandwich(drawn=3)
    one = [sandwich.specs(PLAIN, step) for step in range(20)]
    assert one[7] == sandwich.specs(PLAIN, 7) != one[8]
    assert one != [Sandwich(drawn=3, seed=1).specs(PLAIN, step) for step in range(20)]
    assert all((specs[0].channels, specs[0].unshuffle) == (5, 1) for specs in one)
    assert all((specs[1].channels, specs[1].unshuffle, specs[1].conv) == (2, 2, "depthwise") for specs in one)
    assert len({spec for specs in one for spec in specs[2:]}) > 40


def test_gradients_of_a_step_are_the_mean_over_its_networks():
    net, sandwich, blurred, sharp = Supernet(PLAIN, 0), Sandwich(drawn=1, distil=0.25), pictures(), pictures() ** 2

    def loss(output, wanted):
        return (output - wanted).abs().mean()

    told = sandwich.backward(PLAIN, 5, lambda spec: net(blurred, spec), sharp, loss)
    got = {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}
    net.zero_grad()
    outputs = [net(blurred, spec) for spec in sandwich.specs(PLAIN, 5)]
    assert told == float(loss(outputs[0], sharp).detach())
    whole = loss(outputs[0], sharp)
    for output in outputs[1:]:
        whole = whole + 0.75 * loss(output, sharp) + 0.25 * loss(output, outputs[0].detach())
    (whole / 3).backward()
    want = {name: each.grad for name, each in net.named_parameters() if each.grad is not None}
    assert got.keys() == want.keys()
    for name in got:
        torch.testing.assert_close(got[name], want[name])


def test_a_supernet_is_no_larger_than_its_largest_network_needs():
    space = Space(channels=(4, 16), up=("nearest",), skip=("add",), down=("stride",), activation=("relu",),
                  conv=("dense",), depth=(2,), unshuffle=(1,))  # fmt: skip
    net = Supernet(space, 0)
    largest = sum(each.numel() for each in UNet(**space.largest.architecture()).build().parameters())
    shared = sum(each.numel() for each in net.shared.values())
    assert shared < largest < shared + sum(each.numel() for each in net.private.values())
