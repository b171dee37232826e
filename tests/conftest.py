"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a network


@pytest.fixture(scope="session")
def assets() -> Path:
    """Return the folder with real weights and images, or skip."""
    folder = os.environ.get("ITAE_TEST_ASSETS")
    if not folder:
        pytest.skip("ITAE_TEST_ASSETS is not set: it names a folder with weights/ and images/")
    path = Path(folder).absolute()
    assert (path / "weights").is_dir(), f"ITAE_TEST_ASSETS={folder} has no weights/"
    return path


@pytest.fixture
def _gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def pytest_collection_modifyitems(items):
    """Have every test marked `gpu` skip where there is none."""
    for item in items:
        if item.get_closest_marker("gpu"):
            item.fixturenames.insert(0, "_gpu")
