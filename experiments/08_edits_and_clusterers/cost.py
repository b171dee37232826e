"""What an edit costs a pass: a batch of images, again and again in one process, beside the untouched model's pass.

A ratio of CPU times taken in turns, so that a busy machine slows both. Not in it: decoding, and what is fitted or
searched for once, before a pass. With all diagnostics, which a run gathers by default, it is an upper bound: of a batch
that is looked at, as few of a large data set are.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from turns import in_turns

import itae
from itae.app.compose import plain_config
from itae.app.job import OpenJob, open_job
from itae.app.settings import Settings
from itae.base.memory import memory_reused
from itae.base.runtime import Runtime
from itae.edits.edit import AnyEdit
from itae.embed.resume import Way
from itae.embed.settle import settle
from itae.embed.source import whole_images
from itae.embed.worker import Worker
from itae.images.batches import batches
from itae.images.transform import normalise

IMAGES, ROUNDS = 64, 7


def costs_of(data: str, words: Sequence[str], recipes: Sequence[str], quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield, for each edit, its pass over the untouched model's: the median of rounds, and how far they go."""
    for recipe in recipes:
        job = open_job(Settings.of(plain_config(itae.compose([*words, f"recipe={recipe}", "runtime.device=cpu"]))))
        alone, edited, whole = seconds(job, 8 if quick else IMAGES, 1 if quick else ROUNDS)
        bare = [mine / plain for mine, plain in zip(edited, alone, strict=True)]
        told = {"passes": statistics.median(bare), "least": min(bare), "most": max(bare)}
        shown = [mine / plain for mine, plain in zip(whole, alone, strict=True)]
        yield {"data": data, "edit": recipe, **told, "with_diagnostics": statistics.median(shown)}


def seconds(job: OpenJob, size: int, rounds: int) -> list[list[float]]:
    """Return the CPU seconds of a round of passes: of the untouched model, of the edit, and of it with diagnostics."""
    source, edit = job.source, job.edit
    images, _ = whole_images(source)
    worker = Worker(source, images, Runtime("cpu", size))
    key = source.key(edit)
    _, ready = settle(source, images, lambda: worker, {key: edit}, {key: Way(len(images), diagnostics=True)})
    (raw,) = batches(images, source.transform, 0, size, size)
    pixels = normalise(torch.from_numpy(raw), source.transform)

    def passes(edit: AnyEdit | None, whole: bool) -> None:
        with memory_reused(), torch.inference_mode():
            worker.gather([edit], iter([(pixels, images.digests[:size])]), range(size), lambda _: None, whole)

    return in_turns(
        rounds, lambda: passes(None, False), lambda: passes(ready[key], False), lambda: passes(ready[key], True)
    )
