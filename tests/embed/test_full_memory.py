"""Too little memory, on a GPU or on this machine: one sentence, what is done is kept, and others go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

import itae
from itae.base.errors import UserError
from itae.base.runtime import Runtime
from itae.edits.attenuate import Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import make_edit
from itae.edits.registers import TestTimeRegisters
from itae.embed.extract import extract
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:113] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
)
NUMPY = MemoryError("Unable to allocate 3.00 TiB for an array with shape (1, 2) and data type float32")
ERRORS = [(GPU, "The GPU"), (CPU, "This machine"), (NUMPY, "This machine")]
RUNTIME = Runtime("cpu", batch_size=8, num_workers=0)


@pytest.fixture
def source(tmp_path):
    weights = tiny_models.save(tmp_path / "tiny.safetensors")
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=40), backbone, Store(tmp_path / "cache"))


@pytest.fixture
def full(monkeypatch):
    """Return a function after which memory is full at a batch of so many images or more, from the n-th such on."""
    call = SharedPass.__call__

    def fill(error, images=2, first=0):
        met = []

        def failing(self, pixels, digests, *look):
            if len(digests) >= images:
                met.append(len(digests))
                if len(met) > first:
                    raise error
            return call(self, pixels, digests, *look)

        monkeypatch.setattr(SharedPass, "__call__", failing)
        return met

    return fill


@pytest.mark.parametrize(("error", "who"), ERRORS, ids=["gpu", "cpu", "numpy"])
def test_a_full_memory_is_one_sentence_and_shards_are_kept(source, monkeypatch, full, error, who):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    full(error, first=2)
    with pytest.raises(UserError) as told:
        extract(source, [None], RUNTIME)
    assert str(told.value) == (
        f"{who} has too little memory for runtime.batch_size=8; set a smaller one, or set backbone.precision=bf16; "
        "shards that are done are kept."
    )
    seen = full(error, images=5)  # smaller batches go through
    (entry,) = extract(source, [None], Runtime("cpu", batch_size=4, num_workers=0))
    assert not seen
    assert len(entry.vectors) == 40
    assert np.isfinite(entry.vectors).all()


def test_what_was_done_before_is_not_done_again(source, monkeypatch, full):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    seen = full(GPU, first=3)
    with pytest.raises(UserError):
        extract(source, [None], RUNTIME)
    assert len(seen) == 4
    monkeypatch.undo()
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    seen = full(GPU, first=10)
    extract(source, [None], RUNTIME)
    assert len(seen) == 2, "of five shards three were there"


@pytest.mark.parametrize(
    ("edit", "lower"),
    [
        (make_edit(VectorNorm(rule="bimodal"), Scale(), "all", 2), "or lower detector.calibration_images"),
        (TestTimeRegisters(rule="mad", k=2.0, outlier_layer=1), "or lower edit.calibration_images"),
    ],
    ids=["fit", "search"],
)
def test_so_it_is_where_calibration_images_are_looked_at(source, monkeypatch, edit, lower):
    def fails(*_, **__):
        raise GPU

    monkeypatch.setattr("itae.embed.fit_layers.fit_layers", fails)
    monkeypatch.setattr("itae.embed.register_search.search", fails)
    if isinstance(edit, TestTimeRegisters):
        edit = edit.make(None, None, "all", source.facts)
    with pytest.raises(UserError, match=f"^The GPU has too little memory for runtime.batch_size=8; .*{lower}"):
        extract(source, [edit], RUNTIME)


def test_a_model_that_has_no_room_is_told(source, monkeypatch):
    def fails(*_):
        raise GPU

    monkeypatch.setattr(Backbone, "build", fails)
    with pytest.raises(UserError, match=r"^The GPU has too little memory for tiny_vit; choose a smaller backbone"):
        extract(source, [None], RUNTIME)


def test_with_single_images_no_smaller_batch_is_proposed(source, full):
    full(GPU, images=1, first=1)  # the proof's goes through
    with pytest.raises(UserError, match=r"runtime\.batch_size=1; choose a smaller backbone or image_size, or set back"):
        extract(source, [None], Runtime("cpu", batch_size=1, num_workers=0))


def test_the_model_is_let_go_and_memory_given_back_before_vectors_are_used(source, monkeypatch):
    given = []
    monkeypatch.setattr("itae.embed.worker.free_gpu_memory", given.append)
    extract(source, [None], RUNTIME)
    assert given == [torch.device("cpu")]
    extract(source, [None], RUNTIME)
    assert len(given) == 1, "nothing was computed"


def test_a_job_that_has_no_room_fails_and_the_others_go_on(itae_, full):
    full(GPU, images=12)
    words = ("dataset.limit=30,60", "runtime.batch_size=16,8", "tracker=none", "clusterer.seeds=1")
    status, out, err = itae_(
        "-m", *words, "clusterer.restarts=1", "runtime.report=false", "hydra.sweep.dir=sweep", "detector.rule=quantile"
    )
    assert status != 0
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in range(4)]
    failed = [result["error"] for result in results if result["status"] == "failed"]
    assert [result["status"] for result in results] == ["failed", "ok", "failed", "ok"]
    assert all(error.startswith("The GPU has too little memory for runtime.batch_size=16") for error in failed)
    assert "has too little memory" in out + err


def test_embeddings_of_a_gpu_are_clustered_by_a_faiss_without(itae_, monkeypatch):
    """As on the many machines that have one and ``faiss-cpu``; it was refused when everything had been embedded."""
    monkeypatch.setattr(Runtime, "torch_device", lambda self: torch.device("cpu"))
    words = ("dataset.limit=30", "tracker=none", "clusterer.seeds=1", "clusterer.restarts=1", "runtime.report=false")
    status, out, err = itae_(*words, "runtime.device=cuda", "hydra.run.dir=run")
    assert status == 0, err
    result = itae.load_run("run").result
    assert result["baseline"]["device"] == "cpu"
    assert result["device"] == "cpu"
    assert [note for note in result["notes"] if note.startswith("FAISS ran on the CPU")]
    assert out.count("FAISS ran on the CPU") == 1
    assert "computed on cpu" in out


def test_a_broken_faiss_does_not_end_a_sweep(itae_, monkeypatch):
    def fails():
        raise UserError("Clustering needs faiss, which could not be imported.")

    monkeypatch.setattr("itae.measure.faiss_backend.load_faiss", fails)
    monkeypatch.setattr("itae.measure.cluster.kmeans.load_faiss", fails)
    words = ("dataset.limit=30", "tracker=none", "clusterer.seeds=1", "seed=1,2", "runtime.report=false")
    monkeypatch.setattr("itae.app.launch.processes._WORTH", 1)
    status, out, err = itae_("-m", *words, "hydra.sweep.dir=sweep")
    assert status != 0
    assert out.count("Clustering needs faiss") == 2, "each job says so"
    assert "Traceback" not in out + err
