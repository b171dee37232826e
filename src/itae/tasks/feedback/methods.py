"""What is held against what: the rules of feedback, and controls that get by without a user or know too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from itae.base.names import choice_of
from itae.search.rules import Kernel, Logistic, Margin, MeanDifference, Nearest, Rocchio, Svm, Tally, Unchanged

RULES: dict[str, Any] = {
    "none": Unchanged(),
    "nearest": Nearest(),
    "nearest_yes": Nearest(within="nearest"),
    "margin": Margin(),
    "rocchio": Rocchio(),
    "mean_difference": MeanDifference(),
    "kernel": Kernel(),
    "kernel_mean": Kernel(mean=True),
    "logistic": Logistic(),
    "svm": Svm(),
    "tally": Tally(),
}
"""The rules of ``conf/feedback``, by name."""
SHOWN, RANDOM, PSEUDO, CEILING = "shown", "random", "pseudo", "class mean"


@dataclass(frozen=True)
class Method:
    """A way to rank, and who judges what.

    Parameters
    ----------
    name
        In tables and files.
    rule
        Which ranks.
    kind
        ``shown``: the user judges what is shown. ``random``: as many images drawn at random. ``pseudo``: nobody judges,
        what is shown counts as a yes. ``class mean``: ranked by the mean of all that the user wants, of which no
        program knows.
    """

    name: str
    rule: Any
    kind: str = SHOWN


def name_of(rule: Any) -> str:
    """Return what a rule is called: as on a command line, with the settings that are not its defaults."""
    name = next((name for name, one in RULES.items() if one == rule), None)
    if name is not None:
        return name
    base = next((name for name, one in RULES.items() if type(one) is type(rule)), None)
    base = base or named(rule)
    settings = fields(rule) if is_dataclass(rule) else ()
    given = [(one.name, getattr(rule, one.name)) for one in settings if getattr(rule, one.name) != one.default]
    return " ".join([base, *(f"{name} {value}" for name, value in given)])


def named(one: object) -> str:
    """Return what a class is called on a command line."""
    return choice_of(type(one).__name__)


def methods_of(rule: Any, names: Sequence[str]) -> list[Method]:
    """Return what is simulated: the run's own rule first, then the other rules, then controls of the run's own."""
    own = Method(name_of(rule), rule)
    others = [Method(name, RULES[name]) for name in dict.fromkeys(names) if name != own.name]
    return [
        own,
        *others,
        Method(f"{own.name}, random images judged", rule, RANDOM),
        Method(f"{own.name}, nobody judges, all shown are yes", rule, PSEUDO),
        Method("mean of all that is wanted (a ceiling)", Unchanged(), CEILING),
    ]
