"""Networks for deblurring: weights that let a signal through, how far a network sees, files of weights, mistakes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from itae.base.errors import UserError
from itae.portable import named
from itae.portable.devices.device import Net
from itae.portable.named import Spandrel, UNet
from itae.portable.nets.changes import CHANGES
from itae.portable.nets.padded import padded
from itae.portable.nets.reach import reach, receptive_field
from itae.portable.nets.spec import ACTIVATIONS, CONVS, DOWNS, SKIPS, UNSHUFFLES, UPS
from itae.portable.nets.unet_module import UNetModule

CONF = Path(__file__).parents[2] / "conf" / "portable" / "net"
NAFNET = {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}


NETS: tuple[Net, ...] = (UNet(), Spandrel())
"""For mypy: both are what a device converts."""


def shipped(name: str) -> Net:
    """Return the network of a yaml."""
    options = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return getattr(named, options.pop("_target_").removeprefix("itae.deblur."))(**options)


def pictures(side, seed=0):
    """Return noise, and something as smooth as what is blurred."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, side, side, generator=generator)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    return noise, torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def corrections(net, inputs):
    """Return what a network adds to each picture, or says of it where it isn't residual."""
    module = net.build()
    assert not module.training
    residual = getattr(net, "residual", True)
    with torch.no_grad():
        return [module(each) - each if residual else module(each) for each in inputs]


# --- weights


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_drawn_network_says_something_of_the_picture(change):
    net = UNet(**change.options)
    for one, other in zip(pictures(64), pictures(64, seed=1), strict=True):
        here, there = corrections(net, (one, other))
        assert 0.008 < here.std((2, 3)).mean() < 0.06, "neither dead nor larger than the picture"
        assert (here - there).std() > 0.01, "another picture, another output"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_bfloat16_keeps_a_drawn_network_s_output_where_a_dead_one_does_not(change):
    # Budgets of parity lie between the two.
    def db(one, other):
        return -10 * float((one - other).square().mean().log10())

    module, (picture, _) = UNet(**change.options).build(), pictures(64)
    with torch.no_grad():
        expected = module(picture)
        rounded = module.bfloat16()(picture.bfloat16()).float()
    assert db(picture, expected) < 40
    assert db(rounded, expected) > 50


SPACE = {
    "channels": st.integers(4, 8), "depth": st.integers(1, 3), "blocks": st.integers(1, 3),
    "up": st.sampled_from(UPS), "skip": st.sampled_from(SKIPS), "down": st.sampled_from(DOWNS),
    "activation": st.sampled_from(ACTIVATIONS), "conv": st.sampled_from(CONVS), "expansion": st.integers(1, 4),
    "unshuffle": st.sampled_from(UNSHUFFLES), "residual": st.booleans(), "seed": st.integers(0, 2**63 - 1),
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries(SPACE))
def test_no_spec_draws_a_dead_network(options):
    net = UNet(**options)
    noise, _ = pictures(8 * net.multiple)
    other, _ = pictures(8 * net.multiple, seed=1)
    here, there = corrections(net, (noise, other))
    assert here.shape == noise.shape
    assert 0.004 < here.std((2, 3)).mean() < 0.1
    assert (here - there).std() > 0.004


@pytest.mark.parametrize("net", [UNet(channels=4, depth=1, activation="prelu"), Spandrel(options=NAFNET)],
                         ids=["unet", "spandrel"])  # fmt: skip
def test_a_seed_draws_the_same_weights_and_leaves_torch_s_own_generator(net):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = net.build().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    again, other = net.build().state_dict(), replace(net, seed=1).build().state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if first[key].unique().numel() > 1)
    assert net.settings() == replace(net).settings() != replace(net, seed=1).settings()


def test_spandrel_s_constants_are_woken():
    here, there = corrections(Spandrel(options=NAFNET), [each[0] for each in (pictures(32), pictures(32, seed=1))])
    assert 0.03 < here.std() < 1
    assert (here - there).std() > 0.03
    assert all(parameter.unique().numel() > 1 for parameter in Spandrel(options=NAFNET).build().parameters())


@pytest.mark.parametrize("net", [UNet(channels=4, depth=1), Spandrel(options=NAFNET)], ids=["unet", "spandrel"])
def test_weights_are_read_from_a_file_and_are_what_the_network_is(net, tmp_path):
    file, copy = tmp_path / "of.safetensors", tmp_path / "copy.safetensors"
    theirs = replace(net, seed=3).build().state_dict()
    save_file(theirs, file)
    copy.write_bytes(file.read_bytes())
    read = replace(net, weights=str(file))
    assert all(torch.equal(value, theirs[key]) for key, value in read.build().state_dict().items())
    # Neither the seed nor the place of the file is part of it.
    assert read.settings() == replace(net, weights=str(copy), seed=9).settings() != net.settings()


def test_every_option_is_in_the_settings():
    others = {
        "channels": 8, "depth": 2, "blocks": 1, "kernel": 5, "up": "nearest", "skip": "add", "down": "max_pool",
        "activation": "gelu", "conv": "inverted", "expansion": 3, "unshuffle": 2, "residual": False, "seed": 1,
    }  # fmt: skip
    base = UNet().settings()
    assert others.keys() == base.keys() - {"class"}
    for name, value in others.items():
        assert {key for key in base if UNet(**{name: value}).settings()[key] != base[key]} == {name}


