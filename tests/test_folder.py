"""Image folders as people keep them."""

import logging
import os
import subprocess
import sys

import pytest
from PIL import Image

from itae.data import ImageFolder
from itae.errors import UserError


def write(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".bmp", ".gif", ".webp", ".tif", ".jpg", ".jpeg", ".jfif"}:
            Image.new("RGB", (4, 4), (number % 256, 0, 0)).save(path)
        else:
            path.write_text("not an image")


def open_(root, **options):
    return ImageFolder(root=str(root), **options).open()


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path):
    write(tmp_path, "b/2.png", "a/1.png", "a/10.png", "a-b/1.png", "B/1.png")
    images = open_(tmp_path)
    assert images.class_names == ["B", "a", "a-b", "b"]
    assert images.ids == ["B/1.png", "a/1.png", "a/10.png", "a-b/1.png", "b/2.png"]
    assert images.labels.tolist() == [0, 1, 1, 2, 3]
    assert images.read(0).getpixel((0, 0)) == (4, 0, 0)


def test_deeper_files_belong_to_the_class_above(tmp_path):
    write(tmp_path, "cat/2020/may/x.png", "cat/x.png", "dog/x.png")
    images = open_(tmp_path)
    assert dict(zip(images.ids, images.labels.tolist(), strict=True)) == {
        "cat/2020/may/x.png": 0,
        "cat/x.png": 0,
        "dog/x.png": 1,
    }


def test_a_flat_folder_is_unlabelled(tmp_path):
    write(tmp_path, "b.png", "a.png", "notes.txt")
    (tmp_path / "empty").mkdir()
    images = open_(tmp_path)
    assert images.ids == ["a.png", "b.png"]
    assert images.labels is None
    assert images.class_names == []


def test_endings_in_any_case_and_unusual_ones(tmp_path):
    names = ["a/1.PNG", "a/2.Jpg", "a/3.JPEG", "a/4.jfif", "a/5.bmp", "a/6.TIF", "a/7.webp", "a/8.gif"]
    write(tmp_path, *names)
    images = open_(tmp_path)
    assert images.ids == names
    assert images.bad() == {}


def test_what_is_left_out_is_counted_once(tmp_path, caplog):
    write(tmp_path, "a/1.png", "a/notes.txt", "b/1.png", "b/more.txt", "README", "a/.hidden.png", ".git/x.png")
    write(tmp_path, "a/.DS_Store", "b/Thumbs.db")
    (tmp_path / "empty").mkdir()
    with caplog.at_level(logging.WARNING):
        images = open_(tmp_path)
    assert images.ids == ["a/1.png", "b/1.png"]
    assert images.class_names == ["a", "b"]
    assert len(caplog.messages) == 2
    assert "left out 4 other files (.txt: 2, no ending: 1, .db: 1)" in caplog.messages[0].replace(
        "(.txt: 2, .db: 1, no ending: 1)", "(.txt: 2, no ending: 1, .db: 1)"
    )
    assert "1 sub-folders without images (empty)" in caplog.messages[1]


def test_links_are_followed_and_circles_are_not(tmp_path):
    write(tmp_path, "elsewhere/one.png", "elsewhere/deep/two.png", "root/a/three.png")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "here").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "a" / "four.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    (tmp_path / "root" / "a" / "self").symlink_to(tmp_path / "root" / "a" / "self")
    assert open_(tmp_path / "root").ids == ["a/four.png", "a/three.png", "b/deep/two.png", "b/one.png"]


def test_a_broken_link_is_a_bad_image_not_a_missing_one(tmp_path):
    write(tmp_path, "a/1.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "gone.png")
    images = open_(tmp_path)
    assert images.ids == ["a/1.png", "a/2.png"]
    assert "broken link" in images.bad()["a/2.png"]


def test_names_that_would_break_a_line_or_are_not_text(tmp_path):
    write(tmp_path, "a/li\nne.png", "a/ü 日本.png", "a/\u2028.png")
    other = os.fsencode(tmp_path / "a") + b"/\xff.png"
    with open(other, "wb") as file:
        file.write((tmp_path / "a" / "ü 日本.png").read_bytes())
    images = open_(tmp_path)
    assert images.ids == ["a/li\\nne.png", "a/ü 日本.png", "a/\\u2028.png", "a/\\udcff.png"]
    assert "\n".join(images.ids).encode().decode().splitlines() == images.ids
    assert images.bad() == {}


def test_split_is_a_sub_folder(tmp_path):
    write(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png")
    images = open_(tmp_path, split="val")
    assert images.ids == ["val/a/2.png", "val/b/2.png"]
    assert images.class_names == ["a", "b"]
    with pytest.raises(UserError, match=r"split='vall' is not a sub-folder.*'train', 'val'\. Did you mean 'val'"):
        open_(tmp_path, split="vall")


def test_splits_are_not_taken_for_classes(tmp_path):
    write(tmp_path, "train/a/1.png", "val/a/2.png")
    with pytest.raises(UserError, match=r"look like splits.*dataset\.split=train"):
        open_(tmp_path)
    write(tmp_path, "train/1.png")  # right in it, without classes
    with pytest.raises(UserError, match=r"look like splits.*dataset\.split=train"):
        open_(tmp_path)
    assert open_(tmp_path, split="val").class_names == ["a"]
    write(tmp_path, "ship/1.png")  # beside another class it is one
    assert open_(tmp_path).class_names == ["ship", "train", "val"]


def test_images_above_and_in_the_classes(tmp_path):
    write(tmp_path, "stray.png", "a/1.png")
    with pytest.raises(UserError, match=r"has 1 images of its own \(such as 'stray\.png'\).*sub-folders.*'a'"):
        open_(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match=r"holds no images: an image ends in one of .*\.png"):
        open_(tmp_path)
    write(tmp_path, "a/movie.mp4", "a/scan.heic")
    with pytest.raises(UserError, match=r"holds no images \(there are 2 other files \(\.mp4: 1, \.heic: 1\)\)"):
        open_(tmp_path)


def test_a_root_that_is_no_folder(tmp_path):
    write(tmp_path, "file.png")
    with pytest.raises(UserError, match=r"does not exist; set dataset\.root"):
        open_(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file, not a folder"):
        open_(tmp_path / "file.png")


def test_a_tilde_means_home(tmp_path, monkeypatch):
    write(tmp_path, "pictures/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_("~/pictures").ids == ["a.png"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    write(tmp_path, "a/1.png")
    (tmp_path / "a").chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        open_(tmp_path)
    (tmp_path / "a").chmod(0o700)


@pytest.mark.parametrize("name", ["a/pipe.png", "a/null.png"])
def test_what_is_no_file_is_a_bad_image_and_never_opened(tmp_path, name):
    write(tmp_path, "a/1.png", "b/1.png")
    if "pipe" in name:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    code = f"""if True:
        from itae.data import ImageFolder
        images = ImageFolder(root={str(tmp_path)!r}).open()
        print(len(images.fingerprint()), images.bad())"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out == f"64 {{'{name}': 'a folder, named pipe or device, not a file'}}\n"
