from __future__ import annotations

import contextlib
import dataclasses
import mmap
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from children import with_tests

import itae.edits.bimodal
from itae.base.errors import UserError
from itae.base.memory import memory_reused
from itae.base.progress import progress
from itae.base.runtime import Runtime
from itae.base.versions import versions
from itae.edits.attenuate import Floor, Scale
from itae.edits.bimodal import Fit
from itae.edits.detect import ClsAttention, Random, VectorNorm
from itae.edits.edit import make_edit
from itae.embed.diagnostics.collect import Collector
from itae.embed.diagnostics.flag_counts import SIGNAL_EDGES
from itae.embed.diagnostics.flags import FlagCollector, by_layer
from itae.embed.extract import ensure, extract
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.embed.worker import Worker
from itae.images.batches import batches
from itae.images.datasets import Digits, ImageFolder
from itae.images.image_set import ImageSet
from itae.store.draft import Draft
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime(device="cpu", batch_size=16, num_workers=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def source(tmp_path, weights):
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=40), backbone, Store(tmp_path / "cache"))


def edit(layers="all", detector=None, attenuator=None):
    return make_edit(detector or VectorNorm(rule="quantile", quantile=0.2), attenuator or Scale(), layers, 2)


def forwards(monkeypatch):
    """Count the images that go through the model."""
    from itae.embed.replay import SharedPass

    seen, call = [], SharedPass.__call__

    def counting(self, pixels, digests, *look):
        if len(digests) > 1:  # one image is the proof that the model can be edited
            seen.extend(digests)
        return call(self, pixels, digests, *look)

    monkeypatch.setattr(SharedPass, "__call__", counting)
    return seen


def test_one_pass_for_all_and_the_same_as_alone(source, monkeypatch, tmp_path):
    edits = [None, edit(), edit("last", attenuator=Floor(strength=0.5))]
    seen = forwards(monkeypatch)
    together = extract(source, edits, CPU)
    assert seen == source.images.digests, "every image once for all three"
    for i, one in enumerate(edits):
        alone_in = dataclasses.replace(source, store=Store(tmp_path / f"alone{i}"))
        (alone,) = extract(alone_in, [one], CPU)
        np.testing.assert_allclose(alone.vectors, together[i].vectors, atol=1e-5)
        assert alone.meta["digest"] == together[i].meta["digest"]
        for name, array in alone.diagnostics.items():
            np.testing.assert_allclose(array, together[i].diagnostics[name], rtol=1e-6)
    gap = np.abs(together[0].vectors - together[1].vectors).max()
    assert gap > 1e-3, "an edit without effect shows nothing"


def test_vectors_are_the_models_own(source):
    import torch

    from itae.images.transform import normalise

    (entry,) = extract(source, [None], CPU)
    model = source.backbone.build(source.facts, torch.device("cpu"))
    (raw,) = batches(source.images, source.transform, 0, 40, 40)
    with torch.inference_mode():
        want = model.forward_features(normalise(torch.from_numpy(raw), source.transform))[:, 0]
    np.testing.assert_allclose(entry.vectors, want.numpy(), atol=1e-5)
    assert entry.ids == source.images.ids
    np.testing.assert_array_equal(entry.labels, source.images.labels)


def test_a_second_time_builds_no_model(source, monkeypatch):
    first = extract(source, [None, edit()], CPU)
    monkeypatch.setattr(Backbone, "build", lambda *args: pytest.fail("built again"))
    second = extract(source, [edit(), None], Runtime(device="cpu", batch_size=7, num_workers=0))
    assert [entry.path for entry in second] == [first[1].path, first[0].path]


def test_what_is_missing_alone_is_computed(source, monkeypatch):
    extract(source, [None], CPU)
    seen = forwards(monkeypatch)
    extract(source, [None, edit()], CPU)
    assert len(seen) == 40
    assert extract(source, [edit(), edit(), None], CPU)[0].path == extract(source, [edit()], CPU)[0].path


@pytest.mark.parametrize("batch_size", [1, 7, 40, 64])
@pytest.mark.parametrize("workers", [0, 2])
def test_execution_changes_no_vector_and_no_key(source, tmp_path, batch_size, workers):
    edits = [None, edit(), edit(detector=Random(rate=0.3))]
    reference = extract(source, edits, CPU)
    other = dataclasses.replace(source, store=Store(tmp_path / "other"))
    for a, b in zip(reference, extract(other, edits, Runtime("cpu", batch_size, workers)), strict=True):
        assert a.meta["digest"] == b.meta["digest"]
        np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-5)


