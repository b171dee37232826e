"""A data set embedded on the device, from pictures to the store, as runs do it."""

from __future__ import annotations

import dataclasses
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import itae
import itae.embed.prove
from itae.app.settings import Settings
from itae.base.device import free_gpu_memory
from itae.base.errors import UserError
from itae.base.runtime import OnRay, Runtime
from itae.edits.attenuate import Cap, Floor, MeanValue, Scale
from itae.edits.detect import ClsAttention, OtherEnd, Random, ResidualNorm, VectorNorm
from itae.edits.edit import make_edit
from itae.edits.registers import TestTimeRegisters
from itae.embed.diagnostics.flags import by_layer
from itae.embed.diagnostics.norms import by_site
from itae.embed.extract import extract
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.measure.faiss_backend import load_faiss, pick_gpu
from itae.store.store import Store
from itae.vit.backbone import Backbone

IMAGES = 64
ON_CPU = Runtime("cpu", batch_size=32)


@pytest.fixture(scope="module")
def backbone():
    return Settings.of(itae.compose([])).backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("there")


@pytest.fixture(scope="module")
def here(folder, backbone):
    """Return what the edits give on the CPU, in batches of 32."""
    source = Source.open(Digits(limit=IMAGES), backbone, Store(folder / "here"))
    return extract(source, edits_in(source), ON_CPU)


@pytest.fixture
def source(tmp_path, backbone):
    return Source.open(Digits(limit=IMAGES), backbone, Store(tmp_path / "cache"))


def edits_in(source):
    depth, mad = source.facts.depth, VectorNorm(rule="mad")
    return [
        None,
        make_edit(mad, Floor(queries="cls"), "last", depth),
        make_edit(VectorNorm(rule="quantile", quantile=0.05, scope="head"), Scale(), "all", depth),
        make_edit(VectorNorm(rule="bimodal", calibration_images=64), Cap(0.7), "last2", depth),
        make_edit(ResidualNorm(), MeanValue(), "all", depth),
        make_edit(ClsAttention(), Floor(), "last4", depth),
        make_edit(Random(match=mad), Scale(), "all", depth),
        make_edit(OtherEnd(match=mad), Scale(), "all", depth),
        make_edit(dataclasses.replace(mad, layer=-2), Scale(), "all", depth),
        TestTimeRegisters(rule="mad", outlier_layer=-2, calibration_images=64, top_k=4).make(
            None, None, "all", source.facts
        ),
    ]


def same(found, want, share=0.04):
    """Have embeddings be those of another device; in two images a patch may be at its threshold's other side."""
    gap = np.abs(found.vectors - want.vectors).max(axis=1)
    assert (gap > 1e-4).mean() <= share
    assert found.meta["digest"] == want.meta["digest"]
    assert found.ids == want.ids


@pytest.mark.parametrize("batch_size", [7, 64])
def test_vectors_of_every_kind_of_edit_are_the_cpus(source, here, batch_size, device):
    there = extract(source, edits_in(source), Runtime(device.type, batch_size))
    for found, want in zip(there, here, strict=True):
        same(found, want)
        assert found.meta["device"] == device.type


def test_what_was_seen_is_the_same(source, here, device):
    there = extract(source, edits_in(source), Runtime(device.type, 48))
    for site, row in by_site(there[0].diagnostics).items():
        for name, value in by_site(here[0].diagnostics)[site]["norm"].items():
            assert row["norm"][name] == pytest.approx(value, rel=0.08), "to a bin"
    for found, want in zip(there[1:], here[1:], strict=True):
        for a, b in zip(by_layer(found.diagnostics, IMAGES), by_layer(want.diagnostics, IMAGES), strict=True):
            assert a["artifact_rate"] == pytest.approx(b["artifact_rate"], abs=1e-3)
            assert a["threshold"] == pytest.approx(b["threshold"], rel=1e-3)
            assert a["signal"]["p50"] == pytest.approx(b["signal"]["p50"], rel=0.02)
            assert (a["tied"], a["left_alone"]) == (b["tied"], b["left_alone"])
            assert a["cls_attention_before"] == pytest.approx(b["cls_attention_before"], rel=1e-2, abs=1e-4)
        for name, array in want.diagnostics.items():
            assert found.diagnostics[name].shape == array.shape
            assert found.diagnostics[name].dtype == array.dtype


def test_what_is_searched_for_is_the_same(source, here, device):
    (there,) = extract(source, edits_in(source)[-1:], Runtime(device.type, 32))
    found, want = (entry.meta["search"] for entry in (there, here[-1]))
    assert want["neurons"], "nothing was found, so this shows nothing"
    assert [one[:2] for one in found["neurons"]] == [one[:2] for one in want["neurons"]]


@pytest.mark.parametrize(("precision", "count", "least"), [("bf16", 600, 0.99), ("fp16", IMAGES, 0.999)])
def test_a_lower_precision_from_pictures_to_vectors(backbone, tmp_path, here, precision, count, least, device):
    """In bf16 with batches that have more images than its whole numbers."""
    low = dataclasses.replace(backbone, precision=precision)
    source = Source.open(Digits(limit=count), low, Store(tmp_path / "cache"))
    found, edited = extract(source, edits_in(source)[:2], Runtime(device.type, 512))
    assert np.isfinite(edited.vectors).all()
    place = {name: i for i, name in enumerate(found.ids)}
    both = [(found.vectors[place[name]], here[0].vectors[i]) for i, name in enumerate(here[0].ids) if name in place]
    assert len(both) > 10
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in both]
    assert min(cosine) > least
    for site, row in by_site(found.diagnostics).items():
        assert row["norm"]["p50"] == pytest.approx(by_site(here[0].diagnostics)[site]["norm"]["p50"], rel=0.2)


