"""One self-contained page of a run, of many, of networks on devices, of a knowledge base, or of one of its answers.

The page opens from the disk and asks for nothing: its script, its styles, its pictures and the libraries for plots and
tables are in it, and its Content-Security-Policy forbids the browser every request. Whatever comes from the data (names
of classes, files, errors) is escaped where it is written, or put in as text by the script.

`frame`           what all pages are put together by
`run_part`        what a page says of one run
`sweep_part`      what it says of many
`portable_page`   the page of a run over devices, whichever its study
`portable_part`   what those have in common
`operators_part`  what a page says of operators on devices
`deploy_part`     of one network that was trained and converted
`search_part`     of networks that were found for devices
`fronts_part`     the front of each device
`front_part`      the files of those networks, and how to use them
`quality_part`    how good pictures are
`compared_part`   pictures before and after
`data_part`       photographs, and whose they are
`gallery_part`    the gallery of clusters, as the page's script takes it
`gallery`         which images are typical, doubtful or moved
`knowledge_data`  what the pages of a knowledge base are drawn from
`base_page`       the page of a base
`why_page`        the page of one answer
`rows_part`       rows of a base and their pictures, as a page takes them
`commands`        lines for a shell
`pictures`        thumbnails
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.console import say
from itae.base.errors import UserError
from itae.look.page.frame import render, write
from itae.results.find import RESULT, find_results
from itae.results.run import ALONE, read_run

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet

log = logging.getLogger(__name__)

PAGE = "report.html"
MOST = 2000
"""Images in a gallery, at most."""
_PARTS = (
    "matplotlib.figure", "matplotlib.backends.backend_agg", "itae.look.page.sweep_part", "itae.look.page.run_part",
    "itae.look.sweep_figures", "itae.results.table", "sklearn.decomposition", "sklearn.neighbors", "itables", "jinja2",
    "plotly.offline", "PIL.WebPImagePlugin",
)  # fmt: skip


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
        As of `itae.results.run.Run.open_images`.

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
    portable = [file for file in files if _is_portable(file)]
    if portable and (len(files) == 1 or len(portable) == len(files)):
        return _write_portable_page(portable, out, best)
    if portable:
        files = _without(files, portable, paths)
    home = paths[0].parent if paths[0].is_file() else paths[0]
    out = home / PAGE if out is None else out / PAGE if out.is_dir() else out
    one = len(files) == 1
    content = _of_run(files[0].parent, most, images, trust) if one else _of_many(files, home, best, most, trust)
    sweep, run = content["sweep"], content["run"]
    data = {"explore": sweep and sweep["explore"], "gallery": run and run["gallery"]}
    write(out, render("page", data, ("page",), plots=sweep is not None or bool(data["gallery"]), **content))
    return out


def _without(files: Sequence[Path], portable: Sequence[Path], paths: Sequence[Path]) -> list[Path]:
    """Return the files that share a page; of those with one of their own none may be named, for it would be missed."""
    for file in portable:
        if any(path.absolute() in (file.absolute(), file.parent.absolute()) for path in paths):
            raise UserError(
                f"{file.parent} is a run of itae portable, which has a page of its own: give it alone, and leave it "
                "out here."
            )
    log.warning("%d runs of itae portable are left out: each has a page of its own.", len(portable))
    return [file for file in files if file not in portable]


def _is_portable(file: Path) -> bool:
    with contextlib.suppress(UserError):  # told by who reads it as a run
        return read_run(file).result.get("kind") in ALONE
    return False


def _write_portable_page(files: Sequence[Path], out: Path | None, best: str | None) -> Path:
    """Write the page of a run of ``itae portable``, which has its own."""
    from itae.look.page.portable_page import portable_page

    if len(files) > 1 or best is not None:
        raise UserError(
            f"{files[0].parent} is a run of itae portable: its page is of that one run, so give one such run, and no "
            "--best."
        )
    folder = files[0].parent
    out = folder / PAGE if out is None else out / PAGE if out.is_dir() else out
    with _told_if_damaged(folder):
        text = portable_page(read_run(folder))
    write(out, text)
    return out


def end_with_page(folder: Path, best: str | None = None, images: ImageSet | None = None) -> None:
    """Write the page of what has just ended, and print where; whatever goes wrong with it, the results stand.

    Its data set, whosever class it is, has been used by then.
    """
    from itae.base.beside import beside

    page = beside("The page", lambda: write_page([folder], best=best, images=images, trust=True))
    if page is not None:
        beside("Where the page is", lambda: say(f"page       {page}"))


def import_parts() -> Iterator[object]:
    """Import what a page is made of, one part at a time: a sweep does so while it waits for its jobs."""
    for name in _PARTS:
        with contextlib.suppress(ImportError):  # told by whoever needs it
            yield importlib.import_module(name)


def _of_run(folder: Path, most: int, images: ImageSet | None, trust: bool) -> dict[str, Any]:
    return {"sweep": None, "run": _run_part(folder, most, images, trust)}


def _run_part(folder: Path, most: int, images: ImageSet | None, trust: bool) -> dict[str, Any]:
    from itae.look.page.run_part import run_part

    with _told_if_damaged(folder):
        return run_part(read_run(folder), most, images, trust)


@contextlib.contextmanager
def _told_if_damaged(folder: Path) -> Iterator[None]:
    """Have what a result isn't shaped as be told in a sentence."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{folder / RESULT} is damaged, or of another version of itae ({why}); run it again."
        ) from error


def _of_many(files: Sequence[Path], home: Path, best: str | None, most: int, trust: bool) -> dict[str, Any]:
    from itae.look.page.sweep_part import sweep_part
    from itae.results.rows import check_metric
    from itae.results.table import read_table

    table, damaged, shown = read_table(files, home)
    if table.empty:
        file, reason = next(iter(damaged.items()))
        raise UserError(f"No {RESULT} of {len(files)} found can be read ({file}: {reason}); give folders with runs.")
    check_metric("--best", best, table, shown)
    part = sweep_part(table, home.resolve(), best or shown.criterion, shown)
    run = None
    if part["winners"]:
        best_run = Path(part["winners"][0])
        try:
            run = _run_part(best_run, most, None, trust)
        except UserError as error:  # one run that is damaged costs not the page of all
            damaged[best_run / RESULT] = str(error)
    return {"sweep": part | {"damaged": {str(file): why for file, why in damaged.items()}}, "run": run}
