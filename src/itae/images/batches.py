"""Images as batches of pixels, decoded ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from itae.base.errors import UserError
from itae.base.memory import own_memory
from itae.images.transform import Transform

if TYPE_CHECKING:
    from itae.images.image_set import ImageSet


PREFETCH = 2  # batches decoded ahead of the consumer


def batches(
    images: ImageSet,
    transform: Transform,
    start: int,
    stop: int,
    batch_size: int,
    workers: int = 1,
    pinned: bool = False,
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
    workers, pinned
        As of `decoded`.
    """
    assert 0 <= start <= stop <= len(images), (start, stop, len(images))
    return decoded(images, transform, in_batches(range(start, stop), batch_size), workers, pinned)


def in_batches(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return the rows in parts of `size`, the last one perhaps smaller."""
    assert size >= 1, size
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def decoded(
    images: ImageSet, transform: Transform, spans: Iterable[Sequence[int]], workers: int = 1, pinned: bool = False
) -> Iterator[np.ndarray]:
    """Yield the images of each of `spans`, which are positions, as an uint8 array [b, S, S, 3].

    Parameters
    ----------
    images, transform, spans
        What is read, how it is brought to S x S pixels, and what comes together.
    workers
        Threads that decode ahead of the consumer, by at most two spans; 0 decodes in the calling thread.
        The threads end with the generator, also when it is closed early.
    pinned
        Whether arrays lie in memory that a GPU copies from while the next one is made; there has to be a GPU.

    Raises
    ------
    UserError
        For an image that cannot be decoded, in the consumer, with the image's id.
    """
    assert workers >= 0, workers
    left = deque(spans)
    shape = (transform.image_size, transform.image_size, 3)
    if workers == 0:
        for span in left:
            pixels_bSSC = _memory((len(span), *shape), pinned)
            for j, i in enumerate(span):
                pixels_bSSC[j] = _pixels(images, transform, i)
            yield pixels_bSSC
        return

    def fill(into: np.ndarray, i: int) -> None:
        into[...] = _pixels(images, transform, i)

    ahead: deque[tuple[np.ndarray, list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="itae-decode")
    try:
        while left or ahead:
            while left and len(ahead) <= PREFETCH:
                span = left.popleft()
                pixels_bSSC = _memory((len(span), *shape), pinned)
                ahead.append((pixels_bSSC, [pool.submit(fill, pixels_bSSC[j], i) for j, i in enumerate(span)]))
            pixels_bSSC, jobs = ahead.popleft()
            for job in jobs:
                job.result()
            yield pixels_bSSC
    finally:
        pool.shutdown(cancel_futures=True)


def _memory(shape: tuple[int, ...], pinned: bool) -> np.ndarray:
    if not pinned:
        return own_memory(shape, np.uint8)
    import torch

    return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()  # which the array keeps alive


def _pixels(images: ImageSet, transform: Transform, i: int) -> np.ndarray:
    """Read and transform image i; an error that is not the user's names the image too."""
    try:
        return images.pixels(i, transform)
    except UserError:
        raise
    except Exception as error:
        raise RuntimeError(f"image '{images.ids[i]}': {type(error).__name__}: {error}") from error
