"""Small pictures of rows, made when they are asked for and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from itae.base.errors import UserError
from itae.images.kept import picture
from itae.images.samples import BadImage
from itae.knowledge.records.snapshot import Snapshot
from itae.look.page.pictures import shrunk, webp
from itae.serve.desk import Desk
from itae.serve.errors import RefusedError
from itae.serve.shared import failing

SIDES = (96, 160, 320, 1024)
"""Pixels of the long side that may be asked for."""
_BYTES = 64 * 2**20  # of pictures that are kept
_QUALITY, _EFFORT = 80, 2  # somebody waits
_NUMBERS = "positions by number"
_FOR = "private, max-age=600"  # seconds; a row's number is given once, so its picture never becomes another


class Thumbnails:
    """Small pictures by their row's number and their size; the last ones asked for are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0
        self._guard = threading.Lock()

    def get(self, desk: Desk, snapshot: Snapshot, i: int, side: int) -> bytes:
        """Return the picture of the row at a position, WebP.

        Raises
        ------
        RefusedError
            Where there is none, or it can't be read.
        """
        name = int(snapshot.numbers_M[i]), side
        with self._guard:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        try:
            data = desk.base.image(snapshot, i)
            if data is None:
                raise RefusedError(404, f"The picture of {snapshot.ids[i]!r} is not where the base says.")
            made = small(data, side)
        except (BadImage, OSError) as error:
            raise RefusedError(404, f"The picture of {snapshot.ids[i]!r} can't be read ({error}).") from error
        with self._guard:
            if name not in self._kept:
                self._kept[name] = made
                self._size += len(made)
            while self._size > _BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made


def small(data: bytes, side: int) -> bytes:
    """Return a picture with at most so many pixels on its long side, WebP; a tiny one as it is, every pixel."""
    return webp(shrunk(picture(data, lambda size: _fitted(size, side)), side), _QUALITY, effort=_EFFORT)


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def position_of_number(snapshot: Snapshot, number: int) -> int | None:
    """Return the position of the live row that has a number, None where there is none."""
    found = snapshot.memo.get(_NUMBERS)
    if found is None:
        numbers = snapshot.numbers_M[snapshot.live]
        order = np.argsort(numbers)
        found = snapshot.memo[_NUMBERS] = numbers[order], snapshot.live[order]
    at = int(np.searchsorted(found[0], number))
    return int(found[1][at]) if at < len(found[0]) and found[0][at] == number else None


def routes(desk: Desk) -> APIRouter:
    """Return the route of pictures."""
    router, thumbnails = APIRouter(prefix="/api", tags=["Rows"]), Thumbnails()

    @router.get(
        "/pictures/{number}", summary="The picture of a row", response_class=Response, responses=failing(400, 404)
    )
    def get_picture(
        number: Annotated[int, Path(description="Of the row.")],
        side: int = Query(160, description=f"Pixels of the long side: one of {SIDES}."),
    ) -> Response:
        if side not in SIDES:
            raise UserError(f"side={side} is not one of {', '.join(map(str, SIDES))}.")
        snapshot = desk.snapshot()
        i = position_of_number(snapshot, number)
        if i is None:
            raise RefusedError(404, f"There is no row of number {number} in version {snapshot.version}.")
        return Response(thumbnails.get(desk, snapshot, i, side), 200, {"Cache-Control": _FOR}, "image/webp")

    return router