def test_a_pass_that_broke_off_goes_on_at_its_shard_and_ends_with_the_same_bytes(source, monkeypatch, tmp_path):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    runtime = Runtime("cpu", batch_size=8, num_workers=1)
    edits = [None, edit()]
    undisturbed = extract(dataclasses.replace(source, store=Store(tmp_path / "undisturbed")), edits, runtime)
    write, written = Draft.write, []

    def breaking(self, i, *arrays):
        if len(written) == 5:  # both edits' shards 0 and 1, and one edit's shard 2
            raise KeyboardInterrupt
        written.append(i)
        write(self, i, *arrays)

    monkeypatch.setattr(Draft, "write", breaking)
    with pytest.raises(KeyboardInterrupt):
        extract(source, edits, runtime)
    monkeypatch.setattr(Draft, "write", write)
    seen = forwards(monkeypatch)
    resumed = extract(source, edits, runtime)
    assert seen == source.images.digests[16:], "no image of a whole shard is embedded again"
    for a, b in zip(undisturbed, resumed, strict=True):
        for name in ("vectors.npy", "labels.npy", "ids.txt", "diagnostics.npz"):
            assert (a.path / name).read_bytes() == (b.path / name).read_bytes(), name


@pytest.mark.parametrize("batch_size", [3, 5, 16])
def test_another_batch_size_goes_on_with_the_shards_that_are_there(source, monkeypatch, killed_at_shard_2, batch_size):
    """As somebody does whose GPU was too small for the first one."""
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    killed_at_shard_2(extract, source, [edit()], Runtime("cpu", batch_size=8, num_workers=1))
    seen = forwards(monkeypatch)
    (entry,) = extract(source, [edit()], Runtime("cpu", batch_size=batch_size, num_workers=1))
    assert set(source.images.digests[16:]) >= set(seen)
    whole = dataclasses.replace(source, store=Store(source.store.root / "whole"))
    np.testing.assert_allclose(entry.vectors, extract(whole, [edit()], CPU)[0].vectors, atol=1e-5)


MANY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from itae.base.runtime import Runtime
from itae.edits.attenuate import Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import make_edit
from itae.embed.extract import ensure, extract
from itae.embed.replay import SharedPass
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone

seen, call = [], SharedPass.__call__
def counting(self, pixels, digests, *look):
    if len(digests) > 1:
        seen.append((len(digests), len(self.plan.edits)))
    return call(self, pixels, digests, *look)
SharedPass.__call__ = counting
backbone = Backbone("tiny_vit", checkpoint=sys.argv[1], image_size=32, module="tiny_models")
source = Source.open(Digits(limit=8), backbone, Store(sys.argv[2]))
detector = VectorNorm(rule="quantile", quantile=0.2)
edits = [make_edit(detector, Scale(strength=(i + 1) / 80), "last", 2) for i in range(80)]
runtime = Runtime("cpu", batch_size=8, num_workers=0, diagnostics=False)
for _ in range(2):
    ensure(source, edits, runtime)
