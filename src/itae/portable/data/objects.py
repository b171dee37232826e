"""Blur of things that move: a piece of a photograph, or a cut-out of the user's, goes over another."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.checks import number
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.portable.data.blur import Blurred, inner, span
from itae.portable.data.frames import at_times, check_frames, reach
from itae.portable.data.light import Light
from itae.portable.data.shake import LONGEST
from itae.portable.data.split import SPLITS, shared_out
from itae.portable.data.walk import path

_ENDINGS = (".png", ".webp", ".tif", ".tiff", ".gif")  # which may be transparent


@dataclass(frozen=True)
class Objects:
    """A thing moves over a background that stands still, or is shaken, too; the middle of the exposure is sharp.

    Frames are put together in linear light, each of the thing over the background, and averaged.

    Parameters
    ----------
    length
        The least and the greatest length of the thing's path, in pixels, 0 to 128. Default (6, 20).
    background
        The same for the background. Default (0, 0): it stands still.
    size
        The least and the greatest breadth of the thing, as a share of the picture's, .05 to 1. Default (.3, .7).
    folder
        Of cut-outs, pictures with transparency (png, webp, tiff, gif), shared out among the splits by content. Default
        None: a piece of the same photograph with a smooth random outline.
    frames, restless
        As of `Frames`.

    Raises
    ------
    UserError
        When one is out of its range.
    """

    length: tuple[float, float] = (6, 20)
    background: tuple[float, float] = (0, 0)
    size: tuple[float, float] = (0.3, 0.7)
    folder: str | None = None
    frames: int = 21
    restless: float = 0.5

    def __post_init__(self) -> None:
        """Check every value."""
        object.__setattr__(self, "length", span("blur.length", self.length, 0, LONGEST))
        object.__setattr__(self, "background", span("blur.background", self.background, 0, LONGEST))
        object.__setattr__(self, "size", span("blur.size", self.size, 0.05, 1))
        number("blur.restless", self.restless, 0, 1)
        check_frames(self.frames)

    def margin(self, size: int) -> int:
        """Return how far things and the background go."""
        return reach(max(self.length[1], self.background[1]), 0, size)

    def settings(self) -> dict[str, Any]:
        """Return its options; of a folder, what is in it."""
        return {
            "length": list(self.length), "background": list(self.background), "size": list(self.size),
            "frames": self.frames, "restless": self.restless, "cutouts": sorted(self._cutouts),
        }  # fmt: skip

    def check(self) -> None:
        """Raise a `UserError` if the folder of cut-outs isn't there, has too few, or one that isn't any."""
        if self.folder is not None:
            for file in self._cutouts.values():
                _cutout(file)

    def of(
        self, picture_HWC: np.ndarray, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> Blurred:
        """Blur a picture; see `Blur.of`."""
        from itae.portable.data.warps import length, poses, warped

        thing_HW4 = self._thing(len(picture_HWC), margin, more, rng, split)
        moved_T3, still_T3 = (
            poses(at_times(path(float(rng.uniform(*each)), self.restless, rng), self.frames), 0)
            for each in (self.length, self.background)
        )
        shown = warped(thing_HW4, moved_T3, "zeros")
        behind = warped(picture_HWC, still_T3) if self.background[1] else picture_HWC[None]
        frames = behind * (1 - shown[..., 3:]) + shown[..., :3]
        blurred = frames.mean(axis=0, dtype=np.float64).astype(np.float32)
        went = length(moved_T3, len(picture_HWC))
        return Blurred(inner(blurred, margin), inner(frames[self.frames // 2], margin), went, None)

    def _thing(
        self, side: int, margin: int, more: Callable[[], np.ndarray], rng: np.random.Generator, split: str
    ) -> np.ndarray:
        """Return a thing in a picture of its own, float32 [side, side, 4]: light times how much it hides, and that."""
        breadth = float(rng.uniform(*self.size)) * (side - 2 * margin)
        at = rng.uniform(margin, side - margin, 2)
        if self.folder is None:
            hides = outline(side, at, breadth / 2, rng)[..., None]
            return np.concatenate([more() * hides, hides], axis=2)
        mine = shared_out(list(self._cutouts))[split]
        picture = _cutout(self._cutouts[mine[int(rng.integers(len(mine)))]])
        return _placed(picture, side, at, breadth, mirrored=bool(rng.integers(2)))

    @functools.cached_property
    def _cutouts(self) -> dict[str, str]:
        """Files of cut-outs by their sha256, of each content one."""
        if self.folder is None:
            return {}
        folder = at_home(self.folder)
        if not folder.is_dir():
            raise UserError(f"blur.folder={self.folder!r} is no folder; give one of cut-outs, or null for none.")
        files = sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
        found = {
            hashlib.sha256(Path(file).read_bytes()).hexdigest(): file
            for file in files if file.lower().endswith(_ENDINGS)
        }  # fmt: skip
        if len(found) < len(SPLITS):
            raise UserError(
                f"blur.folder={self.folder!r} has {len(found)} different cut-outs ({', '.join(_ENDINGS)}); at least "
                f"{len(SPLITS)} are needed, one for each split."
            )
        return found


def outline(side: int, at: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Return how much a thing with a smooth random outline hides of a picture: float32 [side, side], 0 to 1.

    Its edge at an angle is as far from `at`, x and y, as a sum of five waves says; a pixel at the edge is hidden in
    part.
    """
    rows, columns = np.mgrid[:side, :side]
    x, y = columns - at[0], rows - at[1]
    angle, edge = np.arctan2(y, x), np.ones((side, side))
    for waves in range(1, 6):
        edge += rng.uniform(0, 0.35 / waves) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.clip(radius * edge - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def _cutout(file: str) -> Any:
    from PIL import Image

    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} can't be read ({error}); mend or remove it.") from error
    shown = picture.getchannel("A")
    if shown.getextrema()[0] == 255:
        raise UserError(f"{file} hides all that is behind it; cut-outs are transparent around the thing.")
    if (box := shown.getbbox()) is None:
        raise UserError(f"{file} is transparent everywhere; remove it.")
    return picture.crop(box)


def _placed(picture: Any, side: int, at: np.ndarray, breadth: float, mirrored: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    scale = breadth / max(picture.size)
    wide, high = (max(1, round(each * scale)) for each in picture.size)
    small = (ImageOps.mirror(picture) if mirrored else picture).resize((wide, high), Image.Resampling.LANCZOS)
    whole = Image.new("RGBA", (side, side))
    whole.paste(small, (round(at[0] - wide / 2), round(at[1] - high / 2)))
    pixels = np.asarray(whole)
    hides = pixels[..., 3:].astype(np.float32) / 255
    return np.concatenate([Light().of(pixels[..., :3]) * hides, hides], axis=2)
