"""Pairs of a study: from which photographs, fixed by what, and kept how."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itae.base.errors import UserError
from itae.base.names import public_name
from itae.portable.data import photographs
from itae.portable.data.frozen import frozen
from itae.portable.data.made import busy, dealt, place
from itae.portable.data.noise import NoNoise, PoissonGaussian
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.data.photographs import Folder, Photograph, Shipped, content
from itae.portable.data.shake import NoBlur, Shake, convolved
from itae.portable.data.split import SPLITS, once, shared_out
from itae.portable.data.wanted import Wanted

FEW = Wanted(train=14, validation=5, test=5, train_size=32, size=48)


class Photographs:
    """A source of photographs that are noise in blocks, each with a seed of its own."""

    def __init__(self, seeds=range(8), size=96):
        self.seeds, self.size = list(seeds), size

    def settings(self):
        return {}

    def photographs(self):
        return [self._one(seed) for seed in self.seeds]

    def _one(self, seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (self.size // 4, self.size // 3, 3), np.uint8)
        shot = np.kron(pixels, np.ones((4, 4, 1), np.uint8))
        return Photograph(f"p{seed}", content(shot), f"somebody {seed}", lambda: shot, shot.shape[:2])


def made(cache, source=None, blur=None, noise=None, options=FEW, seed=0, advance=None):
    blur, noise = blur or Shake((2, 6), lens=0), noise or PoissonGaussian()
    return frozen(source or Photographs(), blur, noise, options, seed, cache, advance)


def arrays(splits):
    return [getattr(pairs, name) for _, pairs in splits.items() for name in ("blurred", "sharp", "blur_px", "psfs")]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


# ------------------------------------------------------------------------------------------------ the two classes


def pairs_of(names=("a", "b"), **changed):
    pictures = np.zeros((len(names), 3, 8, 8), np.uint8)
    told = {"blurred": pictures, "sharp": pictures, "photographs": names,
            "blur_px": np.full(len(names), np.nan, np.float32)}  # fmt: skip
    return Pairs(**(told | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"blurred": np.zeros((2, 3, 8, 9), np.uint8)},
        {"sharp": np.zeros((2, 3, 8, 8), np.float32)},
        {"sharp": np.zeros((2, 8, 8), np.uint8), "blurred": np.zeros((2, 8, 8), np.uint8)},
        {"names": ("a",)},
        {"blur_px": np.zeros(2)},
        {"blur_px": np.array([1, -1], np.float32)},
        {"psfs": np.full((2, 3, 3), 0.1, np.float32)},
        {"psfs": np.full((2, 2, 2), 0.25, np.float32)},
        {"psfs": np.full((1, 3, 3), 1 / 9, np.float32)},
    ],
)
def test_pairs_that_are_none_are_refused(changed):
    assert len(pairs_of()) == 2
    names = changed.pop("names", None)
    with pytest.raises(ValueError, match=r"photographs|blurred|sharp|blur_px|psf|PSF"):
        pairs_of(**(changed | ({"photographs": names} if names else {})))


def test_splits_that_share_a_photograph_are_refused():
    Splits(pairs_of(("a", "b")), pairs_of(("c",)), pairs_of(("d",)), {}, "")
    with pytest.raises(ValueError, match="'b' is in train and in test"):
        Splits(pairs_of(("a", "b")), pairs_of(("c",)), pairs_of(("b",)), {}, "")


# ------------------------------------------------------------------------------------------------------- splits


def sha(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(3, 60), seed=st.integers(0, 9), validation=st.floats(0.01, 0.5), test=st.floats(0.01, 0.49),
    order=st.randoms(),
)  # fmt: skip
def test_each_content_is_in_one_split_in_whichever_order_they_come(n, seed, validation, test, order):
    contents = [sha(i) for i in range(n)]
    shares = shared_out(contents, seed, validation, test)
    assert sorted(each for split in SPLITS for each in shares[split]) == sorted(contents)
    assert all(shares[split] for split in SPLITS)
    assert abs(len(shares["test"]) - test * n) <= 1
    order.shuffle(contents)
    assert shared_out(contents, seed, validation, test) == shares


def test_another_seed_shares_out_otherwise():
    contents = [sha(i) for i in range(20)]
    assert len({tuple(shared_out(contents, seed)["test"]) for seed in range(10)}) == 10


def test_too_few_photographs_are_told():
    with pytest.raises(UserError, match="There are 2 different photographs, and at least 3"):
        shared_out([sha(1), sha(2)])


def test_what_shows_the_same_is_one_photograph(caplog):
    assert once([("a", "x", 1), ("b", "y", 2), ("c", "x", 3)]) == [1, 2]
    assert "c shows the same as a" in caplog.text


def test_no_photograph_is_in_two_splits_under_two_names(tmp_path):
    """Copies of a photograph in other formats count as one, by their pixels."""
    folder = tmp_path / "f"
    folder.mkdir()
    for photograph in Photographs(range(4)).photographs():
        for ending in ("png", "bmp", "tiff"):
            Image.fromarray(photograph.read()).save(folder / f"{photograph.name}_{ending}.{ending}")
    splits = made(tmp_path, Folder(str(folder)))
    pieces = {  # of each photograph, all squares of 8 pixels
        photograph.name: {
            window.tobytes()
            for row in np.lib.stride_tricks.sliding_window_view(photograph.read(), (8, 8, 3)) for window in row
        }
        for photograph in Photographs(range(4)).photographs()
    }  # fmt: skip
    seen: dict[str, set[str]] = {}
    for split, pairs in splits.items():
        for sharp in pairs.sharp:
            corner = sharp[:, :8, :8].transpose(1, 2, 0).tobytes()
            for name in (name for name, squares in pieces.items() if corner in squares):
                seen.setdefault(name, set()).add(split)
    assert len(seen) == 4
    assert all(len(splits_) == 1 for splits_ in seen.values()), seen


# ---------------------------------------------------------------------------------------------------- pairs made


def test_pairs_are_what_the_options_say(tmp_path):
    splits = made(tmp_path, options=FEW)
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 14, "validation": 5, "test": 5}
    assert splits.train.sharp.shape == (14, 3, 32, 32)
    assert splits.test.sharp.shape == (5, 3, 48, 48)
    assert splits.train.psfs.shape[1:] == (9, 9)
    assert ((splits.train.blur_px >= 2) & (splits.train.blur_px <= 6)).all()
    told = splits.facts["photographs"]
    assert sum(each["pairs"] for each in told["train"]) == 14
    assert {each["name"] for each in told["test"]} == set(splits.test.photographs)
    assert told["test"][0]["credit"].startswith("somebody")
    assert splits.facts["blur"] == {"class": public_name(Shake), "length": [2, 6], "restless": 1.0, "lens": 0}
    json.dumps(splits.facts)


def test_the_blurred_one_is_the_sharp_one_by_its_psf_in_light(tmp_path):
    """Held against the definition, where the PSF doesn't reach over the edge."""
    from itae.portable.data.light import srgb_to_linear

    splits = made(tmp_path, noise=NoNoise())
    for i in range(4):
        light = srgb_to_linear(splits.test.sharp[i].transpose(1, 2, 0) / 255)
        again = convolved(light, splits.test.psfs[i])
        inside = srgb_to_linear(splits.test.blurred[i].transpose(1, 2, 0)[4:-4, 4:-4] / 255)
        np.testing.assert_allclose(again, inside, atol=0.006)  # half a byte, where the curve is steepest


