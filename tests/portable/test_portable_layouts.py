"""Data sets with pairs of their own: miniatures of their archives, whole and with mistakes in them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itae.base.errors import UserError
from itae.portable.data.frozen import frozen
from itae.portable.data.layouts import GoPro, Hide, RealBlur, Reds, RsBlur, TwoFolders
from itae.portable.data.noise import NoNoise
from itae.portable.data.shake import NoBlur
from itae.portable.data.wanted import Wanted

FEW = Wanted(train=6, validation=2, test=3, train_size=16, size=24)
SIZE = (32, 40)


def write(file, tone, size=SIZE):
    """Write a picture whose pixels are noise around its tone: sharp ones even, blurred ones odd."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(tone // 2).integers(0, 100, (*size, 3), np.uint8) // 2 * 2 + tone % 2
    Image.fromarray(pixels).save(file)


def pair(blurred, sharp, number, **size):
    write(sharp, 2 * number, **size)
    write(blurred, 2 * number + 1, **size)


def gopro(root):
    for split, scenes in (("train", "ABC"), ("test", "XY")):
        for scene in scenes:
            for i in range(2):
                at = root / split / f"GOPR_{scene}"
                pair(at / "blur" / f"{i:06}.png", at / "sharp" / f"{i:06}.png", i + 2 * ord(scene))
                write(at / "blur_gamma" / f"{i:06}.png", 1 + 2 * (i + 2 * ord(scene)))


def reds(root):
    for split, scenes in (("train", ("000", "001", "002")), ("val", ("000", "001"))):
        for scene in scenes:
            for i in range(2):
                at, name = root / split, f"{scene}/{i:08}.png"
                number = i + 2 * int(scene) + 20 * (split == "val")
                pair(at / f"{split}_blur" / name, at / f"{split}_sharp" / name, number)
                write(at / f"{split}_blur_comp" / name, 2 * number + 1)


def realblur(root):
    top = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
    for split, scenes in (("train", (1, 2, 3)), ("test", (4, 5))):
        lines = []
        for scene in scenes:
            for i in range(1, 3):
                sharp, blurred = (f"{top}/scene{scene:03}/{kind}/{kind}_{i}.png" for kind in ("gt", "blur"))
                pair(root / blurred, root / sharp, i + 2 * scene)
                lines.append(f"{sharp} {blurred} ")
        (root / f"RealBlur_J_{split}_list.txt").write_text("\n".join(lines) + "\n")


def rsblur(root):
    for split, scenes in (("train", (1, 2)), ("val", (3,)), ("test", (4,))):
        lines = []
        for scene in scenes:
            for i in range(3):
                at = f"RSBlur/{scene:04}/{i:06}"
                sharp, blurred = f"{at}/gt/gt_sharp.png", f"{at}/real_blur/real_blur.png"
                pair(root / blurred, root / sharp, i + 3 * scene)
                lines.append(f"{sharp} {blurred}")
        (root / f"RSBlur_real_{split}.txt").write_text("\n".join(lines))


def hide(root):
    for i in range(6):
        name = f"{i}fromGOPR{950 + i // 2}.png"
        pair(root / "train" / name, root / "GT" / name, i)
    for i, kind in enumerate(("test-close-ups", "test-long-shot", "test-long-shot")):
        name = f"{i}fromGOPR{990 + i}.png"
        pair(root / "test" / kind / name, root / "GT" / name, 50 + i)


def folders(root):
    for i in range(9):
        scene = f"s{i // 3}"
        pair(root / "blurred" / scene / f"{i}.jpg.png", root / "sharp" / scene / f"{i}.jpg.png", i)


ALL = [
    (GoPro, gopro, 6, 4), (Reds, reds, 6, 4), (RealBlur, realblur, 6, 4), (RsBlur, rsblur, 6, 3), (Hide, hide, 6, 3),
    (TwoFolders, folders, 9, None),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "write_it", "train", "test"), ALL)
