"""The pairs of a study that trains, and what is to be told of what is judged by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from itae.base.progress import progress
from itae.portable.data.frozen import frozen
from itae.portable.data.pairs import Splits
from itae.portable.deploy.asked import Learning
from itae.portable.train.quality import Quality, floor, told_intervals
from itae.portable.train.wiener import ceiling

_SYNTHETIC = "The blur is made, not found: numbers on it don't compare with those on GoPro or real photographs."
_CPU = "Times are of this machine's runtimes; a CPU runtime is no phone."


def pairs_of(asked: Learning) -> Splits:
    """Return the pairs of a study, with a bar while they are made.

    Raises
    ------
    UserError
        If there are too few photographs, or they are too small; and if the disk is in trouble.
    """
    count = asked.pairs.train + asked.pairs.validation + asked.pairs.test
    with progress(count, "Blurring photographs", "pairs") as advance:
        return frozen(asked.source, asked.blur, asked.noise, asked.pairs, asked.seed, asked.cache, advance)


def between(splits: Splits, told: Callable[[str], None]) -> tuple[Quality, Quality | None]:
    """Return what doing nothing is worth on the test's photographs, and Wiener's filter; both are told."""
    blurred, wiener = floor(splits.test), ceiling(splits.test, splits.validation)
    told(f"{'floor':10} {blurred.psnr.mean:.2f} dB of PSNR, the blurred input's: below it, doing nothing is better.")
    if wiener is None:
        told(f"{'ceiling':10} none: these pairs weren't made by one PSF each, so Wiener's filter can't be told any.")
    else:
        gain = wiener.over(blurred).psnr.mean
        filtered = f"{wiener.psnr.mean:.2f} dB, {gain:+.2f}"
        told(f"{'ceiling':10} {filtered}: Wiener's filter, told each picture's PSF; it is no bound.")
    return blurred, wiener


def notes_of(splits: Splits) -> list[str]:
    """Return what is to be known of what is judged by pairs: intervals, blur that is made, and whose times they are."""
    made = splits.facts.get("blur") is not None
    return [
        told_intervals(splits.test.photographs),
        *([_SYNTHETIC] if made else splits.facts.get("notes", ())),
        _CPU,
    ]


def quality_told(one: Quality, blurred: Quality | None = None) -> dict[str, Any]:
    """Return PSNR and SSIM as plain values, and how far above those of the blurred input, where that is given."""
    told: dict[str, Any] = {"psnr": asdict(one.psnr), "ssim": asdict(one.ssim)}
    if blurred is not None:
        gain = one.over(blurred)
        told |= {"gain_db": asdict(gain.psnr), "gain_ssim": asdict(gain.ssim)}
    return told
