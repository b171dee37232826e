"""Steps that make a net cheaper: what they keep, what they take out, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_unet import net as small
from torch.utils.flop_counter import FlopCounterMode
from toy_nets import Toy

from itae.base.errors import UserError
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.devices.devices import OnnxRuntime
from itae.portable.named import PostTraining, Prune, QuantisationAware, Swap
from itae.portable.nets.padded import padded
from itae.portable.nets.unet import UNet
from itae.portable.optimise.fake import FakeQuantised
from itae.portable.optimise.post_training import fitted, refuse_shared, stretched
from itae.portable.optimise.pruned import Pruned
from itae.portable.optimise.state import State, applied

ODDS = {"conv": "inverted", "skip": "add", "up": "pixel_shuffle", "down": "space_to_depth", "activation": "prelu"}


def pairs_of(names, count=2, side=32, seed=0):
    rng = np.random.default_rng(seed)
    sharp = rng.integers(0, 200, (len(names) * count, 3, side, side)).astype(np.uint8)
    return Pairs(
        sharp // 2 + 20,
        sharp,
        tuple(name for name in names for _ in range(count)),
        np.full(len(sharp), np.nan, np.float32),
    )


SPLITS = Splits(
    pairs_of(["a", "b", "c"], 4), pairs_of(["d"], seed=1), pairs_of(["e", "f"], seed=2), facts={}, key="toy"
)  # fmt: skip


def state_of(net, tmp_path, **options):
    return State(net, SPLITS, tmp_path, **options)


def said(net, size=(128, 128)):
    """Return what a net adds to a picture, float64 [3, H, W]."""
    picture = torch.from_numpy(np.random.default_rng(0).random((1, 3, *size), np.float32))
    with torch.no_grad():
        return (net.build()(picture) - picture)[0].double()


def far(ours, theirs):
    """Return the relative error away from the edges, where interpolation repeats what convolutions take for 0."""
    ours, theirs = ours[:, 48:-48, 48:-48], theirs[:, 48:-48, 48:-48]
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ({"up": "transposed"}, {"up": "pixel_shuffle"}),
        ({"up": "transposed"}, {"up": "transposed4"}),
        ({"up": "bilinear"}, {"up": "transposed4"}),
        ({"up": "nearest"}, {"up": "pixel_shuffle"}),
        ({"down": "space_to_depth"}, {"down": "stride"}),
        ({"skip": "add"}, {"skip": "concat"}),
        ({"skip": "none"}, {"skip": "concat"}),
        ({"kernel": 3}, {"kernel": 5}),
        ({"activation": "relu"}, {"activation": "prelu"}),
        ({"activation": "leaky_relu"}, {"activation": "prelu"}),
        ({"conv": "depthwise", "up": "nearest"}, {"kernel": 5, "up": "transposed"}),
    ],
)
def test_operators_that_can_say_the_same_do(tmp_path, was, becomes):
    net = UNet(channels=4, depth=2, **was)
    found = applied([Swap(becomes)], state_of(net, tmp_path))
    assert found.lineage[-1]["drawn"] == []
    assert found.net.settings() | becomes == found.net.settings()
    assert far(said(found.net), said(net)) < 1e-5


@pytest.mark.parametrize(
    ("was", "becomes"),
    [({"up": "transposed4"}, {"up": "nearest"}), ({"down": "stride"}, {"down": "space_to_depth"})],
)
def test_what_another_operator_cannot_say_is_folded_so_that_a_constant_passes(was, becomes):
    from itae.portable.optimise.carried import carried

    old, new = (UNet(channels=4, depth=1, **options) for options in (was, becomes))
    part = "ups" if "up" in was else "downs"
    layers = []
    for net, weights in ((old, old.build().state_dict()), (new, carried(old.build().state_dict(), old, new))):
        module = net.build()
        module.load_state_dict(weights)
        layers.append(getattr(module, part)[0])
    flat = torch.ones(1, layers[0].in_channels, 12, 12)
    with torch.no_grad():
        ours, theirs = (layer(flat)[..., 2:-2, 2:-2].mean((2, 3)) for layer in layers)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_weights_without_a_meaning_elsewhere_are_drawn_and_named(tmp_path):
    found = Swap({"conv": "depthwise"}).apply(state_of(UNet(channels=4, depth=1), tmp_path))
    drawn = found.lineage[-1]["drawn"]
    assert "encoders.0.0.1.weight" in drawn
    assert not any(name.startswith(("head", "tail", "ups", "downs")) for name in drawn)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "names no operator"),
        ({"depth": 2}, "'depth' is not one of up, skip"),
        ({"up": "bicubic"}, "steps.swap.options.up='bicubic' is not one of"),
    ],
)
def test_what_cannot_be_swapped_is_refused_at_once(options, words):
    with pytest.raises(UserError, match=words):
        Swap(options)


@pytest.mark.parametrize("step", [Swap({"up": "nearest"}), Prune()])
def test_a_net_of_another_kind_is_refused(tmp_path, step):
    with pytest.raises(UserError, match=r"takes U-Nets, .*toy is none"):
        step.apply(state_of(Toy(), tmp_path))


def widened(net):
    """Return the weights of a net with half as many channels that do nothing among those that do."""
    wide = replace(net, channels=2 * net.channels)
    rng, wanted = np.random.default_rng(0), wide.build().state_dict()
    places = {}

    def among(count, of):
        return places.setdefault((count, of), np.sort(rng.permutation(of)[:count]))

    weights = {}
    for name, tensor in net.build().state_dict().items():
        new = torch.zeros_like(wanted[name])
        at = np.ix_(*(among(n, of) if n != of else np.arange(n) for n, of in zip(tensor.shape, new.shape, strict=True)))
        new[at] = tensor
        weights[name] = new
    return wide, weights


@pytest.mark.parametrize("options", [{}, {"skip": "add", "up": "nearest"}, {"activation": "gelu", "down": "max_pool"}])
def test_channels_that_do_nothing_are_those_that_go(tmp_path, options):
    from itae.portable.optimise.kept import kept

    net = UNet(channels=4, depth=1, blocks=1, skip=options.pop("skip", "none"), **options)
    wide, weights = widened(net)
    wide = replace(wide, weights=str(kept(weights, tmp_path)))
    assert far(said(wide), said(net)) < 1e-6
    share = net.cost(32, 32).macs / wide.cost(32, 32).macs
    found = Prune(macs=share * 1.3, round_to=1).apply(state_of(wide, tmp_path))
    assert found.net.cost(32, 32).macs < 0.6 * wide.cost(32, 32).macs
    assert far(said(found.net), said(net)) < 1e-5


@pytest.mark.parametrize("options", [{}, ODDS, {"conv": "depthwise", "unshuffle": 2, "kernel": 5}])
def test_a_pruned_net_is_a_net_and_costs_what_it_counts(tmp_path, options):
    net = UNet(channels=8, depth=2, blocks=1, **options)
    found = Prune(macs=0.6, round_to=2).apply(state_of(net, tmp_path)).net
    module = found.build()
    height, width = 4 * net.multiple, 8 * net.multiple
    cost = found.cost(height - 1, width)
    assert cost.parameters == sum(each.numel() for each in module.parameters())
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(torch.zeros(1, 3, height, width))
    assert 2 * cost.macs == counted.get_total_flops()
    assert cost.macs <= 0.6 * net.cost(height, width).macs
    again = Pruned(**net.architecture(), weights=found.weights, widths=found.settings()["widths"])
    assert again.settings() == found.settings()
    assert torch.equal(said(again, (height, width)), said(found, (height, width)))


def test_steps_go_in_any_order_and_say_so(tmp_path):
    net = UNet(channels=8, depth=1)
    ends = [
        applied(steps, state_of(net, tmp_path))
        for steps in ((Swap({"up": "nearest"}), Prune(0.7)), (Prune(0.7), Swap({"up": "nearest"}), PostTraining(2)))
    ]
    assert [[each["step"] for each in end.lineage] for end in ends] == [
        ["swap", "prune"], ["prune", "swap", "post_training"],
    ]  # fmt: skip
    for end in ends:
        assert isinstance(end.net, Pruned)
        assert end.net.up == "nearest"
        assert end.net.build()(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
        assert end.description()["net"] == end.net.settings()


def test_a_pruned_net_says_where_operators_do_not_fit_its_widths(tmp_path):
    found = Prune(0.6, round_to=1).apply(state_of(UNet(channels=8, depth=2, seed=3), tmp_path))
    with pytest.raises(UserError, match=r"was pruned to widths that don't go with these .*; swap before pruning"):
        Swap({"conv": "depthwise"}).apply(found)


@pytest.mark.parametrize(
    ("widths", "words"),
    [
        ({"head.0": [3]}, r"net.widths.head.0=\[3\] must be two whole numbers"),
        ({"head.0": [3, True]}, r"net.widths.head.0=\[3, True\] must be two whole numbers"),
        ({"head.0": [3, 4]}, "lacks the convolution bottom.0.0"),
    ],
)
def test_widths_that_are_none_are_refused(widths, words):
    with pytest.raises(UserError, match=words):
        Pruned(channels=4, depth=1, blocks=1, widths=widths).build()


def test_fewer_macs_than_can_be_had_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"steps.prune.macs=0.01 of unet can't be had"):
        Prune(macs=0.01).apply(state_of(UNet(channels=4, depth=1), tmp_path))


def test_a_pruned_net_is_exported(tmp_path):
    device, found = OnnxRuntime(), Prune(0.5).apply(state_of(UNet(channels=8, depth=1), tmp_path)).net
    (tmp_path / "net").mkdir()
    device.convert(found.build(), (32, 32), tmp_path / "net", [])
    picture = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    out = device.open(tmp_path / "net", 1).timed(picture).output
    assert np.allclose(out - picture, said(found, (32, 32)).numpy(), atol=1e-5)


def test_calibration_is_spread_over_photographs_and_stretched(tmp_path):
    found = PostTraining(pictures=6).apply(state_of(UNet(channels=4, depth=3), tmp_path))
    assert found.lineage[-1] | {"pictures": 6, "photographs": 3} == found.lineage[-1]
    assert all(each.min() == 0 and each.max() == 1 for each in found.calibration)
    assert PostTraining(2, seed=1).apply(found).lineage[-1]["photographs"] == 2


@pytest.mark.parametrize("split", ["validation", "test"])
def test_pictures_that_judge_do_not_calibrate(tmp_path, split):
    with pytest.raises(UserError, match=f"split='{split}' isn't train: pictures that calibrate must not be"):
        PostTraining(split=split)
    shared = replace(SPLITS, **{split: replace(SPLITS.train, photographs=tuple("xyz" * 4))})
    with pytest.raises(UserError, match="12 of 12 pictures that calibrate are among those that judge"):
        PostTraining().apply(replace(state_of(UNet(channels=4, depth=1), tmp_path), splits=shared))


def test_a_picture_is_known_again_when_it_is_stretched_or_padded():
    net, pairs = UNet(channels=4, depth=3), pairs_of(["a"], side=36)
    picture = padded(pairs.blurred[:1].astype(np.float32) / 255, net.multiple).picture
    refuse_shared([1 - picture], pairs, net)
    with pytest.raises(UserError, match="1 of 1"):
        refuse_shared([stretched(picture)], pairs, net)


def test_rounding_is_that_of_eight_bits_and_lets_gradients_through():
    """A slow reference: each value by itself, as Jacob et al. (2018) write it."""
    rng = np.random.default_rng(0)
    pictures = [rng.random((1, 3, 16, 16), np.float32) for _ in range(2)]
    fake = FakeQuantised(small(), pictures)
    module, plain = fake.build(), small().build()
    assert module.state_dict().keys() == plain.state_dict().keys()
    head, weight = module.head[0], plain.head[0].weight.detach().numpy().astype(np.float64)
    low, high = min(0.0, *(p.min() for p in pictures)), max(p.max() for p in pictures)
    step = (high - low) / 255
    zero = round(-low / step)
    picture = 1.2 * rng.random((1, 3, 16, 16), np.float32) - 0.1
    x = ((np.clip(np.round(picture / step) + zero, 0, 255) - zero) * step).astype(np.float32)
    scale = np.abs(weight).max((1, 2, 3), keepdims=True) / 127
    w = (np.round(weight / scale) * scale).astype(np.float32)
    expected = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, w)), plain.head[0].bias, padding=1)
    given = torch.from_numpy(picture).requires_grad_()
    out = head(given)
    assert torch.allclose(out, expected, atol=1e-5)
    out.sum().backward()
    inside = (picture > low) & (picture < high)
    assert bool((given.grad[torch.from_numpy(inside)] != 0).all())
    assert bool((given.grad[torch.from_numpy((picture < low - step) | (picture > high + step))] == 0).all())
    assert head.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert not torch.equal(module(given), plain(given))


def test_training_aware_of_rounding_is_left_where_nothing_is_in_eight_bits(tmp_path):
    from itae.portable.train.options import Train

    with pytest.raises(UserError, match="is for devices in eight bits, and those here are ort; add ort_int8"):
        QuantisationAware(Train(steps=1)).apply(state_of(small(), tmp_path, devices=(OnnxRuntime(),)))


def test_pictures_that_calibrate_are_cut_or_mirrored_to_an_exports_size():
    picture = np.arange(2 * 3, dtype=np.float32).reshape(1, 1, 2, 3).repeat(3, 1)
    assert fitted(picture, 2, 3).tolist() == picture.tolist()
    assert fitted(picture, 1, 1)[0, 0].tolist() == [[1]]
    assert fitted(picture, 5, 2)[0, 2].tolist() == [[0, 1], [3, 4], [3, 4], [0, 1], [0, 1]]
