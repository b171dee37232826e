"""Nothing in a batch waits for a GPU but the copy of its results, however many edits there are."""

from __future__ import annotations

import copy
from dataclasses import replace

import families
import numpy as np
import pytest
import tiny_models
import torch
from stalls import Stalls

from itae.base.runtime import Runtime
from itae.edits.attenuate import Blend, Cap, Fade, Floor, MeanValue, Scale
from itae.edits.augment import Augment, AugmentEdit
from itae.edits.combined import Combined
from itae.edits.detect import ClsAttention, Nothing, OtherEnd, Random, ResidualNorm, VectorNorm
from itae.edits.edit import Edit
from itae.edits.local_outlier import LocalOutlierFactor
from itae.edits.neighbour_mean import NeighbourMean, NeighbourMeanEdit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.edits.singular_defect import SingularDefect
from itae.embed.fit_layers import fit_layers
from itae.embed.register_search import search
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.embed.worker import Worker
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone
from itae.vit.linear import directions

IMAGES = 8
MOST = 4  # dtypes of results: one array each
ATTENUATORS = (Floor, Scale, Fade, Blend, Cap, MeanValue)
FITTED = {0: 0.5, 1: 0.5}
NORM = VectorNorm(rule="mad", k=1.0)
DETECTORS = {
    "absolute": VectorNorm(rule="absolute", threshold=3.0),
    "quantile": VectorNorm(rule="quantile", quantile=0.2),
    "quantile of heads": VectorNorm(rule="quantile", quantile=0.2, scope="head"),
    "mad": NORM,
    "mad of heads": VectorNorm(vector="key", rule="mad", k=1.0, scope="head", side="high"),
    "ratio": VectorNorm(vector="query", rule="ratio", ratio=1.05),
    "bimodal": VectorNorm(rule="bimodal"),
    "residual": ResidualNorm(rule="quantile", quantile=0.2),
    "cls_attention": ClsAttention(rule="quantile", quantile=0.2),
    "local outlier factor": LocalOutlierFactor(neighbours=5, rule="quantile", quantile=0.2),
    "singular_defect": SingularDefect(stds=1.0),
    "combined": Combined(signals=["query", "key", "value", "residual"]),
    "random": Random(rate=0.2),
    "as many, at random": Random(match=NORM),
    "as many of the other end": OtherEnd(match=NORM),
    "found in block 0": VectorNorm(rule="quantile", quantile=0.2, layer=0),
    "nothing": Nothing(),
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stalls")
    weights = tiny_models.save(folder / "tiny.safetensors")
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    source = Source.open(Digits(limit=IMAGES), backbone, Store(folder / "cache"))
    worker = Worker(source, source.images, Runtime("cpu", IMAGES, 0))
    directions(worker.model)  # which are read from the weights once for a model, and then at hand
    return worker


def replace_runtime(worker, batch_size):
    """Return the worker with smaller batches, and the same model."""
    other = copy.copy(worker)
    other.runtime = Runtime("cpu", batch_size, 0)
    return other


def counted(worker, edits):
    """Return what one batch under these edits would wait for."""
    with Stalls() as stalls, torch.inference_mode():
        worker.gather(edits, worker._pixels(worker.images), range(IMAGES), lambda count: None, whole=True)
    return stalls.found


def edits_of(detector, layers, count):
    """Return so many edits, of all attenuators, and of several thresholds where the rule has a number."""
    made = []
    for i in range(count):
        attenuator = ATTENUATORS[i % 6]((i // 6 + 1) / 12, queries="cls" if i % 4 == 3 else "all")
        k = getattr(detector, "k", None)
        own = replace(detector, k=k + i % 5) if k and detector.rule == "mad" else detector
        made.append(Edit(own, attenuator, layers, FITTED if detector.fitted else None))
    return made


@pytest.mark.parametrize("layers", [(1,), (0, 1)], ids=["last", "all"])
@pytest.mark.parametrize("name", DETECTORS)
def test_a_batch_waits_for_its_results_alone_and_once_for_all_edits(worker, name, layers):
    one = counted(worker, [None, *edits_of(DETECTORS[name], layers, 1)])
    many = counted(worker, [None, *edits_of(DETECTORS[name], layers, 64)])
    assert set(one) == set(many) == {"numpy"}, (one, many)
    assert one["numpy"] <= MOST
    assert many["numpy"] <= MOST


@pytest.mark.parametrize("queries", ["all", "cls"])
@pytest.mark.parametrize("how", ATTENUATORS)
def test_no_attenuator_waits(worker, how, queries):
    for layers in ((0,), (1,), (0, 1)):
        found = counted(worker, [Edit(NORM, how(0.5, queries=queries), layers)])
        assert set(found) == {"numpy"}
        assert found["numpy"] <= MOST


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_edits_of_tokens_and_other_poolings_wait_no_more(worker, pool):
    registers = RegisterEdit(TestTimeRegisters(rule="mad", k=1.0, outlier_layer=0), {0: (3, 5), 1: (1,)})
    replaced = [NeighbourMeanEdit(NORM, NeighbourMean(0.5), layers, (4, 4)) for layers in ((0, 1), (1,))]
    edits = [None, registers, *replaced, AugmentEdit(Augment(18)), *edits_of(NORM, (0,), 3)]
    whole = counted(worker, edits)
    assert set(whole) == {"numpy"}
    with Stalls() as stalls:
        SharedPass(worker.model, 1, pool, edits)(torch.rand(2, 3, 32, 32), families.digests(2))
    assert not stalls.found, "what goes through the pass alone waits for nothing"


def test_results_that_come_while_the_next_batch_is_computed_are_the_same(worker, monkeypatch):
    """As on a GPU: what was seen counts for the images that it was seen in, not for those that have come by then."""
    registers = RegisterEdit(TestTimeRegisters(rule="mad", k=1.0, outlier_layer=0), {0: (3, 5)})
    edits = [None, registers, *edits_of(NORM, (0, 1), 3)]
    worker = replace_runtime(worker, 3)
    # Images are looked at in turn, as of many.
    monkeypatch.setattr("itae.embed.worker.looked_at", lambda n: np.array([0, 1, 4, 7]))
    monkeypatch.setattr("itae.embed.diagnostics.choose.looked_at", lambda n: np.array([0, 1, 4, 7]))
    found = []
    for behind in ({}, {"cpu": 1}, {"cpu": 5}):
        monkeypatch.setattr("itae.embed.worker._BEHIND", behind)
        found.append(worker.gather(edits, worker._pixels(worker.images), range(IMAGES), lambda count: None, True))
    for at_once, *later in zip(*found, strict=True):
        for one in later:
            for name in ("rows", "sums", "some"):
                want, have = getattr(at_once, name)(), getattr(one, name)()
                assert want.keys() == have.keys()
                for key, array in want.items():
                    np.testing.assert_array_equal(have[key], array, err_msg=f"{name} {key}")
    assert found[0][0].sums()["norm.resid_post"].sum() == 2 * 4 * 16, "blocks, images, patches"


@pytest.mark.parametrize("batches", [1, 3])
def test_a_search_for_registers_waits_once_a_block_whatever_the_number_of_batches(worker, batches):
    settings = TestTimeRegisters(rule="mad", k=1.0, outlier_layer=1, highest_layer=1, calibration_images=8)
    pixels = [(torch.rand(4, 3, 32, 32), families.digests(4)) for _ in range(batches)]
    with Stalls() as stalls:
        found = search(worker.model, 1, settings, lambda: iter(pixels))
    assert found.neurons, "nothing was searched, so this shows nothing"
    assert set(stalls.found) <= {"cpu", "numpy"}
    assert stalls.found["cpu"] == 1 + 2, "norms, and the scores of each block"


@pytest.mark.parametrize("batches", [1, 3])
def test_a_fit_waits_once_a_block_whatever_the_number_of_batches(worker, batches):
    edit = Edit(VectorNorm(rule="bimodal"), Scale(), (0, 1))
    pixels = [(torch.rand(4, 3, 32, 32), families.digests(4)) for _ in range(batches)]
    with Stalls() as stalls:
        fit_layers(SharedPass(worker.model, 1, "cls", [edit]), [edit], pixels)
    assert stalls.found == {"cpu": 2, "numpy": 2}


@pytest.mark.parametrize(
    ("wait", "name"),
    [
        (lambda x: float(x.sum()), "aten._local_scalar_dense"),
        (lambda x: bool(x.any()), "aten._local_scalar_dense"),
        (lambda x: x[x > 0], "aten.index"),
        (lambda x: x.__setitem__(x > 0, torch.zeros(())), "aten.index_put_"),
        (lambda x: torch.where(x > 0), "aten.nonzero"),
        (lambda x: x.masked_select(x > 0), "aten.masked_select"),
        (lambda x: x.unique(), "aten._unique2"),
        (lambda x: x.long().bincount(), "aten.bincount"),
        (lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.long), dim=0), "aten.repeat_interleave"),
        (lambda x: x.cpu(), "cpu"),
        (lambda x: x.to("cpu"), "to"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.new_tensor([1, 2]), "new_tensor"),
        (lambda x: torch.tensor([1], device=x.device), "tensor"),
    ],
)  # fmt: skip
def test_what_is_waited_for_is_counted(wait, name):
    with Stalls() as stalls:
        wait(torch.arange(4.0))
    assert stalls.found[name] == 1
    with Stalls() as stalls:
        x = torch.arange(4.0)
        x[torch.tensor([1, 2])] = (x * 2).softmax(dim=0)[:2]
    assert not stalls.found
    assert np.isfinite(x.numpy()).all()
