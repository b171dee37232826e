"""Candidates of a search: Optuna asks, a supernet judges quality, a predictor tells times; nothing is measured yet.

Each network is judged once, and what came out is written at once, a line of JSON each. A study that was killed is
begun again from its seed and asks in the same order: what has a line is read and not judged, so it ends as it would
have, with no candidate twice and no memory of Optuna's to keep. (Optuna's own storages go on with a sampler that begins
anew.)

Letters: D devices.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.base.errors import UserError
from itae.portable.search.lines import Lines
from itae.portable.search.options import Search
from itae.portable.search.trials import Candidate, Space, Trials

log = logging.getLogger(__name__)

TOGETHER = 8
"""Networks that are asked for before the first of them is judged, where all are prepared side by side: as many on any
machine, since what a sampler asks for depends on it."""


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    candidates: tuple[Candidate, ...]
    """In the order in which they were judged."""
    trials: int
    repeated: int
    """Trials that asked for a network again."""
    hopeless: int
    """Trials that asked for one slower than the reference on every device; these weren't judged."""
    read: int
    """Candidates that were judged by a run before this one."""
    seconds: float


def search(
    space: Space,
    judge: Callable[[Any], float],
    predict: Callable[[str, Any], float],
    devices: Sequence[str],
    options: Search,
    file: Path,
    advance: Callable[[int], None],
    slowest: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
    prepare: Callable[[Sequence[Any]], None] | None = None,
) -> Found:
    """Look for candidates, until enough are judged.

    Parameters
    ----------
    space
        What is searched.
    judge
        Returns a network's quality. What it raises costs that candidate alone, unless the first few all do.
    predict
        Returns a time in ms, of a device and a network. What it raises costs the candidate that device alone.
    devices
        Names.
    options
        How.
    file
        Of what was judged: ``candidates.jsonl``. Its folder is there.
    advance
        Takes how many candidates were just judged, those that were read among them.
    slowest
        The reference's time on each device. What is predicted to be slower on all of them is not judged: it adds no
        area to any front. Default None: all are judged.
    about
        Plain values on which quality and times depend, as the key of the supernet's weights: a file of others is
        refused. Default: none.
    prepare
        Is given networks right before they are judged, `TOGETHER` at a time, where there is something to be done for
        them side by side. Default None: networks are asked for one at a time.

    Raises
    ------
    UserError
        If Optuna isn't installed; if the file is of another search, or in use; if the first candidates all fail; if the
        disk is in trouble.
    """
    began = time.monotonic()
    header = {"options": options.asking(), "devices": list(devices), "slowest": dict(slowest or {}), **(about or {})}
    with Lines(file, header) as lines:
        study = _study(options, 1 + len(devices) if options.objective == "each" else 2)
        going = Trials(study, space, judge, predict, tuple(devices), options.objective, lines, dict(slowest or {}))
        most = options.asked * options.judged
        while len(going.found) < options.judged and going.trials < most and not going.all_asked:
            before = len(going.found)
            going.some(1 if prepare is None else min(TOGETHER, options.judged - before), prepare)
            advance(len(going.found) - before)
    if len(going.found) < options.judged and going.all_asked:
        log.warning("%d candidates are judged, not %d: the space has no others.", len(going.found), options.judged)
    elif len(going.found) < options.judged:
        log.warning("%d candidates are judged, not %d: %d trials asked for no others (search.asked=%g).",
                    len(going.found), options.judged, going.trials, options.asked)  # fmt: skip
    return Found(tuple(going.found.values()), going.trials, going.repeated, going.hopeless, going.read,
                 time.monotonic() - began)  # fmt: skip


def _study(options: Search, objectives: int) -> Any:
    """Return a study in memory, of its seed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError("A search needs Optuna, which isn't installed; pip install 'itae[portable]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers: dict[str, Callable[[], Any]] = {
        "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=options.population, seed=options.seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=options.seed, n_startup_trials=options.population),
        "gp": lambda: optuna.samplers.GPSampler(seed=options.seed, n_startup_trials=options.population),
    }
    sampler = samplers[options.sampler]()
    directions: list[Any] = ["maximize", *["minimize"] * (objectives - 1)]
    return optuna.create_study(sampler=sampler, directions=directions)
