"""The page of a run of ``itae portable``: each kind has what it says, and a template of that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from itae.look.page.deploy_part import deploy_part
from itae.look.page.frame import render
from itae.look.page.operators_part import operators_part
from itae.look.page.search_part import search_part
from itae.results.run import Run

_PARTS: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "operators": operators_part,
    "deploy": deploy_part,
    "search": search_part,
}
"""What each kind of run says, by the name of its template."""


def portable_page(run: Run) -> str:
    """Return the page of a run of a kind that is in ``ALONE``."""
    kind = run.result["kind"]
    return render(kind, {}, ("portable", "compare", kind), False, part=_PARTS[kind](run))
