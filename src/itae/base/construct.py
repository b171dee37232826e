"""From a config node to an object: ``_target_`` names the class, the other keys are its options.

There is no registry; a class of anybody's will do, if it has what its group needs.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from itae.base.errors import UserError, did_you_mean

NEEDS: dict[str, tuple[str, ...]] = {
    "backbone": ("facts", "space", "build"),
    "dataset": ("open", "prepare"),
    "detector": ("__call__", "spec", "needs_cls", "fitted"),
    "attenuator": ("operands", "logits", "spec"),
    "control": ("__call__",),
    "edit": ("make",),
    "task": ("measure", "kind", "groups", "check", "usable", "wants", "together", "clear"),
    "clusterer": ("fit", "check", "seed_list"),
    "tracker": ("run",),
    "voter": ("options",),
    "corruption": ("labels",),
    "repair": ("scores",),
    "feedback": ("fitted", "scores", "notes", "monotone"),
    "user": ("check", "wishes", "wanted", "marks", "noise"),
}
"""What the class of each group has to have."""
PORTABLE = {
    "net": ("settings", "build", "cost"),
    "devices": ("missing", "facts", "convert", "open"),
    "measure": ("check",),
    "data": ("settings", "check"),
    "blur": ("margin", "settings", "check", "of"),
    "noise": ("settings", "of"),
    "pairs": ("pairs", "side", "settings"),
    "train": ("check", "halves", "key"),
    "steps": ("check", "apply"),
    "space": ("choices", "spec", "settings"),
    "supernet": ("specs", "backward", "key"),
    "search": ("asking",),
}
"""The same of the groups of ``itae portable``; ``devices`` and ``steps`` are mappings of names to nodes."""
_INSIDE = {"tune": "train"}
"""An option whose node is of another group than the one that it stands in, and that group."""
GROUPS_OF_TASKS = ("clusterer", "voter", "corruption", "repair", "feedback", "user")
"""Config groups that a task reads if it says so, and nobody else does."""


def construct(group: str, node: Any) -> Any:
    """Call the class that `node` names with the options that it holds.

    Raises
    ------
    UserError
        If there is no such class, it lacks what `group` needs, or has no such option.
    """
    if not isinstance(node, Mapping) or not node.get("_target_"):
        raise UserError(f"{group}._target_ is not set: choose an option of the group, or name a class there.")
    cls = locate(group, node["_target_"])
    options = {key: value for key, value in node.items() if key != "_target_"}
    with named(group, _INSIDE.get(group.rpartition(".")[2], re.escape(group))):
        return call(group, cls, options)


def locate(group: str, target: str) -> type:
    """Return the class that a `_target_` names; a `UserError` where there is none, or it lacks what `group` needs."""
    module, _, name = str(target).rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{group}._target_={target}: there is no such class ({error}); write package.module.Class, and have the "
            "package installed or on PYTHONPATH."
        ) from error
    if not isinstance(cls, type):
        raise UserError(f"{group}._target_={target} can't be a {group}: it is no class.")
    # Not hasattr, by which every class has a __call__, its own constructor.
    needs = (NEEDS | PORTABLE)[_INSIDE.get(group.rpartition(".")[2], group.partition(".")[0])]
    missing = [need for need in needs if not any(need in vars(base) for base in cls.__mro__)]
    if missing:
        raise UserError(f"{group}._target_={target} can't be a {group}: it has no {missing[0]!r}.")
    return cls


def call(group: str, cls: type, options: Mapping[str, Any]) -> Any:
    """Call a class with options; a `UserError` names one that it doesn't have, or lacks."""
    parameters = inspect.signature(cls).parameters.values()
    named = {each.name: each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        check_options(group, options, named, cls.__name__)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in options:
            raise UserError(f"{group}.{name} is not set, and {cls.__name__} needs it; set {group}.{name}=...")
    nested = {name: construct(f"{group}.{name}", node) for name, node in options.items() if is_call(node)}
    return cls(**{**options, **nested})


@contextlib.contextmanager
def named(word: str, part: str) -> Iterator[None]:
    """Have a `UserError` in the body name an option by the word that sets it, where the class knows another.

    Parameters
    ----------
    word
        Where the node of the class stands: ``teacher``.
    part
        As whose option the class names it, as a pattern: ``net``, as in ``net.channels``.
    """
    try:
        yield
    except UserError as error:
        if (said := re.sub(rf"^{part}(?=\.)", lambda _: word, str(error))) == str(error):
            raise
        raise UserError(said) from error


def is_call(node: Any) -> bool:
    """Whether a config node names a class to call."""
    return isinstance(node, Mapping) and bool(node.get("_target_"))


def check_options(group: str, options: Any, allowed: Any, owner: str = "") -> None:
    """Raise a `UserError` unless `options` is a mapping with no other keys than `allowed`; `owner` is who has them."""
    if not isinstance(options, Mapping):
        raise UserError(f"{group}={options!r} is not a group of options; set one of them, as in {group}.key=value.")
    for name in options:
        if name not in allowed:
            full = f"{group}.{name}" if group else name
            owner = owner or group or "the config"
            known = ", ".join(allowed) or "no options at all"
            raise UserError(
                f"{full}={options[name]!r}: {owner} has no option {name!r}; it has {known}."
                f"{did_you_mean(name, allowed)}"
            )
