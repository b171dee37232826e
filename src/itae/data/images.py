"""From decoded images to what a backbone takes: transform, load ahead, normalise.

What is done to the pixels is plain data (`Transform.spec`), because it is part of what an embedding means.
When and where it is done is not: decoding runs in threads beside a forward pass that wants every core.

Shape suffixes: B images of a batch, S pixels of a side, C colours.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from itae.data.decode import DECODER
from itae.errors import UserError, one_of
from itae.runtime import own_memory, progress

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from itae.data import ImageSet

RESIZES = ("squash", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
PREFETCH = 2  # batches decoded ahead of the consumer

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Transform:
    """How a picture is brought to the input of a backbone: part of what an embedding means.

    Parameters
    ----------
    image_size
        Side S of the square input, in pixels.
    resize
        ``squash``: straight to S x S, nothing is lost, the aspect ratio changes. ``crop``: short side to
        256/224 of S, then the central S x S (the usual ImageNet evaluation). ``pad``: long side to S, centred
        on white.
    interpolation
        ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``; Pillow's, hence antialiased when shrinking.
    mean, std
        Three numbers each, on the scale 0..1, for red, green and blue.

    Raises
    ------
    UserError
        For a value outside of these.
    """

    image_size: int
    resize: str = "squash"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if isinstance(self.image_size, bool) or not isinstance(self.image_size, int) or self.image_size < 1:
            raise UserError(f"image_size={self.image_size!r} is not a whole number of pixels from 1 on.")
        one_of("dataset.resize", self.resize, RESIZES)
        one_of("interpolation", self.interpolation, INTERPOLATIONS)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise UserError(f"std={list(self.std)} has to be positive in all three colours.")

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Bring an RGB image of any size to uint8 [S, S, 3]."""
        from PIL import Image

        side, (width, height) = self.image_size, image.size
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.resize == "pad":
            scale = side / max(width, height)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            padded = Image.new("RGB", (side, side), "white")
            padded.paste(image.resize(size, filter_), ((side - size[0]) // 2, (side - size[1]) // 2))
            return np.asarray(padded)
        box = None
        if self.resize == "crop":
            # Only what will be kept is resized, so that a strip of 10 x 100,000 pixels costs no gigabytes.
            half = 0.5 * min(width, height) * side / round(side * 256 / 224)
            box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
        return np.asarray(image.resize((side, side), filter_, box=box))

    def spec(self) -> dict[str, Any]:
        """Return the settings as plain values, in the form in which they enter a cache key."""
        return {
            "decoder": DECODER,
            "image_size": self.image_size,
            "resize": self.resize,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Transform:
        """Return the transform with this `spec`, whichever decoder it was used with."""
        return cls(**{name: value for name, value in spec.items() if name != "decoder"})


def _three_numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return `value` as three finite floats, or raise a `UserError` that calls it `name`."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(values) != 3 or not all(isinstance(x, int | float) and math.isfinite(x) for x in values):
        raise UserError(f"{name}={value!r} is not a list of three numbers, for red, green and blue.")
    return tuple(float(x) for x in values)


def normalise(pixels_BSSC: torch.Tensor, transform: Transform) -> torch.Tensor:
    """Return (pixels / 255 - mean) / std, on the device of the pixels.

    Parameters
    ----------
    pixels_BSSC
        uint8 [B, S, S, 3], as `batches` yields them.
    transform
        Where mean and std come from.

    Returns
    -------
    torch.Tensor
        float32 [B, 3, S, S], contiguous: faster than channels-last in a timm ViT on a CPU.
    """
    import torch

    scale = torch.tensor([1 / (255 * std) for std in transform.std], device=pixels_BSSC.device)
    shift = torch.tensor([-m / s for m, s in zip(transform.mean, transform.std, strict=True)], device=scale.device)
    images_BCSS = pixels_BSSC.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images_BCSS.mul_(scale.view(3, 1, 1)).add_(shift.view(3, 1, 1))


def batches(
    images: ImageSet,
    transform: Transform,
    start: int,
    stop: int,
    batch_size: int,
    workers: int = 1,
    shard: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield the images `start` to `stop` (exclusive), in order, as uint8 arrays [b, S, S, 3].

    Parameters
    ----------
    images, transform
        What is read, and how it is brought to S x S pixels.
    start, stop
        Positions in `images`.
    batch_size
        b of every array but the last, which may be smaller.
    workers
        Threads that decode ahead of the consumer, by at most two batches; 0 decodes in the calling thread.
        The threads end with the generator, also when it is closed early.
    shard
        A batch never crosses a multiple of this many images.

    Raises
    ------
    UserError
        For an image that cannot be decoded, in the consumer, with the image's id.
    """
    assert 0 <= start <= stop <= len(images), (start, stop, len(images))
    assert batch_size >= 1, batch_size
    assert workers >= 0, workers
    spans, first = deque[range](), start
    while first < stop:
        end = min(first + batch_size, stop, (first // shard + 1) * shard if shard else stop)
        spans.append(range(first, end))
        first = end
    shape = (transform.image_size, transform.image_size, 3)
    if workers == 0:
        for span in spans:
            yield np.stack([_pixels(images, transform, i) for i in span])
        return

    def fill(into: np.ndarray, i: int) -> None:
        into[...] = _pixels(images, transform, i)

    ahead: deque[tuple[np.ndarray, list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="itae-decode")
    try:
        while spans or ahead:
            while spans and len(ahead) <= PREFETCH:
                span = spans.popleft()
                pixels_bSSC = own_memory((len(span), *shape), np.uint8)
                ahead.append((pixels_bSSC, [pool.submit(fill, pixels_bSSC[j], i) for j, i in enumerate(span)]))
            pixels_bSSC, jobs = ahead.popleft()
            for job in jobs:
                job.result()
            yield pixels_bSSC
    finally:
        pool.shutdown(cancel_futures=True)


def _pixels(images: ImageSet, transform: Transform, i: int) -> np.ndarray:
    """Read and transform image i; an error that is not the user's names the image too."""
    try:
        return transform(images.read(i))
    except UserError:
        raise
    except Exception as error:
        raise RuntimeError(f"image '{images.ids[i]}': {type(error).__name__}: {error}") from error


def in_threads(work: Callable[[T], R], items: Iterable[T], total: int, title: str) -> Iterator[R]:
    """Yield ``work(item)`` in order, from a few threads, with a progress bar once it takes over a second.

    Items go to the threads in groups: one by one, the hand-over would cost more than a small file.
    """
    workers = min(8, os.cpu_count() or 1)
    source = iter(items)
    groups = iter(lambda: list(islice(source, 32)), [])
    ahead: deque[Future[list[R]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="itae-read")
    try:
        with progress(total, title, "images") as advance:
            while True:
                ahead.extend(
                    pool.submit(lambda group: [work(item) for item in group], group)
                    for group in islice(groups, 4 * workers - len(ahead))
                )
                if not ahead:
                    return
                results = ahead.popleft().result()
                yield from results
                advance(len(results))
    finally:
        pool.shutdown(cancel_futures=True)
