"""A data set seen through a backbone: the key of its embeddings, and the room that they take."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.edits.augment import AugmentEdit
from itae.edits.edit import AnyEdit, Edit
from itae.edits.found import ByDetector, told_thetas
from itae.edits.register_mean import RegisterMeanEdit
from itae.edits.registers import RegisterEdit
from itae.embed.diagnostics.choose import collector
from itae.images.dataset import Dataset
from itae.images.image_set import ImageSet
from itae.images.transform import Transform
from itae.images.walk import listed
from itae.store.entry import plain
from itae.store.store import Key, Store
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts

SHARD = 256  # images, at least: what a killed run loses at most
_HEADERS = 4096  # bytes of a shard beside its arrays: their names and shapes
_ENTRY = 24_000  # bytes of an entry that no setting changes: meta.json, the edges of the histograms

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A data set seen through a backbone: all that embeddings depend on but the edit.

    Parameters
    ----------
    dataset, images
        The settings and what was found.
    backbone, facts
        The settings and what is known of the model.
    store
        Where embeddings are kept.
    """

    dataset: Dataset
    images: ImageSet
    backbone: Backbone
    facts: Facts
    store: Store

    @classmethod
    def open(cls, dataset: Dataset, backbone: Backbone, store: Store) -> Source:
        """Find the images and learn of the model; raises `UserError` for whatever is wrong with either."""
        return cls(dataset, dataset.open(), backbone, backbone.facts(store.root / ".facts"), store)

    @cached_property
    def transform(self) -> Transform:
        """How an image comes to the backbone."""
        facts = self.facts
        size, data = self.backbone.image_size, self.dataset
        return Transform(size, data.resize, facts.interpolation, facts.mean, facts.std, data.decode)

    def picture(self, name: str) -> np.ndarray:
        """Return what the backbone sees of the image of that id, uint8 [S, S, 3]."""
        return self.images.pixels(self.images.ids.index(name), self.transform)

    @cached_property
    def _space(self) -> dict[str, Any]:
        return self.backbone.space(self.facts) | {"transform": self.transform.spec()}

    @cached_property
    def stamps(self) -> list[tuple[int, int] | None]:
        """Size and time of change of each image's file, from before it was fingerprinted."""
        return self.images.stamps(range(len(self.images)))

    @cached_property
    def _dataset(self) -> dict[str, Any]:
        assert self.stamps is not None  # taken first: a file that changes from here on is noticed
        return {
            "fingerprint": self.images.fingerprint(),
            "split": self.images.split,
            "images": len(self.images),
        }

    def space(self, edit: AnyEdit | None) -> dict[str, Any]:
        """Return what vectors under `edit` may be compared with, plain values; no image is read for it."""
        spec = edit.spec(self.facts.depth, self.backbone.pool) if edit else None
        told: dict[str, Any] = plain(self._space | {"edit": spec}, "space")
        return told

    def key(self, edit: AnyEdit | None) -> Key:
        """Return the key of this source under `edit`."""
        folder = (f"{self.images.name}-{self.images.split}", self.facts.architecture)
        return Key(self.space(edit), self._dataset, folder)

    @property
    def place(self) -> Hashable:
        """Equal for sources whose embeddings are the same entries of the same store."""
        return self.key(None), str(self.store.root)

    def search_key(self, edit: RegisterEdit, images: ImageSet) -> dict[str, Any]:
        """Return all that a search for register neurons depends on; how embeddings are pooled is not.

        `images` are those that can be decoded; of the ones that are drawn their bytes count, neither names nor order.
        """
        settings = edit.settings
        drawn = drawn_rows(len(images), settings.calibration_images, settings.calibration_seed)
        return {"space": self._unpooled, "images": _content(images, drawn), "search": settings.search_spec()}

    def search_key_before(self, edit: RegisterEdit) -> dict[str, Any]:
        """Return the key that searches had when it told the data set by its names, too."""
        return {"space": self._unpooled, "dataset": self._dataset, "search": edit.settings.search_spec()}

    def fit_key(self, edit: ByDetector, images: ImageSet) -> dict[str, Any]:
        """Return all that fitted thresholds depend on, as `search_key` does for neurons.

        Where the untouched model is looked at it is neither attenuator nor control; the first block that is looked at
        is as that has it.
        """
        judge = edit.judge
        drawn = drawn_rows(len(images), judge.calibration_images, judge.calibration_seed)
        spec = edit.spec(self.facts.depth, self.backbone.pool)
        what = {"method": spec["method"], "judge": key_of(judge)} if len(edit.looks) == 1 or edit.in_untouched else spec
        return {"space": self._unpooled, "images": _content(images, drawn), "looks": list(edit.looks), "edit": what}

    def gather_key(self, edit: Edit | RegisterMeanEdit, images: ImageSet) -> dict[str, Any]:
        """Return all that what is gathered for an edit depends on, its thresholds among it; None while unfitted.

        Values of one edited block are of the untouched stream, whatever is done with them there.
        """
        asks: Any = edit if isinstance(edit, RegisterMeanEdit) else edit.attenuator
        drawn = drawn_rows(len(images), asks.calibration_images, asks.calibration_seed)
        thetas = edit.thetas if isinstance(edit, Edit) else None
        spec = edit.spec(self.facts.depth, self.backbone.pool)
        unread = ("attenuator",) if len(edit.layers) == 1 else ()
        return {
            "space": self._unpooled,
            "images": _content(images, drawn),
            "edit": {name: value for name, value in spec.items() if name not in unread},
            "thetas": None if thetas is None else told_thetas(thetas),
        }

    @property
    def _unpooled(self) -> dict[str, Any]:
        return {name: value for name, value in self._space.items() if name != "pool"}

    def room(self, edits: Iterable[AnyEdit | None], n: int, shard: int | None = None, diagnostics: bool = True) -> int:
        """Return the bytes that it takes to make `n` embeddings under each of `edits`.

        Shards go when their entry is there; while it is put together there are both.
        """
        shard = shard or SHARD
        names = sum(len(name.encode("utf-8", "surrogateescape")) + 1 for name in self.images.ids)
        lists = names + (8 + 32) * n  # and labels and digests
        each = []
        for edit in edits:
            found = collector(edit, self.facts, range(shard), diagnostics, shard)
            some = sum(array.nbytes for array in found.some().values())
            shards = -(-n // shard) * (_HEADERS + found.nbytes)
            entry = lists + 2 * found.nbytes + _ENTRY  # whose sums have eight bytes each
            each.append(4 * n * self.backbone.width(self.facts) + some + max(shards, entry))
        return sum(each) + max(each, default=0)

    def check(self, edit: AnyEdit | None) -> None:
        """Raise a `UserError` if the model lacks what `edit` needs, or nothing of an image would be left in a view."""
        if edit is None:
            return
        edit.check(self.facts)
        size = self.backbone.image_size
        if isinstance(edit, AugmentEdit) and edit.farthest >= size:
            raise UserError(
                f"edit.shift={edit.settings.shift}: the model takes {size} x {size} pixels, and a picture that is "
                f"moved by so many is out of sight; use {size - 1} at most, better a tenth of that."
            )


def shard_of(batch_size: int) -> int:
    """Return how many images a shard has: whole batches, `SHARD` or a little more."""
    return batch_size * math.ceil(SHARD / batch_size)


def drawn_rows(n: int, count: int, seed: int) -> list[int]:
    """Return the positions of `count` of `n` images that are drawn with `seed`, ascending."""
    rows: list[int] = np.sort(np.random.default_rng(seed).choice(n, min(n, count), replace=False)).tolist()
    return rows


def _content(images: ImageSet, rows: Iterable[int]) -> str:
    """Return a SHA-256 (hex) of the bytes of images, whatever their names, labels and order."""
    return hashlib.sha256(b"".join(sorted(images.digests[row] for row in rows))).hexdigest()


def whole_images(source: Source) -> tuple[ImageSet, dict[str, str]]:
    """Return the images that can be decoded and why the others can't, or stop if others aren't allowed."""
    bad = source.images.bad()
    if not bad:
        return source.images, {}
    if source.dataset.bad_image == "error":
        stop_for(bad)
    name = next(iter(bad))
    images = source.images.without(bad)
    log.warning("%d of %d images can't be decoded and are left out, %r first.", len(bad), len(source.images), name)
    if lost := [name for name in images.empty_classes if name not in source.images.empty_classes]:
        log.warning("%d classes lost all their images with these (%s).", len(lost), listed(lost))
    return images, bad


def stop_for(bad: Mapping[str, str]) -> NoReturn:
    """Raise a `UserError` that names the first of the images that can't be decoded."""
    name, reason = next(iter(bad.items()))
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    raise UserError(
        f"The image {name!r}{more} can't be decoded ({reason}); mend or remove it, or set dataset.bad_image=skip to "
        "leave such images out."
    )
