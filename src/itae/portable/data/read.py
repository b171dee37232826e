"""Pairs that are read: which of a data set's are in which split, by their scenes, and pieces of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from itae.base.errors import UserError
from itae.images.samples import BadImage
from itae.portable.data.layouts import Layout
from itae.portable.data.listed import Listed
from itae.portable.data.made import Pair, draws, place
from itae.portable.data.photographs import pixels
from itae.portable.data.split import SPLITS, shared_out
from itae.portable.data.wanted import Wanted


def listed(layout: Layout, options: Wanted, seed: int) -> dict[str, list[Listed]]:
    """Return which pairs of a data set are read for each split.

    Official splits stay; where there is none to choose by, some scenes of those to learn from are taken for that. Pairs
    are drawn without looking; where more are wanted than there are, several pieces are cut from one.

    Raises
    ------
    UserError
        If there are too few scenes, or the two pictures of a pair have different sizes.
    """
    found = dict(layout.pairs())
    for split, pairs in found.items():
        if not pairs:
            raise UserError(f"{layout.option}={layout.root!r} holds no pair of {split}.")
    if "all" in found:
        found = _by_scene(found["all"], options, seed)
    elif "validation" not in found:
        found["train"], found["validation"] = _two(found["train"], options.validation_share, seed)
    scenes: dict[str, str] = {}
    for split, pairs in found.items():
        for scene in {each.scene for each in pairs}:
            if scenes.setdefault(scene, split) != split:
                raise UserError(f"The scene {scene} is in {scenes[scene]} and in {split} of {layout.root}.")
    chosen = {split: _drawn(found[split], options.pairs(split), seed) for split in SPLITS}
    for split, pairs in chosen.items():
        for pair in pairs:
            _check_sizes(pair, options.side(split))
    return chosen


def read(
    pairs: Sequence[Listed], side: int, detail: float, seed: int, advance: Callable[[int], None] | None
) -> list[Pair]:
    """Return a piece of each pair, cut at one place from both pictures, where the sharp one isn't flat."""
    out = []
    for pair in pairs:
        blurred, sharp = (_pixels(file) for file in (pair.blurred, pair.sharp))
        if blurred.shape != sharp.shape:
            raise _differ(pair, blurred.shape[:2], sharp.shape[:2])
        row, column = place(sharp, side, detail, draws("read", seed, pair.name, pair.number))
        cut = (slice(row, row + side), slice(column, column + side))
        out.append(Pair(blurred[cut], sharp[cut], pair.scene, float("nan"), None))
        if advance is not None:
            advance(1)
    return out


def _by_scene(pairs: Sequence[Listed], options: Wanted, seed: int) -> dict[str, list[Listed]]:
    scenes = sorted({each.scene for each in pairs})
    shares = shared_out(scenes, seed, options.validation_share, options.test_share)
    return {split: [each for each in pairs if each.scene in shares[split]] for split in SPLITS}


def _two(pairs: Sequence[Listed], share: float, seed: int) -> tuple[list[Listed], list[Listed]]:
    """Return pairs to learn from and to choose by, by scene; a scene at least for each."""
    scenes = sorted({each.scene for each in pairs}, key=lambda each: _hash(seed, each))
    if len(scenes) < 2:
        raise UserError(f"There is one scene to learn from, {scenes[0]}, and at least two are needed.")
    chosen = set(scenes[: min(max(1, round(share * len(scenes))), len(scenes) - 1)])
    return [each for each in pairs if each.scene not in chosen], [each for each in pairs if each.scene in chosen]


def _drawn(pairs: Sequence[Listed], count: int, seed: int) -> list[Listed]:
    order = sorted(pairs, key=lambda each: _hash(seed, each.name))
    return [dataclasses.replace(order[i % len(order)], number=i // len(order)) for i in range(count)]


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"read {seed} {name}".encode()).hexdigest()


def _check_sizes(pair: Listed, side: int) -> None:
    sizes = [_size(file) for file in (pair.blurred, pair.sharp)]
    if sizes[0] != sizes[1]:
        raise _differ(pair, *sizes)
    if min(sizes[0]) < side:
        raise UserError(
            f"{pair.blurred} is {sizes[0][0]} by {sizes[0][1]} pixels, and pieces of {side} are wanted; lower "
            "pairs.size and pairs.train_size."
        )


def _differ(pair: Listed, *sizes: Sequence[int]) -> UserError:
    (a, b), (c, d) = sizes
    return UserError(f"{pair.blurred} is {a} by {b} pixels and {pair.sharp} {c} by {d}; a pair has one size.")


def _size(file: Path) -> tuple[int, int]:
    """Return height and width of a picture by its header."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return picture.height, picture.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} can't be read ({error}); mend it.") from error


def _pixels(file: Path) -> np.ndarray:
    try:
        return pixels(file)
    except BadImage as error:
        raise UserError(f"{file} can't be read ({error}); mend it.") from error
