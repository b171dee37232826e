"""What all pages are put together by: one file each, with its styles, its scripts and its data in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError

if TYPE_CHECKING:
    from markupsafe import Markup


def render(
    template: str,
    data: Mapping[str, Any],
    parts: Sequence[str],
    plots: bool,
    tells: Mapping[str, Callable[..., Any]] | None = None,
    **content: Any,
) -> str:
    """Return a page as text.

    Parameters
    ----------
    template
        Its name, without ``.html``; it extends ``frame``.
    data
        What its scripts draw from, as plain values.
    parts
        The names of its own styles and scripts, which come after the frame's.
    plots
        Whether it has plots, for which it needs 5 MB more.
    tells
        Filters of the template: how values are told.
    content
        What the template writes out, escaped.
    """
    import jinja2

    from itae.base.versions import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("itae.look.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(tells or {})
    return environment.get_template(f"{template}.html").render(
        **content,
        data=data,
        version=__version__,
        style=_ours(("frame", *parts), "css"),
        script=_ours(("frame", *parts), "js"),
        plotly=_plotly() if plots else None,
    )


def _plotly() -> Markup:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _ours(names: Sequence[str], kind: str) -> Markup:
    """Return the text of those of our own files that there are."""
    from markupsafe import Markup

    files = [resources.files("itae.look.page").joinpath(f"{name}.{kind}") for name in names]
    return Markup("\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file()))


def write(out: Path, text: str, option: str = "--out") -> None:
    """Write a page whole or not at all.

    Raises
    ------
    UserError
        If that can't be; it names the `option` that another file is given by.
    """
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8", errors="replace")
        unfinished.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise UserError(f"{out} can't be written ({error.strerror}); give another file with {option}.") from error
