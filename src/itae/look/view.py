"""A run as one looks at it: what it wrote, its figures and its page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from itae.base.checks import one_of
from itae.look.page import write_page
from itae.look.run_figures import Seen, makers
from itae.look.style import plain_style
from itae.results.run import Run, read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunView(Run):
    """A run that has ended, and what draws it."""

    def figure(self, name: str, trust: bool = False) -> Figure | None:
        """Draw one of the run's figures: a matplotlib figure, or None where the run has nothing to show there.

        Parameters
        ----------
        name
            ``signal``, ``norms``, ``layers``, ``artifacts``, ``embeddings`` or ``clusters``.
        trust
            As of `open_images`, which ``artifacts`` needs.

        Raises
        ------
        UserError
            For another name; or if the embeddings, or for ``artifacts`` the images, are gone.
        """
        drawn = makers(Seen.of(self, self.open_images(trust) if name == "artifacts" else None, self.clustered))
        one_of("figure", name, drawn)
        figure = drawn[name]()
        if figure is not None:
            with plain_style():
                figure.draw_without_rendering()  # makes what isn't made yet, as ticks are, in the style of the rest
        return figure

    def write_page(self, out: Path | None = None, trust: bool = False) -> Path:
        """Write the run's page, by default ``report.html`` in its folder, and return where it is.

        `trust` is that of `open_images`; without it, and of another's data set, the page has no pictures.
        """
        return write_page([self.folder], out, trust=trust)


def load_run(path: str | os.PathLike[str]) -> RunView:
    """Read a run back.

    Parameters
    ----------
    path
        The run's folder, or its ``result.json``.

    Raises
    ------
    UserError
        If there is no run there.
    """
    run = read_run(path)
    return RunView(run.folder, run.result)
