"""A row is f(bytes of the image, backbone, resolved edit): what another entry has of it doesn't pass again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import itae
from itae.base.runtime import Runtime
from itae.edits.attenuate import Floor, Scale
from itae.edits.bimodal import Fit
from itae.edits.detect import Random, VectorNorm
from itae.edits.edit import make_edit
from itae.edits.registers import TestTimeRegisters
from itae.embed.calibration import calibrated, write_calibration
from itae.embed.diagnostics.flags import by_layer
from itae.embed.extract import extract
from itae.embed.find_rows import find_rows
from itae.embed.replay import SharedPass
from itae.embed.settle import fitted as fits_of
from itae.embed.source import Source
from itae.embed.work import Work
from itae.images.datasets import ImageFolder
from itae.look.page.run_part import _captions
from itae.store.arrays import pack
from itae.store.entry import render, seal_of
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime("cpu", batch_size=4, num_workers=0)
BARE = dataclasses.replace(CPU, diagnostics=False)
N = 20


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)


@pytest.fixture
def seen(monkeypatch):
    """Return the digests of the images that pass, one after the other."""
    found, call = [], SharedPass.__call__

    def counting(self, pixels, digests, *look):
        if digests != [bytes(32)]:  # the proof that the model can be edited
            found.extend(digests)
        return call(self, pixels, digests, *look)

    monkeypatch.setattr(SharedPass, "__call__", counting)
    return found


@pytest.fixture(scope="module")
def drawer(tmp_path_factory):
    """Return a folder of pictures to take some from."""
    folder, rng = tmp_path_factory.mktemp("drawer"), np.random.default_rng(0)
    for i in range(2 * N):
        pixels = rng.normal(128, 10 + 3 * i, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


class House:
    """A folder of pictures, a cache, and what is made of the one in the other."""

    def __init__(self, root, drawer, weights):
        self.root, self.drawer, self.folder = root, drawer, root / "pictures"
        self.backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
        for i in range(N):
            self.add(i)

    def add(self, i, name=None):
        (self.folder / "a").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.drawer / f"{i:02d}.png", self.folder / (name or f"a/{i:02d}.png"))

    def source(self, cache="cache", **options):
        return Source.open(ImageFolder(root=str(self.folder), **options), self.backbone, Store(self.root / cache))

    def extract(self, edits, runtime=CPU, cache="cache"):
        return extract(self.source(cache), edits, runtime)


@pytest.fixture
def house(tmp_path, drawer, weights):
    return House(tmp_path, drawer, weights)


def edit(detector=None, attenuator=None, layers="all"):
    return make_edit(detector or VectorNorm(rule="quantile", quantile=0.2), attenuator or Scale(), layers, 2)


EDITS = [None, edit(), edit(attenuator=Floor(0.5), layers="last")]


def no_model(monkeypatch):
    monkeypatch.setattr(Backbone, "build", lambda *_: pytest.fail("the model was built"))


def rows_of(entry):
    return {digest.tobytes(): row for digest, row in zip(entry.digests, entry.vectors, strict=True)}


def rates(entry):
    names = ("artifact_rate", "artifacts_per_image", "images_with_artifacts", "left_alone", "tied")
    return [{name: row[name] for name in names} for row in by_layer(entry.diagnostics, len(entry.ids))]


def assert_as_from_nothing(house, edits, entries, runtime=CPU):
    """Whatever rows are taken from, vectors and rates are as if nothing were there."""
    shutil.rmtree(house.root / "nothing", ignore_errors=True)
    for one, fresh in zip(entries, house.extract(edits, runtime, "nothing"), strict=True):
        assert one.ids == fresh.ids
        assert one.path.name == fresh.path.name
        np.testing.assert_allclose(one.vectors, fresh.vectors, atol=1e-5)
        np.testing.assert_array_equal(one.digests, fresh.digests)
        for ours, theirs in zip(rates(one), rates(fresh), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)


def test_new_pictures_cost_themselves_and_no_more(house, seen):
    before = house.extract(EDITS)
    for i in range(N, N + 3):
        house.add(i)
    house.add(N + 3, "a/00a.png")  # in the middle
    del seen[:]
    after = house.extract(EDITS)
    assert len(seen) == 4
    assert all(entry.passed == 4 for entry in after)
    for old, new in zip(before, after, strict=True):
        was, now = rows_of(old), rows_of(new)
        assert all(np.array_equal(now[digest], row) for digest, row in was.items()), "bit for bit"
        assert new.meta["rows"] == {"passed": 4, "taken": N, "seen": N + 4, "gone": 0, "from": [old.path.name]}
    assert_as_from_nothing(house, EDITS, after)


def change(house, how):
    folder = house.folder / "a"
    if how == "deleted":
        for i in (0, 7, 19):
            (folder / f"{i:02d}.png").unlink()
    elif how == "renamed":
        for i in (0, 7, 19):
            (folder / f"{i:02d}.png").rename(folder / f"x{i:02d}.png")
    elif how == "reordered":
        for i in range(N):
            (folder / f"{i:02d}.png").rename(folder / f"z{N - i:02d}.png")
    elif how == "moved":
        (house.folder / "b").mkdir()
        for i in range(10):
            (folder / f"{i:02d}.png").rename(house.folder / "b" / f"{i:02d}.png")
    elif how == "elsewhere":
        house.folder.rename(house.folder.with_name("photographs"))
        house.folder = house.folder.with_name("photographs")
    elif how == "doubled":
        house.add(3, "a/again.png")
    else:
        for file in folder.iterdir():
            if int(file.stem) % 5:
                file.unlink()


@pytest.mark.parametrize("how", ["deleted", "renamed", "reordered", "moved", "doubled", "subset"])
@pytest.mark.parametrize("runtime", [CPU, BARE], ids=["whole", "bare"])
def test_pictures_that_are_gone_or_have_other_names_cost_nothing(house, monkeypatch, seen, how, runtime):
    edits = [*EDITS, edit(Random(rate=0.3)), edit(VectorNorm(rule="quantile", quantile=0.2, scope="head"))]
    before = house.extract(edits, runtime)
    change(house, how)
    with monkeypatch.context() as patched:
        no_model(patched)
        after = house.extract(edits, runtime)
    for old, new in zip(before, after, strict=True):
        assert (new.fresh, new.passed, new.meta["rows"]["passed"]) == (True, 0, 0)
        was = rows_of(old)
        assert all(np.array_equal(was[digest], row) for digest, row in rows_of(new).items()), "bit for bit"
    assert_as_from_nothing(house, edits, after, runtime)


def test_the_entry_itself_is_found_where_the_folder_is_elsewhere(house, monkeypatch):
    house.extract(EDITS)
    change(house, "elsewhere")
    no_model(monkeypatch)
    assert not any(entry.fresh for entry in house.extract(EDITS))


# --- what is fitted or searched


def fitted(**options):
    return VectorNorm(rule="bimodal", side="high", calibration_images=12, **options)


def numbers(monkeypatch, *thetas):
    """Have each fit give the next of these thresholds; return those that are left."""
    left = list(thetas)

    def fit(shared, edits, batches):
        theta = left.pop(0)
        return [{layer: Fit(theta, "bimodal", 2, 0.25, 0.125) for layer in one.looks} for one in edits]

    monkeypatch.setattr("itae.embed.fit_layers.fit_layers", fit)
    return left


def test_a_fit_on_the_same_pictures_is_kept_whatever_their_names_and_order(house, monkeypatch):
    left = numbers(monkeypatch, 3.25, 4.0)
    house.extract([edit(fitted(), layers="last")])
    (house.folder / "a" / "03.png").rename(house.folder / "a" / "03x.png")
    no_model(monkeypatch)
    (entry,) = house.extract([edit(fitted(), layers="last")])
    assert left == [4.0]
    assert entry.meta["fits"]["1"]["theta"] == 3.25
    assert entry.meta["rows"]["passed"] == 0


def test_edits_with_one_signal_share_a_fit_that_is_kept_if_they_look_in_one_block(house, monkeypatch):
    left = numbers(monkeypatch, 3.25, 3.5, 3.75)
    for strength in (1.0, 0.5):
        house.extract([edit(fitted(), Scale(strength), "last")])
    assert left == [3.5, 3.75]
    for strength in (1.0, 0.5):
        house.extract([edit(fitted(), Scale(strength), "all")])
    assert left == [], "the second block is seen on an edited stream"


def test_on_a_changed_folder_there_is_another_fit_and_no_rows_of_other_numbers(house, monkeypatch, seen, caplog):
    numbers(monkeypatch, 3.25, 3.5, 3.5)
    house.extract([None, edit(fitted())])
    house.add(N)
    del seen[:]
    first, second = house.extract([None, edit(fitted())])
    assert (first.passed, second.passed) == (1, N + 1)
    (told,) = [record.message for record in caplog.records if "thresholds that were fitted" in record.message]
    assert "(block 0: 3.5) are not those of earlier embeddings of 20 of them (3.25)" in told
    assert "detector.calibration=FILE" in told
    caplog.clear()
    (house.folder / "a" / "00.png").unlink()
    (third,) = house.extract([edit(fitted())])
    assert third.passed == 0, "another fit with the same numbers"
    assert "thresholds that were fitted" not in caplog.text
    numbers(monkeypatch, 3.5)
    assert_as_from_nothing(house, [edit(fitted())], [third])


def test_nothing_is_said_of_thresholds_where_rows_are_left_for_another_reason(house, monkeypatch, caplog):
    numbers(monkeypatch, 3.25)
    house.extract([edit(fitted())], BARE)
    (house.folder / "a" / "03.png").rename(house.folder / "a" / "03x.png")
    (entry,) = house.extract([edit(fitted())], CPU)
    assert entry.passed == N, "diagnostics are wanted"
    assert "thresholds that were fitted" not in caplog.text


def test_thresholds_of_a_calibration_and_of_a_fit_are_the_same_numbers(house, monkeypatch, seen):
    numbers(monkeypatch, 3.25)
    one = edit(fitted())
    house.extract([one])
    source, file = house.source(), house.root / "paper.json"
    no_model(monkeypatch)
    fits = fits_of(source, source.images, lambda: pytest.fail("fitted again"), {source.key(one): one})
    write_calibration(file, source, one, fits[source.key(one)])
    monkeypatch.undo()
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    house.add(N)
    source = house.source()
    held = calibrated(edit(fitted(calibration=str(file))), source)
    (entry,) = extract(source, [held], CPU)
    assert entry.passed == 1
    (house.folder / "a" / "05.png").unlink()
    source = house.source()
    (entry,) = extract(source, [calibrated(edit(fitted(calibration=str(file))), source)], CPU)
    assert entry.passed == 0
    assert entry.meta["fits"]["0"]["theta"] == 3.25


def registers(house, images=64):
    settings = TestTimeRegisters(
        rule="mad", k=1.0, outlier_layer=0, highest_layer=0, top_k=3, calibration_images=images
    )
    return settings.make(None, None, "all", house.source().facts)


def test_a_search_on_the_same_pictures_is_kept_whatever_their_names_and_order(house, monkeypatch):
    edits = [registers(house), registers(house, 12)]
    before = house.extract(edits)
    assert all(entry.diagnostics["outliers_of"] == [N] for entry in before)
    assert all(entry.diagnostics["outliers_left"] > 0 for entry in before)
    (house.folder / "a" / "03.png").rename(house.folder / "a" / "03x.png")  # 12 are drawn by their order, which stays
    with monkeypatch.context() as patched:
        no_model(patched)
        for entry, old in zip(house.extract(edits), before, strict=True):
            assert entry.passed == 0
            assert entry.meta["search"] == old.meta["search"]
    (house.folder / "a" / "03x.png").rename(house.folder / "a" / "03.png")
    change(house, "reordered")
    no_model(monkeypatch)
    (entry,) = house.extract([registers(house)])
    assert entry.passed == 0
    assert entry.diagnostics["outliers_left"] == pytest.approx(before[0].diagnostics["outliers_left"], rel=1e-6)


def test_rows_of_other_neurons_are_not_taken(house, seen):
    (before,) = house.extract([registers(house)])
    for i in range(N, 2 * N):
        house.add(i)
    del seen[:]
    (after,) = house.extract([registers(house)])
    same = [[n[:2] for n in entry.meta["search"]["neurons"]] for entry in (before, after)]
    assert after.passed == (N if sorted(same[0]) == sorted(same[1]) else 2 * N)
    (fewer,) = house.extract([dataclasses.replace(registers(house), settings=dataclasses.replace(
        registers(house).settings, top_k=1))])  # fmt: skip
    assert fewer.passed == 2 * N


# --- diagnostics


def by_hand(entries, name):
    return sum(entry.diagnostics[name].astype(np.float64) for entry in entries)


def test_histograms_and_maps_are_of_what_passed_and_of_the_entry_that_gave_most(house):
    first = house.extract(EDITS)
    for i in range(N, N + 4):
        house.add(i)
    second = house.extract(EDITS)
    change(house, "deleted")
    third = house.extract(EDITS)
    house.add(0)
    fourth = house.extract(EDITS)
    assert [entry.meta["rows"]["seen"] for entry in (second[0], third[0], fourth[0])] == [N + 4] * 3
    assert [entry.meta["rows"]["gone"] for entry in (second[0], third[0], fourth[0])] == [0, 3, 2]
    fresh = house.extract(EDITS, cache="nothing")
    for i in range(3):
        names = [name for name in first[i].diagnostics if name.startswith(("norm.", "signal", "flagged_at", "paid"))]
        for name in set(names) - {"signal_edges"}:
            np.testing.assert_array_equal(third[i].diagnostics[name], second[i].diagnostics[name], err_msg=name)
            np.testing.assert_array_equal(fourth[i].diagnostics[name], second[i].diagnostics[name], err_msg=name)
            assert not np.array_equal(second[i].diagnostics[name], first[i].diagnostics[name]), name
        assert rates(fourth[i]) == [pytest.approx(row, rel=1e-6) for row in rates(fresh[i])]


def test_what_all_pictures_of_the_set_were_seen_for_is_as_from_nothing(house):
    house.extract(EDITS)
    house.add(N, "a/000.png")
    entries, fresh = house.extract(EDITS), house.extract(EDITS, cache="nothing")
    for one, whole in zip(entries, fresh, strict=True):
        extra = {"seen", "seen_gone"}
        assert one.diagnostics.keys() - extra == whole.diagnostics.keys()
        for name, array in whole.diagnostics.items():
            if name.startswith(("norm.", "signal")):
                assert np.abs(np.cumsum(one.diagnostics[name] - array, axis=-1)).max() <= 2, name
            elif not name.startswith("example"):
                np.testing.assert_allclose(one.diagnostics[name], array, rtol=1e-5, err_msg=name)


def test_examples_stay_with_their_pictures(house):
    (before,) = house.extract([edit()])
    masks = {bytes(before.digests[row]): mask for row, mask in zip(
        before.diagnostics["examples"], before.diagnostics["example_mask"], strict=True)}  # fmt: skip
    change(house, "reordered")
    for i in (1, 2, 3):
        next(house.folder.glob(f"a/z{N - i:02d}.png")).unlink()
    house.add(N)
    (after,) = house.extract([edit()])
    found = after.diagnostics
    assert 0 < len(found["examples"]) <= 12
    assert (np.diff(found["examples"]) > 0).all()
    mine = [bytes(after.digests[row]) for row in found["examples"]]
    assert any(digest in masks for digest in mine)
    for digest, mask in zip(mine, found["example_mask"], strict=True):
        if digest in masks:
            np.testing.assert_array_equal(mask, masks[digest])
    expected = {digest for digest in masks if digest in {bytes(one) for one in after.digests}}
    assert expected <= set(mine) or len(mine) == 12


def test_a_picture_that_comes_back_is_not_counted_twice(house):
    """Its row is gone with the first entry; the second has seen it, and says so."""
    (first,) = house.extract([edit()])
    (house.folder / "a" / "04.png").unlink()
    (second,) = house.extract([edit()])
    assert (second.meta["rows"]["seen"], second.meta["rows"]["gone"]) == (N, 1)
    shutil.rmtree(first.path)
    house.add(4)
    house.add(N)
    (third,) = house.extract([edit()])
    assert third.passed == 2
    assert (third.meta["rows"]["seen"], third.meta["rows"]["gone"]) == (N, 0), "the larger one of two that overlap"
    assert third.diagnostics["signal"].sum() == 2 * N * 16
    (fresh,) = house.extract([edit()], cache="nothing")
    assert rates(third) == [pytest.approx(row, rel=1e-6) for row in rates(fresh)]


def as_before(entry):
    """Have an entry hold what entries held before rows were taken from them."""
    found = {name: array for name, array in entry.diagnostics.items() if name not in ("share", "tied_in", "alone_in")}
    (entry.path / "diagnostics.npz").write_bytes(pack(found))
    meta = json.loads((entry.path / "meta.json").read_bytes())
    data = (entry.path / "diagnostics.npz").read_bytes()
    meta["bytes"]["diagnostics.npz"] = len(data)
    meta["checksums"]["diagnostics.npz"] = hashlib.sha256(data).hexdigest()
    del meta["seal"]
    (entry.path / "meta.json").write_bytes(render({**meta, "seal": seal_of(meta)}))


BLANK = VectorNorm(rule="mad", k=1.0)


@pytest.mark.parametrize(
    ("detector", "lifted"),
    [
        (VectorNorm(rule="quantile", quantile=0.2), True),
        (VectorNorm(rule="absolute", threshold=0.0), True),  # nothing is flagged
        (VectorNorm(rule="absolute", threshold=1e9), True),  # everything is
        (VectorNorm(rule="absolute", threshold=1e9, scope="head"), True),
        (VectorNorm(rule="quantile", quantile=0.2, scope="head"), False),
        (BLANK, False),  # of the blank picture there is a tie, and it isn't said in which picture
    ],
)
def test_entries_of_before_give_rows_where_rates_stay_exact(house, seen, detector, lifted):
    if detector is BLANK:
        file = tiny_models.save(house.root / "nowhere.safetensors", "tiny_nowhere")
        house.backbone = dataclasses.replace(house.backbone, model_name="tiny_nowhere", checkpoint=str(file))
        Image.new("RGB", (32, 32), (9, 9, 9)).save(house.folder / "a" / "blank.png")
    one = edit(detector)
    (before,) = house.extract([one])
    assert before.diagnostics["tied"].any() == (detector is BLANK)
    as_before(before)
    change(house, "deleted")
    del seen[:]
    (after,) = house.extract([one])
    n = len(after.ids)
    assert after.passed == (0 if lifted else n)
    assert_as_from_nothing(house, [one], [after])
    (bare,) = house.extract([edit(detector, Scale(0.5))], BARE)
    (house.folder / "a" / "01.png").unlink()
    assert house.extract([edit(detector, Scale(0.5))], BARE)[0].passed == 0
    assert bare.passed == n


def test_rates_by_head_are_exact_whatever_rows_come_from_where(house):
    """Old entries give none; of new ones each image's share is there."""
    one = edit(VectorNorm(vector="key", rule="mad", k=1.0, scope="head", side="high"))
    house.extract([one])
    change(house, "deleted")
    for i in range(N, N + 5):
        house.add(i, f"a/0{i}.png")
    (after,) = house.extract([one])
    assert after.passed == 5
    assert after.diagnostics["share"].shape == (N + 2, 2)
    assert_as_from_nothing(house, [one], [after])
    change(house, "subset")
    (again,) = house.extract([one])
    assert again.passed == 0
    assert_as_from_nothing(house, [one], [again])


