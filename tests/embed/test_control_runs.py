"""Controls that take something from calibration images: gathered once, kept, in no key but by digest, and told."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image

from itae.base.runtime import Runtime
from itae.edits.attenuate import Scale
from itae.edits.controls import RegisterMean, Shuffle
from itae.edits.detect import VectorNorm
from itae.edits.edit import make_edit
from itae.embed import gather
from itae.embed.extract import extract
from itae.embed.row_space import row_space
from itae.embed.source import Source
from itae.images.datasets import ImageFolder
from itae.store.store import Store
from itae.vit.backbone import Backbone

CPU = Runtime("cpu", batch_size=4, num_workers=0)
N = 20
MODEL = ("backbone=timm", "backbone.module=tiny_models", "backbone.model_name=tiny_reg4", "backbone.image_size=32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.save(tmp_path_factory.mktemp("weights") / "reg4.safetensors", "tiny_reg4")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("itae.embed.source.SHARD", 8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder of pictures to take some from."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(N + 5):
        pixels = rng.normal(128, 10 + 3 * i, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture
def folder(tmp_path, pictures):
    (tmp_path / "set").mkdir()
    for file in sorted(pictures.iterdir())[:N]:
        shutil.copy(file, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def gathering(monkeypatch):
    """Return a list that grows with each walk over calibration images."""
    calls = []
    for name in ("gather_values", "register_means"):
        plain = getattr(gather, name)
        monkeypatch.setattr(gather, name, lambda *a, plain=plain, name=name: (calls.append(name), plain(*a))[1])
    return calls


def source_of(folder, weights, pool="cls", cache="cache"):
    backbone = Backbone("tiny_reg4", str(weights), image_size=32, pool=pool, module="tiny_models")
    return Source.open(ImageFolder(root=str(folder)), backbone, Store(folder.parent / cache))


def longest_values(source):
    """Return the largest norm of a patch's value in the last block, of each image."""
    from itae.images.batches import batches
    from itae.images.transform import normalise

    model, seen = source.backbone.build(source.facts, torch.device("cpu")), []
    model.blocks[-1].attn.qkv.register_forward_hook(lambda _qkv, _args, out: seen.append(out[:, 5:, 32:]))
    with torch.inference_mode():
        model.forward_features(normalise(torch.from_numpy(next(batches(source.images, source.transform, 0, N, N))),
                                         source.transform))  # fmt: skip
    return seen[0].norm(dim=-1).amax(dim=1).tolist()


def shuffled(layers="all", rule="mad", strength=1.0, images=12):
    detector = VectorNorm(rule=rule, k=1.0, calibration_images=images)
    return make_edit(*Shuffle()(detector, Scale(strength)), layers, 2)


def mean_of(source, images=12):
    return RegisterMean(calibration_images=images).make(None, None, "last", source.facts)


def test_what_is_gathered_is_kept_and_a_hit_asks_for_nothing(folder, weights, gathering):
    source = source_of(folder, weights)
    edits = [None, shuffled(), shuffled("last"), mean_of(source)]
    first = extract(source, edits, CPU)
    assert sorted(gathering) == ["gather_values", "gather_values", "register_means"], "by the block where they begin"
    assert not any(np.array_equal(first[0].vectors, one.vectors) for one in first[1:])
    again = extract(source_of(folder, weights), edits, CPU)
    assert len(gathering) == 3
    shutil.rmtree(first[1].path)
    rerun = extract(source_of(folder, weights), edits, dataclasses.replace(CPU, batch_size=3))
    assert len(gathering) == 3, "from the file, in batches of another size"
    for one, other, third in zip(first, again, rerun, strict=True):
        assert np.array_equal(one.vectors, other.vectors)
        np.testing.assert_allclose(one.vectors, third.vectors, atol=1e-5)


