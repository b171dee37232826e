"""Weights from a file, a .safetensors one alone: other formats may run code when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.code import sha256
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.weights import refuse_damaged, refuse_other_formats

if TYPE_CHECKING:
    from torch import nn


def checked(weights: str) -> Path:
    """Return the file that `net.weights` names.

    Raises
    ------
    UserError
        When there is no such file, or it isn't a whole .safetensors file.
    """
    path, told = at_home(weights), f"net.weights={weights}"
    refuse_other_formats(path, told)
    if not path.is_file():
        raise UserError(f"{told}: there is no such file; give a .safetensors file, or null to draw them.")
    refuse_damaged(path, told)
    return path


def identity_of(seed: int, weights: str | None) -> dict[str, Any]:
    """Return what tells a network's weights from others: the file's sha256, or the seed that they are drawn from."""
    return {"seed": seed} if weights is None else {"weights": sha256(checked(weights))}


def load_into(module: nn.Module, weights: str) -> None:
    """Read a module's weights from a file.

    Raises
    ------
    UserError
        When the file lacks a weight, has one too many, or one of another shape.
    """
    from safetensors.torch import load_file

    found, wanted = load_file(checked(weights)), module.state_dict()
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted:
            has = "has no" if name not in found else "has a"
            raise UserError(
                f"net.weights={weights} {has} {name!r}, and this net {'has' if name in wanted else 'none'}; {_MEND}"
            )
        if found[name].shape != wanted[name].shape:
            theirs, ours = (list(each[name].shape) for each in (found, wanted))
            raise UserError(f"net.weights={weights} has {name!r} of shape {theirs}, and this net of {ours}; {_MEND}")
    module.load_state_dict(found)


_MEND = "set the options of net that it was trained with."