def test_entries_without_diagnostics_give_rows_to_runs_without(house):
    house.extract(EDITS, BARE)
    house.add(N)
    assert [entry.passed for entry in house.extract(EDITS, BARE)] == [1, 1, 1]
    whole = house.extract(EDITS, CPU)
    assert [entry.passed for entry in whole] == [N + 1] * 3
    house.add(N + 1)
    assert [entry.passed for entry in house.extract(EDITS, BARE)] == [1, 1, 1], "from those with diagnostics, too"


def digits_as_files(folder, rows):
    from sklearn.datasets import load_digits

    images = load_digits().images
    for i in rows:
        (folder / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((images[i] * 15).astype(np.uint8)).save(folder / str(i % 2) / f"{i:03d}.png")


@pytest.mark.slow  # three runs, one after the other
def test_a_run_says_how_many_passed_and_of_which_images_its_pictures_are(itae_, tmp_path, seen):
    words = ["dataset=imagefolder", "dataset.root=pictures", "tracker=none", "clusterer.seeds=1",
             "clusterer.restarts=1", "runtime.device=cpu"]  # fmt: skip
    digits_as_files(tmp_path / "pictures", range(60))
    status, out, err = itae_(*words, "hydra.run.dir=first")
    assert status == 0, err
    assert "images passed" not in out
    first = json.loads((tmp_path / "first" / "result.json").read_text())
    assert (first["timing"]["passed"], first["timing"]["images"], first["seen"]) == (60, 60, {})
    digits_as_files(tmp_path / "pictures", range(60, 63))
    (tmp_path / "pictures" / "0" / "004.png").unlink()
    del seen[:]
    status, out, err = itae_(*words, "hydra.run.dir=second")
    assert status == 0, err
    assert len(seen) == 3
    assert "(3 of 62 images passed, " in out
    note = (
        "norms and attention are of 63 images, 1 of them no longer in the set; shares of flagged patches are of all 62."
    )
    assert note in " ".join(out.split())
    second = json.loads((tmp_path / "second" / "result.json").read_text())
    assert second["seen"] == {side: {"images": 63, "gone": 1} for side in ("baseline", "edited")}
    assert second["timing"]["images_per_s"] == pytest.approx(3 / second["timing"]["extract_s"])
    captions = _captions(itae.load_run(tmp_path / "second"))
    assert all("Of 63 images, 1 of them" in captions[name] for name in ("norms", "signal", "layers", "artifacts"))
    assert "Of 63" not in captions["embeddings"]
    (tmp_path / "pictures" / "0" / "006.png").unlink()
    status, out, err = itae_(*words, "hydra.run.dir=third")
    assert status == 0, err
    assert "(0 of 61 images passed, computed on cpu)" in out
    log = (tmp_path / "third" / "run.log").read_text()
    assert "61 of 61 rows are taken from earlier embeddings; 0 images are left to pass." in log


# --- kills, damage, races


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["vectors.npy", "digests.npy", "diagnostics.npz", "ids.txt", "meta.json"])
def test_a_damaged_entry_gives_no_rows_and_stays_where_it_is(house, name, caplog):
    (donor,) = house.extract([edit()])
    flip(donor.path / name)
    house.add(N)
    caplog.set_level("INFO")
    (entry,) = house.extract([edit()])
    assert entry.passed == N + 1
    assert f"No rows are taken from {donor.path}" in caplog.text
    assert (donor.path / name).is_file(), "it is left to who loads it"
    assert_as_from_nothing(house, [edit()], [entry])