# --- what it computes


def test_a_residual_network_adds_its_input():
    picture, _ = pictures(16)
    with torch.no_grad():
        said = UNet(channels=4, depth=1, residual=False).build()(picture)
        assert torch.equal(UNet(channels=4, depth=1).build()(picture), picture + said)


@pytest.mark.parametrize("skip", SKIPS)
def test_what_went_down_meets_what_comes_up(skip):
    module = UNet(channels=4, depth=1, skip=skip).build()
    assert isinstance(module, UNetModule)
    seen = {}
    for part in ("encoders", "ups"):
        getattr(module, part)[0].register_forward_hook(lambda _, args, output, part=part: seen.update({part: output}))
    module.decoders[0].register_forward_pre_hook(lambda _, args: seen.update(met=args[0]))
    module(pictures(16)[0])
    down, up = seen["encoders"], seen["ups"]
    assert torch.equal(seen["met"], {"concat": torch.cat((down, up), 1), "add": down + up, "none": up}[skip])


# --- what it sees


def seen(module, at, side):
    """Return the first and last row that a pixel's gradient reaches."""
    picture = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module.double()(picture)[0, :, at, at].sum(), picture)
    rows = gradient[0].abs().sum((0, 2)).nonzero().flatten()
    assert torch.equal(rows, gradient[0].abs().sum((0, 1)).nonzero().flatten()), "the same both ways"
    return int(rows[0]), int(rows[-1])


REACH = {
    "depth": st.integers(1, 2), "blocks": st.integers(1, 2), "kernel": st.sampled_from((3, 5)),
    "up": st.sampled_from(UPS), "skip": st.sampled_from(SKIPS), "down": st.sampled_from(("stride", "space_to_depth")),
    "conv": st.sampled_from(CONVS), "unshuffle": st.sampled_from((1, 2)), "residual": st.booleans(),
}  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries(REACH), st.integers(0, 7))
def test_a_network_sees_as_far_as_its_gradient_reaches(options, at):
    net = UNet(channels=2, activation="silu", **options)
    middle = net.multiple * (1 + receptive_field(net) // net.multiple)
    assert seen(net.build(), middle + at, 2 * middle + net.multiple) == reach(net, middle + at)


def test_with_max_pool_it_sees_no_farther():
    net = UNet(channels=8, depth=2, blocks=1, down="max_pool")
    first, last = reach(net, 48)
    rows = [seen(net.build(), 48, 96) for _ in range(20)]
    assert first <= min(row[0] for row in rows) <= first + 3
    assert last - 3 <= max(row[1] for row in rows) <= last


def test_a_small_net_s_reach_by_hand():
    # 1 by the last convolution, 1 by the block above; 1 place below and 1 more by the block there; -5..5 above by the
    # stride, 1 by the block, and 1 by the first convolution.
    net = UNet(depth=1, blocks=1)
    assert reach(net, 100) == (93, 107)
    assert net.receptive_field == 15


# --- sizes


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 2, 8, 16)))
def test_pictures_of_any_size_are_padded_and_cropped_back(height, width, multiple):
    picture = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    larger = padded(picture, multiple)
    assert all(side % multiple == 0 for side in larger.picture.shape[2:])
    assert all(0 <= new - old < multiple for new, old in zip(larger.picture.shape[2:], (height, width), strict=True))
    assert np.array_equal(larger.cropped(larger.picture), picture)
    assert (larger.told is None) == (height % multiple == width % multiple == 0)


def test_what_is_added_is_a_reflection_and_is_told():
    picture = np.arange(3, dtype=np.float32).repeat(3).reshape(1, 3, 1, 3) + np.array([0, 0.1, 0.2], np.float32)
    larger = padded(picture, 4)
    assert larger.picture.shape == (1, 3, 4, 4)
    assert np.array_equal(larger.picture[..., 0, 3], picture[..., 0, 1])
    assert larger.told == (
        "Pictures of 1x3 are padded by reflection to 4x4, since the net takes multiples of 4, and what comes out is "
        "cropped."
    )


def test_an_odd_picture_goes_through_a_network():
    net = UNet(channels=4, depth=2, unshuffle=2)
    larger = padded(pictures(37)[0][..., :29].numpy(), net.multiple)
    with torch.no_grad():
        output = net.build()(torch.from_numpy(larger.picture)).numpy()
    assert larger.cropped(output).shape == (1, 3, 37, 29)


