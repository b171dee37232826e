"""The networks of the study of operators: one, and each change to it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from itae.base.checks import whole
from itae.base.errors import UserError, did_you_mean
from itae.portable.cells.asked import Row
from itae.portable.nets.unet import UNet

BASE = "base"
"""The row of the network as it is."""


def by_itself(net: Any) -> str | None:
    """Return a note of why there is one network only, which nothing was changed in; None where there are more."""
    why = _whole(net)
    return why and f"{why}; it was measured by itself."


def rows_of(net: Any, wanted: Any) -> list[Row]:
    """Return the rows of a network: itself, and each change that is wanted, by itself.

    Parameters
    ----------
    net
        The base.
    wanted
        ``all``, or names of `itae.portable.nets.changes.CHANGES`. A change to what the network is already is no row,
        and a network whose parts can't be changed is the only one.

    Raises
    ------
    UserError
        If a name is none, or changes nothing, or the network has no such parts.
    """
    from itae.portable.nets.changes import CHANGES

    _check(net)
    there = {change.name: change.options for change in CHANGES if change.options}
    if why := _whole(net):
        if wanted != "all":
            raise UserError(f"changes={wanted}: {why}; leave changes out, and it is measured by itself.")
        return [Row(BASE, BASE, net)]
    names = list(there) if wanted == "all" else [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"changes={wanted!r} must be all, or names of changes, as in [{', '.join(list(there)[:2])}].")
    rows = [Row(BASE, BASE, net)]
    for name in dict.fromkeys(names):
        if name not in there:
            raise UserError(
                f"changes={name}: there is no such change; there are {', '.join(there)}, and all."
                f"{did_you_mean(name, there)}"
            )
        changed = replace(net, **there[name])
        told = ", ".join(f"{part}: {value}" for part, value in there[name].items())
        if changed != net:
            rows.append(Row(name, told, replace(changed, name=f"{net.name} ({told})")))
        elif wanted != "all":
            raise UserError(f"changes={name}: that changes nothing, the network has {told} already; leave it out.")
    return rows


def _check(net: Any) -> None:
    """Raise a `UserError` unless a network, whose class may be anybody's, has a name and says which sizes it takes."""
    if not isinstance(name := getattr(net, "name", None), str) or not name.strip():
        raise UserError(f"net.name={name!r} must be a text, by which tables call the net.")
    whole(f"net={name}: {type(net).__name__}.multiple", getattr(net, "multiple", None), low=1)


def _whole(net: Any) -> str | None:
    """Return why a network can't be changed part by part; None if it can."""
    if not isinstance(net, UNet):
        return f"net={net.name} has no parts that can be changed one by one"
    if net.weights is not None:
        return f"net.weights={net.weights!r}: a network with another operator would need other weights"
    return None
