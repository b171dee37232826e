"""The study: networks measured, trained and judged, candidates found, those that matter trained, converted and told.

Each stage leaves in the cache what it came to: pairs, weights, exports, times that others are predicted from, and what
was judged. So a study that was killed goes on; what is done again is the judging on devices and the last measuring,
some minutes. Test photographs are looked at in `itae.portable.search.converted`, when all networks are chosen.

Letters: D devices, N candidates.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itae.base.errors import UserError
from itae.base.memory import peak_rss_mb
from itae.base.progress import progress
from itae.portable.data.pairs import Splits
from itae.portable.deploy.pairs import pairs_of
from itae.portable.nets.unet import UNet
from itae.portable.search.asked import Searching
from itae.portable.search.candidates import Found, search
from itae.portable.search.chosen import chosen
from itae.portable.search.converted import conversion_of, converted
from itae.portable.search.fronts import Reference
from itae.portable.search.learned import Judging, learned, with_judge
from itae.portable.search.measured import PLACE, Times, times
from itae.portable.search.told import CANDIDATES, Done, result_of
from itae.portable.train.quality import psnr


def searched(asked: Searching, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """Return what ``result.json`` has of the study, done by the one job that measures on this machine.

    Parameters
    ----------
    asked
        What is asked for.
    folder
        Of the run: front, networks and pictures go there.
    told
        Takes what is to be known at once, a line each.

    Raises
    ------
    UserError
        If there are too few photographs, no network can be trained, or nothing is left on any device.
    """
    clock = _Stages()
    folder.mkdir(parents=True, exist_ok=True)
    splits = pairs_of(asked)
    clock.ends("pairs")
    seen = times(asked, told)
    clock.ends("predictor")
    with asked.workers() as workers:
        by_hand, judging = with_judge(splits, asked, workers, told)
        clock.ends("learn")
        found = _candidates(asked, seen, judging, folder)
        clock.ends("candidates")
        nets, notes = _chosen(asked, splits, seen, found)
        ours = learned(nets, splits, asked, workers, "Training those that were chosen")
        clock.ends("train")
        conversion = conversion_of(asked, splits, seen.devices)
        known, timed, refusals = converted(conversion, ours, by_hand, asked, seen, workers, told)
        clock.ends("convert")
    done = Done(asked, splits, seen, judging, found, by_hand, ours, conversion, known, timed, (*notes, *refusals))
    result = result_of(done, folder, told)
    clock.ends("front")
    result["timing"] = clock.all() | {f"last_{each}": timed["timing"][each] for each in ("export_s", "measure_s")}
    return result


class _Stages:
    """How long each stage took by the wall."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._took: dict[str, float] = {}

    def ends(self, stage: str) -> None:
        now = time.perf_counter()
        self._took[f"{stage}_s"], self._last = now - self._last, now

    def all(self) -> dict[str, float | None]:
        return {**self._took, "total_s": self._last - self._began, "peak_rss_mb": peak_rss_mb()}


def _candidates(asked: Searching, seen: Times, judging: Judging, folder: Path) -> Found:
    """Return the candidates; what was judged is kept in the cache by all that it depends on, and copied to the run."""
    options, devices = asked.search, [name for name in seen.predictors if name in seen.slowest]
    if not devices:
        raise UserError(
            "No device runs a network made by hand steadily, so there is nothing to search against; run it again while "
            "the machine is quiet, or with a larger measure.budget_s."
        )
    about = {"space": asked.space.settings(), "times": seen.key, **judging.about}
    slowest = {name: seen.slowest[name] for name in devices}
    depends = json.dumps([options.asking(), slowest, about], sort_keys=True)
    file = asked.cache / PLACE / f"{hashlib.sha256(depends.encode()).hexdigest()}.{CANDIDATES}"
    with progress(options.judged, "Judging candidates", "networks") as advance:
        found = search(
            asked.space, judging.judge, seen, devices, options, file, advance, slowest, about, judging.prepare
        )
    shutil.copyfile(file, folder / CANDIDATES)
    return found


def _chosen(asked: Searching, splits: Splits, seen: Times, found: Found) -> tuple[dict[str, UNet], list[str]]:
    """Return the networks that are to be trained and measured, the one that matters most first, by name; and notes."""
    quality_N = np.array([np.nan if one.quality is None else one.quality for one in found.candidates])
    ms_DN = np.array([[one.ms.get(name, np.nan) for one in found.candidates] for name in seen.slowest])
    blurred, notes = float(np.mean(psnr(splits.validation.blurred, splits.validation))), []
    places = _places(quality_N, ms_DN, blurred, seen.slowest, asked.search.chosen)
    if not places:
        least = float(np.nanmin(quality_N)) - 0.01
        places = _places(quality_N, ms_DN, least, seen.slowest, asked.search.chosen)
        notes.append("No candidate was judged better than the blurred input, so all count as if that were worse.")
    if not places:
        raise UserError(
            "No candidate is as fast as the slowest network made by hand, so none is measured; give the space smaller "
            "networks (space.channels)."
        )
    names = [f"searched_{i + 1:02d}" for i in range(len(places))]
    specs = [found.candidates[at].spec for at in places]
    return {name: asked.net(name, spec) for name, spec in zip(names, specs, strict=True)}, notes


def _places(
    quality_N: np.ndarray, ms_DN: np.ndarray, floor: float, slowest: Mapping[str, float], most: int
) -> list[int]:
    return chosen(quality_N, ms_DN, [Reference(floor, ms) for ms in slowest.values()], most)
