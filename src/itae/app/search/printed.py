"""What a search prints: a table, paths, CSV or JSON; or a folder of links to what was found."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itae.app.knowledge.printed import counted, print_json, print_table, table_of
from itae.base.console import one_line, say
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.kept import picture
from itae.knowledge.base import KnowledgeBase
from itae.knowledge.records.snapshot import Snapshot
from itae.search.search import Page
from itae.search.sought import Sought
from itae.tasks.clustering.links import file_name

_COLUMNS = ("query", "rank", "id", "label", "similarity", "score", "nearest", "mark", "place")
_LARGE = 1e6  # a score that is told by its first digits
Pages = Sequence[tuple[Sought, Page]]


def print_pages(pages: Pages) -> None:
    """Print a table of each page, and what to know."""
    marked = any(row["mark"] for _, page in pages for row in page.results)
    names = ["rank", "id", "label", "similarity", "score", "nearest", *(["mark"] if marked else [])]
    for sought, page in pages:
        if len(pages) > 1:
            say(f"query      {sought.name}")
        table = table_of(*names)
        for rank, row in enumerate(page.results, 1):
            cells = {**row, "rank": str(rank), "label": label_told(row["label"]) or "no label",
                     "similarity": f"{row['similarity']:.6f}", "score": score_told(row["score"]),
                     "nearest": row["nearest"] or "the query", "mark": row["mark"] or ""}  # fmt: skip
            table.add_row(*(cells[name] for name in names))
        print_table(table)
        for note in (*sought.notes, *page.notes):
            say(f"note       {note}")
    page = pages[0][1]
    say(f"base       version {page.version}, root {page.root[:16]}")


def score_told(score: float) -> str:
    """Return a score as a cell of a table: what a kernel gives may have twenty digits."""
    return f"{score:.6f}" if abs(score) < _LARGE else f"{score:.6e}"


def label_told(label: str | list[str] | None) -> str:
    """Return a label, or several, as a cell of a table."""
    return " | ".join(label) if isinstance(label, list) else label or ""


def plain(sought: Sought, page: Page) -> dict[str, Any]:
    """Return a page as JSON has it."""
    told = {"query": sought.name} | page.plain()
    notes = [*sought.notes, *page.notes]
    return told | ({"notes": notes} if notes else {})


def print_paths(pages: Pages) -> None:
    """Print where the images lie, one a line; those that lie in no file of their own are counted on stderr."""
    rows = [row for _, page in pages for row in page.results]
    for row in rows:
        if row["place"] is not None:
            _write(f"{_told(row['place'], or_lines=True)}\n")
    if lacking := sum(row["place"] is None for row in rows):
        sys.stderr.write(
            f"itae: {lacking} of the {len(rows)} images lie in no file; --links DIR writes what is kept.\n"
        )


def print_csv(pages: Pages) -> None:
    """Print a line of names, and one for each result."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sought, page in pages:
        for rank, row in enumerate(page.results, 1):
            cells = {**row, "query": sought.name, "rank": rank, "label": label_told(row["label"])}
            told = ("" if cells[name] is None else cells[name] for name in _COLUMNS)
            writer.writerow(_told(cell) if isinstance(cell, str) else cell for cell in told)
    _write(text.getvalue())


def _told(text: str, or_lines: bool = False) -> str:
    """Return a name for a program as it is, and for a terminal, or as one line where it has several, in signs."""
    return one_line(text) if sys.stdout.isatty() or (or_lines and len(text.splitlines()) != 1) else text


def _write(text: str) -> None:
    sys.stdout.write(text)


def new_folder(path: str) -> Path:
    """Return the folder for links; a `UserError` where there is something already, before any work."""
    folder = at_home(path)
    try:
        there = folder.is_dir()
        if (there and any(folder.iterdir())) or (not there and os.path.lexists(folder)):
            raise UserError(f"--links={path}: there is something already; give a folder that is new or empty.")
        folder.mkdir(parents=True, exist_ok=True)
        if not there:
            folder.rmdir()
    except OSError as error:
        raise UserError(
            f"--links={path} can't be made ({error.strerror}); give a folder that is new or empty."
        ) from error
    return folder


def write_links(folder: Path, pages: Pages, base: KnowledgeBase, snapshot: Snapshot) -> None:
    """Make a folder with a link to each image that was found, or, for one that lies in no file, a PNG of what is kept.

    Names begin with the rank. Of several queries each has a folder of its own.
    """
    missing, gone = 0, 0
    for number, (sought, page) in enumerate(pages, 1):
        inside = folder / f"{number:03d}__{file_name(sought.name)}" if len(pages) > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        digits = len(str(len(page.results)))
        for rank, (row, i) in enumerate(zip(page.results, page.positions.tolist(), strict=True), 1):
            name = f"{rank:0{digits}d}__{file_name(row['id'])}"
            if row["place"] is not None and "://" not in row["place"]:
                (inside / name).symlink_to(os.path.abspath(row["place"]))
                gone += not os.path.exists(row["place"])
            elif (data := base.image(snapshot, i)) is not None:
                picture(data).save(inside / f"{name}.png")
            else:
                missing += 1
    say(f"links      {folder}" + (f"; {counted(missing, 'image is', 'images are')} kept nowhere" if missing else ""))
    if gone:
        told = counted(gone, "link leads", "links lead")
        say(f"note       {told} nowhere, as the images have moved; itae knowledge relink says where they lie now")


def print_json_of(pages: Pages) -> None:
    """Print one document: of one query a mapping, of several a list."""
    each = [plain(*pair) for pair in pages]
    print_json(each[0] if len(each) == 1 else each)