def test_without_blur_and_noise_pairs_are_alike(tmp_path):
    splits = made(tmp_path, blur=NoBlur(), noise=NoNoise())
    np.testing.assert_array_equal(splits.train.blurred, splits.train.sharp)
    assert splits.facts["blurred_psnr"]["test"] == 100


def test_the_seed_and_it_alone_changes_what_is_drawn(tmp_path):
    one, again, other = made(tmp_path / "a"), made(tmp_path / "b"), made(tmp_path / "c", seed=1)
    assert same(one, again)
    assert one.key == again.key != other.key
    assert not np.array_equal(one.train.blurred, other.train.blurred)
    both = set(one.train.photographs) & set(other.train.photographs)
    assert both, "of the same photographs other pieces are taken"
    for name in both:
        mine, theirs = (
            {p.sharp[i].tobytes() for i, each in enumerate(p.photographs) if each == name}
            for p in (one.train, other.train)
        )
        assert not mine & theirs


def test_the_order_of_photographs_changes_nothing(tmp_path):
    forth, back = made(tmp_path / "a", Photographs(range(8))), made(tmp_path / "b", Photographs(range(7, -1, -1)))
    assert same(forth, back)
    assert forth.train.photographs == back.train.photographs


def test_a_pair_hangs_on_its_photograph_and_number_not_on_the_others(tmp_path):
    few, many = made(tmp_path, Photographs(range(6))), made(tmp_path, Photographs(range(12)))
    known = {(split, name): pairs for split, pairs in few.items() for name in set(pairs.photographs)}
    met = 0
    for split, pairs in many.items():
        for name in set(pairs.photographs):
            if (split, name) in known:
                mine, theirs = (
                    [p.blurred[i] for i, each in enumerate(p.photographs) if each == name]
                    for p in (pairs, known[split, name])
                )
                for a, b in zip(mine, theirs, strict=False):
                    np.testing.assert_array_equal(a, b)
                    met += 1
    assert met > 3


