"""timm and torch without what they load at once and no run needs: a third of all that is imported."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"


def import_timm() -> ModuleType:
    """Import timm and return it, without torch's compiler and without W&B."""
    with compiler_asleep(), _without_wandb():
        return importlib.import_module("timm")


class _Asleep(ModuleType):
    """Stands for a module that isn't imported before something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        # `inspect` asks every module there is for its file; an import of what lies in the compiler asks for its path.
        if name.startswith("__") and (name, self.__name__) != ("__path__", _COMPILER):
            raise AttributeError(name)
        _wake()
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def compiler_asleep() -> Iterator[None]:
    """Have torch's compiler imported only where it is used.

    torchvision imports it for one function of ``roi_align``, timm to exempt functions of NaFlex from it, and torch to
    exempt what runs on the meta device.
    """
    if _COMPILER in sys.modules:
        yield
        return
    import torch

    compiler, helpers = _Asleep(_COMPILER), _Asleep(f"{_COMPILER}.utils")
    compiler.disable = _disable  # type: ignore[attr-defined]
    helpers.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {_COMPILER: compiler, f"{_COMPILER}.utils": helpers}
    torch._dynamo = compiler
    try:
        yield
    finally:
        _wake()


def _wake() -> None:
    """Take the stand-ins away, so that the next import is that of the compiler."""
    for name in (_COMPILER, f"{_COMPILER}.utils"):
        if isinstance(sys.modules.get(name), _Asleep):
            del sys.modules[name]
    torch = sys.modules["torch"]
    if isinstance(vars(torch).get("_dynamo"), _Asleep):
        del torch._dynamo


def _disable(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Exempt a function from the compiler once there is one: before, nothing can be compiled."""

    @functools.wraps(fn)
    def exempt(*given: Any, **named: Any) -> Any:
        compiler = sys.modules.get(_COMPILER)
        if compiler is None or isinstance(compiler, _Asleep):
            return fn(*given, **named)
        return compiler.disable(fn, *args, **kwargs)(*given, **named)

    return exempt


def _is_compile_supported(device: Any) -> bool:
    _wake()
    return bool(importlib.import_module(f"{_COMPILER}.utils").is_compile_supported(device))


@contextlib.contextmanager
def _without_wandb() -> Iterator[None]:
    """Have W&B imported by who tracks a run; timm only logs trainings of its own with it."""
    if "wandb" in sys.modules:
        yield
        return
    sys.modules["wandb"] = None  # type: ignore[assignment]  # which is to Python that there is none
    try:
        yield
    finally:
        del sys.modules["wandb"]
