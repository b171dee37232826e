"""``itae report``: one self-contained page of a run, or of many.

The page opens from the disk and asks for nothing: its script, its styles, its pictures and the libraries for plots and
tables are in it, and its Content-Security-Policy forbids the browser every request. Whatever comes from the data (names
of classes, files, errors) is escaped where it is written, or put in as text by the script.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.errors import UserError
from itae.runs import RESULT, find_results, load_run

if TYPE_CHECKING:
    from itae.data import ImageSet

PAGE = "report.html"
MOST = 2000
"""Images in a gallery, at most."""
_PARTS = (
    "matplotlib.figure", "matplotlib.backends.backend_agg", "itae.page.sweep_part", "itae.page.run_part",
    "itae.collect_figures", "itae.collect_table", "sklearn.decomposition", "sklearn.neighbors", "itables", "jinja2",
    "plotly.offline", "PIL.WebPImagePlugin",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run ``itae report`` with what stands after it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="itae report", description="Make one self-contained HTML page of a run, or of a sweep."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run, a sweep, or folders with runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"where it goes ({PAGE} in the first PATH)")
    parser.add_argument("--images", type=int, default=MOST, metavar="N", help=f"in the gallery, at most ({MOST})")
    parser.add_argument(
        "--best", metavar="METRIC", help="of many runs, what chooses the one that is shown whole (silhouette)"
    )
    parser.add_argument(
        "--trust", action="store_true",
        help="import the class of a data set that isn't itae's own: only of runs whose makers you trust",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if options.images < 1:
        raise UserError(f"--images={options.images} must be a whole number of at least 1.")
    paths = [path.expanduser() for path in options.paths]
    if options.best is not None and len(files := find_results(paths)) == 1:
        raise UserError(f"--best={options.best}: there is one run only, {files[0].parent}; leave --best out.")
    out = options.out and options.out.expanduser()
    page = write_page(paths, out, options.best, options.images, trust=options.trust)
    sys.stdout.write(f"page       {page} ({page.stat().st_size / 1e6:.1f} MB)\n")
    return 0


def write_page(
    paths: Sequence[Path],
    out: Path | None = None,
    best: str | None = None,
    most: int = MOST,
    images: ImageSet | None = None,
    trust: bool = False,
) -> Path:
    """Write the page of a run, or of all runs under some folders.

    Parameters
    ----------
    paths
        Run folders, or folders with runs in them.
    out
        The file, or a folder for ``report.html``; by default the first of `paths`.
    best
        Of many runs, the metric that chooses the one that is shown whole. By default a criterion without labels; the
        choice by any other is marked ``oracle``.
    most
        Images in the gallery, at most.
    images
        The images of the one run, if they are at hand.
    trust
        As of `itae.runs.Run.open_images`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If there is no run, no such metric, or the file can't be written.
    """
    files = find_results(paths)
    home = paths[0].parent if paths[0].is_file() else paths[0]
    out = home / PAGE if out is None else out / PAGE if out.is_dir() else out
    one = len(files) == 1
    content = _of_run(files[0].parent, most, images, trust) if one else _of_many(files, home, best, most, trust)
    _write(out, _render(content))
    return out


def end_with_page(folder: Path, best: str | None = None, images: ImageSet | None = None) -> None:
    """Write the page of what has just ended, and print where; whatever goes wrong with it, the results stand.

    Its data set, whosever class it is, has been used by then.
    """
    from itae.run_figures import beside

    page = beside("The page", lambda: write_page([folder], best=best, images=images, trust=True))
    if page is not None:
        beside("Where the page is", lambda: sys.stdout.write(f"page       {page}\n"))


def import_parts() -> Iterator[object]:
    """Import what a page is made of, one part at a time: a sweep does so while it waits for its jobs."""
    for name in _PARTS:
        with contextlib.suppress(ImportError):  # told by whoever needs it
            yield importlib.import_module(name)


def _of_run(folder: Path, most: int, images: ImageSet | None, trust: bool) -> dict[str, Any]:
    return {"sweep": None, "run": _run_part(folder, most, images, trust)}


def _run_part(folder: Path, most: int, images: ImageSet | None, trust: bool) -> dict[str, Any]:
    from itae.page.run_part import run_part

    try:
        return run_part(load_run(folder), most, images, trust)
    except UserError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{folder / RESULT} is damaged, or of another version of itae ({why}); run it again."
        ) from error


def _of_many(files: Sequence[Path], home: Path, best: str | None, most: int, trust: bool) -> dict[str, Any]:
    from itae.collect_rows import LABEL_FREE, check_metric, with_values
    from itae.collect_table import read_table
    from itae.page.sweep_part import sweep_part

    table, damaged = read_table(files, home)
    if table.empty:
        file, reason = next(iter(damaged.items()))
        raise UserError(f"No {RESULT} of {len(files)} found can be read ({file}: {reason}); give folders with runs.")
    check_metric("--best", best, table)
    part = sweep_part(table, home.resolve(), best or LABEL_FREE[0], "acc" if with_values(table, "acc") else "inertia")
    run = None
    if part["winners"]:
        best_run = Path(part["winners"][0])
        try:
            run = _run_part(best_run, most, None, trust)
        except UserError as error:  # one run that is damaged costs not the page of all
            damaged[best_run / RESULT] = str(error)
    return {"sweep": part | {"damaged": {str(file): why for file, why in damaged.items()}}, "run": run}


def _render(content: dict[str, Any]) -> str:
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from itae import __version__

    def ours(name: str) -> Markup:
        return Markup(resources.files("itae.page").joinpath(name).read_text("utf-8"))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("itae.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    plots = content["sweep"] is not None or (content["run"] and content["run"]["gallery"])
    return environment.get_template("page.html").render(
        **content,
        version=__version__,
        style=ours("page.css"),
        script=ours("page.js"),
        plotly=Markup(get_plotlyjs()) if plots else None,
    )


def _write(out: Path, text: str) -> None:
    """Write the page whole or not at all."""
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8", errors="replace")
        unfinished.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise UserError(f"{out} can't be written ({error.strerror}); give another file with --out.") from error
