"""What a library keeps to itself is used in one file each, named here, and its version has an upper bound that says so.

A name of this list may change with any release; whoever raises a bound looks at its file.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PRIVATE = {
    "hydra._internal.config_loader_impl": ("hydra-core", "itae/app/launch/composer.py"),
    "_apply_overrides_to_config": ("hydra-core", "itae/app/launch/composer.py"),
    "hydra._internal.core_plugins.basic_sweeper": ("hydra-core", "hydra_plugins/itae_sweeps/__init__.py"),
    "_return_value": ("hydra-core", "itae/app/cli.py"),
    "class_name_to_class": ("hydra-core", "itae/app/cli.py"),
    "x_service_wait": ("wandb", "itae/track/tracking.py"),
    ".synced": ("wandb", "itae/track/sync.py"),
    "wandb-core": ("wandb", "itae/track/wandb_service.py"),
    "_active_runs": ("wandb", "itae/track/wandb_service.py"),
    "use_naflex": ("timm", "itae/vit/backbone.py"),
    "pretrained_cfg_overlay": ("timm", "itae/vit/backbone.py"),
    "fused_attn": ("timm", "itae/vit/door.py"),
    "result_pickle": ("submitit", "itae/app/launch/slurm.py"),
    "/^_itables_": ("itables", "itae/look/page/page.js"),
    "dt_bundle": ("itables", "itae/look/page/sweep_part.py"),
    "joblib.externals": ("joblib", "itae/app/launch/joblib.py"),
    "_Tile": ("pillow", "itae/images/samples.py"),
    "open_clip.model": ("open-clip-torch", "itae/search/text/open_clip_tower.py"),
    "_dynamo": ("torch", "itae/vit/timm_import.py"),
}
"""Whose each name is, and the file that uses it."""


def ours(trees):
    """Return the names that this package gives to things: functions, classes, variables, and attributes of its own."""
    names = set()
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return names


def borrowed(trees):
    """Return (name, file) of each private module that is imported and each private attribute that is not ours."""
    known, found = ours(trees), set()
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom | ast.Import):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                names = [f".{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else [""]
                foreign = [m for m in modules if m.partition(".")[0] not in ("itae", *sys.stdlib_module_names)]
                found |= {(m, file) for m in foreign if any(re.search(r"(^|\.)_", m + name) for name in names)}
            elif isinstance(node, ast.Attribute) and re.fullmatch(r"_\w*[^\W_]", node.attr) and node.attr not in known:
                found |= {(node.attr, file)} if ast.unparse(node) != "os._exit" else set()  # which is documented
    return found


@pytest.fixture(scope="module")
def trees():
    return {str(path.relative_to(SRC)): ast.parse(path.read_text()) for path in SRC.rglob("*.py")}


def test_private_names_of_libraries_are_those_of_the_list(trees):
    listed = {(name, file) for name, (_, file) in PRIVATE.items()}
    assert borrowed(trees) <= listed


@pytest.mark.parametrize("name", PRIVATE)
def test_each_is_used_in_its_file_alone(name):
    files = [path for path in SRC.rglob("*") if path.suffix in (".py", ".js")]
    using = {str(path.relative_to(SRC)) for path in files if re.search(rf"{re.escape(name)}", path.read_text())}
    assert using == {PRIVATE[name][1]}


@pytest.mark.parametrize("package", sorted({package for package, _ in PRIVATE.values()}))
def test_its_library_has_an_upper_bound(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    bounds = [line for group in groups for line in group if re.match(rf"{package}\b[^-]", line)]
    assert bounds
    assert all("<" in line for line in bounds)


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_beside_the_bound_names_it(name):
    assert name.rpartition(".")[2].strip("/^") in (ROOT / "pyproject.toml").read_text()


def test_a_private_name_is_found_wherever_it_stands():
    code = "import x._y\nfrom z import _w\nclass A:\n    def _mine(self):\n        return self._mine() + x.f()._theirs"
    assert borrowed({"f": ast.parse(code)}) == {("x._y", "f"), ("z", "f"), ("_theirs", "f")}