def test_an_entry_tells_digest_and_counts_and_a_row_depends_on_the_digest(folder, weights):
    source = source_of(folder, weights)
    shuffle, mean = extract(source, [shuffled(), mean_of(source)], CPU)
    told = shuffle.meta["gathered"]
    assert told["images"] == 12
    assert list(told["values"]) == ["0", "1"]
    assert all(count > 0 for count in told["values"].values())
    assert mean.meta["gathered"]["values"] is None
    for entry, part in ((shuffle, "attenuator"), (mean, "register_mean")):
        assert entry.meta["space"]["edit"][part]["calibration_images"] == 12, "found by its rule"
        space = row_space(entry.meta)["edit"]
        assert space["gathered"] == entry.meta["gathered"]["digest"]
        assert "calibration_images" not in space[part]
        assert row_space({**entry.meta, "gathered": None}) is None
    assert "gathered" not in row_space(extract(source, [None], CPU)[0].meta)


def test_rows_are_taken_where_the_numbers_are_the_same_and_only_there(folder, weights, pictures):
    """All calibration images are drawn in either set: with another picture the numbers are others."""
    source = source_of(folder, weights)
    extract(source, [shuffled(images=N), mean_of(source, N)], CPU)
    for name in ("00.png", "01.png"):
        (folder / name).rename(folder / f"moved-{name}")
    moved = source_of(folder, weights)
    for entry in extract(moved, [shuffled(images=N), mean_of(moved, N)], CPU):
        assert entry.passed == 0, "same bytes under other names, of the same values"
    shutil.copy(sorted(pictures.iterdir())[-1], folder)
    larger = source_of(folder, weights)
    for entry in extract(larger, [shuffled(images=N + 1), mean_of(larger, N + 1)], CPU):
        assert entry.passed == N + 1


def digests_of(entries):
    return [entry.meta["gathered"]["digest"] for entry in entries]


def test_of_other_images_others_are_gathered_under_the_same_settings(folder, weights, pictures):
    source = source_of(folder, weights)
    before = digests_of(extract(source, [shuffled(images=N), mean_of(source, N)], CPU))
    (folder / "00.png").unlink()
    shutil.copy(sorted(pictures.iterdir())[-1], folder)
    changed = source_of(folder, weights)
    after = digests_of(extract(changed, [shuffled(images=N), mean_of(changed, N)], CPU))
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_what_is_done_in_a_block_is_felt_in_the_values_of_the_next_and_not_in_its_own(folder, weights):
    source = source_of(folder, weights)
    whole, half, *last = (
        digests_of(extract(source, [shuffled(layers, strength=a)], CPU))[0]
        for layers in ("all", "last")
        for a in (1.0, 0.5)
    )
    assert whole != half
    assert last[0] == last[1]


def test_which_images_are_looked_at_is_each_edits_own_in_one_pass_too(folder, weights):
    source = source_of(folder, weights)

    def edits():
        for count, seed in ((12, 0), (12, 1), (13, 0)):
            yield RegisterMean(count, seed).make(None, None, "last", source.facts)
            detector = VectorNorm(k=1.0, calibration_images=count, calibration_seed=seed)
            yield make_edit(*Shuffle()(detector, Scale()), "last", 2)

    together = digests_of(extract(source, list(edits()), CPU))
    assert len(set(together)) == 6
    for i, edit in enumerate(edits()):
        assert digests_of(extract(source_of(folder, weights, cache=f"cache{i}"), [edit], CPU)) == [together[i]]


def test_rows_are_functions_of_the_images_bytes(folder, weights):
    """Whatever their names, their order and the batches that they come in."""
    source = source_of(folder, weights)
    edits = [shuffled(images=N), mean_of(source, N)]
    before = extract(source, edits, CPU)
    others = sorted(before[0].ids, key=lambda name: name[::-1])
    for i, name in enumerate(others):
        (folder / name).rename(folder / f"z{i:02d}.png")
    after = extract(source_of(folder, weights, cache="other"), edits, dataclasses.replace(CPU, batch_size=3))
    for one, other in zip(before, after, strict=True):
        assert other.passed == N
        for i, name in enumerate(others):
            row = other.vectors[other.ids.index(f"z{i:02d}.png")]
            np.testing.assert_allclose(row, one.vectors[one.ids.index(name)], atol=1e-5)


