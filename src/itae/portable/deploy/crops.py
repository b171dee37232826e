"""Pictures for a page: blurred, restored and sharp, of a few photographs, as PNG files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itae.portable.data.pairs import Pairs
from itae.portable.optimise.deployed import Deployed

MOST = 6
"""Photographs that are shown."""
FOLDER = "pictures"
_PSF = 96  # pixels a side of a drawn PSF


def shown(pairs: Pairs, found: Sequence[Deployed], folder: Path) -> list[dict[str, Any]]:
    """Write a pair of each of a few photographs, as the best device restored it, and return what was written.

    The pair of a photograph is the one whose blur is of middle length among its pairs: none is picked for its looks.
    """
    best = best_of(found)
    out = folder / FOLDER
    out.mkdir(parents=True, exist_ok=True)
    told = []
    for number, name in enumerate(sorted(set(pairs.photographs))[:MOST]):
        i = _middle(pairs, name)
        pictures = {"blurred": pairs.blurred[i], "sharp": pairs.sharp[i]}
        if best is not None and best.outputs is not None:
            pictures["restored"] = best.outputs[i]
        if pairs.psfs is not None:
            pictures["psf"] = _drawn(pairs.psfs[i])
        files = {what: _saved(picture, out / f"{number}_{what}.png") for what, picture in pictures.items()}
        length = float(pairs.blur_px[i])
        told.append({"photograph": name, "blur_px": None if np.isnan(length) else length, "files": files,
                     "device": None if best is None else best.device})  # fmt: skip
    return told


def best_of(found: Sequence[Deployed]) -> Deployed | None:
    """Return the device that restores best, of those that aren't refused; None if all are."""
    there = [one for one in found if one.outputs is not None and one.psnr is not None and one.verdict != "refused"]
    return max(there, key=lambda one: one.psnr.mean, default=None)  # type: ignore[union-attr]


def as_rows(pictures: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return what `shown` wrote as rows of a tracker's table: the pictures of a photograph, uint8 [H, W, 3]."""
    from PIL import Image

    return [
        {"photograph": each["photograph"], "blur_px": each["blur_px"], "device": each["device"],
         **{what: np.asarray(Image.open(folder / file).convert("RGB")) for what, file in each["files"].items()}}
        for each in pictures
    ]  # fmt: skip


def _middle(pairs: Pairs, photograph: str) -> int:
    of = [i for i, name in enumerate(pairs.photographs) if name == photograph]
    return sorted(of, key=lambda i: (float(np.nan_to_num(pairs.blur_px[i])), i))[len(of) // 2]


def _drawn(psf_KK: np.ndarray) -> np.ndarray:
    """Return a PSF as a grey picture, uint8 [3, S, S], its greatest value white."""
    each = max(1, _PSF // len(psf_KK))
    grey = np.round(255 * psf_KK / max(float(psf_KK.max()), 1e-12)).astype(np.uint8)
    return np.broadcast_to(grey.repeat(each, 0).repeat(each, 1), (3, each * len(psf_KK), each * len(psf_KK)))


def _saved(picture_3HW: np.ndarray, file: Path) -> str:
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(picture_3HW.transpose(1, 2, 0))).save(file)
    return f"{FOLDER}/{file.name}"