def test_where_one_entry_is_damaged_another_gives_what_it_has(house):
    house.extract([edit()])
    house.add(N)
    (larger,) = house.extract([edit()])
    house.add(N + 1)
    flip(larger.path / "vectors.npy")
    (entry,) = house.extract([edit()])
    assert entry.passed == 2
    assert_as_from_nothing(house, [edit()], [entry])


@pytest.mark.parametrize("donors", ["stay", "pruned", "flipped", "more"])
def test_a_run_that_was_killed_goes_on_whatever_has_become_of_the_entries_it_took_from(
    house, killed_at_shard_2, seen, donors
):
    before = house.extract(EDITS)
    for i, behind in enumerate((0, 3, 6, 9, 11, 13, 16, 18)):  # two, two, three and one in a shard
        house.add(N + i, f"a/{behind:02d}b.png")
    killed_at_shard_2(house.extract, EDITS)
    assert len(list(house.root.glob("cache/*/*/.draft-*/*.shard"))) in (6, 7)
    for entry in before:
        if donors == "pruned":
            shutil.rmtree(entry.path)
        elif donors == "flipped":
            flip(entry.path / "vectors.npy")
    if donors == "more":  # an entry that has seen what passed before the kill, too
        other = house.root / "other"
        shutil.copytree(house.folder, other)
        (other / "a" / "00.png").unlink()
        extract(Source.open(ImageFolder(root=str(other)), house.backbone, Store(house.root / "cache")), EDITS, CPU)
    del seen[:]
    after = house.extract(EDITS)
    left = {"stay": 4, "more": 0}.get(donors, N + 8 - 16)
    assert len(seen) == left, "no image of a whole shard passes again"
    assert [entry.passed for entry in after] == [left] * 3
    assert_as_from_nothing(house, EDITS, after)
    for entry in after[1:]:
        rows = entry.meta["rows"]
        assert entry.diagnostics["signal"][0].sum() == 16 * rows["seen"]
        assert rows["passed"] + rows["taken"] == N + 8
        assert entry.diagnostics["seen"].sum() + rows["gone"] == rows["seen"], "no picture is counted twice"
    assert not list(house.root.glob("cache/*/*/.draft-*"))