def test_thresholds_that_are_fitted_on_the_way_are_kept_with_the_values(folder, weights, gathering, monkeypatch):
    from itae.edits import bimodal
    from itae.embed import fit_layers

    def third(signals, side):
        return dataclasses.replace(bimodal.fit_threshold(signals, side), theta=float(np.quantile(signals, 0.3)))

    monkeypatch.setattr(fit_layers, "fit_threshold", third)
    source = source_of(folder, weights)
    (entry,) = extract(source, [shuffled(rule="bimodal")], CPU)
    assert gathering == ["gather_values"]
    assert sorted(entry.meta["fits"]) == ["0", "1"]
    shutil.rmtree(entry.path)
    monkeypatch.setattr(fit_layers, "fit_threshold", None)
    (again,) = extract(source_of(folder, weights), [shuffled(rule="bimodal")], CPU)
    assert gathering == ["gather_values"], "both from files"
    assert again.meta["fits"] == entry.meta["fits"]
    np.testing.assert_allclose(again.vectors, entry.vectors, atol=1e-6)


def test_what_is_found_in_the_untouched_model_is_fitted_there_before_values_are_gathered(folder, weights, monkeypatch):
    from itae.edits import bimodal
    from itae.embed import fit_layers

    def third(signals, side):
        return dataclasses.replace(bimodal.fit_threshold(signals, side), theta=float(np.quantile(signals, 0.3)))

    monkeypatch.setattr(fit_layers, "fit_threshold", third)
    detector = VectorNorm(rule="bimodal", layer="each", calibration_images=12)
    edits = make_edit(detector, Scale(), "all", 2), make_edit(*Shuffle()(detector, Scale()), "all", 2)
    attended, shuffled_ = (
        extract(source_of(folder, weights, cache=f"cache{i}"), [edit], CPU)[0] for i, edit in enumerate(edits)
    )
    assert shuffled_.meta["fits"] == attended.meta["fits"], "whatever is done with what is flagged"
    assert all(count > 12 for count in shuffled_.meta["gathered"]["values"].values())
    assert np.array_equal(shuffled_.diagnostics["flagged"], attended.diagnostics["flagged"])


def test_a_run_that_is_interrupted_goes_on_with_the_same_numbers(folder, weights, gathering, killed_at_shard_2):
    source = source_of(folder, weights)
    edits = [shuffled(), mean_of(source)]
    killed_at_shard_2(extract, source, edits, CPU)
    made = len(gathering)
    entries = extract(source_of(folder, weights), edits, CPU)
    assert len(gathering) == made
    fresh = extract(dataclasses.replace(source, store=Store(folder.parent / "other")), edits, CPU)
    for one, other in zip(entries, fresh, strict=True):
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_the_pooling_is_no_matter_of_what_is_gathered(folder, weights, gathering):
    for pool in ("cls", "cls_registers", "mean"):
        source = source_of(folder, weights, pool)
        (entry,) = extract(source, [mean_of(source)], CPU)
    assert gathering == ["register_means"]
    assert entry.vectors.shape == (N, 16)


def test_nothing_flagged_in_calibration_changes_nothing(folder, weights):
    source = source_of(folder, weights)
    detector = VectorNorm(rule="absolute", threshold=0.0, calibration_images=12)  # no norm is that small
    edit = make_edit(*Shuffle()(detector, Scale()), "all", 2)
    untouched, edited = extract(source, [None, edit], CPU)
    np.testing.assert_allclose(untouched.vectors, edited.vectors, atol=1e-6)
    assert edited.meta["gathered"]["values"] == {"0": 0, "1": 0}
    from itae.embed.about import notes_on_edit
    from itae.embed.diagnostics.flags import by_layer

    layers = by_layer(edited.diagnostics, N)
    notes = notes_on_edit(source, edit, layers, untouched, edited)
    assert any("in 2 of 2 edited blocks (block 0) nothing was flagged in 12 calibration images" in n for n in notes)


