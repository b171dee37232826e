"""The manual builds without a warning and without a network, and its pages ask for nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A build that reaches for a network fails: no socket connects.
BUILD = """
import socket
def refuse(*_):
    raise OSError("the manual is built without a network")
socket.socket.connect = socket.socket.connect_ex = refuse
from mkdocs.__main__ import cli
cli()
"""
ASKED_FOR = re.compile(r"<(?:script|img|iframe|source|video|link)\b[^>]*?\s(?:src|href)=[\"']?(https?:|//)[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="could not import mkdocs-material, which builds the manual")
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--strict", "--site-dir", str(folder), "--config-file", str(ROOT / "mkdocs.yml")]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *words],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_manual_is_built_strictly_and_asks_for_nothing(site):
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert len(pages) >= len(list((ROOT / "docs").rglob("*.md")))
    for name, text in pages.items():
        asked = [found[0] for found in ASKED_FOR.finditer(text) if 'rel="canonical"' not in found[0]]
        assert not asked, (name, asked)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", style.read_text()), style
    assert 'id="itae.edits.detect.Detector"' in pages["api/edits.html"], "the API pages hold the docstrings"
    assert "calibration_images" in pages["api/edits.html"]


def test_what_would_be_asked_for_is_found():
    assert ASKED_FOR.search('<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto">')
    assert ASKED_FOR.search('<script async src="//example.org/a.js"></script>')
    assert not ASKED_FOR.search('<a href="https://arxiv.org/abs/2410.04801">the paper</a>')
    assert not ASKED_FOR.search('<img src="three_words.svg">')
