"""What code somebody's own model or rule comes from: a part of the cache key, so that a cache never outlives it.

Nothing is imported to know it. In the key are all files of the package that holds a module (hidden ones and
``__pycache__`` left out, data files not; a folder that is a link, and ``outputs``, where code is in it), or the file of
a module that is in no package; and the same of whatever lies beside it, in the same folder of ``sys.path``, and is
imported by it. Of a package that was installed it is the ``RECORD`` that tells the files' hashes: reading all of torch
would take longer than many a run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from itae.base.errors import UserError
from itae.base.names import place_of

_SUFFIXES = sorted(importlib.machinery.all_suffixes(), key=lambda suffix: suffix != ".py")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_of(modules: Iterable[str]) -> str:
    """Return a SHA-256 of the code that modules come from; it depends on no folder outside their packages.

    Parameters
    ----------
    modules
        Their full names.

    Raises
    ------
    UserError
        If there is no such module, or it has no file.
    """
    found: dict[str, str] = {}
    for module in modules:
        if module.partition(".")[0] == "itae":  # of this package itself: what else is in it speaks through METHOD
            path = origin(module)
            found |= {module: sha256(path)} if path else {}
        else:
            found |= _files(module)
    if len(found) == 1:
        return next(iter(found.values()))
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def origin(module: str) -> Path | None:
    """Return the file of a module or package, or None if there is none; neither it nor its parents are imported."""
    top, *rest = place_of(module).split(".")
    if module == "__main__":  # of a script; a notebook has none
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file).absolute() if file else None
    spec = _spec(top)
    if spec is None or not rest:
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        path = _module_file(Path(folder).joinpath(*rest))
        if path is not None:
            return path
    return _archive(spec.origin)


def _spec(top: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # no name of a module at all, or a module that was made by hand
        return None


def _module_file(path: Path) -> Path | None:
    """Return the file of the module that lies at `path`, which has no suffix."""
    files = [path / "__init__.py", *(path.parent / f"{path.name}{suffix}" for suffix in _SUFFIXES)]
    return next((file for file in files if file.is_file()), None)


def _archive(path: str | None) -> Path | None:
    """Return the zip file that a path leads into, or None."""
    return next((each for each in Path(path).parents if each.is_file()), None) if path else None


def _files(module: str) -> dict[str, str]:
    """Return the SHA-256 of each file that `module` comes from, by its path in the folder that it is found in."""
    path = origin(module)
    if path is None:
        raise UserError(f"There is no module {module!r} with a file; have it installed or on PYTHONPATH.")
    if not path.is_file():
        path = _archive(str(path)) or path
        return {path.name: sha256(path)}
    root = path.parents[module.count(".") + (path.name == "__init__.py")]
    return _recorded(root, module.partition(".")[0]) or _with_what_is_beside(root, _unit(root, path))


def _recorded(root: Path, top: str) -> dict[str, str]:
    """Return the hashes that the installer wrote down of a package's files; none for one that was not installed."""
    found = {}
    for dist in importlib.metadata.distributions(path=[str(root)]):
        for line in (dist.read_text("RECORD") or "").splitlines():
            name, _, rest = line.partition(",")
            if name.partition("/")[0] in (top, f"{top}.py") and rest.startswith("sha256="):
                found[name] = rest
    return found


def _unit(root: Path, path: Path) -> Path:
    """Return the outermost package that a file under `root` is in, or the file itself."""
    packages = [folder for folder in path.parents if folder.is_relative_to(root) and (folder / "__init__.py").is_file()]
    return packages[-1] if packages and packages[-1] != root else path


def _with_what_is_beside(root: Path, unit: Path) -> dict[str, str]:
    """Return the SHA-256 of the files of a package or module, and of those under `root` that it imports."""
    todo, seen, found = [unit], {unit}, {}
    installed = any(root.glob("*.dist-info"))  # among packages that are known by their versions
    while todo:
        for path in _within(todo.pop()):
            found[path.relative_to(root).as_posix()] = sha256(path)
            names = set() if installed else _imported(path, root)
            beside = {_unit(root, file) for name in names if (file := _found(root, name))} - seen
            todo += beside
            seen |= beside
    return found


def _within(unit: Path) -> Iterator[Path]:
    if unit.is_file():
        yield unit
        return
    entered = set()
    for folder, inside, files in os.walk(unit, followlinks=True):
        inside[:] = sorted(name for name in inside if _is_part(Path(folder, name)))
        real = os.path.realpath(folder)
        if real in entered:  # reached by a second link: its files are there already
            inside.clear()
            continue
        entered.add(real)
        paths = (Path(folder, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _is_part(folder: Path) -> bool:
    """Return whether a folder in a package is a part of it; a link or ``outputs``, maybe data, if code is in it."""
    if folder.name.startswith(".") or folder.name == "__pycache__":
        return False
    data = folder.is_symlink() or folder.name == "outputs"  # where runs write, which would change the next one's key
    return not data or any(folder.glob("*.py"))


def _found(root: Path, name: str) -> Path | None:
    """Return the file of the module `name`, or of the last part of it that is one, under `root`."""
    parts = name.split(".")
    found = (_module_file(root.joinpath(*parts[:count])) for count in range(len(parts), 0, -1))
    return next((path for path in found if path is not None), None)


def _imported(path: Path, root: Path) -> set[str]:
    """Return the full names that a file imports; ``from a import b`` may mean a module ``a.b``."""
    if path.suffix != ".py":
        return set()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python: then it isn't imported either
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level else ()
            start = ".".join([*package, *([node.module] if node.module else [])])
            names |= {f"{start}.{each.name}".strip(".") for each in node.names}
    return names
