"""One trial after the other: a network is asked for, judged and predicted, and Optuna is told what it is worth."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from itae.base.checks import is_number
from itae.base.disk import DiskError
from itae.base.errors import UserError
from itae.portable.search.lines import Lines, as_key

log = logging.getLogger(__name__)

_FIRST_FAILURES = 5  # in succession from the very first: then it isn't the candidates
_SLOWER = math.log(2)  # by which a time that isn't known is worse than the worst known


class Space(Protocol):
    """What is searched."""

    def choices(self) -> Mapping[str, Sequence[Any]]:
        """Return the values of each option that has a choice; numbers in their order."""

    def spec(self, values: Mapping[str, Any]) -> Any:
        """Return the network of a value of each: a `Spec`, or anything that `as_key` and `judge` take."""


@dataclass(frozen=True)
class Candidate:
    """A network that was judged."""

    spec: Any
    quality: float | None
    """By the judge, in dB on validation photographs; None if it could not be judged."""
    ms: Mapping[str, float]
    """Predicted, of the devices for which it could be."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Why it has no quality (``judge``), or no time on a device."""


class Trials:
    """A study that is under way."""

    def __init__(
        self,
        study: Any,
        space: Space,
        judge: Callable[[Any], float],
        predict: Callable[[str, Any], float],
        devices: tuple[str, ...],
        objective: str,
        lines: Lines,
        slowest: dict[str, float],
    ) -> None:
        self.study, self.space, self.judge, self.predict = study, space, judge, predict
        self.devices, self.objective, self.lines, self.slowest = devices, objective, lines, slowest
        self.found: dict[str, Candidate] = {}
        self._slow: set[str] = set()  # of keys: hopeless
        self.trials = self.repeated = self.hopeless = self.read = 0
        self._worst = dict.fromkeys(devices, 0.0)  # of log ms, so far

    @property
    def all_asked(self) -> bool:
        """Whether each network of the space was asked for, so that no trial can find another."""
        return len(self.found) + len(self._slow) >= math.prod(map(len, self.space.choices().values()))

    def some(self, count: int, prepare: Callable[[Sequence[Any]], None] | None = None) -> None:
        """Ask for networks, and then tell what they are worth, in their order.

        Parameters
        ----------
        count
            Networks.
        prepare
            Is given those that are about to be judged.
        """
        asked = []
        for _ in range(count):
            trial = self.study.ask()
            asked.append((trial, self.space.spec(_suggested(trial, self.space.choices()))))
        self.trials += count
        if prepare is not None:
            fresh = {key: spec for _, spec in asked if (key := as_key(spec)) not in self.found | self.lines.known}
            if able := [spec for spec in fresh.values() if not self._hopeless(self._times(spec)[0])]:
                prepare(able)
        for trial, spec in asked:
            self._one(trial, spec, as_key(spec))

    def _one(self, trial: Any, spec: Any, key: str) -> None:
        if key in self.found:
            self.repeated += 1
            candidate = self.found[key]
        elif (made := self._judged(spec, key)) is None:
            self.hopeless += 1
            self._slow.add(key)
            self._fail(trial)
            return
        else:
            candidate = self.found[key] = made
            self._refuse_what_always_fails()
        if candidate.quality is None:
            self._fail(trial)
        else:
            self.study.tell(trial, self._values(candidate))

    def _fail(self, trial: Any) -> None:
        import optuna

        self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _judged(self, spec: Any, key: str) -> Candidate | None:
        """Return what is known of a network; None if it is hopeless."""
        if (line := self.lines.known.get(key)) is not None:
            self.read += 1
            return Candidate(spec, line["quality"], line["ms"], line["why"])
        ms, why = self._times(spec)
        if self._hopeless(ms):
            return None
        quality = None
        try:
            quality = float(self.judge(spec))
            if not math.isfinite(quality):
                quality, why["judge"] = None, f"its quality is {quality}"
        except DiskError:
            raise  # which isn't the candidate's: all others would meet it
        except Exception as error:
            why["judge"] = _told(error)
            log.info("A candidate could not be judged: %s", key, exc_info=True)
        self.lines.add(key, {"quality": quality, "ms": ms, "why": why})
        return Candidate(spec, quality, ms, why)

    def _hopeless(self, ms: Mapping[str, float]) -> bool:
        """Tell whether a network is slower than the reference on every device."""
        return bool(ms) and ms.keys() == self.slowest.keys() and all(ms[n] > most for n, most in self.slowest.items())

    def _times(self, spec: Any) -> tuple[dict[str, float], dict[str, str]]:
        ms, why = {}, {}
        for name in self.devices:
            try:
                took = float(self.predict(name, spec))
                if not (math.isfinite(took) and took > 0):
                    raise UserError(f"its time is {took} ms")
                ms[name] = took
            except Exception as error:
                why[name] = _told(error)
        return ms, why

    def _values(self, candidate: Candidate) -> list[float]:
        """Return what Optuna is told: quality, and logarithms of times, as an area is counted from."""
        assert candidate.quality is not None
        logs = {name: math.log(ms) for name, ms in candidate.ms.items()}
        for name, value in logs.items():
            self._worst[name] = max(self._worst[name], value)
        times = [logs.get(name, self._worst[name] + _SLOWER) for name in self.devices]
        if self.objective == "worst":
            base = [math.log(self.slowest.get(name, 1.0)) for name in self.devices]
            times = [max(one - other for one, other in zip(times, base, strict=True))]
        return [candidate.quality, *times]

    def _refuse_what_always_fails(self) -> None:
        some = list(self.found.values())
        if len(some) == _FIRST_FAILURES and all(one.quality is None for one in some):
            raise UserError(
                f"None of the first {_FIRST_FAILURES} candidates could be judged ({some[0].why['judge']}), so the "
                "search is ended; see the log for where."
            )


def _suggested(trial: Any, choices: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return a value of each option; of numbers the place in their order is asked for, so that samplers know of it."""
    values = {}
    for name, of in choices.items():
        if all(map(is_number, of)):
            values[name] = sorted(of)[trial.suggest_int(name, 0, len(of) - 1)]
        else:
            values[name] = of[trial.suggest_categorical(name, range(len(of)))]
    return values


def _told(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
