"""Rows of a base and their pictures as plain values: what a page's script draws from, each told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from itae.look.page.commands import misread, shell_word
from itae.look.page.knowledge_data import THERE, Row
from itae.look.page.pictures import BUDGET, thumbnails

if TYPE_CHECKING:
    from PIL import Image

Read = Callable[[str], "Image.Image | None"]

MOST = 3000
"""Pictures of a page, at most."""
_LARGE = 400  # that are looked at closely; the others stand beside them, or on a map
_SMALL = 64  # pixels
LEFT_OUT, UNREADABLE = "left out", "unreadable"
"""Why a page has no picture of a row, beside what its own state says."""


def in_turn(lists: Sequence[Iterable[str]]) -> list[str]:
    """Return what is in several lists, each once: the first of every list first, so that none goes short."""
    return list(dict.fromkeys(one for one in chain.from_iterable(zip_longest(*lists)) if one is not None))


def rows_part(close: Sequence[str], beside: Sequence[str], details: Mapping[str, Row], picture: Read) -> dict[str, Any]:
    """Return rows as a page takes them.

    Parameters
    ----------
    close, beside
        Ids whose pictures are looked at, and ids whose pictures stand beside these or on a map. Each list begins with
        what matters most: of more than `MOST`, the last have no picture.
    details
        What is known of each.
    picture
        Returns the picture of a row, None if there is none.

    Returns
    -------
    dict
        Lists with a value for each row. Labels and sources stand once, in ``names``, and are told by their position.
    """
    ids = list(dict.fromkeys([*close, *beside]))
    rows = [details[one] for one in ids]
    names = list(dict.fromkeys(chain.from_iterable((*row.labels, row.source) for row in rows)))
    place = {name: i for i, name in enumerate(names)}
    shown = _pictures(list(dict.fromkeys(close)), ids, details, picture)
    return {
        "ids": ids,
        "names": names,
        "labels": [[place[label] for label in row.labels] for row in rows],
        "sources": [place[row.source] for row in rows],
        "groups": [row.group for row in rows],
        "places": [row.place for row in rows],
        "times": [told_time(row.time) for row in rows],
        "pictures": [shown[one] for one in ids],
        **words_part(ids),
    }


def words_part(texts: Sequence[str]) -> dict[str, Any]:
    """Return how texts are written in a shell, where that isn't as they are, and which need a ``--`` before them."""
    words = {i: word for i, text in enumerate(texts) if (word := shell_word(text)) != text}
    return {"words": words, "misread": [i for i, text in enumerate(texts) if misread(text)]}


def _pictures(
    close: Sequence[str], ids: Sequence[str], details: Mapping[str, Row], picture: Read
) -> dict[str, dict[str, str]]:
    """Return for each id the ``source`` of its picture, or why it has none (``gone``)."""
    there = [one for one in ids if details[one].picture == THERE]
    large = [one for one in close[:_LARGE] if details[one].picture == THERE]
    known = set(large)
    small = [one for one in there if one not in known][: MOST - len(large)]
    made = dict(zip(large, thumbnails(picture, large, BUDGET // 2), strict=True))
    made |= zip(small, thumbnails(picture, small, BUDGET // 2, _SMALL), strict=True)

    def told(one: str) -> dict[str, str]:
        state = details[one].picture
        if state != THERE:
            return {"gone": state}
        if one not in made:
            return {"gone": LEFT_OUT}
        source = made[one]
        return {"gone": UNREADABLE} if source is None else {"source": source}

    return {one: told(one) for one in ids}


def told_time(when: datetime | None) -> str | None:
    """Return a time for people, to the minute, UTC."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, one: str = "", many: str = "") -> str:
    """Return a count with its noun: ``1,490 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}" if one else f"{number:,}"
