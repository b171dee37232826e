"""Files are UTF-8 wherever they are written and read: a table that is sent on mustn't depend on somebody's locale."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])
_NO_FILES = ("Image", "Source", "Data", "os", "job", "device", "tarfile")  # what has an open that is of no text file
_TEXT = {"read_text": 0, "write_text": 1}  # and how many arguments stand before the encoding


def leaves_it_to_the_locale(call: ast.Call) -> bool:
    """Whether a call opens a file, or a process's output, as text without saying in which encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name in _TEXT:
        return not (call.args and getattr(call.args[0], "value", None) == "RECORD")  # of importlib.metadata: UTF-8
    if name in ("open", "fdopen"):
        modes = [given.get("mode"), *call.args]
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in _NO_FILES:
            return name == "fdopen"
        bare = isinstance(call.func, ast.Attribute) and not call.args and not given and _opens_no_file(call.func.value)
        return not bare and not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
    return "text" in given or "universal_newlines" in given


def _opens_no_file(what: ast.expr) -> bool:
    return not ast.unparse(what).endswith(("path", "file", "results", "Path"))  # dataset.open()


def test_no_file_is_left_to_the_locale():
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and leaves_it_to_the_locale(node)
    ]
    assert FILES
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text('x')", True),
        ("path.open()", True),
        ("path.open('w')", True),
        ("path.open('rb')", False),
        ("open(path)", True),
        ("open(path, mode='wb')", False),
        ("Image.open(path)", False),
        ("dataset.open()", False),
        ("os.fdopen(1)", True),
        ("subprocess.run(words, text=True)", True),
        ("subprocess.run(words, encoding='utf-8')", False),
    ],
)
def test_what_is_left_to_the_locale_is_found(code, wrong):
    assert leaves_it_to_the_locale(ast.parse(code, mode="eval").body) is wrong