assert seen == [(8, 80)], seen
assert len(extract(source, edits[:20], runtime)) == 20
assert len(seen) == 1
"""


@pytest.mark.slow  # a limit that can't be raised again needs a process of its own, which imports torch
def test_more_edits_than_files_may_be_open_share_a_pass(tmp_path, weights):
    command = [sys.executable, "-c", MANY, str(weights), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=with_tests())
    assert done.returncode == 0, done.stderr


def test_what_is_there_is_not_read_to_know_that_it_is(source, monkeypatch, caplog):
    caplog.set_level("INFO")
    ensure(source, [None, edit()], CPU)
    assert caplog.text.count("No embeddings of digits-all/tiny_vit") == 2
    monkeypatch.setattr("itae.store.entry._read_files", lambda *_: pytest.fail("read"))
    ensure(source, [None, edit()], CPU)
    with pytest.raises(pytest.fail.Exception, match="read"):
        extract(source, [None], CPU)


def test_what_others_are_making_is_waited_for_with_the_own_work_done(source, monkeypatch):
    one, computed = edit("last"), itae.embed.extract._compute
    made = []
    monkeypatch.setattr(
        itae.embed.extract, "_compute", lambda *args: made.append(list(args[1].values())) or computed(*args)
    )
    other = Store(source.store.root)
    with ThreadPoolExecutor(1) as pool, other.claim([source.key(None)]):
        pair = pool.submit(extract, source, [None, one], CPU)
        until = time.monotonic() + 30
        while other.load(source.key(one)) is None and time.monotonic() < until:
            time.sleep(0.05)
        assert other.load(source.key(one)) is not None, "it does what it can"
        assert not pair.done()
        list(computed(Source(source.dataset, source.images, source.backbone, source.facts, other),
                      {source.key(None): None}, CPU, None))  # fmt: skip
    assert [entry.fresh for entry in pair.result()] == [False, True]
    assert made == [[one]], "and no more"


def test_what_a_maker_that_died_leaves_is_made_by_who_waited(source, monkeypatch):
    other = Store(source.store.root)
    with ThreadPoolExecutor(1) as pool:
        with other.claim([source.key(None)]):
            pair = pool.submit(extract, source, [None], CPU)
            time.sleep(0.3)
            assert not pair.done()
        assert pair.result()[0].fresh


@pytest.mark.parametrize("shard", [8, 256])
@pytest.mark.parametrize("layers", ["last", "all"])
def test_the_room_that_is_asked_for_is_what_is_needed(source, monkeypatch, layers, shard):
    monkeypatch.setattr("itae.embed.source.SHARD", shard)
    asked, used = [], []
    monkeypatch.setattr(Store, "room_for", lambda self, needed, *_: asked.append(needed))
    flush = itae.store.draft.flush_folder  # called when an entry is put together, and its shards are still there

    def flushed(folder):
        used.append(sum(file.stat().st_size for file in source.store.root.rglob("*") if file.is_file()))
        flush(folder)

    monkeypatch.setattr("itae.store.draft.flush_folder", flushed)
    extract(source, [None, *(edit(layers, attenuator=Scale(strength=a)) for a in (0.25, 0.5, 1.0))], CPU)
    facts = sum(file.stat().st_size for file in (source.store.root / ".facts").rglob("*") if file.is_file())
    assert 0.5 * asked[0] < max(used) - facts <= asked[0]


def test_keys_hold_what_matters_and_nothing_else(source, weights, tmp_path):
    base = source.key(edit()).digest
    moved = shutil.copy(weights, tmp_path / "moved.safetensors")
    same = dataclasses.replace(source.backbone, checkpoint=str(moved))
    assert Source.open(Digits(limit=40), same, source.store).key(edit()).digest == base
    others = [
        source.key(None),
        source.key(edit("last")),
        Source.open(Digits(limit=39), source.backbone, source.store).key(edit()),
        Source.open(Digits(limit=40, resize="pad"), source.backbone, source.store).key(edit()),
        Source.open(Digits(limit=40), dataclasses.replace(source.backbone, pool="mean"), source.store).key(edit()),
        Source.open(Digits(limit=40), dataclasses.replace(source.backbone, precision="bf16"), source.store).key(edit()),
        dataclasses.replace(source, facts=dataclasses.replace(source.facts, mean=(0.1, 0.5, 0.5))).key(edit()),
        dataclasses.replace(source, facts=dataclasses.replace(source.facts, std=(0.1, 0.5, 0.5))).key(edit()),
        dataclasses.replace(source, facts=dataclasses.replace(source.facts, interpolation="bilinear")).key(edit()),
        dataclasses.replace(source, images=dataclasses.replace(source.images, split="half")).key(edit()),
    ]
    assert len({base, *(key.digest for key in others)}) == len(others) + 1
    every = Source.open(Digits(), source.backbone, source.store)
    more = Source.open(Digits(limit=9999), source.backbone, source.store)
    assert every.key(None) == more.key(None), "a limit that limits nothing is none"


def test_a_fitted_threshold_is_kept_with_the_vectors(source):
    (entry,) = extract(source, [edit(detector=VectorNorm(rule="bimodal", calibration_images=16))], CPU)
    assert set(entry.meta["fits"]) == {"0", "1"}
    for fit in entry.meta["fits"].values():
        assert (fit["theta"] is None) == (fit["reason"] != "bimodal")


def test_the_calibration_images_are_those_of_the_seed(source, monkeypatch):
    drawn = []
    take = ImageSet.take
    monkeypatch.setattr(ImageSet, "take", lambda self, rows: drawn.append(tuple(rows)) or take(self, rows))
    for seed in (0, 1, 0):
        one = edit(detector=VectorNorm(rule="bimodal", calibration_images=16, calibration_seed=seed))
        extract(dataclasses.replace(source, store=Store(source.store.root / str(len(drawn)))), [one], CPU)
    assert drawn[0] == drawn[2] != drawn[1]
    assert drawn[0] != tuple(range(16))
    assert all(len(set(rows)) == 16 for rows in drawn)


def test_thresholds_of_many_edits_are_fitted_on_one_walk(source, monkeypatch):
    """Eight strengths of one last-block edit have one signal, so one fit, and one pass over the calibration images."""
    fits, record = [], SharedPass.record
    fit = itae.embed.fit_layers.fit_threshold
    monkeypatch.setattr("itae.embed.fit_layers.fit_threshold", lambda *args: fits.append(1) or fit(*args))
    passed = []
    monkeypatch.setattr(
        SharedPass, "record", lambda self, pixels, *a, **k: passed.append(len(pixels)) or record(self, pixels, *a, **k)
    )
    detector = VectorNorm(rule="bimodal", calibration_images=16)
    edits = [edit("last", detector, Scale(strength=a / 8)) for a in range(1, 9)]
    extract(source, edits, CPU)
    assert len(fits) == 1
    assert sum(passed) == 1 + 16 + 40, "the proof that the model can be edited, the calibration images, all images"


def fits_of(monkeypatch, thetas):
    """Have the fits of thresholds give these, one a call; return what is left of them."""
    left = list(thetas)

    def fitted(shared, edits, batches):
        theta = left.pop(0)
        return [{layer: Fit(theta, "bimodal", 2, 0.25, 0.125) for layer in edit.layers} for edit in edits]

    monkeypatch.setattr("itae.embed.fit_layers.fit_layers", fitted)
    return left


def fitted_edit(**options):
    return edit(detector=VectorNorm(rule="bimodal", calibration_images=16, side="low"), **options)


def test_what_was_fitted_is_kept_with_the_shards_and_not_fitted_anew(source, monkeypatch, killed_at_shard_2):
    """A fit made anew, as on another machine, differs in the last digit: no shard would do."""
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    runtime = Runtime("cpu", batch_size=8, num_workers=1)
    theta = 1e9 / 3
    left = fits_of(monkeypatch, [theta, np.nextafter(theta, 1), 0.0])
    killed_at_shard_2(extract, source, [fitted_edit()], runtime)
    seen = forwards(monkeypatch)
    (entry,) = extract(source, [fitted_edit()], runtime)
    assert len(left) == 2, "one fit"
    assert seen == source.images.digests[16:], "no image of a whole shard is embedded again"
    assert entry.diagnostics["flagged"].all(), "all are flagged under the first threshold"
    told = {"theta": theta, "reason": "bimodal", "components": 2, "valley": 0.25, "minority": 0.125}
    assert entry.meta["fits"] == {"0": told, "1": told}


def test_what_was_fitted_is_kept_before_the_first_shard_and_a_layer_without_modes_too(source, monkeypatch):
    left = fits_of(monkeypatch, [float("nan"), 1.0])
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract(source, [fitted_edit()], CPU)
    (entry,) = extract(source, [fitted_edit()], CPU)
    assert left == [1.0]
    assert entry.meta["fits"]["0"]["theta"] is None
    assert not entry.diagnostics["flagged"].any()


def test_of_many_edits_those_without_a_draft_alone_are_fitted(source, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    left = fits_of(monkeypatch, [1e9, 0.0, 5.0])
    one, other = fitted_edit(), fitted_edit(attenuator=Scale(strength=0.5))
    killed_at_shard_2(extract, source, [one], dataclasses.replace(CPU, batch_size=8))
    entries = extract(source, [one, other], dataclasses.replace(CPU, batch_size=8))
    assert left == [5.0]
    assert [entry.meta["fits"]["0"]["theta"] for entry in entries] == [10**9, 0]


@pytest.mark.parametrize(
    "told", ["not json", '{"n": 40, "shard": 8}', '{"n": 40, "shard": 8, "settled": {"fits": {"0": 7}}}']
)
def test_a_draft_that_tells_no_fits_is_fitted(source, monkeypatch, killed_at_shard_2, told):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    left = fits_of(monkeypatch, [1e9, 0.0])
    killed_at_shard_2(extract, source, [fitted_edit()], dataclasses.replace(CPU, batch_size=8))
    (draft,) = source.store.root.glob("*/*/.draft-*")
    (draft / "draft.json").write_text(told)
    (kept,) = source.store.root.glob(".facts/fits-*")
    kept.unlink()
    (entry,) = extract(source, [fitted_edit()], dataclasses.replace(CPU, batch_size=8))
    assert not left
    assert not entry.diagnostics["flagged"].any()


def test_drafts_of_two_shard_sizes_both_go_on(source, monkeypatch, killed_at_shard_2):
    """As after two runs that were killed, of other edits in other batches: none of their shards is made again."""
    monkeypatch.setattr("itae.embed.source.SHARD", 5)
    edits = [None, edit(), edit("last")]
    for one, size in zip(edits, (8, 5), strict=False):
        killed_at_shard_2(extract, source, [one], Runtime("cpu", batch_size=size, num_workers=1))
    passed = []
    call = SharedPass.__call__

    def counting(self, pixels, digests, *look):
        if len(digests) > 1:
            passed.extend((self.plan.edits.index(one), digest) for one in self.plan.edits for digest in digests)
        return call(self, pixels, digests, *look)

    monkeypatch.setattr(SharedPass, "__call__", counting)
    got = extract(source, edits, CPU)
    assert len(passed) == (40 - 16) + (40 - 10) + 40, "what was missing of each, and the third with one of them"
    whole = dataclasses.replace(source, store=Store(source.store.root / "whole"))
    for a, b in zip(got, extract(whole, edits, CPU), strict=True):
        np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-5)


def test_what_was_fitted_for_a_second_pass_is_kept_when_the_first_breaks_off(source, monkeypatch, killed_at_shard_2):
    """Two shard sizes make two passes; what has not begun goes with the edit that has fewest, in the second one."""
    monkeypatch.setattr("itae.embed.source.SHARD", 5)
    left = fits_of(monkeypatch, [1e9, 5.0])
    edits = [edit(), edit("last"), fitted_edit()]
    for one, size in zip(edits, (8, 5), strict=False):
        killed_at_shard_2(extract, source, [one], dataclasses.replace(CPU, batch_size=size))
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract(source, edits, CPU)
    extract(source, edits, CPU)
    assert left == [5.0], "one fit"


BARE = dataclasses.replace(CPU, batch_size=8, diagnostics=False)
WHOLE = dataclasses.replace(CPU, batch_size=8)


def test_shards_with_diagnostics_do_for_a_run_that_wants_none(source, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    killed_at_shard_2(extract, source, [None, edit()], WHOLE)
    seen = forwards(monkeypatch)
    entries = extract(source, [None, edit()], BARE)
    assert seen == source.images.digests[16:]
    assert all(entry.meta["diagnostics"] for entry in entries), "the rest has them, too"
    assert extract(source, [None, edit()], WHOLE)[0].fresh is False


def test_of_two_drafts_the_one_with_more_images_is_gone_on_with(source, monkeypatch, killed_at_shard_2):
    """Not the one with more shards, which may be smaller."""
    monkeypatch.setattr("itae.embed.source.SHARD", 1)
    killed_at_shard_2(extract, source, [None], dataclasses.replace(WHOLE, batch_size=16))
    write = Draft.write
    with monkeypatch.context() as patched:
        patched.setattr(Draft, "write", lambda self, i, *arrays: _interrupt() if i == 3 else write(self, i, *arrays))
        patched.setattr("itae.store.store.Store.begun", lambda *_: None)  # as if that draft had not been there yet
        with pytest.raises(KeyboardInterrupt):
            extract(source, [None], dataclasses.replace(BARE, batch_size=4))
    assert sorted(len(list(path.glob("*.shard"))) for path in source.store.root.glob("*/*/.draft-*")) == [2, 3]
    seen = forwards(monkeypatch)
    (entry,) = extract(source, [None], BARE)
    assert seen == source.images.digests[32:]
    assert entry.meta["diagnostics"]


def test_shards_that_will_not_do_are_no_room_that_is_there_already(source, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    killed_at_shard_2(extract, source, [None], BARE)
    needed = source.room([None], 40, 8)
    monkeypatch.setattr("itae.store.store.free_bytes", lambda _: 64_000_000 + needed - 1)
    with pytest.raises(UserError, match="No room for the embeddings"):
        extract(source, [None], WHOLE)
    monkeypatch.setattr("itae.store.store.free_bytes", lambda _: 64_000_000 + needed)
    assert extract(source, [None], WHOLE)[0].meta["diagnostics"]


def test_shards_without_diagnostics_stay_for_a_run_that_wants_none(source, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    write = Draft.write
    killed_at_shard_2(extract, source, [None], BARE)
    with monkeypatch.context() as patched:
        patched.setattr(Draft, "write", lambda self, i, *arrays: _interrupt() if i == 1 else write(self, i, *arrays))
        with pytest.raises(KeyboardInterrupt):
            extract(source, [None], WHOLE)
    seen = forwards(monkeypatch)
    (entry,) = extract(source, [None], BARE)
    assert seen == source.images.digests[16:], "two of the shards without, not one of those with"
    assert not entry.meta["diagnostics"]
    del seen[:]
    assert extract(source, [None], WHOLE)[0].meta["diagnostics"]
    assert seen == source.images.digests[8:], "which is gone on with"
    assert [item.kind for item in source.store.survey()] == ["entry"]


def _interrupt():
    raise KeyboardInterrupt


def test_an_entry_without_diagnostics_stays_until_the_other_takes_its_place(source, monkeypatch, killed_at_shard_2):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    (bare,) = extract(source, [None], BARE)
    killed_at_shard_2(extract, source, [None], WHOLE)
    seen = forwards(monkeypatch)
    assert not extract(source, [None], BARE)[0].fresh, "nothing is made again for those who want none"
    assert not seen
    (whole,) = extract(source, [None], WHOLE)
    assert seen == source.images.digests[16:]
    assert whole.path == bare.path
    assert whole.meta["diagnostics"]
    assert extract(source, [None], WHOLE)[0].meta["seal"] == whole.meta["seal"]
    np.testing.assert_array_equal(whole.vectors, bare.vectors)
    assert [item.kind for item in source.store.survey()] == ["entry"]


def test_what_is_pruned_between_its_making_and_its_reading_is_made_again(source, monkeypatch):
    """Another process made it, and a third one removed it before it could be read."""
    extract(source, [None], CPU)
    claimed, pruned = Store.claim, []

    @contextlib.contextmanager
    def pruning(self, *args, **options):
        with claimed(self, *args, **options) as mine:
            yield mine
        if len(pruned) < 2:
            pruned.append(shutil.rmtree(self.path(source.key(edit()))))

    monkeypatch.setattr(Store, "claim", pruning)
    monkeypatch.setattr("itae.embed.extract._made", _made_and_lost(itae.embed.extract._made))
    entries = extract(source, [None, edit()], CPU)
    assert len(pruned) == 2
    assert entries[1].fresh
    assert len(entries[1].vectors) == 40


def _made_and_lost(made):
    """Have what is made be taken for another process's."""
    tries = []

    def lost(*args):
        tries.append(args)
        for key, entry in made(*args):
            if len(tries) > 2:
                yield key, entry

    return lost