def test_what_one_device_made_another_takes(source, device):
    edits = edits_in(source)[:2]
    first = extract(source, edits, Runtime(device.type, 32))
    again = extract(source, edits, ON_CPU)
    assert [entry.fresh for entry in again] == [False, False]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.vectors, b.vectors)


def test_a_pass_that_broke_off_goes_on_with_another_batch_size(source, here, device, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 16)
    killed_at_shard_2(extract, source, edits_in(source)[:2], Runtime(device.type, 16))
    for found, want in zip(extract(source, edits_in(source)[:2], Runtime(device.type, 5)), here, strict=False):
        same(found, want)


def test_too_little_memory_is_told_and_smaller_batches_go_on(source, here, device, monkeypatch):
    """What is asked for is more than any machine has, so that the error is the device's own."""
    call = SharedPass.__call__

    def hungry(self, pixels, *rest):
        if len(pixels) > 8:
            torch.empty(2**48, device=pixels.device)
        return call(self, pixels, *rest)

    monkeypatch.setattr(SharedPass, "__call__", hungry)
    machine = "The GPU" if device.type == "cuda" else "This machine"
    told = rf"^{machine} has too little memory for runtime\.batch_size=32; "
    # A thread of its own: where malloc has failed once, glibc gives a thread another arena for good.
    with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match=told):
        pool.submit(extract, source, [None], Runtime(device.type, 32)).result()
    (found,) = extract(source, [None], Runtime(device.type, 8))
    same(found, here[0])


def test_the_model_is_let_go_and_the_gpus_memory_given_back_after_the_pass(source, device, monkeypatch):
    held = torch.cuda.memory_reserved if device.type == "cuda" else (lambda: 0)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    before, models, given, build = held(), [], [], Backbone.build

    def built(*args):
        model = build(*args)
        models.append(weakref.ref(model))
        return model

    def giving(where):
        given.append([model() is None for model in models])
        free_gpu_memory(where)

    monkeypatch.setattr(Backbone, "build", built)
    monkeypatch.setattr("itae.embed.worker.free_gpu_memory", giving)
    extract(source, edits_in(source)[:3], Runtime(device.type, 32))
    assert given == [[True]], "what is still held can't be given back"
    assert held() <= before + 64 * 2**20, "cuBLAS keeps its own workspace"


def test_two_streams_of_jobs_share_a_device(tmp_path, backbone, here, device):
    sources = [Source.open(Digits(limit=IMAGES), backbone, Store(tmp_path / name)) for name in ("a", "b")]
    edits = edits_in(sources[0])[:3]
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(extract, source, edits, Runtime(device.type, size)) for source, size in
                zip(sources, (16, 48), strict=True)]  # fmt: skip
        for done in work:
            for found, want in zip(done.result(), here, strict=False):
                same(found, want)


def test_a_model_is_proved_and_run_in_fp32_whatever_was_asked_of_torch(source, here, device, monkeypatch):
    asked, proof = [], itae.embed.prove.prove

    def looking(*args):
        matmul = torch.backends.cuda.matmul
        new = getattr(matmul, "fp32_precision", None)  # since torch 2.9
        asked.append(new or torch.get_float32_matmul_precision())
        proof(*args)

    monkeypatch.setattr("itae.embed.prove.prove", looking)
    torch.set_float32_matmul_precision("medium")
    try:
        (found,) = extract(source, [None], Runtime(device.type, 32))
        assert torch.get_float32_matmul_precision() == "medium", "what was asked for is put back"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert asked in (["highest"], ["ieee"])
    same(found, here[0], share=0)


def test_pinned_pixels_and_few_decoding_threads_change_nothing(source, here, device):
    (found,) = extract(source, [None], Runtime(device.type, 16, 3))
    same(found, here[0], share=0)


def test_workers_of_ray_use_the_device(ray, tmp_path, backbone, here, device, monkeypatch):
    if device.type == "cuda" and not ray.cluster_resources().get("GPU"):
        pytest.skip("this Ray cluster sees no GPU")
    monkeypatch.setattr("itae.embed.source.SHARD", 32)
    source = Source.open(Digits(limit=IMAGES), backbone, Store(tmp_path / "cache"))
    asked = OnRay(num_cpus=1, num_gpus=1 if device.type == "cuda" else 0)
    runtime = Runtime(device.type, 16, engine="ray", ray=asked)
    for found, want in zip(extract(source, edits_in(source)[:2], runtime), here, strict=False):
        same(found, want)


def test_a_whole_run(itae_, device):
    words = ["dataset.limit=60", "tracker=none", "clusterer.seeds=2", "clusterer.restarts=2", "runtime.batch_size=32"]
    status, out, err = itae_(*words, f"runtime.device={device.type}", "runtime.report=false", "hydra.run.dir=run")
    assert status == 0, err
    result = itae.load_run("run").result
    assert result["device"] == device.type
    assert f"computed on {device.type}" in out
    faiss_there = device.type == "cuda" and pick_gpu(load_faiss(), "cuda") is not None
    assert result["baseline"]["device"] == ("cuda:0" if faiss_there else "cpu")
    told = any("FAISS ran on the CPU" in note for note in result["notes"])
    assert told == (device.type == "cuda" and not faiss_there)


def test_a_sweep(itae_, device):
    words = ["dataset.limit=40", "tracker=none", "clusterer.seeds=1", "clusterer.restarts=1", "runtime.report=false"]
    status, _, err = itae_(
        "-m", *words, "attenuator.strength=0.5,1", f"runtime.device={device.type}", "hydra.sweep.dir=sweep"
    )
    assert status == 0, err
    assert [itae.load_run(f"sweep/{i}").result["device"] for i in range(2)] == [device.type] * 2