def test_pictures_of_one_photograph_differ(tmp_path):
    train = made(tmp_path).train
    assert len({each.tobytes() for each in train.blurred}) == len(train)
    assert len({each.tobytes() for each in train.psfs}) == len(train)


@given(count=st.integers(0, 300), n=st.integers(1, 20))
def test_pairs_are_dealt_out_evenly(count, n):
    shares = dealt(count, n)
    assert sum(shares) == count
    assert max(shares) - min(shares) <= 1


def test_flat_pieces_are_left_out():
    shot = np.full((64, 200, 3), 90, np.uint8)
    shot[:, 100:] = Photographs(size=64)._one(1).read()[:64, :1].repeat(100, axis=1)
    columns = [place(shot, 32, 4.0, np.random.default_rng(seed))[1] for seed in range(40)]
    assert np.mean(np.array(columns) > 68) > 0.9
    assert min(place(shot, 32, 0.0, np.random.default_rng(seed))[1] for seed in range(40)) < 20
    assert busy(shot[:32, :32]) == 0


def test_small_photographs_are_left_out_and_said(tmp_path, caplog):
    class Mixed(Photographs):
        def photographs(self):
            return [*super().photographs(), *Photographs([90, 91], size=48).photographs()]

    splits = made(tmp_path, Mixed())
    assert "2 photographs are less than 56 pixels" in caplog.text
    assert not {"p90", "p91"} & {name for _, pairs in splits.items() for name in pairs.photographs}
    with pytest.raises(UserError, match=r"0 of 8 different photographs are at least 209 pixels .* pairs\.size=201"):
        made(tmp_path, options=dataclasses.replace(FEW, size=201))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": 0}, "pairs.train=0"),
        ({"size": 8}, "pairs.size=8"),
        ({"test_share": 0}, "pairs.test_share=0"),
        ({"validation_share": 0.6, "test_share": 0.5}, "leave nothing to learn from"),
        ({"light": "log"}, "pairs.light='log'"),
        ({"detail": -1}, "pairs.detail=-1"),
    ],
)
def test_wanted_out_of_range_is_told(change, said):
    with pytest.raises(UserError, match=said):
        Wanted(**change)


# --------------------------------------------------------------------------------------------------- in the cache


