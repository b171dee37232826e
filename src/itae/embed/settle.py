"""What edits depend on is settled before a pass: thresholds are fitted and register neurons found, or known already.

What shards were begun with comes first, then what is kept in the store (`itae.embed.kept`); the model is asked last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from itae.edits.bimodal import Fit
from itae.edits.edit import AnyEdit
from itae.edits.found import ByDetector
from itae.edits.registers import RegisterEdit, RegisterNeurons
from itae.embed.kept import FITS, NEURONS
from itae.embed.resume import Way, kept_fits

if TYPE_CHECKING:
    from itae.embed.on_ray import RayWorkers
    from itae.embed.source import Source
    from itae.embed.worker import Worker
    from itae.images.image_set import ImageSet
    from itae.store.store import Key

    Engine = Callable[[], Worker | RayWorkers]


def settle(
    source: Source, images: ImageSet, engine: Engine, edits: Mapping[Key, AnyEdit | None], made: Mapping[Key, Way]
) -> tuple[dict[Key, dict[str, Any]], dict[Key, AnyEdit | None]]:
    """Return what the shards of each key are made with, as plain values, and the edits with it.

    Parameters
    ----------
    source, images
        The data set seen through the backbone, and those of its images that can be decoded.
    engine
        Gives the model, to fit and to search.
    edits, made
        Of each entry that is to be made, and how its shards are.
    """
    unfitted = {key: edit for key, edit in edits.items() if isinstance(edit, ByDetector) and edit.unfitted}
    begun = {key: kept_fits(source.store, key, edit, len(images), made[key]) for key, edit in unfitted.items()}
    fits = {key: found for key, found in begun.items() if found is not None}
    fits |= fitted(source, images, engine, {key: edit for key, edit in unfitted.items() if key not in fits})
    unfound = {key: edit for key, edit in edits.items() if isinstance(edit, RegisterEdit) and edit.unfound}
    neurons = _found(source, images, engine, unfound)
    settled: dict[Key, dict[str, Any]] = {}
    for key, edit in edits.items():
        told = {str(layer): fit.as_json() for layer, fit in (fits.get(key) or _given(edit)).items()}
        settled[key] = {"fits": told, "diagnostics": made[key].diagnostics}
        if key in neurons:
            settled[key]["search"] = neurons[key].summary(unfound[key].settings.top_k)
    return settled, {key: _ready(edit, fits.get(key), neurons.get(key)) for key, edit in edits.items()}


def fitted(
    source: Source, images: ImageSet, engine: Engine, edits: Mapping[Key, ByDetector]
) -> dict[Key, dict[int, Fit]]:
    """Return the thresholds of edits, those that were fitted before on the same images as they are kept."""
    root = source.store.root
    keys = {key: source.fit_key(edit, images) for key, edit in edits.items()}
    known = {key: FITS.recall(root, name) for key, name in keys.items()}
    fits = {key: found for key, found in known.items() if found is not None}
    if to_fit := {key: edit for key, edit in edits.items() if key not in fits}:
        for key, found in engine().calibrate(to_fit).items():
            fits[key] = found
            FITS.remember(root, keys[key], found)
    return fits


def _found(
    source: Source, images: ImageSet, engine: Engine, edits: Mapping[Key, RegisterEdit]
) -> dict[Key, RegisterNeurons]:
    """Return the register neurons of edits; a worker keeps what it finds itself, one search after the other."""
    root = source.store.root
    known = {
        key: NEURONS.recall(root, source.search_key(edit, images))
        or NEURONS.recall(root, source.search_key_before(edit))
        for key, edit in edits.items()
    }
    found = {key: neurons for key, neurons in known.items() if neurons is not None}
    to_search = {key: edit for key, edit in edits.items() if key not in found}
    return found | (engine().search(to_search) if to_search else {})


def _given(edit: AnyEdit | None) -> dict[int, Fit]:
    """Return the thresholds that an edit came with."""
    if not isinstance(edit, ByDetector) or edit.thetas is None:
        return {}
    return {
        layer: Fit(theta, "no two modes in the calibration" if math.isnan(theta) else "from a calibration")
        for layer, theta in edit.thetas.items()
        if layer in edit.looks
    }


def _ready(edit: AnyEdit | None, fits: dict[int, Fit] | None, neurons: RegisterNeurons | None) -> AnyEdit | None:
    """Return the edit with what was fitted or found for it."""
    if isinstance(edit, ByDetector) and fits is not None:
        return edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    if isinstance(edit, RegisterEdit) and neurons is not None:
        return edit.with_neurons(neurons)
    return edit