# --- what is shipped


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_a_shipped_network_takes_a_picture_to_one_of_its_size(name):
    net = shipped(name)
    assert net.name == name
    inputs = [each[0] for each in (pictures(net.multiple), pictures(net.multiple, seed=1))]
    here, there = corrections(net, inputs)
    assert here.shape == inputs[0].shape
    assert 0.01 < here.std() < 1
    assert (here - there).std() > 0.01


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_the_head_of_a_yaml_tells_what_it_costs(name):
    macs, parameters = shipped(name).cost(256, 256)
    head = " ".join(line.lstrip("# ") for line in (CONF / f"{name}.yaml").read_text().splitlines() if line[:1] == "#")
    assert f"{float(f'{macs / 1e9:.3g}'):g} GMAC at 256x256" in head
    few = f"{parameters / 1e6:.3g}".lstrip("0")
    assert f"{few} million parameters" in head


def test_a_yaml_has_all_options():
    options = yaml.safe_load((CONF / "unet.yaml").read_text())
    assert options.pop("_target_") == "itae.deblur.UNet"
    assert {name: getattr(UNet(), name) for name in options} == options
    assert options.keys() == UNet.__dataclass_fields__.keys()


# --- mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": 0}, "net.channels=0 must be a whole number of at least 1 and at most 4,096."),
        ({"depth": 0}, "net.depth=0 must be a whole number of at least 1 and at most 8."),
        ({"blocks": 1.5}, "net.blocks=1.5 must be a whole number of at least 1 and at most 16."),
        ({"expansion": 17}, "net.expansion=17 must be a whole number of at least 1 and at most 16."),
        ({"kernel": 4}, "net.kernel=4 is not one of 3, 5, 7."),
        ({"unshuffle": True}, "net.unshuffle=True is not one of 1, 2, 4."),
        ({"up": "nearst"}, "net.up='nearst' is not one of transposed, transposed4, bilinear, nearest, pixel_shuffle. "
                           "Did you mean 'nearest'?"),
        ({"skip": "cat"}, "net.skip='cat' is not one of concat, add, none."),
        ({"down": "pool"}, "net.down='pool' is not one of stride, max_pool, space_to_depth."),
        ({"activation": "tanh"}, "net.activation='tanh' is not one of relu, prelu, leaky_relu, silu, gelu, hardswish."),
        ({"conv": "sparse"}, "net.conv='sparse' is not one of dense, depthwise, inverted."),
        ({"residual": 1}, "net.residual=1 must be true or false."),
        ({"seed": -1}, "net.seed=-1 must be a whole number of at least 0"),
        ({"channels": 128, "depth": 6}, "net.channels=128 and net.depth=6 make 8,192 channels at the lowest scale, and "
                                        "4,096 are allowed; lower one of them."),
        ({"weights": "net.pth"}, "net.weights=net.pth isn't a .safetensors file; other formats may run code"),
        ({"weights": "gone.safetensors"}, "net.weights=gone.safetensors: there is no such file; give a .safetensors"),
    ],
)  # fmt: skip
def test_a_bad_value_of_a_unet_is_told_in_one_sentence(options, said):
    with pytest.raises(UserError) as error:
        UNet(**options)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "nafnt"}, "net.architecture='nafnt' is not one of nafnet, kbnet, scunet, drunet, fftformer."),
        ({"options": 16}, "net.options=16 is not a group of options; set one, as net.options.width=16."),
        ({"seed": 0.5}, "net.seed=0.5 must be a whole number of at least 0"),
        ({"weights": "gone.safetensors"}, "net.weights=gone.safetensors: there is no such file"),
    ],
)
def test_a_bad_value_of_spandrel_s_is_told_in_one_sentence(options, said):
    with pytest.raises(UserError) as error:
        Spandrel(**options)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("nafnet", {"widht": 16}, "NAFNet doesn't work with these (NAFNet.__init__() got an unexpected keyword"),
        ("nafnet", {"width": "wide"}, "NAFNet doesn't work with these ("),
        ("nafnet", {"img_channel": 1}, "NAFNet doesn't work with these ("),
        ("drunet", {"nc": [8, 8, 8, 8], "nb": 1}, "DRUNet doesn't work with these ("),
    ],
)
def test_options_that_the_library_refuses_are_told_in_one_sentence(architecture, options, said):
    with pytest.raises(UserError) as error:
        Spandrel(architecture=architecture, options=options).build()
    assert str(error.value).startswith(f"net.options={options}: spandrel's {said}")
    assert "\n" not in str(error.value)


def test_without_spandrel_its_pip_line_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install spandrel==0\.4\.2, or take net=unet\.$"):
        Spandrel()


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "of.safetensors"
    save_file(UNet(channels=4, depth=1).build().state_dict(), file)
    with pytest.raises(
        UserError, match=r"has 'bottom.0.0.bias' of shape \[8\], and this net of \[12\]; set the options"
    ):
        UNet(channels=6, depth=1, weights=str(file)).build()
    with pytest.raises(UserError, match=r"has no 'bottom.1.0.bias'|has a 'bottom|has no"):
        UNet(channels=4, depth=1, blocks=3, weights=str(file)).build()
    with pytest.raises(UserError, match="has a"):
        UNet(channels=4, depth=1, blocks=1, weights=str(file)).build()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="can't be read"):
        UNet(channels=4, depth=1, weights=str(file))


def test_a_mistake_is_told_without_torch():
    code = (
        "import sys; from itae.portable.named import UNet, Spandrel; "
        "UNet(), Spandrel(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
