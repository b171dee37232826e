"""What edits depend on is settled before a pass: thresholds are fitted, register neurons found, values gathered.

What shards were begun with comes first, then what is kept in the store (`itae.embed.kept`, `itae.embed.kept_arrays`);
the model is asked last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from itae.edits.bimodal import Fit
from itae.edits.edit import AnyEdit, Edit
from itae.edits.found import ByDetector
from itae.edits.register_mean import RegisterMeanEdit
from itae.edits.registers import RegisterEdit, RegisterNeurons
from itae.embed import kept_arrays
from itae.embed.kept import FITS, NEURONS
from itae.embed.resume import Way, kept_fits

if TYPE_CHECKING:
    from itae.edits.gathered import Gathered
    from itae.embed.on_ray import RayWorkers
    from itae.embed.source import Source
    from itae.embed.worker import Worker
    from itae.images.image_set import ImageSet
    from itae.store.store import Key

    Engine = Callable[[], Worker | RayWorkers]

Gathers = Edit | RegisterMeanEdit
"""Edits for which something may be gathered."""


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
    fits, gathered = _fits_and_values(source, images, engine, edits, made)
    unfound = {key: edit for key, edit in edits.items() if isinstance(edit, RegisterEdit) and edit.unfound}
    neurons = _found(source, images, engine, unfound)
    settled: dict[Key, dict[str, Any]] = {}
    for key, edit in edits.items():
        told = {str(layer): fit.as_json() for layer, fit in (fits.get(key) or _given(edit)).items()}
        settled[key] = {"fits": told, "diagnostics": made[key].diagnostics}
        if key in neurons:
            settled[key]["search"] = neurons[key].summary(unfound[key].settings.top_k)
        if key in gathered:
            settled[key]["gathered"] = gathered[key].summary()
    return settled, {
        key: _ready(edit, fits.get(key), neurons.get(key), gathered.get(key)) for key, edit in edits.items()
    }


def _fits_and_values(
    source: Source, images: ImageSet, engine: Engine, edits: Mapping[Key, AnyEdit | None], made: Mapping[Key, Way]
) -> tuple[dict[Key, dict[int, Fit]], dict[Key, Gathered]]:
    """Return the thresholds of edits, and what is gathered for them, with `settle`'s parameters."""
    unfitted = {key: edit for key, edit in edits.items() if isinstance(edit, ByDetector) and edit.unfitted}
    begun = {key: kept_fits(source.store, key, edit, len(images), made[key]) for key, edit in unfitted.items()}
    fits = {key: found for key, found in begun.items() if found is not None}
    left = {key: edit for key, edit in unfitted.items() if key not in fits}
    # The stream of their later blocks has values in it that are gathered in the earlier ones.
    together = {
        key: edit for key, edit in left.items() if edit.ungathered and len(edit.looks) > 1 and not edit.in_untouched
    }
    fits |= fitted(source, images, engine, {key: edit for key, edit in left.items() if key not in together})
    gathered, also = _gathered(source, images, engine, {
        key: edit if (thetas := fits.get(key)) is None else _with(edit, thetas)
        for key, edit in edits.items() if isinstance(edit, Edit | RegisterMeanEdit) and edit.ungathered
    })  # fmt: skip
    return fits | also, gathered


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


def _gathered(
    source: Source, images: ImageSet, engine: Engine, edits: Mapping[Key, Gathers]
) -> tuple[dict[Key, Gathered], dict[Key, dict[int, Fit]]]:
    """Return what is gathered for edits, and the thresholds that are fitted on the way."""
    root = source.store.root
    fits: dict[Key, dict[int, Fit]] = {}
    ready = dict(edits)
    for key, edit in edits.items():
        if isinstance(edit, Edit) and edit.unfitted:
            known = FITS.recall(root, source.fit_key(edit, images))
            if known is not None:
                fits[key], ready[key] = known, _with(edit, known)
    names = {key: source.gather_key(edit, images) for key, edit in ready.items()}
    found = {key: some for key, name in names.items() if (some := kept_arrays.recall(root, name)) is not None}
    left = {key: edit for key, edit in ready.items() if key not in found}
    for key, (some, fit) in (engine().gather_for(left) if left else {}).items():
        edit = left[key]
        if isinstance(edit, Edit) and edit.unfitted:
            fits[key] = fit
            FITS.remember(root, source.fit_key(edit, images), fit)
            edit = _with(edit, fit)
        found[key] = some
        kept_arrays.remember(root, source.gather_key(edit, images), some)
    return found, fits


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


def _ready(
    edit: AnyEdit | None,
    fits: dict[int, Fit] | None,
    neurons: RegisterNeurons | None,
    gathered: Gathered | None = None,
) -> AnyEdit | None:
    """Return the edit with what was fitted, found or gathered for it."""
    if isinstance(edit, ByDetector) and fits is not None:
        edit = edit.with_thetas({layer: fit.theta for layer, fit in fits.items()})
    if isinstance(edit, Edit | RegisterMeanEdit) and gathered is not None:
        return edit.with_gathered(gathered)
    if isinstance(edit, RegisterEdit) and neurons is not None:
        return edit.with_neurons(neurons)
    return edit


def _with(edit: Gathers, fits: Mapping[int, Fit]) -> Gathers:
    """Return an edit with its thresholds, if it has any."""
    return edit.with_thetas({layer: fit.theta for layer, fit in fits.items()}) if isinstance(edit, Edit) else edit
