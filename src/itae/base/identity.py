"""What a rule is in a cache key: the name of its class, and the code of somebody's own."""

from __future__ import annotations

import functools
import sys
from typing import Any

from itae.base.code import code_of, origin
from itae.base.errors import UserError
from itae.base.names import public_name

_OURS = {"itae", *sys.stdlib_module_names}
"""Packages whose code is in no key: METHOD speaks for this one, and the versions of an entry for Python."""


def identity(rule: object) -> dict[str, Any]:
    """Return the name of a rule's class, and, for a class from outside this package, what its code is.

    Its code, so that vectors that an earlier version of somebody's rule made are not taken for its own.
    """
    cls: Any = type(rule)
    return dict(_identity(cls))


def key_of(rule: Any) -> dict[str, Any]:
    """Return what a detector or an attenuator is in a cache key: its `identity`, and the settings that it reads."""
    return identity(rule) | rule.spec()


@functools.lru_cache(maxsize=256)  # it runs as it was when it was imported
def _identity(cls: Any) -> dict[str, Any]:
    name = {"class": public_name(cls)}
    theirs = {base.__module__: base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _OURS}
    for module, base in theirs.items():  # its own class and what it inherits from
        if origin(module) is None:
            raise UserError(f"{base.__qualname__} has no source file; put it in a module to import.")
    return name | {"source": code_of(theirs)} if theirs else name
