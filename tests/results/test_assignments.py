"""``assignments.csv`` holds what was written."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from results.test_collect import result, table_of, write

from itae.base.errors import UserError
from itae.look.page.sweep_part import sweep_part
from itae.results.assignments import read_assignments, write_assignments
from itae.results.find import find_results
from itae.results.shown import shown_of
from itae.results.table import write_table


def test_noise_is_read_as_it_was_written(tmp_path):
    path, ids = tmp_path / "assignments.csv", ["a", "b", "c"]
    before, after = np.array([0, -1, 12]), np.array([-1, -1, -1])
    write_assignments(path, ids, None, before, after, np.zeros(3))
    found = read_assignments(path, ids)
    np.testing.assert_array_equal(found.baseline, before)
    np.testing.assert_array_equal(found.edited, after)
    path.write_text(path.read_text().replace("b,-1", "b,-2"))
    with pytest.raises(UserError, match="can't be read"):
        read_assignments(path, ids)


NAMES = ("2024_05/1e3.png", "007", "1e3", "=1+1.png", "+1", "-1", "@a", "a,b", 'say "a"', "null", "true",
         "two\nlines", "\r", " a ", "é日😀", "", "$5_$10", "[red]", "#1", "'a'", "NaN", "x" * 255)  # fmt: skip


def test_names_are_read_as_they_were_written(tmp_path):
    """Numbers, quotes, commas, and what a spreadsheet takes for a formula: all stays the text that it is."""
    path, zeros = tmp_path / "assignments.csv", np.zeros(len(NAMES))
    write_assignments(path, NAMES, NAMES, zeros, zeros, zeros)
    assert read_assignments(path, NAMES).labels == list(NAMES)
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert rows["id"].tolist() == rows["label"].tolist() == list(NAMES)


def test_numbers_as_names_are_text_in_the_table_of_runs(tmp_path):
    names = ("2024", "2024_05", "1e3", "007")
    rows = [result() for _ in names]
    for one, name in zip(rows, names, strict=True):
        one["settings"]["dataset"] = {"root": name, "split": "2019"}
    table = table_of(write(tmp_path, *rows))
    assert table["dataset.root"].tolist() == list(names)
    written = {path.suffix: path for path in write_table(table, tmp_path)}
    assert pd.read_parquet(written[".parquet"])["dataset.root"].tolist() == list(names)
    assert pd.read_csv(written[".csv"], dtype=str)["dataset.root"].tolist() == list(names)
    assert sweep_part(table, tmp_path, None, shown_of({}))["explore"]["columns"]["dataset.root"] == list(names)


def test_a_table_may_lie_in_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_table(table_of(write(tmp_path, result())), folder)
    assert {path.name for path in folder.iterdir()} == {"results.parquet", "results.csv"}


def test_numbers_in_names_are_sorted_whatever_they_are(tmp_path):
    write(tmp_path, *[result()] * 11)
    for name in ("²", "③", "٣"):
        write(tmp_path / name, result())
    names = [path.parent.relative_to(tmp_path).parts[0] for path in find_results([tmp_path])]
    assert [name for name in names if name.isascii()] == [str(i) for i in range(11)]
    assert len(names) == 14
