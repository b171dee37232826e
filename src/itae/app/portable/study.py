"""What one kind of run of ``itae portable`` is: what it does, what it leaves behind, what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]
Figures = Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]
"""Of each figure its caption, and what draws it of a result."""


@dataclass(frozen=True)
class Study:
    """A study that is asked for, all of its settings checked.

    Parameters
    ----------
    name
        Its kind in ``result.json``.
    told
        What a tracker calls the run.
    work
        Does it: given the run's folder, and what takes a line that is to be known at once, it returns what
        ``result.json`` has of it.
    figures
        Returns its figures.
    files, texts
        Names of what is written beside ``result.json``, as patterns; and those of them that are texts, of a result.
    show
        Prints a result.
    track
        Gives it to a tracker.
    """

    name: str
    told: str
    work: Callable[[Path, Callable[[str], None]], Result]
    figures: Callable[[], Figures]
    files: tuple[str, ...]
    texts: Callable[[Result], Mapping[str, str]]
    show: Callable[[Result, Path], None]
    track: Callable[[Any, Result, Path], None]