def test_where_one_image_alone_has_something_flagged_it_keeps_its_values_and_that_is_said(folder, weights):
    """Its values would be the only ones, and an image never gets its own."""
    from itae.embed.about import about_edit, notes_on_edit

    source = source_of(folder, weights)
    *_, third, second, loudest = sorted(longest_values(source))
    for threshold, said in (((second + loudest) / 2, True), ((third + second) / 2, False)):
        detector = VectorNorm(rule="absolute", threshold=threshold, side="high", calibration_images=N)
        edit = make_edit(*Shuffle()(detector, Scale()), "last", 2)
        untouched, edited = extract(source, [None, edit], CPU)
        assert edited.meta["gathered"]["values"]["1"] > 0
        layers = about_edit(source, edit, untouched, edited)["layers"]
        assert (layers[0]["images_with_artifacts"] == 1 / N) is said
        notes = notes_on_edit(source, edit, layers, untouched, edited)
        assert any("control=shuffle changed no embedding" in note for note in notes) is said, notes
        assert not any("reaches no token" in note for note in notes)


@pytest.mark.slow
def test_the_workers_of_a_cluster_gather_what_one_process_gathers(folder, weights, ray):
    source = source_of(folder, weights)
    edits = [shuffled(), mean_of(source)]
    here = extract(source, edits, CPU)
    there = extract(dataclasses.replace(source, store=Store(folder.parent / "other")), edits,
                    Runtime("cpu", batch_size=4, engine="ray"))  # fmt: skip
    for one, other in zip(here, there, strict=True):
        assert one.meta["gathered"]["values"] == other.meta["gathered"]["values"]
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


@pytest.mark.slow
@pytest.mark.figures
def test_controls_are_an_axis_of_a_sweep(itae_, tmp_path, weights, gathering):
    words = ("tracker=none", *MODEL, f"backbone.checkpoint={weights}", "dataset.limit=100", "clusterer.seeds=1",
             "detector.k=1", "hydra.sweep.dir=sweep")  # fmt: skip
    status, out, err = itae_("-m", "control=none,random,register_mean,shuffle", "layers=last,all", *words)
    assert status == 0, err
    results = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("sweep/*/result.json"))]
    assert [result["status"] for result in results] == ["ok"] * 8
    mean, same = (result for result in results if "RegisterMean" in result["settings"]["control"]["_target_"])
    assert mean["embeddings"]["edited"] != mean["embeddings"]["baseline"]
    assert mean["moved"] == same["moved"], "in every block, whatever the layers are"
    assert mean["gathered"]["images"] == 100
    assert gathering.count("register_means") == 1
    status, out, err = itae_("tracker=none", *words[1:-1], "control=register_mean")
    assert status == 0, err
    assert "RegisterMean(calibration_images=256" in out
    assert "means over 100 images" in out
    status, out, err = itae_("tracker=none", *words[1:-1], "control=shuffle", "layers=all")
    assert status == 0, err
    assert "values of flagged patches of 100 images, by block: 0: " in out


REFUSED = [
    ("knowledge init {}/kb control=shuffle", "control=shuffle takes numbers of calibration images"),
    ("knowledge init {}/kb control=register_mean", "control=register_mean takes numbers of calibration images"),
    ("calibrate {}/new.json detector.rule=bimodal control=shuffle", "leave out control=shuffle"),
    ("task=knn 'task.gallery={{split: train}}' dataset.split=test control=shuffle", "leave out the gallery"),
    ("edit=test_time_registers control=shuffle", "goes with edit=attention"),
    ("edit=test_time_registers control=register_mean", "goes with edit=attention"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_where_they_can_not_be_held_they_are_refused(itae_, tmp_path, weights, line, words):
    import shlex

    given = shlex.split(line.format(tmp_path))
    status, out, err = itae_(*given, *MODEL, f"backbone.checkpoint={weights}")
    assert (status, out) == (2, ""), err
    assert words in err
    assert err.count("\n") == 1
