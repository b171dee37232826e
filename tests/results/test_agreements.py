"""Which runs are held against each other: several clusterers of the same images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from results.test_collect import result

from itae.base.errors import UserError
from itae.results import agreements as module
from itae.results.agreements import agreements, write_agreements
from itae.results.assignments import write_assignments
from itae.results.find import find_results
from itae.results.table import read_table


def runs(folder, *told):
    """Write runs: each is the class of its clusterer, its number of images and their clusters."""
    for i, (clusterer, ids, own) in enumerate(told):
        one = result()
        one["settings"]["clusterer"] = {"_target_": clusterer}
        (folder / f"{i:02d}").mkdir()
        (folder / f"{i:02d}" / "result.json").write_text(json.dumps(one))
        own = np.array(own)
        write_assignments(folder / f"{i:02d}" / "assignments.csv", ids, None, own * 0, own, own * 0.0)
    return read_table(find_results([folder]), folder)[0]


A, B = list("abcd"), list("abce")


def test_runs_of_the_same_images_are_held_against_each_other(tmp_path):
    table = runs(tmp_path, ("x.K", A, [0, 0, 1, 1]), ("x.L", A, [1, 1, 0, 0]), ("x.K", B, [0, 0, 1, 1]),
                 ("x.L", A, [0, 1, 0, 1]))  # fmt: skip
    found = agreements(table, tmp_path)
    assert list(found.folders) == ["00", "01", "03"]
    np.testing.assert_allclose(found.ari, [[1, 1, -0.5], [1, 1, -0.5], [-0.5, -0.5, 1]])
    assert found.notes == ["1 runs are of other images, or have no assignments.csv that can be read."]


@pytest.mark.parametrize(
    "told",
    [
        [("x.K", A, [0, 0, 1, 1]), ("x.K", A, [0, 1, 0, 1])],
        [("x.K", A, [0, 0, 1, 1]), ("x.L", B, [0, 0, 1, 1])],
        [("x.K", A, [0, 0, 1, 1])],
    ],
)
def test_of_one_clusterer_or_other_images_there_is_nothing(tmp_path, told):
    assert agreements(runs(tmp_path, *told), tmp_path) is None


def test_what_cant_be_read_is_left_out(tmp_path):
    table = runs(tmp_path, *[(f"x.{name}", A, [0, 0, 1, 1]) for name in "KLMN"])
    (tmp_path / "01/assignments.csv").write_text("id,edited\na,one\n")
    (tmp_path / "02/assignments.csv").unlink()
    (tmp_path / "03/clusterings.npz").write_bytes(b"PK")
    assert agreements(table, tmp_path) is None
    (tmp_path / "03/clusterings.npz").unlink()
    assert list(agreements(table, tmp_path).folders) == ["00", "03"]


def test_other_bytes_under_the_same_names_are_other_images(tmp_path):
    table = runs(tmp_path, *[(f"x.{name}", A, [0, 0, 1, 1]) for name in "KL"])
    for i in (0, 1):
        np.savez(tmp_path / f"{i:02d}/clusterings.npz", images=np.full(32, i, np.uint8))
    assert agreements(table, tmp_path) is None
    np.savez(tmp_path / "01/clusterings.npz", images=np.full(32, 0, np.uint8))
    assert agreements(table, tmp_path) is not None


def test_of_many_runs_as_many_of_each_clusterer(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 4)
    table = runs(tmp_path, *[("x.K", A, [0, 0, 1, 1])] * 4, ("x.L", A, [0, 1, 0, 1]), *[("x.L", A, [0, 0, 1, 1])] * 2)
    found = agreements(table, tmp_path)
    assert list(found.folders) == ["00", "01", "04", "05"]
    assert found.notes == ["4 of 7 runs, the first of each clusterer."]


def test_a_folder_that_cant_be_written_is_told(tmp_path):
    found = agreements(runs(tmp_path, *[(f"x.{name}", A, [0, 0, 1, 1]) for name in "KL"]), tmp_path)
    with pytest.raises(UserError, match="can't be written"):
        write_agreements(found, Path(tmp_path) / "no" / "agreement.csv")
