"""Sharp photographs to blur: what comes with this package and with two that it needs, or a folder of the user's."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.decode import with_picture
from itae.images.samples import BadImage
from itae.images.unread import HOW
from itae.images.walk import Walk

log = logging.getLogger(__name__)

CREDITS = "credits.json"
_SHIPPED = Path(__file__).parent / "shipped"
_BY_2 = "CC-BY-2.0 (https://creativecommons.org/licenses/by/2.0/)"
_INSTALLED = {
    "skimage/data/astronaut.png": "NASA Great Images (https://flic.kr/p/r9qvLn), public domain",
    "skimage/data/chelsea.png": "Stefan van der Walt, CC0",
    "skimage/data/coffee.png": "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    "skimage/data/rocket.jpg": "SpaceX (https://www.flickr.com/photos/spacexphotos/16511594820/), public domain",
    "sklearn/datasets/images/china.jpg": f"danielbuechele (https://www.flickr.com/photos/danielbuechele/), {_BY_2}",
    "sklearn/datasets/images/flower.jpg": f"vultilion (https://www.flickr.com/photos/vultilion/), {_BY_2}",
}
"""Photographs in the wheels of scikit-image 0.26 and scikit-learn, and what these say of them."""
_PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


@dataclass(frozen=True, eq=False)
class Photograph:
    """A sharp photograph.

    Parameters
    ----------
    name
        Unique in its source.
    sha256
        Of its pixels as `read` gives them, and their size.
    credit
        Author, licence and address; empty where nobody told.
    read
        Gives the pixels, uint8 [H, W, 3], sRGB, upright.
    size
        Height and width.
    """

    name: str
    sha256: str
    credit: str
    read: Callable[[], np.ndarray] = field(repr=False)
    size: tuple[int, int]


class Source(Protocol):
    """Where sharp photographs come from."""

    def settings(self) -> dict[str, Any]:
        """Return its options, for results; which photographs it has is in keys by their content."""

    def check(self) -> None:
        """Raise a `UserError` for what isn't there, without reading a photograph."""

    def photographs(self) -> list[Photograph]:
        """Return all there are, by name, or raise a `UserError`."""


@dataclass(frozen=True)
class Shipped:
    """Fifteen photographs that need no download.

    Nine crops are in this package, four photographs in scikit-image's and two in scikit-learn's. Some distributions
    take pictures out of those two: what isn't there is left out, and said.
    """

    def settings(self) -> dict[str, Any]:
        """Return that it has no options."""
        return {}

    def check(self) -> None:
        """Find nothing missing: nine of them are always there."""

    def photographs(self) -> list[Photograph]:
        """Return them, by name."""
        told = read_credits(_SHIPPED)
        found = [_photograph(name, _SHIPPED / f"{name}.jpg", credit) for name, credit in told.items()]
        for inside, credit in _INSTALLED.items():
            if (file := _installed(inside)) is None:
                package = _PACKAGES[inside.partition("/")[0]]
                log.warning("%s has no %s here; the photograph is left out.", package, Path(inside).name)
            else:
                found.append(_photograph(file.stem, file, credit))
        return sorted(found, key=lambda each: each.name)


@dataclass(frozen=True)
class Folder:
    """Photographs in a folder of the user's, and in those below it.

    Parameters
    ----------
    root
        The folder. A ``credits.json`` in it may tell an author and a licence of each file, by its name without ending.
    longest
        Longer photographs are scaled down to so many pixels of their longer side: most are soft at their full size.
        At least 64; default 1280.

    Raises
    ------
    UserError
        When `longest` is out of its range.
    """

    root: str
    longest: int = 1280

    def __post_init__(self) -> None:
        """Check both."""
        if not isinstance(self.root, str) or not self.root:
            raise UserError(f"data.root={self.root!r} must name a folder of photographs.")
        whole("data.longest", self.longest, low=64)

    def settings(self) -> dict[str, Any]:
        """Return its options."""
        return {"root": self.root, "longest": self.longest}

    def check(self) -> None:
        """Raise a `UserError` if there is no such folder."""
        if not at_home(self.root).is_dir():
            raise UserError(f"data.root={self.root!r} is no folder; give one of photographs.")

    def photographs(self) -> list[Photograph]:
        """Return all that can be read, by name; of others say why they are left out.

        Raises
        ------
        UserError
            If there is no such folder, or no photograph in it.
        """
        self.check()
        root = at_home(self.root)
        walk = Walk.through(root, "")
        files = [*walk.loose, *(pair for pairs in walk.classes.values() for pair in pairs)]
        if (root / CREDITS).is_file():
            walk.others -= Counter({Path(CREDITS).suffix: 1})
        walk.report(root)
        told, found, bad = read_credits(root), [], 0
        for name, file in files:
            try:
                found.append(_photograph(name, Path(file), told.get(Path(name).stem, ""), self.longest))
            except BadImage as error:
                bad += 1
                log.warning("%s is left out: %s.", file, error)
        if not found:
            some = f"; {bad} can't be read, see above" if bad else f"; {HOW}" if walk.unread else ""
            raise UserError(f"data.root={self.root!r} holds no photograph{some}.")
        return found


def pixels(file: Path, longest: int | None = None) -> np.ndarray:
    """Return the pixels of a file, uint8 [H, W, 3], scaled down to a `longest` side (Lanczos) if it is longer.

    Raises
    ------
    BadImage
        If it can't be read.
    """

    def scaled(size: tuple[int, int]) -> tuple[int, int]:
        share = min(1.0, (longest or max(size)) / max(size))
        return max(1, round(size[0] * share)), max(1, round(size[1] * share))

    def use(image: Any) -> np.ndarray:
        from PIL import Image

        if scaled(image.size) != image.size:
            image = image.resize(scaled(image.size), Image.Resampling.LANCZOS, box=image.info.get("box"))
        return np.asarray(image).copy()

    return with_picture(str(file), use, None if longest is None else scaled)


def content(picture_HWC: np.ndarray) -> str:
    """Return the sha256 of a picture's size and pixels, uint8 [H, W, 3]."""
    digest = hashlib.sha256(f"{picture_HWC.shape} ".encode())
    digest.update(np.ascontiguousarray(picture_HWC).tobytes())
    return digest.hexdigest()


def read_credits(folder: Path) -> Mapping[str, str]:
    """Return what a folder's ``credits.json`` says of each file, by its name without ending; {} without one.

    Raises
    ------
    UserError
        If it can't be read.
    """
    file = folder / CREDITS
    if not file.is_file():
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): credit_line(about) for name, about in told.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{file} can't be read ({error}); mend it, or remove it.") from error


def credit_line(about: Mapping[str, str]) -> str:
    """Return author, licence, its address, where it came from, and what was changed, in a line."""
    licence = " ".join(filter(None, (about.get("licence"), f"({about['url']})" if about.get("url") else None)))
    parts = (about.get("author"), licence, about.get("source"), about.get("changed"))
    return ", ".join(part for part in parts if part)


def _photograph(name: str, file: Path, credit: str, longest: int | None = None) -> Photograph:
    read = partial(pixels, file, longest)
    picture_HWC = read()
    return Photograph(name, content(picture_HWC), credit, read, picture_HWC.shape[:2])


def _installed(inside: str) -> Path | None:
    """Return where an installed package has a file; None if it, or the package, isn't there."""
    package, _, rest = inside.partition("/")
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return next((file for place in places or () if (file := Path(place, rest)).is_file()), None)
