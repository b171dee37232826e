"""The shared pass on the device: many edits, large batches, what is fitted and searched for, and what it takes."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch
from gpu_models import cosines, in_fp64, model_of, near

from itae.base.device import forward_context
from itae.edits.attenuate import Blend, Fade, Floor, MeanValue, Scale
from itae.edits.detect import Random, VectorNorm
from itae.edits.edit import Edit
from itae.edits.registers import TestTimeRegisters
from itae.embed.fit_layers import fit_layers
from itae.embed.register_search import search
from itae.embed.replay import SharedPass, Watch

LAST, ALL = (2,), (0, 1, 2)
NORM = VectorNorm(rule="quantile", quantile=0.2)


def passed(model, device, edits, pixels, pool="cls", precision="fp32", watch=None):
    with forward_context(device, precision):
        shared = SharedPass(model.to(device), model.num_prefix_tokens, pool, edits, watch)
        return shared(pixels.to(device), families.digests(len(pixels)))


@pytest.mark.parametrize("layers", [LAST, ALL], ids=["last", "all"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_64_edits_in_one_pass_are_what_each_is_alone(pool, layers, device):
    model = model_of("registers")
    edits = [Edit(NORM, how((i + 1) / 16), layers) for i in range(16) for how in (Floor, Scale, Fade, Blend)]
    pixels = families.pixels(model, 4)
    together = passed(model, device, [None, *edits], pixels, pool)
    assert len(together) == 65
    for i in (0, 17, 38, 63):
        (alone,) = passed(model, device, [edits[i]], pixels, pool)
        near(together[i + 1], alone, 5e-5)
    (untouched,) = passed(model, device, [None], pixels, pool)
    near(together[0], untouched, 1e-5)
    assert len({tuple(one[0, :4].tolist()) for one in together}) > 60, "edits that are all alike show nothing"


@pytest.mark.parametrize("family", ["dinov2", "dinov3"])
def test_patches_that_are_found_in_another_block(family, device):
    model = model_of(family)
    edits = [None, *(Edit(VectorNorm(rule="quantile", quantile=0.2, layer=at), Scale(), (0, 2)) for at in range(3))]
    pixels, want = in_fp64(model, "cls", edits, 2)
    for embedding, one in zip(passed(model, device, edits, pixels), want, strict=True):
        near(embedding, one)


@pytest.mark.parametrize("queries", ["all", "cls"])
def test_an_edit_that_flags_nothing_is_the_untouched_model(queries, device):
    model = model_of("clip")
    edits = [Edit(VectorNorm(rule="absolute", threshold=0.0), how(queries=queries), ALL) for how in (Floor, MeanValue)]
    untouched, *others = passed(model, device, [None, *edits], families.pixels(model, 3))
    for one in others:
        near(one, untouched, 5e-5)


def test_who_looks_on_is_shown_the_same(device):
    model = model_of("dinov2")
    edits = [None, Edit(NORM, Floor(), ALL)]
    pixels, _ = in_fp64(model, "cls", edits, 2)

    def shown(where):
        found = {}
        watch = Watch(
            lambda p, layer, flags, paid: found.update({("flags", layer): flags.mask, ("paid", layer): paid[1]}),
            True,
            lambda layer, q, k, v: found.update({("q", layer): q, ("v", layer): v}),
            lambda layer, tokens: found.update({("out", layer): tokens}),
        )
        passed(model, where, edits, pixels, watch=watch)
        return found

    here, there = shown(torch.device("cpu")), shown(device)
    assert here.keys() == there.keys()
    assert len(here) == 5 * 3
    for name, tensor in here.items():
        assert there[name].device.type == device.type
        near(there[name].float(), tensor.float(), 2e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [1, 3, 257])
def test_a_batch_of_any_size_gives_each_image_what_it_gets_alone(batch, precision, device):
    model = model_of("plain")
    edits = [None, Edit(Random(rate=0.2), Scale(0.7), ALL)]
    pixels = families.pixels(model, batch)
    together = passed(model, device, edits, pixels, precision=precision)
    last = slice(batch - 1, batch)
    with forward_context(device, precision):
        shared = SharedPass(model, model.num_prefix_tokens, "cls", edits)
        alone = shared(pixels[last].to(device), families.digests(batch)[last])
    for many, one in zip(together, alone, strict=True):
        assert cosines(many[last], one).min() > (1 - 1e-6 if precision == "fp32" else 0.99)


def test_a_threshold_is_fitted_to_the_same_value(device):
    model = model_of("registers")
    model.pos_embed.mul_(0.05)  # so that blank patches are alike
    batches = [(families.pixels(model, 8, seed), families.digests(8)) for seed in (3, 4)]
    for pixels, _ in batches:
        pixels[:, :, :14] = 0
    edit = Edit(VectorNorm(vector="key", rule="bimodal"), Scale(), ALL)

    def fitted(where):
        shared = SharedPass(model.to(where), model.num_prefix_tokens, "cls", [edit])
        with forward_context(where, "fp32"):
            (fits,) = fit_layers(shared, [edit], [(pixels.to(where), digests) for pixels, digests in batches])
        return fits

    here, there = fitted(torch.device("cpu")), fitted(device)
    assert here[0].reason == there[0].reason == "bimodal"
    assert there[0].theta == pytest.approx(here[0].theta, rel=1e-3)
    assert there[0].theta == pytest.approx(17.09, rel=0.05), "on the CPU, so that the CPU's own is held to something"


def test_register_neurons_are_found_to_be_the_same(device):
    model = model_of("registers")
    pixels = families.pixels(model, 8)
    settings = TestTimeRegisters(rule="mad", k=1.5, outlier_layer=1, highest_layer=1)

    def found(where):
        with forward_context(where, "fp32"):
            batch = [(pixels.to(where), families.digests(8))]
            return search(model.to(where), model.num_prefix_tokens, settings, lambda: iter(batch))

    here, there = found(torch.device("cpu")), found(device)
    assert here.with_outliers == there.with_outliers > 0
    scores = {(layer, neuron): score for layer, neuron, score in there.neurons}
    for layer, neuron, score in here.neurons[:20]:
        assert scores[layer, neuron] == pytest.approx(score, rel=1e-3)


def test_nothing_is_held_after_a_pass(device):
    """On a GPU by what torch says that is allocated; on a CPU nothing is left but what the model had."""
    model = model_of("dinov2").to(device)
    edits = [None, *(Edit(NORM, Floor(a / 8), ALL) for a in range(1, 9))]
    pixels = families.pixels(model, 4)
    passed(model, device, edits, pixels)
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    for _ in range(3):
        out = passed(model, device, edits, pixels)
        del out
    after = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    assert after == before
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert np.isfinite([float(p.sum()) for p in model.parameters()]).all()