def test_a_miniature_is_read(tmp_path, layout, write_it, train, test):
    write_it(tmp_path / "set")
    found = layout(str(tmp_path / "set")).pairs()
    assert len(found["train" if test else "all"]) == train
    assert test is None or len(found["test"]) == test
    splits = frozen(layout(str(tmp_path / "set")), NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache")
    assert [len(pairs) for _, pairs in splits.items()] == [6, 2, 3]
    for split, pairs in splits.items():
        np.testing.assert_array_equal(pairs.blurred, pairs.sharp + 1), split  # of one pair, and of one place
        assert np.isnan(pairs.blur_px).all()
        assert pairs.psfs is None
    assert any("don't compare with published" in note for note in splits.facts["notes"])
    again = frozen(layout(str(tmp_path / "set")), NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache")
    assert again.key == splits.key


def test_what_is_chosen_by_is_taken_by_scene_from_what_is_learned_from(tmp_path):
    gopro(tmp_path / "set")
    for seed in range(4):
        splits = frozen(GoPro(str(tmp_path / "set")), NoBlur(), NoNoise(), FEW, seed, tmp_path / "cache")
        assert set(splits.test.photographs) <= {"GOPR_X", "GOPR_Y"}
        assert set(splits.train.photographs) | set(splits.validation.photographs) == {"GOPR_A", "GOPR_B", "GOPR_C"}


def test_scenes_of_the_same_number_in_two_splits_of_reds_are_two(tmp_path):
    """REDS numbers its sequences anew in each split: 000 of val isn't 000 of train."""
    reds(tmp_path / "set")
    found = Reds(str(tmp_path / "set")).pairs()
    assert not {each.scene for each in found["train"]} & {each.scene for each in found["test"]}


def test_options_choose_what_is_read(tmp_path):
    gopro(tmp_path / "g")
    reds(tmp_path / "r")
    assert GoPro(str(tmp_path / "g"), gamma=True).pairs()["test"][0].blurred.parent.name == "blur_gamma"
    assert "val_blur_comp" in str(Reds(str(tmp_path / "r"), blur="blur_comp").pairs()["test"][0].blurred)
    assert any("aligned" in note for note in RealBlur("x").notes())
    for bad in (lambda: Reds("x", blur="sharp"), lambda: RealBlur("x", camera="K"), lambda: GoPro("x", gamma="yes")):
        with pytest.raises(UserError):
            bad()
    with pytest.raises(UserError, match="must name a folder"):
        TwoFolders("")


def test_changed_files_are_another_set(tmp_path):
    folders(tmp_path / "set")
    layout = TwoFolders(str(tmp_path / "set"))
    before = frozen(layout, NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache").key
    for file in (tmp_path / "set" / "blurred").rglob("*.png"):
        write(file, 201)
    assert frozen(layout, NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache").key != before


def test_pairs_without_scenes_are_shared_out_one_by_one(tmp_path):
    for i in range(5):
        pair(tmp_path / "s" / "blurred" / f"{i}.png", tmp_path / "s" / "sharp" / f"{i}.bmp", i)
    splits = frozen(TwoFolders(str(tmp_path / "s")), NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache")
    assert len({name for _, pairs in splits.items() for name in pairs.photographs}) == 5


# ------------------------------------------------------------------------------------------------------ mistakes


def told(layout, tmp_path):
    with pytest.raises(UserError) as error:
        frozen(layout(str(tmp_path)), NoBlur(), NoNoise(), FEW, 0, tmp_path / "cache")
    return str(error.value)


def test_a_missing_half_of_a_pair_is_named(tmp_path):
    gopro(tmp_path)
    (tmp_path / "train/GOPR_B/sharp/000001.png").unlink()
    assert "1 blurred pictures have no sharp one" in told(GoPro, tmp_path)
    assert "000001" in told(GoPro, tmp_path)
    (tmp_path / "train/GOPR_B/blur/000001.png").unlink()
    (tmp_path / "test/GOPR_X/blur/000000.png").unlink()
    assert "1 sharp pictures have no blurred one" in told(GoPro, tmp_path)


def test_a_missing_sequence_is_named(tmp_path):
    reds(tmp_path)
    (tmp_path / "train/train_sharp/001").rename(tmp_path / "elsewhere")
    assert "train_blur has 001" in told(Reds, tmp_path)


def test_a_folder_that_isnt_there_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    assert "train_sharp" in told(Reds, tmp_path)
    assert "GT" in told(Hide, tmp_path)
    assert "no RealBlur_J_train_list.txt" in told(RealBlur, tmp_path)
    assert "no RSBlur_real_train.txt" in told(RsBlur, tmp_path)
    assert "no folder blurred" in told(TwoFolders, tmp_path)
    assert "no pair of train" in told(GoPro, tmp_path) or "no folder test" in told(GoPro, tmp_path)


def test_a_picture_that_is_there_twice_is_named(tmp_path):
    folders(tmp_path)
    write(tmp_path / "sharp/s0/0.jpg.bmp", 0)
    assert "are two pictures of one name" in told(TwoFolders, tmp_path)


def test_a_list_with_mistakes_is_told_by_its_line(tmp_path):
    realblur(tmp_path)
    file = tmp_path / "RealBlur_J_train_list.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[2]]))
    assert "lines 3 and 7" in told(RealBlur, tmp_path)
    file.write_text("\n".join([*lines, "alone.png"]))
    assert "line 7: 'alone.png'" in told(RealBlur, tmp_path)
    file.write_text("\n".join([*lines, "a.png b.png"]))
    assert "line 7" in told(RealBlur, tmp_path)
    assert "a.png is missing" in told(RealBlur, tmp_path)
    file.write_text("\n")
    assert "names no pair" in told(RealBlur, tmp_path)
    file.write_bytes(b"\xff\xfea b")
    assert "isn't a text in UTF-8" in told(RealBlur, tmp_path)


def test_one_folder_for_both_leaves_nothing_to_restore(tmp_path):
    folders(tmp_path)
    with pytest.raises(UserError, match="are one folder, and nothing is left to restore"):
        TwoFolders(str(tmp_path), sharp="blurred").pairs()
    with pytest.raises(UserError, match=r"data.sharp='' must name a folder"):
        TwoFolders(str(tmp_path), sharp="")


def test_a_scene_in_two_lists_is_told(tmp_path):
    realblur(tmp_path)
    train, test = (tmp_path / f"RealBlur_J_{split}_list.txt" for split in ("train", "test"))
    test.write_text(train.read_text())
    assert "is in" in told(RealBlur, tmp_path)


def test_sizes_that_differ_are_told(tmp_path):
    hide(tmp_path)
    for file in (tmp_path / "GT").iterdir():
        write(file, 4, size=(32, 39))
    assert "32 by 40 pixels and" in told(Hide, tmp_path)
    assert "a pair has one size" in told(Hide, tmp_path)


def test_small_and_damaged_pictures_are_told(tmp_path):
    for i in range(4):
        pair(tmp_path / "blurred" / f"{i}.png", tmp_path / "sharp" / f"{i}.png", i, size=(20, 40))
    assert "is 20 by 40 pixels, and pieces of 24 are wanted" in told(TwoFolders, tmp_path)
    for i in range(4):
        (tmp_path / "sharp" / f"{i}.png").write_bytes(b"none")
    assert "can't be read" in told(TwoFolders, tmp_path)


def test_one_scene_is_too_few_to_choose_by(tmp_path):
    gopro(tmp_path)
    for scene in ("GOPR_B", "GOPR_C"):
        (tmp_path / "train" / scene).rename(tmp_path / scene)
    assert "one scene to learn from, GOPR_A" in told(GoPro, tmp_path)