def test_kept_pairs_are_read_and_not_made_again(tmp_path):
    told = []
    first = made(tmp_path, advance=told.append)
    assert sum(told) == 24
    second = made(tmp_path, advance=told.append)
    assert sum(told) == 24
    assert same(first, second)
    assert first.key == second.key
    assert first.facts == second.facts
    made(tmp_path, noise=PoissonGaussian(gain=0.01), advance=told.append)
    assert sum(told) == 48


@pytest.mark.parametrize("name", ["train_blurred.npy", "test_psfs.npy", "set.json"])
def test_a_damaged_set_is_told_and_made_again(tmp_path, caplog, name):
    first = made(tmp_path)
    (file,) = tmp_path.glob(f"portable/data/*/{name}")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert same(first, made(tmp_path))
    assert "are damaged" in caplog.text
    assert same(first, made(tmp_path))


def test_a_missing_file_is_told_and_made_again(tmp_path, caplog):
    first = made(tmp_path)
    next(tmp_path.glob("portable/data/*/test_sharp.npy")).unlink()
    assert same(first, made(tmp_path))
    assert "test_sharp.npy" in caplog.text or "No such file" in caplog.text


class Killed(Photographs):
    """Ends its process in the midst of being read."""

    def photographs(self):
        def last():
            os.kill(os.getpid(), signal.SIGKILL)

        found = super().photographs()
        return [*found[:-1], dataclasses.replace(found[-1], read=last)]


def test_a_killed_process_leaves_nothing_that_counts(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=made, args=(tmp_path, Killed()))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("portable/data/*/set.json"))
    told = []
    made(tmp_path, advance=told.append)
    assert sum(told) == 24


def test_a_cache_that_cant_be_written_is_told(tmp_path):
    (tmp_path / "portable").write_text("a file")
    with pytest.raises(UserError, match="cache can't be written"):
        made(tmp_path)


# ---------------------------------------------------------------------------------------------------- photographs


def test_what_is_shipped_is_fifteen_photographs_with_credits():
    found = Shipped().photographs()
    assert len(found) == len({each.sha256 for each in found}) == 15
    for each in found:
        assert min(each.size) >= 300
        assert "CC" in each.credit or "public domain" in each.credit
        assert each.read().shape == (*each.size, 3)


def test_credits_for_people_say_what_those_for_the_program_say():
    folder = Path(photographs.__file__).parent / "shipped"
    told = json.loads((folder / "credits.json").read_text())
    text = (folder / "CREDITS.md").read_text()
    assert told.keys() == {file.stem for file in folder.glob("*.jpg")}
    for name, about in told.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name}.jpg ")]
        assert all(about[part] in row for part in ("title", "author", "licence", "url"))
        assert about["licence"] in ("CC-BY-4.0", "CC0-1.0")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000


def test_a_folder_gives_what_can_be_read_and_tells_the_rest(tmp_path, caplog):
    (tmp_path / "below").mkdir()
    Image.new("RGB", (200, 100), "red").save(tmp_path / "a.png")
    Image.new("RGB", (50, 50), "blue").save(tmp_path / "below" / "b.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "credits.json").write_text('{"a": {"author": "Ada", "licence": "CC0"}}')
    found = {each.name: each for each in Folder(str(tmp_path), longest=100).photographs()}
    assert found["a.png"].size == (50, 100)
    assert found["below/b.jpg"].size == (50, 50)
    assert found["a.png"].credit == "Ada, CC0"
    assert len(found) == 2
    assert "bad.jpg is left out" in caplog.text
    assert ".json" not in caplog.text


def test_mistakes_with_folders_are_told(tmp_path):
    with pytest.raises(UserError, match=r"data\.root='/none/of/it' is no folder"):
        Folder("/none/of/it").photographs()
    with pytest.raises(UserError, match="holds no photograph"):
        Folder(str(tmp_path)).photographs()
    (tmp_path / "credits.json").write_text("{")
    with pytest.raises(UserError, match=r"credits\.json can't be read"):
        Folder(str(tmp_path)).photographs()
    with pytest.raises(UserError, match=r"data\.longest=3"):
        Folder("x", longest=3)