def test_shards_are_not_taken_up_that_another_version_has_written(house, monkeypatch, killed_at_shard_2, caplog):
    with monkeypatch.context() as patched:
        patched.setattr("itae.store.draft._SHARDS", 1)
        killed_at_shard_2(house.extract, [edit()])
    (entry,) = house.extract([edit()])
    assert "2 shards of" in caplog.text
    assert entry.passed == N


def test_an_entry_that_is_pruned_while_its_rows_are_taken_has_given_them(house, monkeypatch):
    (donor,) = house.extract([edit()])
    house.add(N)
    done = Work.done
    with monkeypatch.context() as patched:
        patched.setattr(Work, "done", lambda self, *args: (shutil.rmtree(donor.path), done(self, *args))[1])
        (entry,) = house.extract([edit()])
    assert entry.passed == 1
    assert_as_from_nothing(house, [edit()], [entry])


def test_who_takes_rows_in_another_process_reads_them_there_and_passes_what_is_gone(house):
    """As a Ray worker does: neither vectors nor what is known of each image go with the work."""
    (donor,) = house.extract([edit()])
    house.add(N)
    source = house.source()
    key = source.key(edit())
    taken = find_rows(source, source.images, {key: edit()}, {key: {"fits": {}, "diagnostics": True}})[key]
    sent = pickle.dumps(taken)
    assert len(sent) < 6_000
    assert pickle.loads(sent).lacking().sum() == 1
    shutil.rmtree(donor.path)
    assert taken.lacking().sum() == 1
    assert pickle.loads(sent).lacking().all()


