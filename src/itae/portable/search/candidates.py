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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itae.base.checks import number, one_of, whole
from itae.base.errors import UserError
from itae.portable.search.lines import Lines
from itae.portable.search.trials import Candidate, Space, Trials

log = logging.getLogger(__name__)

SAMPLERS = ("nsga2", "tpe", "gp")
OBJECTIVES = ("each", "worst")


@dataclass(frozen=True)
class Candidates:
    """How candidates are looked for.

    Parameters
    ----------
    judged
        Networks that are judged, at least 1. Default 200.
    sampler
        ``nsga2`` (default), NSGA-II (Deb et al. 2002); ``tpe``, of Optuna's tree-structured Parzen estimators with
        several objectives (Ozaki et al. 2020); ``gp``, Gaussian processes, the slowest to ask.
    population
        Of NSGA-II, at least 2. Default 20: with 50, Optuna's own, 200 candidates are four generations.
    objective
        Beside quality: ``each`` (default), the time on each device; ``worst``, one time: the largest over devices of
        the time over the reference's, for networks that are to run everywhere.
    chosen
        Networks that are converted and measured in the end, at least 1. Default 20.
    asked
        A trial may ask for a network that was judged before, or is hopeless. Trials end at so many times `judged`, at
        least 1. Default 20.
    seed
        Of the sampler, at least 0. Default 0.

    Raises
    ------
    UserError
        When a value isn't one that is allowed.
    """

    judged: int = 200
    sampler: str = "nsga2"
    population: int = 20
    objective: str = "each"
    chosen: int = 20
    asked: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        whole("search.judged", self.judged, low=1)
        one_of("search.sampler", self.sampler, SAMPLERS)
        whole("search.population", self.population, low=2)
        one_of("search.objective", self.objective, OBJECTIVES)
        whole("search.chosen", self.chosen, low=1)
        number("search.asked", self.asked, low=1)
        whole("search.seed", self.seed, low=0, high=2**32 - 1)


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
    options: Candidates,
    file: Path,
    advance: Callable[[int], None],
    slowest: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
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

    Raises
    ------
    UserError
        If Optuna isn't installed; if the file is of another search, or in use; if the first candidates all fail; if the
        disk is in trouble.
    """
    began = time.monotonic()
    header = {"options": _asking(options), "devices": list(devices), "slowest": dict(slowest or {}), **(about or {})}
    with Lines(file, header) as lines:
        study = _study(options, 1 + len(devices) if options.objective == "each" else 2)
        going = Trials(study, space, judge, predict, tuple(devices), options.objective, lines, dict(slowest or {}))
        while len(going.found) < options.judged and going.trials < options.asked * options.judged:
            before = len(going.found)
            going.one()
            advance(len(going.found) - before)
    if len(going.found) < options.judged:
        log.warning("%d candidates are judged, not %d: %d trials asked for no others (search.asked=%g).",
                    len(going.found), options.judged, going.trials, options.asked)  # fmt: skip
    return Found(tuple(going.found.values()), going.trials, going.repeated, going.hopeless, going.read,
                 time.monotonic() - began)  # fmt: skip


def _asking(options: Candidates) -> dict[str, Any]:
    """Return the options on which the order of candidates depends: of a longer search, a shorter one is the start."""
    return {name: value for name, value in asdict(options).items() if name not in ("judged", "chosen", "asked")}


def _study(options: Candidates, objectives: int) -> Any:
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