def test_what_is_pruned_time_and_again_is_told(source, monkeypatch):
    monkeypatch.setattr("itae.embed.extract._made", lambda *_: iter(()))
    with pytest.raises(UserError, match=r"was removed as soon as it was there, 5 times.*itae cache prune"):
        extract(source, [None], CPU)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.99), ("fp16", 0.9999)])
def test_a_lower_precision_is_really_used_and_near(source, precision, least):
    low = dataclasses.replace(source, backbone=dataclasses.replace(source.backbone, precision=precision))
    edits = [None, edit(), edit(attenuator=Floor()), edit(attenuator=Floor(queries="cls"))]
    for a, b in zip(extract(source, edits, CPU), extract(low, edits, CPU), strict=True):
        assert a.path != b.path
        assert not np.array_equal(a.vectors, b.vectors)
        cosine = (a.vectors * b.vectors).sum(1) / np.linalg.norm(a.vectors, axis=1) / np.linalg.norm(b.vectors, axis=1)
        assert np.median(cosine) > least


def test_a_batch_is_not_kept_alive_by_its_vectors():
    import torch

    tokens = torch.randn(4, 50, 8)
    collector = Collector(4)
    first = tokens[:, 0].float().cpu().numpy()
    collector.add(first)
    kept = collector.rows()["vectors"]
    assert np.array_equal(kept, first)
    assert not np.shares_memory(kept, tokens.numpy())