@pytest.mark.slow  # two processes that import torch
def test_two_processes_take_rows_and_make_one_entry(house, weights):
    house.extract(EDITS[:2])
    for i in range(N, N + 4):
        house.add(i)
    code = """
import sys
from itae.base.runtime import Runtime
from itae.edits.attenuate import Scale
from itae.edits.detect import VectorNorm
from itae.edits.edit import make_edit
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.datasets import ImageFolder
from itae.look.page.run_part import _captions
from itae.store.arrays import pack
from itae.store.entry import render, seal_of
from itae.store.store import Store
from itae.vit.backbone import Backbone

backbone = Backbone("tiny_vit", checkpoint=sys.argv[1], image_size=32, module="tiny_models")
source = Source.open(ImageFolder(root=sys.argv[2]), backbone, Store(sys.argv[3]))
one = make_edit(VectorNorm(rule="quantile", quantile=0.2), Scale(), "all", 2)
print(sum(entry.passed for entry in extract(source, [None, one], Runtime("cpu", 4, 0))))
"""
    path = os.pathsep.join([str(Path(tiny_models.__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, str(weights), str(house.folder), str(house.root / "cache")]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})
        for _ in range(2)
    ]
    passed = [int(one.communicate()[0]) for one in both]
    assert sum(passed) == 8, "each of two entries once, by either"
    entries = house.extract(EDITS[:2])
    assert not any(entry.fresh for entry in entries)
    assert_as_from_nothing(house, EDITS[:2], entries)


