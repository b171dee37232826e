"""A base of digits that is asked in words, and one who asks it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import serving


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return a folder with ``kb``, 640 digits in the space of the embedded CLIP, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("served")
    for words in ("init kb backbone=digits_clip --images embed", "add kb dataset=digits dataset.split=test"):
        subprocess.run([sys.executable, "-m", "itae", "knowledge", *words.split(), f"paths.cache={folder}/cache"],
                       cwd=folder, check=True, capture_output=True)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def digits_desk(digits):
    """Return that base as it is served, its model built."""
    desk = serving.desk_of(digits / "kb", digits / "cache")
    desk.warm()
    return desk


@pytest.fixture
def client(digits_desk, tmp_path):
    """Return who asks it, and has no searches yet."""
    return serving.client_of(digits_desk, tmp_path / "state")


@pytest.fixture
def own(digits, tmp_path):
    """Return a copy of the base that the test may edit, as it is served."""
    shutil.copytree(digits / "kb", tmp_path / "kb")
    return serving.desk_of(tmp_path / "kb", digits / "cache")