def test_what_outlives_a_batch_lies_outside_the_heap(source):
    """In the heap it parted the room of the activations: 18 edits from many first blocks grew to 13.9 GB."""
    collector = FlagCollector(edit("last"), 4)
    collector.add(np.ones((4, 8), np.float32))
    (decoded,) = batches(source.images, source.transform, 0, 4, 4)
    for array in (decoded, *collector.rows().values()):
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(getattr(array, "obj", array), mmap.mmap)


def test_rates_and_counts_under_scope_head(source):
    (entry,) = extract(source, [edit("last", VectorNorm(rule="quantile", quantile=0.2, scope="head"))], CPU)
    (row,) = by_layer(entry.diagnostics, 40)
    assert row["artifact_rate"] == pytest.approx(0.25, abs=0.02), "4 of 16 patches in each of 2 heads"
    assert row["artifacts_per_image"] > 4, "a patch counts once, whichever head flags it"


def test_an_image_in_which_every_patch_is_flagged_is_counted(source):
    import torch

    from itae.edits.site import Flags

    mask = torch.zeros(3, 2, 5, dtype=torch.bool)
    mask[0] = True
    mask[1, 0] = True
    mask[2, :, :4] = True
    collector = FlagCollector(edit("last"), 64)
    collector.see(1, Flags(mask, mask.float() + 1, mask[..., :1].float()))
    assert collector.sums()["left_alone"].tolist() == [2], "the whole of an image, or of one head"
    assert collector.sums()["rate"].tolist() == [pytest.approx(1 + 0.5 + 0.8)]


