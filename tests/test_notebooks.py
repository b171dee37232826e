"""The notebooks: stored without outputs, written against the public interface alone, and run from top to bottom."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import pytest

import itae

nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SAID = {
    "01_where_are_the_artifacts": ["v[3]", "Nothing was flagged", "report.html"],
    "02_read_a_sweep": ["24", "oracle", "of 24 settings tried"],
}
FEWER = {  # the code of a notebook, and on fewer images the same
    "01_where_are_the_artifacts": ('"dataset=digits"', '"dataset=digits", "dataset.limit=300", "clusterer.seeds=3"'),
    "02_read_a_sweep": ("dataset.limit=400 clusterer.seeds=3", "dataset.limit=100 clusterer.seeds=2"),
}
PICTURES = {"01_where_are_the_artifacts": 4, "02_read_a_sweep": 2}


def read(path):
    return nbformat.read(path, as_version=4)


def code_of(path):
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
    return "\n".join(line for source in cells for line in source.splitlines() if not re.match("%", line))


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == sorted(SAID)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs_and_uses_what_is_public(path):
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    public = {name for name in dir(itae.Run) if not name.startswith("_")}
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom):
            assert not node.module.startswith("itae"), "only import itae"
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"itae", "subprocess", "sys"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "itae":
                assert node.attr in itae.__all__
            if node.value.id in ("run", "look", "found", "clean"):
                assert node.attr in public | {"result"}


@pytest.mark.slow
@pytest.mark.xdist_group("jupyter")  # which looks for free ports and takes them later
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("ITAE_CACHE", "ITAE_DATA"):
        monkeypatch.delenv(name, raising=False)
    book, (whole, fewer) = read(path), FEWER[path.stem]
    (cell,) = [cell for cell in book.cells if whole in cell.source]
    cell.source = cell.source.replace(whole, fewer)
    nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    text = "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    for words in SAID[path.stem]:
        assert words in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES[path.stem]
