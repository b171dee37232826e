"""How pictures look: the same wherever they are drawn, names in them as they are."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from itae.base.console import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

_ITS_OWN = ("backend", "backend_fallback")  # of the process; files are written without one


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Draw as matplotlib does by itself, whatever a matplotlibrc or a notebook has set, and leave that as it is.

    Text is text: a ``$`` begins no formula. A letter that the font lacks is a box, without a warning for each.
    """
    import matplotlib

    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in _ITS_OWN}
    with matplotlib.rc_context(defaults | {"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def legend(where: Axes | Figure, marks: Sequence[Any], **kind: Any) -> Legend:
    """Make a legend of marks by their labels, whatever these are: matplotlib drops those that start with ``_``.

    Parameters
    ----------
    where
        What it is put into.
    marks
        What `matplotlib.legend.Legend` takes for handles.
    kind
        Options of that legend.
    """
    made = where.legend(marks, [str(i) for i in range(len(marks))], **kind)
    for text, mark in zip(made.get_texts(), marks, strict=True):
        text.set_text(mark.get_label())
    return made


def short(name: str, most: int) -> str:
    """Return a name in one line of at most so many characters."""
    line = one_line(name)
    return line if len(line) <= most else line[: most - 1] + "…"


def plain_numbers(*axes: Axis) -> None:
    """Tell the numbers of logarithmic axes as numbers, and not as powers of ten, a few on each."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