def test_memory_is_reused_within_and_given_back_after():
    import torch

    held = torch.ones(3 * 2**20).sum()  # torch has its own start-up by now
    with memory_reused():
        torch.ones(2**26)  # 256 MB, freed at once: kept in the heap for the next block of its size
        inside = _resident_mb()
    assert held
    if Path("/proc/self/status").exists():
        assert inside - _resident_mb() > 200


def _resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    for name, colours in {"red": [(255, 0, 0), (200, 10, 10)], "blue": [(0, 0, 255), (9, 9, 200)]}.items():
        (folder / name).mkdir(parents=True)
        for i, colour in enumerate(colours):
            Image.new("RGB", (20, 30), colour).save(folder / name / f"{i}.png")
    (folder / "blue" / "1.png").write_bytes(b"no picture")
    return folder


def test_a_bad_image_stops_before_the_long_work_or_is_left_out(pictures, source, monkeypatch):
    stopping = Source.open(ImageFolder(root=str(pictures)), source.backbone, source.store)
    built = []
    build = Backbone.build
    monkeypatch.setattr(Backbone, "build", lambda *args: built.append(1) or build(*args))
    with pytest.raises(UserError, match=r"blue/1\.png.*dataset\.bad_image=skip"):
        extract(stopping, [None], CPU)
    assert not built
    skipping = Source.open(ImageFolder(root=str(pictures), bad_image="skip"), source.backbone, source.store)
    random = edit(detector=Random(rate=0.4))
    entry, drawn = extract(skipping, [None, random], CPU)
    assert entry.ids == ["blue/0.png", "red/0.png", "red/1.png"]
    assert entry.labels.tolist() == [0, 1, 1]
    assert list(entry.meta["skipped"]) == ["blue/1.png"]
    assert len(drawn.vectors) == 3
    with pytest.raises(UserError, match=r"blue/1\.png"):
        extract(stopping, [None], CPU)


