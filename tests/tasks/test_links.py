"""Folders of links: every image once, in the folder of its cluster."""

from __future__ import annotations

import numpy as np

from itae.images.image_set import ImageSet
from itae.tasks.clustering.links import remove_links, write_links


def test_each_image_has_one_link_whatever_it_is_called(tmp_path):
    names = ["a/b__c.png", "a__b/c.png", "a__b__c.png", "d.png"]
    files = []
    for i, _ in enumerate(names):
        files.append(str(tmp_path / f"{i}.png"))
        (tmp_path / f"{i}.png").write_text(str(i))
    images = ImageSet("x", "all", names, files, None, [])
    (tmp_path / "run" / "clusters" / "07").mkdir(parents=True)
    (tmp_path / "run" / "clusters" / "07" / "old.png").symlink_to(files[0])  # of an earlier run
    top = write_links(tmp_path / "run", images, names, np.array([3, 3, 3, 11]))
    assert sorted(path.name for path in top.iterdir()) == ["03", "11"]
    for cluster, want in (("03", "012"), ("11", "3")):
        assert "".join(sorted(link.read_text() for link in (top / cluster).iterdir())) == want
        assert all(link.is_symlink() and link.suffix == ".png" for link in (top / cluster).iterdir())


def test_images_that_are_no_files_have_none(tmp_path, caplog):
    images = ImageSet("digits", "all", ["1"], [np.zeros((2, 2), np.uint8)], None, [])
    assert write_links(tmp_path, images, ["1"], np.array([0])) is None
    assert not list(tmp_path.iterdir())
    assert "digits are no files" in caplog.text


def test_what_is_not_ours_stays_and_long_names_are_cut(tmp_path):
    (tmp_path / "clusters" / "mine").mkdir(parents=True)
    (tmp_path / "clusters" / "mine" / "thesis.txt").write_text("precious")
    (tmp_path / "x.png").write_text("x")
    names = [f"{150 * 'ä'}/{i}{120 * 'b'}.png" for i in range(3)]
    images = ImageSet("x", "all", names, [str(tmp_path / "x.png")] * 3, None, [])
    for _ in range(2):
        top = write_links(tmp_path, images, names, np.zeros(3, int))
    assert len(list((top / "0").iterdir())) == 3
    assert all(link.read_text() == "x" and link.suffix == ".png" for link in (top / "0").iterdir())
    remove_links(tmp_path)
    assert [path.name for path in top.iterdir()] == ["mine"]
    assert (top / "mine" / "thesis.txt").read_text() == "precious"


def test_noise_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "x.png").write_text("x")
    names = ["a", "b", "c"]
    images = ImageSet("x", "all", names, [str(tmp_path / "x.png")] * 3, None, [])
    top = write_links(tmp_path / "run", images, names, np.array([-1, 10, 2]))
    assert sorted(path.name for path in top.iterdir()) == ["02", "10", "noise"]
    top = write_links(tmp_path / "run", images, names, np.array([-1, -1, -1]))
    assert [path.name for path in top.iterdir()] == ["noise"]
    assert sorted(link.name for link in (top / "noise").iterdir()) == names
