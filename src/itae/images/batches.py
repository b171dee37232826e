"""Images as batches of pixels, decoded ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
    shard: int | None = None,
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
    workers
        Threads that decode ahead of the consumer, by at most two batches; 0 decodes in the calling thread.
        The threads end with the generator, also when it is closed early.
    shard
        A batch never crosses a multiple of this many images.
    pinned
        Whether batches lie in memory that a GPU copies from while the next one is made; there has to be a GPU.

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
        while spans or ahead:
            while spans and len(ahead) <= PREFETCH:
                span = spans.popleft()
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
