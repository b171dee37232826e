"""What the processor can do by itself: a precision that it can't is emulated, and its times say little of others."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

_NEEDS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "f16": ("avx512_fp16", "amx_fp16", "asimdhp"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
}
"""For each precision, flags of /proc/cpuinfo (x86, then Arm) any of which says that there are instructions for it."""


def emulated(precision: str, flags: Iterable[str] | None = None) -> bool:
    """Return whether a precision (bf16, f16, int8; others never) has no instructions of its own here.

    Parameters
    ----------
    precision
        What the arithmetic is in.
    flags
        Of a processor, as /proc/cpuinfo names them; None (default): of this one. Where the system doesn't tell any
        (macOS), Apple's processors count as having all three, and others as having none.
    """
    if precision not in _NEEDS:
        return False
    return not set(_NEEDS[precision]) & set(cpu_flags() if flags is None else flags)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return what this machine's processor can do, as /proc/cpuinfo names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        arm = sys.platform == "darwin" and platform.machine() == "arm64"
        return frozenset(("bf16", "asimdhp", "asimddp") if arm else ())
    told = (line.partition(":") for line in lines)
    return frozenset(word for name, _, said in told if name.strip() in ("flags", "Features") for word in said.split())
