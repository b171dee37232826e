"""The house: a room imports rooms above it alone, and no file is in a circle.

Every import counts, wherever it stands.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
ROOMS = (
    "base", "images", "vit", "edits", "store", "embed", "measure", "results", "look", "knowledge",
    "search", "tasks", "serve", "track", "portable", "app",
)  # fmt: skip
"""From the top down; Hydra's plugins and the package itself, which hands out names, stand below all of them."""
INSIDE = {
    "knowledge": ("records", "disk", "ledger", "base", "damage", "near", "answers", "curate", "exchange", "pages"),
    "tasks": ("task", "memory", "gallery", "asked", "csv_file", "notes", "clustering", "knn", "incremental", "editing",
              "feedback"),
    "serve": ("errors", "settings", "apart", "desk", "rows", "shared", "door", "base", "search", "know", "document",
              "static", "app"),
}  # fmt: skip
"""Rooms and files of a large room, from the top down."""


def modules(src):
    """Return the file of each module, by its name."""
    names = {}
    for path in src.rglob("*.py"):
        parts = path.relative_to(src).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path, known):
    """Return the modules that a file imports, of those known: at its top, for type checkers, and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found & known.keys()


def arrows(src):
    known = modules(src)
    return {name: imports(path, known) - {name} for name, path in known.items()}


def place(module):
    """Return where a module stands: its room, and its place inside of that where it has an order of its own."""
    parts = [*module.split("."), "", ""]
    if parts[0] != "itae" or parts[1] not in ROOMS:
        return len(ROOMS), 0
    order = INSIDE.get(parts[1], ())
    return ROOMS.index(parts[1]), order.index(parts[2]) if parts[2] in order else len(order)


def upward(found):
    """Return the arrows that run against the order."""
    return sorted((a, b) for a, targets in found.items() for b in targets if place(b) > place(a))


def circle(found):
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_a_room_imports_those_above_it_alone():
    assert upward(arrows(SRC)) == []


def test_no_file_is_in_a_circle():
    assert circle(arrows(SRC)) is None


def test_every_room_is_in_the_list_and_says_what_it_offers():
    """Each module of a room is named in its docstring: who looks for something finds it there."""
    rooms = {path.parent.name: path for path in (SRC / "itae").glob("*/__init__.py")}
    assert rooms.keys() == set(ROOMS)
    for room, order in INSIDE.items():
        assert {path.stem for path in rooms[room].parent.iterdir() if path.name[0] != "_"} == set(order)
    for path in (SRC / "itae").rglob("*/__init__.py"):
        about = ast.get_docstring(ast.parse(path.read_text()))
        inside = {p.stem for p in path.parent.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
        missing = [name for name in sorted(inside - {"__init__"}) if f"`{name}`" not in about]
        assert not missing, f"{path.parent.name}/__init__.py says nothing of {missing}"


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ("from itae.app.cli import main", True),
        ("import itae.app.cli", True),
        ("from itae.app import cli", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from itae.app.cli import main", True),
        ("def f():\n    from itae.app import cli", True),
        ("from itae.base.errors import UserError", False),
    ],
)
def test_this_test_sees_every_kind_of_import(tmp_path, code, caught):
    for name, text in {"base/errors": "", "look/page": code, "app/cli": "from itae.look import page"}.items():
        (tmp_path / "itae" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "itae" / f"{name}.py").write_text(text)
    found = arrows(tmp_path)
    assert bool(upward(found)) is caught
    assert bool(circle(found)) is caught


@pytest.mark.parametrize(("above", "below"), [("disk/folder", "near/index"), ("ledger/state", "base")])
def test_it_sees_the_order_inside_of_a_large_room(tmp_path, above, below):
    for one, other in ((above, below), (below, above)):
        for name, text in {one: f"from itae.knowledge.{other.replace('/', '.')} import it", other: ""}.items():
            file = tmp_path / "itae" / "knowledge" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert bool(upward(arrows(tmp_path))) is (one == above)
