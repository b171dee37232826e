"""A table as a CSV file."""

from __future__ import annotations

import os

from itae.tasks.csv_file import write_csv


def test_an_id_that_is_no_text_goes_out_by_its_own_bytes(tmp_path):
    write_csv(tmp_path / "a.csv", ["id", "told"], [[os.fsdecode(b"\xff.png"), "x, y"], ["b", 1]])
    assert (tmp_path / "a.csv").read_bytes() == b'id,told\r\n\xff.png,"x, y"\r\nb,1\r\n'
