"""Rows of a base as its pages show them: what is known of each, and how it looks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from itae.base.errors import UserError
from itae.images.kept import picture as picture_of
from itae.images.samples import BadImage
from itae.knowledge.disk.folder import is_url
from itae.knowledge.disk.pictures import at_place
from itae.knowledge.records.filed import NO_IMAGE
from itae.look.page.knowledge_data import CHANGED, MOVED, NONE, UNREADABLE, Picture, Row

if TYPE_CHECKING:
    from PIL import Image

    from itae.knowledge.base import KnowledgeBase
    from itae.knowledge.records.snapshot import Snapshot

_LEAST = (256, 256)
"""A picture of a page has no use for more; of a photo's JPEG that is a third of the work."""


def details(snapshot: Snapshot, ids: Iterable[str]) -> dict[str, Row]:
    """Return what is known of some rows, each once."""
    return {one: _row(snapshot, snapshot.position[one]) for one in dict.fromkeys(ids)}


def _row(snapshot: Snapshot, i: int) -> Row:
    source, group, place, time = (snapshot.column(name, i) for name in ("source", "group", "place", "time"))
    return Row(snapshot.labels_of(i), source, group, place, time)


def place_of(base: KnowledgeBase) -> str:
    """Return a base as a command names it from any folder."""
    return str(base.path) if is_url(base.path) else os.path.abspath(base.path)


def looks_of(base: KnowledgeBase, snapshot: Snapshot) -> Picture:
    """Return how rows look, for a page: only what has a row's own bytes is shown as its picture."""

    def look(name: str) -> Image.Image | str:
        i = snapshot.position[name]
        digest = snapshot.digests_M32[i].tobytes()
        if digest == NO_IMAGE:
            return NONE
        found = base.images.get(digest) if base.about.images == "embed" else _at(snapshot.column("place", i), digest)
        if found is None or isinstance(found, str):
            return found or NONE
        try:
            return picture_of(found, lambda _: _LEAST)
        except (BadImage, UserError):
            return UNREADABLE

    return look


def _at(place: str | None, digest: bytes) -> bytes | str:
    if place is None or is_url(place):
        return NONE
    return at_place(place, digest) or (CHANGED if Path(place).exists() else MOVED)