def test_an_image_draws_the_same_patches_in_any_folder_order_and_company(source, tmp_path):
    """A draw goes by the image's bytes, so that a control is the same whatever lies beside its images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)) for _ in range(6)]
    folders = {"all": range(6), "reversed": range(5, -1, -1), "two": [4, 1]}
    for name, chosen in folders.items():
        (tmp_path / name).mkdir()
        for place, i in enumerate(chosen):
            pictures[i].save(tmp_path / name / f"{place}.png")
    drawn = [edit(detector=Random(rate=0.3)), edit(detector=Random(match=VectorNorm(rule="quantile", quantile=0.2)))]
    for one in drawn:
        vectors = {}
        for name, chosen in folders.items():
            other = Source.open(ImageFolder(root=str(tmp_path / name)), source.backbone, source.store)
            (entry,) = extract(other, [one], CPU)
            vectors[name] = dict(zip(chosen, entry.vectors, strict=True))
        for name, chosen in folders.items():
            for i in chosen:
                np.testing.assert_allclose(vectors[name][i], vectors["all"][i], atol=1e-6, err_msg=name)


def test_an_image_that_is_replaced_on_the_way_is_not_stored_as_the_old_one(pictures, source, monkeypatch):
    (pictures / "blue" / "1.png").unlink()
    source = Source.open(ImageFolder(root=str(pictures)), source.backbone, source.store)
    source.key(None)
    build = Backbone.build

    def replacing(*args):
        shutil.copy(pictures / "red" / "1.png", pictures / "red" / "0.png")
        return build(*args)

    with monkeypatch.context() as patched:
        patched.setattr(Backbone, "build", replacing)
        with pytest.raises(UserError, match=r"'red/0\.png' was changed while"):
            extract(source, [None], CPU)
    assert [item.kind for item in source.store.survey()] in ([], ["unfinished"])
    again = Source.open(source.dataset, source.backbone, source.store)
    assert again.key(None) != source.key(None)
    assert len(extract(again, [None], CPU)[0].ids) == 3


def test_the_number_of_images_that_are_left_is_checked_before_the_model_is_built(pictures, source, monkeypatch):
    skipping = Source.open(ImageFolder(root=str(pictures), bad_image="skip"), source.backbone, source.store)
    monkeypatch.setattr(Backbone, "build", lambda *args: pytest.fail("built"))

    def usable(images):
        raise UserError(f"{len(images)} images are too few")

    with pytest.raises(UserError, match="3 images are too few"):
        extract(skipping, [None], CPU, usable)


def test_diagnostics_count_what_was_flagged(source):
    one = edit("last", VectorNorm(rule="quantile", quantile=0.2))
    (entry,) = extract(source, [one], CPU)
    (row,) = by_layer(entry.diagnostics, 40)
    assert row["layer"] == 1
    assert row["artifacts_per_image"] == pytest.approx(entry.diagnostics["flagged"].mean())
    assert row["artifact_rate"] == pytest.approx(row["artifacts_per_image"] / 16)
    assert 0.2 <= row["artifact_rate"] <= 0.3
    assert entry.diagnostics["signal"].sum() == 40 * 16
    assert row["images_with_artifacts"] == 1
    quantiles = list(row["signal"].values())
    assert quantiles == sorted(quantiles)


def test_quantiles_of_a_streamed_signal_are_numpys_to_a_percent():
    import torch

    from itae.edits.site import Flags

    signal = torch.rand(64, 1, 1000, generator=torch.Generator().manual_seed(0)) * 30 + 0.5
    collector = FlagCollector(edit("last"), 64)
    for part in signal.split(16):
        collector.see(1, Flags(part < 5, part, part[..., :1] * 0 + 5))
    sums = collector.sums()
    diagnostics = {**sums, "flagged": np.ones((64, 1)), "layers": np.array([1]), "signal_edges": SIGNAL_EDGES}
    (row,) = by_layer(diagnostics, 64)
    for name, p in {"p00": 0, "p01": 0.01, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p99": 0.99, "p100": 1}.items():
        assert row["signal"][name] == pytest.approx(np.quantile(signal, p), rel=0.02), name
    assert row["artifact_rate"] == pytest.approx((signal < 5).float().mean().item())
    assert row["bimodality"] == pytest.approx(5 / 9, rel=0.01), "a uniform distribution's"
    assert row["threshold"] == pytest.approx(5)


def test_a_model_without_cls_token_is_told_what_it_can_not_have(source):
    facts = dataclasses.replace(source.facts, has_cls=False, prefix=0)
    without = dataclasses.replace(source, facts=facts)
    with pytest.raises(UserError, match="detector=cls_attention"):
        extract(without, [edit(detector=ClsAttention())], CPU)
    with pytest.raises(UserError, match=r"attenuator\.queries=cls"):
        extract(without, [edit(attenuator=Floor(queries="cls"))], CPU)


@pytest.mark.parametrize(
    "options", [{"device": "gpu"}, {"device": "cpu:1"}, {"batch_size": 0}, {"num_workers": -1}, {"batch_size": 2.5}]
)
def test_wrong_runtime_settings_are_told(options):
    with pytest.raises(UserError, match=r"runtime\."):
        Runtime(**options)


def test_a_gpu_that_is_not_there_is_told():
    import torch

    with pytest.raises(UserError, match=r"runtime\.device=cuda:63"):
        Runtime(device="cuda:63").torch_device()
    assert Runtime().torch_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_overflow_stops_at_its_shard(source, monkeypatch):
    add = Collector.add
    monkeypatch.setattr("itae.embed.source.SHARD", 16)
    monkeypatch.setattr(
        Collector,
        "add",
        lambda self, vectors: add(self, np.where(np.arange(len(vectors)) == 3, np.nan, vectors.T).T.astype(np.float32)),
    )
    seen = forwards(monkeypatch)
    with pytest.raises(UserError, match=rf"{source.images.ids[3]}' first, in backbone\.precision=fp32"):
        extract(source, [None], CPU)
    assert len(seen) == 16


@pytest.mark.gpu
def test_a_gpu_gives_the_same_vectors(source, tmp_path):
    edits = [None, edit(), edit(attenuator=Floor()), edit(detector=Random(rate=0.3))]
    other = dataclasses.replace(source, store=Store(tmp_path / "gpu"))
    for a, b in zip(extract(source, edits, CPU), extract(other, edits, Runtime("cuda", 16, 1)), strict=True):
        np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-4)


def test_progress_is_a_line_in_a_log_now_and_then(caplog, monkeypatch, capsys):
    monkeypatch.setattr("itae.base.progress._TOLD_EVERY", 0.0)
    caplog.set_level("INFO")
    with progress(100, "embedding", "images", 20) as advance:
        advance(30)
    assert "embedding: 50 of 100 images" in caplog.text
    assert capsys.readouterr() == ("", ""), "and nothing, not even an empty line, where nobody looks"


def test_the_peak_of_memory_is_this_process_own():
    """In a process that is small: what this one has held by now would have to be held again."""
    code = """
import numpy
from itae.base.memory import peak_rss_mb

before = peak_rss_mb()
assert 20 < before < 1_000, before
held = numpy.ones(int(before * 1e6 / 8) + 50_000_000)
assert peak_rss_mb() > before + 300
assert held[-1] == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_versions_name_what_numbers_depend_on():
    found = versions()
    assert {"python", "itae", "torch", "timm", "numpy", "scikit-learn", "pillow"} <= set(found)
    assert {"faiss-cpu", "faiss-gpu"} & set(found)


def test_a_batch_may_be_larger_than_a_shard(source):
    (entry,) = extract(source, [None], Runtime("cpu", batch_size=300, num_workers=1))
    assert len(entry.vectors) == 40
