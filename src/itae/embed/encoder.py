"""Pictures in, vectors of one space out: a backbone, a transform and an edit without a data set.

A store of embeddings answers for whole data sets. Who asks about a few pictures, one after the other, keeps an
`Encoder`: its model is built once, when the first picture comes, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.base.progress import progress
from itae.base.runtime import Runtime
from itae.edits.edit import AnyEdit
from itae.embed.source import Source
from itae.images.dataset import Dataset
from itae.images.files import Files
from itae.images.image_set import ImageSet
from itae.store.store import Store
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts

if TYPE_CHECKING:
    from itae.embed.worker import Worker


@dataclass(frozen=True)
class Encoder:
    """A frozen image encoder under one edit, whose numbers are all known.

    Parameters
    ----------
    backbone, facts
        The settings and what is known of the model.
    resize, decode
        How pictures come to it, see `itae.images.transform.Transform`.
    edit
        With its thresholds, if its rule has fitted ones; None is the untouched model.
    store
        Where data sets' embeddings are kept, and what is known of models.
    runtime
        Device, batch size and decoding threads.
    """

    backbone: Backbone
    facts: Facts
    resize: str
    decode: str
    edit: AnyEdit | None
    store: Store
    runtime: Runtime

    @cached_property
    def space(self) -> dict[str, Any]:
        """What its vectors may be compared with: plain values, the edit's among them."""
        return self.source_of_nothing.key(self.edit).space

    def source(self, dataset: Dataset) -> Source:
        """Return a data set seen through this backbone.

        Raises
        ------
        UserError
            If the data set's pictures would come to the model in another way.
        """
        for name in ("resize", "decode"):
            if (theirs := getattr(dataset, name)) != (ours := getattr(self, name)):
                raise UserError(f"dataset.{name}={theirs} is another space: here it is dataset.{name}={ours}.")
        return Source(dataset, dataset.open(), self.backbone, self.facts, self.store)

    def pictures(self, paths: Sequence[str]) -> ImageSet:
        """Return the pictures of files and folders, all of which can be decoded."""
        images = Files(paths=tuple(paths), resize=self.resize, decode=self.decode).open()
        if bad := images.bad():
            name, reason = next(iter(bad.items()))
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise UserError(f"{name}{more} can't be read as a picture ({reason}); mend it, or leave it out.")
        return images

    def __call__(self, images: ImageSet) -> np.ndarray:
        """Return one vector a picture, float32 [n, E], as the model has it.

        Raises
        ------
        UserError
            When memory is too little, or a vector is not finite.
        """
        with progress(len(images), "embedding", "images") as advance:
            vectors = self._worker.vectors(images, self.edit, advance)
        if len(bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            raise UserError(
                f"The embedding of {images.ids[bad[0]]!r} is not finite in backbone.precision="
                f"{self.backbone.precision}; use bf16 or fp32, or look at that picture."
            )
        return vectors

    def close(self) -> None:
        """Let go of the model, if one was built."""
        if "_worker" in vars(self):
            vars(self).pop("_worker").close()

    @cached_property
    def source_of_nothing(self) -> Source:
        """No picture at all, seen through this backbone."""
        dataset = Files(paths=(), resize=self.resize, decode=self.decode)
        return Source(dataset, ImageSet("files", "all", [], [], None, []), self.backbone, self.facts, self.store)

    @cached_property
    def _worker(self) -> Worker:
        from itae.embed.worker import Worker

        return Worker(self.source_of_nothing, self.source_of_nothing.images, self.runtime)
