"""A runtime's Python package: whether it is here, which version, and how it is imported without a word of its own."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
from types import ModuleType

from itae.base.errors import UserError
from itae.portable.devices.quiet import quiet


def absent(device: str, modules: tuple[str, ...]) -> str | None:
    """Return in words which of the modules that a device needs isn't installed; None if all are."""
    gone = [name for name in modules if not _there(name)]
    return f"{device} needs the package {gone[0]}, which isn't installed" if gone else None


def library(name: str, pip: str) -> ModuleType:
    """Import a runtime, and say nothing; a `UserError` names the command that installs it where it can't be."""
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name} can't be imported ({error}); install it: {pip}") from error


def versions_of(*packages: str) -> dict[str, str]:
    """Return the versions of those of the packages that are installed, by the names that pip has for them."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
