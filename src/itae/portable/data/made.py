"""Pairs that are made: pieces of sharp photographs, blurred and made noisy by what is drawn for each of them.

What is drawn for a pair hangs on the seed of the study, the photograph's content, and the number of the pair of that
photograph; not on the order of photographs, nor on which others there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.images.samples import BadImage
from itae.portable.data.blur import Blur
from itae.portable.data.light import Light
from itae.portable.data.noise import Noise
from itae.portable.data.photographs import Photograph

TRIES = 8
"""Places that are looked at for a piece that isn't flat; the best of them is taken if all are."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair: uint8 [S, S, 3] each, the name of what it is of, the blur's length, and its PSF if there is one."""

    blurred: np.ndarray
    sharp: np.ndarray
    photograph: str
    length: float
    psf: np.ndarray | None


def draws(*what: object) -> np.random.Generator:
    """Return a generator of random numbers that hangs on plain values."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def dealt(count: int, photographs: int) -> list[int]:
    """Return how many of so many pairs are of each photograph, as evenly as may be."""
    return [count // photographs + (i < count % photographs) for i in range(photographs)]


def made(
    photographs: Sequence[Photograph], count: int, side: int, split: str, blur: Blur, noise: Noise, light: Light,
    detail: float, seed: int, advance: Callable[[int], None] | None,
) -> list[Pair]:  # fmt: skip
    """Return `count` pairs of `side` by `side` pixels, dealt out evenly among photographs in the order given."""
    out: list[Pair] = []
    for photograph, share in zip(photographs, dealt(count, len(photographs)), strict=True):
        if share:
            picture_HWC = _read(photograph)
            lit_HWC = light.of(picture_HWC)
        for number in range(share):
            rng = draws("pair", seed, photograph.sha256, number)
            out.append(pair(picture_HWC, lit_HWC, photograph.name, side, split, blur, noise, light, detail, rng))
            if advance is not None:
                advance(1)
    return out


def pair(
    picture_HWC: np.ndarray, lit_HWC: np.ndarray, name: str, side: int, split: str, blur: Blur, noise: Noise,
    light: Light, detail: float, rng: np.random.Generator,
) -> Pair:  # fmt: skip
    """Return a pair of a photograph, uint8 [H, W, 3] and its light, by what is drawn."""
    margin = blur.margin(side)
    whole = side + 2 * margin

    def piece() -> np.ndarray:
        row, column = place(picture_HWC, whole, detail, rng)
        return lit_HWC[row : row + whole, column : column + whole]

    drawn = blur.of(piece(), margin, piece, rng, split)
    seen = light.seen(noise.of(drawn.blurred, rng))
    return Pair(seen, light.seen(drawn.sharp), name, drawn.length, drawn.psf)


def place(picture_HWC: np.ndarray, side: int, detail: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return the row and column where a piece of a picture begins that isn't flat: see `Wanted`'s ``detail``."""
    height, width = picture_HWC.shape[:2]
    best, least = (0, 0), -1.0
    for row, column in _places(height - side + 1, width - side + 1, rng):
        found = busy(picture_HWC[row : row + side, column : column + side])
        if found > least:
            best, least = (row, column), found
        if found >= detail:
            break
    return best


def busy(piece_HWC: np.ndarray) -> float:
    """Return by how many grey levels neighbours differ on average, down and across; uint8 [H, W, 3]."""
    grey_HW = piece_HWC.astype(np.int16).sum(axis=2) / 3
    return float((np.abs(np.diff(grey_HW, axis=0)).mean() + np.abs(np.diff(grey_HW, axis=1)).mean()) / 2)


def _places(rows: int, columns: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    for _ in range(TRIES):
        yield int(rng.integers(rows)), int(rng.integers(columns))


def _read(photograph: Photograph) -> np.ndarray:
    try:
        return photograph.read()
    except BadImage as error:
        raise UserError(f"{photograph.name} can't be read any more ({error}).") from error


def room(blur: Blur, sides: Sequence[int]) -> int:
    """Return the least height and width of a photograph of which pieces of these sides can be taken."""
    return max(side + 2 * blur.margin(side) for side in sides)


def stacked(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return pairs as the arguments of `Pairs`. Letters: N pairs, S their side, K side of a PSF."""
    psfs = [each.psf for each in pairs]
    shapes = {None if psf is None else psf.shape for psf in psfs}
    return {
        "blurred": np.stack([each.blurred.transpose(2, 0, 1) for each in pairs]),
        "sharp": np.stack([each.sharp.transpose(2, 0, 1) for each in pairs]),
        "photographs": tuple(each.photograph for each in pairs),
        "blur_px": np.array([each.length for each in pairs], np.float32),
        "psfs": None if None in shapes or len(shapes) > 1 else np.stack([psf for psf in psfs if psf is not None]),
    }
