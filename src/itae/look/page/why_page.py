"""The page of one answer: what a base says of a picture, and because of which rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.look.page.commands import command, relink, shell_word
from itae.look.page.frame import render, write
from itae.look.page.knowledge_data import CHANGED, MOVED, AboutAnswer, Picture
from itae.look.page.pictures import BUDGET, thumbnails
from itae.look.page.rows_part import TELLS, looks

if TYPE_CHECKING:
    from PIL import Image

_QUERY = 448  # pixels of the picture that is asked about
_LABELS = 12  # that are not folded away
_UNUSUAL = ((0.01, "very unusual"), (0.05, "unusual"))


def write_why_page(about: AboutAnswer, query: Image.Image | None, picture: Picture, out: Path) -> None:
    """Write the page of one answer.

    Parameters
    ----------
    about
        What it tells.
    query
        The picture that was asked about, RGB and upright; None if it is gone.
    picture, out
        As of `itae.look.page.base_page.write_base_page`.

    Raises
    ------
    UserError
        If the file can't be written.
    """
    text = render("why", {}, ("knowledge",), False, TELLS, about=about, **_content(about, query, picture))
    write(out, text, "--page")


def _content(about: AboutAnswer, query: Image.Image | None, picture: Picture) -> dict[str, Any]:
    """Return what the template writes out and `about` hasn't as it is."""
    ids = list(dict.fromkeys([*(about.turn.ids if about.turn else ()), *(one.id for one in about.neighbours)]))
    shown = dict(zip(ids, looks(ids, picture), strict=True))
    lost = [about.details[one] for one, told in shown.items() if told.get("gone") in (MOVED, CHANGED)]
    most = max(about.scores.values(), default=0.0)
    scores = [(label, share, round(100 * share / most, 1) if most else 0.0) for label, share in about.scores.items()]
    largest = max((one.share for one in about.neighbours), default=0.0)
    taken = about.turn.ids if about.turn else ()
    return {
        "query": None if query is None else thumbnails(lambda _: query.copy(), [0], BUDGET // 4, _QUERY)[0],
        "scores": scores,
        "LABELS": _LABELS,
        "unusual": None if about.p is None else next((word for p, word in _UNUSUAL if about.p < p), ""),
        "first": next(iter(about.scores), None),
        "neighbours": [
            (one, about.details[one.id], round(100 * one.share / largest, 1) if largest else 0.0, one.id in taken)
            for one in about.neighbours
        ],
        "shown": shown,
        "lost": len(lost),
        "relink": relink(about.place, [row.place for row in lost if row.place]),
        "again": " ".join(map(shell_word, about.again)),
        "line": lambda verb, *names: command(verb, about.place, *names),
    }
