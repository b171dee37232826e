"""Fixtures that are dear: they are made once, and all tests of each run in one process of pytest-xdist."""

from __future__ import annotations

ONE_A_SESSION = ("ray", "slurm_node", "chromium", "wheel")
