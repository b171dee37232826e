"""What a setting may be: each check names the setting, the value and what is allowed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import TypeGuard

from itae.base.errors import UserError, did_you_mean

_LARGEST = sys.float_info.max


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number, infinite or NaN too; true and false, which Python counts with, are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(what: str, value: object, options: Iterable[str]) -> None:
    """Raise a `UserError` unless `value` is one of `options`; `what` names the setting."""
    allowed = list(options)
    if value not in allowed:
        raise UserError(f"{what}={value!r} is not one of {', '.join(allowed)}.{did_you_mean(value, allowed)}")


def number(what: str, value: object, low: float = -math.inf, high: float = math.inf) -> None:
    """Raise a `UserError` unless `value` is a finite number in [low, high]; `what` names the setting."""
    # Not math.isfinite, which fails at a whole number past all floats.
    if not is_number(value) or not max(low, -_LARGEST) <= value <= min(high, _LARGEST):
        raise UserError(f"{what}={value!r} must be {_span(low, high)}.")


def above_0(what: str, value: object, unit: str = "", high: float = math.inf) -> None:
    """Raise a `UserError` unless `value` is a finite number above 0 of `unit`, at most `high`; `what` names it.

    No unit (default): a plain number.
    """
    if not is_number(value) or not 0 < value <= min(high, _LARGEST):
        of, most = f" of {unit}" if unit else "", f" and at most {high:g}" if math.isfinite(high) else ""
        raise UserError(f"{what}={value!r} must be a number{of} above 0{most}.")


def whole(
    what: str, value: object, low: int, optional: bool = False, other: str | None = None, high: float = math.inf
) -> None:
    """Raise a `UserError` unless `value` is a whole number of at least `low`, at most `high`; `what` names the setting.

    None is allowed if `optional`, and so is a word, `other`.
    """
    if (optional and value is None) or (other is not None and value == other):
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        most = f" and at most {high:,}" if math.isfinite(high) else ""
        also = ", or null" if optional else f", or {other}" if other else ""
        raise UserError(f"{what}={value!r} must be a whole number of at least {low}{most}{also}.")


def true_or_false(what: str, value: object, optional: bool = False) -> None:
    """Raise a `UserError` unless `value` is a bool, or, if `optional`, None; `what` names the setting."""
    if not isinstance(value, bool) and not (optional and value is None):
        raise UserError(f"{what}={value!r} must be {'true, false or null' if optional else 'true or false'}.")


def _span(low: float, high: float) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"a number in [{low:g}, {high:g}]"
    if math.isfinite(high):
        return f"a number of at most {high:g}"
    return f"a number of at least {low:g}" if math.isfinite(low) else "a finite number"
