"""What the machine is and who else is at work on it, before and after something is timed.

Ranks of networks can change under load, so a number is told with the load it was measured under. What a system doesn't
tell (a governor in a virtual machine, temperatures in a container) is None.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.threads import cpu_count

FLAGS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
    "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "hypervisor",
)  # fmt: skip
"""Of a CPU, those that decide how fast a runtime is, as Linux calls them; and whether it is a virtual one."""
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def machine() -> dict[str, Any]:
    """Return what doesn't change while something is timed, as plain values.

    ``cpu`` (its model), ``flags`` (those of `FLAGS` that it has), ``cpus`` (of the machine), ``cpus_allowed`` (for this
    process), ``system``, ``governor`` (how its frequency is chosen), ``frequency_max_mhz``.
    """
    info = _cpuinfo()
    frequency = _frequency()
    return {
        "cpu": info.get("model name") or info.get("Model") or platform.processor() or platform.machine(),
        "flags": sorted(set(FLAGS) & set((info.get("flags") or info.get("Features") or "").split())),
        "cpus": os.cpu_count(),
        "cpus_allowed": cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _governor(),
        "frequency_max_mhz": (frequency.max or None) if frequency else None,
    }


def load() -> dict[str, Any]:
    """Return who is at work now, as plain values.

    ``load_1_5_15`` (processes that want a CPU, mean of so many minutes), ``frequency_mhz`` (mean of the CPUs, now),
    ``temperature_c`` (the warmest sensor), and, for `others`, in seconds: ``clock_s``, ``busy_s`` (of all CPUs),
    ``stolen_s`` (which the host of a virtual machine gave to others) and ``own_s`` (of this process and its children).
    """
    import psutil

    times = psutil.cpu_times()
    frequency = _frequency()
    return {
        "load_1_5_15": [round(mean, 2) for mean in os.getloadavg()],
        "frequency_mhz": frequency.current if frequency else None,
        "temperature_c": _warmest(),
        "clock_s": time.monotonic(),
        "busy_s": sum(times)
        - sum(getattr(times, name, 0) for name in ("idle", "iowait", "steal", "guest", "guest_nice")),
        "stolen_s": getattr(times, "steal", None),
        "own_s": sum(os.times()[:4]),
    }


def others(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """Return how many CPUs other programs kept busy between two calls of `load`, on average.

    Children of this process that are still running count as others. None if no time went by.
    """
    gone, busy, own = (after[name] - before[name] for name in ("clock_s", "busy_s", "own_s"))
    return round(max(0.0, (busy - own) / gone), 2) if gone > 0 else None


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first CPU, and of all of them; nothing elsewhere."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found


def _governor() -> str | None:
    with contextlib.suppress(OSError):
        return _GOVERNOR.read_text(encoding="utf-8").strip()
    return None


def _frequency() -> Any:
    """Return psutil's frequency of the CPUs in MHz; None where the system doesn't tell."""
    import psutil

    try:
        return psutil.cpu_freq()
    except (AttributeError, NotImplementedError, OSError, RuntimeError):
        return None


def _warmest() -> float | None:
    import psutil

    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, NotImplementedError, OSError, RuntimeError):
        return None
    return max((sensor.current for some in sensors.values() for sensor in some), default=None)
