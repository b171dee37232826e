"""The pairs of a study, fixed by its seed before anything learns from them, and kept by what they were made of."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.checks import whole
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.portable.data.blur import Blur
from itae.portable.data.kept import Kept, kept
from itae.portable.data.layouts import Layout
from itae.portable.data.light import Light
from itae.portable.data.made import Pair, dealt, made, room, stacked
from itae.portable.data.noise import Noise
from itae.portable.data.pairs import Pairs, Splits
from itae.portable.data.photographs import Photograph, Source
from itae.portable.data.read import listed, read
from itae.portable.data.split import SPLITS, once, shared_out
from itae.portable.data.wanted import Wanted

log = logging.getLogger(__name__)

METHOD = 1
"""How this package makes pairs; a mend that makes others raises it."""
Advance = Callable[[int], None]
"""Takes the number of pairs just made."""


def frozen(
    source: Source | Layout, blur: Blur, noise: Noise, options: Wanted, seed: int, cache: Path,
    advance: Advance | None = None,
) -> Splits:  # fmt: skip
    """Return the pairs of a study.

    Parameters
    ----------
    source
        Sharp photographs, from which pairs are made; or a data set with pairs of its own, which are read: those are
        blurred already, and `blur` and `noise` are left alone.
    blur, noise
        What is done to sharp photographs.
    options
        How many pairs, of which size.
    seed
        Of the study: which photographs are in which split, and all that is drawn.
    cache
        Where they are kept (paths.cache): there whole or not at all.
    advance
        Is told of each pair that is made; of none where they were kept.

    Raises
    ------
    UserError
        If there are too few photographs, or they are too small; and if the disk is in trouble.
    """
    whole("seed", seed, low=0)
    if isinstance(source, Layout):
        return _read(source, options, seed, cache, advance)
    blur.check()
    found = _large_enough(source, blur, options)
    by_content = {each.sha256: each for each in found}
    shares = shared_out(list(by_content), seed, options.validation_share, options.test_share)
    splits = {split: [by_content[sha256] for sha256 in shares[split]] for split in SPLITS}
    doing = {"blur": _said(blur), "noise": _said(noise), "pairs": options.settings(), "seed": seed}

    def make() -> Mapping[str, Sequence[Pair]]:
        light = Light(options.light)
        return {
            split: made(of, options.pairs(split), options.side(split), split, blur, noise, light, options.detail,
                        seed, advance)
            for split, of in splits.items()
        }  # fmt: skip

    about = {"source": _said(source), **doing, "photographs": _credits(splits, options)}
    which = {split: [[each.name, each.sha256] for each in of] for split, of in splits.items()}
    return _splits({"method": METHOD, **doing, "photographs": which}, about, make, cache)


def _large_enough(source: Source, blur: Blur, options: Wanted) -> list[Photograph]:
    least = room(blur, [options.side(split) for split in SPLITS])
    all_ = once((each.name, each.sha256, each) for each in source.photographs())
    found = [each for each in all_ if min(each.size) >= least]
    if small := [each for each in all_ if min(each.size) < least]:
        log.warning(
            "%d photographs are less than %d pixels high or wide and are left out (%s, ...).",
            len(small), least, small[0].name,
        )  # fmt: skip
    if len(found) < len(SPLITS):
        raise UserError(
            f"{len(found)} of {len(all_)} different photographs are at least {least} pixels high and wide, as "
            f"pairs.size={options.size}, pairs.train_size={options.train_size} and the blur's length need; at least "
            f"{len(SPLITS)} must be: give larger ones, or lower those."
        )
    return found


def _read(layout: Layout, options: Wanted, seed: int, cache: Path, advance: Advance | None) -> Splits:
    chosen = listed(layout, options, seed)
    doing = {"blur": None, "noise": None, "pairs": options.settings(), "seed": seed}
    about = {"source": _said(layout), **doing, "notes": list(layout.notes()), "photographs": {
        split: [{"name": scene, "pairs": [each.scene for each in of].count(scene)}
                for scene in sorted({each.scene for each in of})]
        for split, of in chosen.items()
    }}  # fmt: skip
    files = {split: [[each.name, each.contents()] for each in of] for split, of in chosen.items()}

    def make() -> Mapping[str, Sequence[Pair]]:
        return {split: read(of, options.side(split), options.detail, seed, advance) for split, of in chosen.items()}

    return _splits({"method": METHOD, **doing, "source": identity(layout), "files": files}, about, make, cache)


def _splits(
    depends: Mapping[str, Any], about: Mapping[str, Any], make: Callable[[], Mapping[str, Sequence[Pair]]], cache: Path
) -> Splits:
    """Return what is kept under what it depends on, and make it if it isn't."""
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()

    def arrays() -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        parts = {split: stacked(pairs) for split, pairs in make().items()}
        named = {f"{split}_{name}": value for split, part in parts.items() for name, value in part.items()}
        facts = {"photographs": {split: part["photographs"] for split, part in parts.items()}}
        facts["blurred_psnr"] = {split: _psnr(part["blurred"], part["sharp"]) for split, part in parts.items()}
        return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}, facts

    held = kept(cache, key, arrays)
    facts = {**about, "blurred_psnr": held.facts["blurred_psnr"]}
    sure = hashlib.sha256(f"{key} {held.sha256}".encode()).hexdigest()
    train, validation, test = (_pairs(held, split) for split in SPLITS)
    return Splits(train, validation, test, facts, sure)


def _pairs(held: Kept, split: str) -> Pairs:
    names = ("blurred", "sharp", "blur_px", "psfs")
    arrays = {name: held.arrays.get(f"{split}_{name}") for name in names}
    return Pairs(photographs=tuple(held.facts["photographs"][split]), **arrays)  # type: ignore[arg-type]


def _psnr(blurred: np.ndarray, sharp: np.ndarray) -> float:
    """Return the mean over pairs of each one's PSNR in dB, at most 100."""
    error = [float(np.mean((a.astype(np.float64) - b) ** 2)) for a, b in zip(blurred, sharp, strict=True)]
    return float(np.mean([min(100.0, 10 * np.log10(255**2 / each)) if each else 100.0 for each in error]))


def _said(part: Any) -> dict[str, Any]:
    return {**identity(part), **part.settings()}


def _credits(splits: Mapping[str, Sequence[Photograph]], options: Wanted) -> dict[str, list[dict[str, Any]]]:
    return {
        split: [
            {"name": each.name, "sha256": each.sha256, "credit": each.credit, "pairs": pairs}
            for each, pairs in zip(of, dealt(options.pairs(split), len(of)), strict=True)
        ]
        for split, of in splits.items()
    }
