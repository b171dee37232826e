"""Each test here runs on the CPU, and on a GPU where there is one: what both are held against is in fp64 or slow."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> torch.device:
    """Return the device: the CPU, or, in a test that is marked ``gpu``, the first GPU."""
    return torch.device(request.param)