# --- any folder


@pytest.fixture(scope="module")
def truth(tmp_path_factory, drawer, weights):
    """Return, for each of `PAIR`, vector and flags of every picture of the drawer by its digest, from one pass."""
    house = House(tmp_path_factory.mktemp("truth"), drawer, weights)
    for i in range(N, 2 * N):
        house.add(i)
    return [
        {digest: (row, flagged) for (digest, row), flagged in zip(rows_of(entry).items(), of_each(entry), strict=True)}
        for entry in house.extract(PAIR)
    ]


PAIR = [None, edit(VectorNorm(vector="key", rule="mad", k=1.0, side="high"))]
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "delete", "rename", "double", "replace", "prune"]), st.integers(0, 999)),
    min_size=1, max_size=8,
)  # fmt: skip


def of_each(entry):
    return entry.diagnostics.get("flagged", np.zeros((len(entry.ids), 0)))


def step(house, there, how, draw):
    """Change a folder whose pictures are `there`, by name."""
    names = sorted(there)
    name, new, picture = names[draw % len(names)], f"a/{draw:03d}.png", draw % (2 * N)
    if how == "prune":
        entries = sorted(house.root.glob("cache/*/*/[0-9a-f]*"))
        shutil.rmtree(entries[draw % len(entries)])
    elif how == "rename" and new not in there:
        (house.folder / name).rename(house.folder / new)
        there[new] = there.pop(name)
    elif how == "delete" and len(there) > 1:
        (house.folder / name).unlink()
        del there[name]
    elif how in ("add", "double", "replace"):
        target = name if how == "replace" else new
        there[target] = there[name] if how == "double" else picture
        house.add(there[target], target)


