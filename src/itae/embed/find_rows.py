"""Which entries of the store have rows for those in the making, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.edits.found import ByDetector
from itae.embed.diagnostics.choose import collector
from itae.embed.row_space import row_space, without_numbers
from itae.embed.rows import Taken
from itae.store.donors import Donor, donors, places
from itae.store.entry import FORMAT, canonical

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.embed.source import Source
    from itae.images.image_set import ImageSet
    from itae.store.store import Key

log = logging.getLogger(__name__)
Settled = Mapping["Key", Mapping[str, Any]]
_There = list[tuple[Donor, dict[str, Any]]]


def find_rows(
    source: Source, images: ImageSet, edits: Mapping[Key, AnyEdit | None], settled: Settled
) -> dict[Key, Taken]:
    """Return, for each key, the rows of its images that other entries hold.

    Parameters
    ----------
    source, images
        The data set seen through the backbone, and those of its images that can be decoded.
    edits
        With what was fitted and found for them.
    settled
        That as plain values, and whether diagnostics are wanted: then entries without them give nothing.
    """
    height, width = source.facts.grid
    digests, folder = as_array(images.digests), next(iter(edits)).folder[1]
    there = [(donor, space) for donor in donors(source.store.root, folder) if (space := row_space(donor.meta))]
    alike: dict[str, list[Donor]] = {}
    for donor, space in there:
        alike.setdefault(canonical(space), []).append(donor)
    taken: dict[Key, Taken] = {}
    for key, edit in edits.items():
        whole = bool(settled[key]["diagnostics"])
        names = [name for name in collector(edit, source.facts, (), whole, len(images)).rows() if name != "vectors"]
        taken[key] = Taken(len(images), names, height * width)
        some = alike.get(canonical(_space_of(key, settled)), [])
        taken[key].take(digests, [donor for donor in some if donor.meta.get("diagnostics") or not whole])
    _tell(taken, len(images))
    _tell_other_numbers([key for key, edit in edits.items() if isinstance(edit, ByDetector) and edit.calibration is None
                         and not taken[key].given()], settled, there, digests)  # fmt: skip
    return taken


def as_array(digests: list[bytes]) -> np.ndarray:
    """Return digests as uint8 [n, 32]."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _space_of(key: Key, settled: Settled) -> dict[str, Any]:
    """Return what rows depend on; nothing where that is not all told, as of neurons that nobody searched for."""
    return row_space({"format": FORMAT, "space": key.space, **settled[key]}) or {}


def _tell(taken: Mapping[Key, Taken], n: int) -> None:
    lacking = [int(some.lacking().sum()) for some in taken.values()]
    for left in sorted(set(lacking) - {n}):
        whose = f" of {lacking.count(left)} of {len(lacking)} edits" if len(set(lacking)) > 1 else ""
        passes = "1 image is left to pass" if left == 1 else f"{left:,} images are left to pass"
        log.info("%s of %s rows%s are taken from earlier embeddings; %s.", f"{n - left:,}", f"{n:,}", whose, passes)


def _tell_other_numbers(keys: list[Key], settled: Settled, there: _There, digests: np.ndarray) -> None:
    """Say so, once, where rows can't be taken since the thresholds that were fitted are others than before."""
    for key in keys:
        fits, ours = settled[key]["fits"], _space_of(key, settled)
        near = [donor for donor, space in there if fits and _differ_in_numbers(space, ours)]
        common = [_common(donor, digests) for donor in near]
        if any(common):
            theirs = near[int(np.argmax(common))].meta["fits"]
            layer = next(layer for layer, fit in fits.items() if theirs[layer]["theta"] != fit["theta"])
            log.warning(
                "The thresholds that were fitted on these images (block %s: %s) are not those of earlier embeddings of "
                "%s of them (%s), so no row is taken from these. To hold them while images come and go, write them "
                "to a file with itae calibrate FILE and the words of this run, and set detector.calibration=FILE.",
                layer, _told(fits[layer]["theta"]), f"{max(common):,}", _told(theirs[layer]["theta"]),
            )  # fmt: skip
            return


def _differ_in_numbers(space: dict[str, Any], ours: dict[str, Any]) -> bool:
    alike = canonical(without_numbers(space)) == canonical(without_numbers(ours))
    return alike and canonical(space) != canonical(ours)


def _common(donor: Donor, digests: np.ndarray) -> int:
    theirs = donor.digests()
    return 0 if theirs is None else int((places(digests, theirs) >= 0).sum())


def _told(theta: float | None) -> str:
    return "none" if theta is None else f"{theta:.7g}"
