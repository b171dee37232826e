"""The study itself: a network and each change to it on each device, and what that says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from itae.portable.cells.asked import Asked
from itae.portable.cells.timed import timed
from itae.portable.operators.correlations import correlations
from itae.portable.operators.guidelines import guidelines
from itae.portable.operators.rows import BASE, by_itself


def operators(asked: Asked, told: Callable[[str], None]) -> dict[str, Any]:
    """Return what ``result.json`` has of the study, done by the one job that measures on this machine.

    Parameters
    ----------
    asked
        What is asked for.
    told
        Takes what is to be known at once, a line each.

    Raises
    ------
    UserError
        If no network runs on any device.
    """
    net = asked.rows[0].net
    result: dict[str, Any] = {"net": {"name": net.name, "settings": dict(net.settings())}, "base": BASE}
    result |= timed(asked, told, [note for note in (by_itself(net),) if note])
    result["correlations"] = correlations(result)
    result["guidelines"] = guidelines(result)
    return result