@pytest.mark.slow
@given(steps=STEPS)
@settings(max_examples=5, deadline=None)
def test_changes_of_a_folder_give_the_rows_of_one_pass_and_cost_what_no_entry_has(drawer, weights, truth, steps):
    follow(drawer, weights, truth, steps)


@pytest.mark.slow  # half a minute of the same
@given(steps=STEPS)
@settings(max_examples=50, deadline=None)
def test_many_more_sequences_of_changes_do(drawer, weights, truth, steps):
    follow(drawer, weights, truth, steps)


def follow(drawer, weights, truth, steps):
    """Run after each step, and hold what comes of it against one pass over all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), drawer, weights)
        there = {f"a/{i:02d}.png": i for i in range(N)}
        known = [dict[str, set[bytes]]() for _ in PAIR]  # by entry
        for how, draw in [("run", 0), *steps]:
            step(house, there, how, draw)
            entries = house.extract(PAIR)
            for entry, entries_known, rows in zip(entries, known, truth, strict=True):
                digests = [digest.tobytes() for digest in entry.digests]
                left = {name for name in entries_known if (entry.path.parent / name).is_dir()} - {entry.path.name}
                had = set().union(*(entries_known[name] for name in left))
                assert entry.passed == (sum(digest not in had for digest in digests) if entry.fresh else 0)
                entries_known[entry.path.name] = set(digests)
                np.testing.assert_allclose(entry.vectors, [rows[digest][0] for digest in digests], atol=1e-5)
                np.testing.assert_array_equal(of_each(entry), [rows[digest][1] for digest in digests])
            (first, _) = by_layer(entries[1].diagnostics, len(there))
            assert first["artifact_rate"] == pytest.approx(of_each(entries[1])[:, 0].mean() / 16, rel=1e-6)
            assert entries[1].ids == sorted(there)


def test_fifteen_new_pictures_in_a_folder_of_411_cost_fifteen(tmp_path, drawer, weights, seen, monkeypatch):
    monkeypatch.setattr("itae.embed.source.SHARD", 256)
    rng = np.random.default_rng(1)
    folder = tmp_path / "many"
    folder.mkdir()
    house = House(tmp_path, drawer, weights)
    house.folder = folder
    for i in range(411):
        if i == 396:
            first = house.extract([None, edit()])
            assert len(seen) == 396
            seen.clear()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{(37 * i) % 411:03d}.png")
    entries = house.extract([None, edit()])
    assert len(seen) == 15
    for old, new in zip(first, entries, strict=True):
        rows = [new.ids.index(name) for name in old.ids]
        np.testing.assert_array_equal(new.vectors[rows], old.vectors)
