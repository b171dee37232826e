"""Rows of a base and their pictures as plain values: what a page's script draws from, each told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from itae.look.page.commands import misread, shell_word
from itae.look.page.knowledge_data import Picture, Row
from itae.look.page.pictures import BUDGET, thumbnails

if TYPE_CHECKING:
    from PIL import Image

MOST = 3000
"""Pictures of a page, at most."""
_LARGE = 400  # that are looked at closely; the others stand beside them, or on a map
_SMALL = 64  # pixels
LEFT_OUT = "left out"
"""Of a picture that a page had no room for."""


def in_turn(lists: Sequence[Iterable[str]]) -> list[str]:
    """Return what is in several lists, each once: the first of every list first, so that none goes short."""
    return list(dict.fromkeys(one for one in chain.from_iterable(zip_longest(*lists)) if one is not None))


def rows_part(
    close: Sequence[str], beside: Sequence[str], details: Mapping[str, Row], picture: Picture
) -> dict[str, Any]:
    """Return rows as a page takes them.

    Parameters
    ----------
    close, beside
        Ids whose pictures are looked at, and ids whose pictures stand beside these or on a map. Each list begins with
        what matters most: of more than `MOST`, the last have no picture.
    details, picture
        What is known of each, and how it looks.

    Returns
    -------
    dict
        Lists with a value for each row. Labels and sources stand once, in ``names``, and are told by their position.
    """
    ids = list(dict.fromkeys([*close, *beside]))
    rows = [details[one] for one in ids]
    names = list(dict.fromkeys(chain.from_iterable((*row.labels, row.source) for row in rows)))
    place = {name: i for i, name in enumerate(names)}
    shown = looks(ids, picture, min(_LARGE, len(set(close))))
    return {
        "ids": ids,
        "names": names,
        "labels": [[place[label] for label in row.labels] for row in rows],
        "sources": [place[row.source] for row in rows],
        "groups": [row.group for row in rows],
        "places": [row.place for row in rows],
        "times": [told_time(row.time) for row in rows],
        "pictures": shown,
        **words_part(ids),
    }


def words_part(texts: Sequence[str]) -> dict[str, Any]:
    """Return how texts are written in a shell, where that isn't as they are, and which need a ``--`` before them."""
    words = {i: word for i, text in enumerate(texts) if (word := shell_word(text)) != text}
    return {"words": words, "misread": [i for i, text in enumerate(texts) if misread(text)]}


def looks(ids: Sequence[str], picture: Picture, large: int = MOST) -> list[dict[str, str]]:
    """Return for each row the ``source`` of its picture, or why it is ``gone``; the first ones are `large`."""
    gone: dict[str, str] = {}

    def read(one: str) -> Image.Image | None:
        found = picture(one)
        if isinstance(found, str):
            gone[one] = found
            return None
        return found

    made = thumbnails(read, ids[:large], BUDGET // 2)
    made += thumbnails(read, ids[large:MOST], BUDGET // 2, _SMALL)
    told = [
        {"gone": gone[one]} if source is None else {"source": source} for one, source in zip(ids, made, strict=False)
    ]
    return told + [{"gone": LEFT_OUT}] * len(ids[MOST:])


def told_time(when: datetime | None) -> str | None:
    """Return a time for people, to the minute, UTC."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, one: str = "", many: str = "") -> str:
    """Return a count with its noun: ``1,490 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}" if one else f"{number:,}"


TELLS: dict[str, Callable[..., Any]] = {"count": count, "time": told_time}
"""Filters of the templates."""
