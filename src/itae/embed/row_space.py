"""What a row depends on beside the image: the space of its entry, with what was fitted or searched as numbers.

An entry is found by its rules, so that a hit needs no model. Its rows depend on what came of these: thresholds fitted
on two folders, or taken from a calibration, may be the same. All of it is told by `meta.json`, also of entries that
were there before rows were taken from any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itae.edits.detect import RULE_NUMBERS
from itae.store.entry import FORMAT

_FITTED_BY = {*RULE_NUMBERS["bimodal"], "fit"}
_GATHERED_BY = {"calibration_images", "calibration_seed"}
_SEARCHED_BY = {"top_k", "highest_layer", "calibration_images", "calibration_seed", "rule", "threshold", "fit"}


def row_space(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the rows of an entry depend on, as plain values; None if it doesn't say, or has no digests.

    Parameters
    ----------
    meta
        What `meta.json` says; of an entry in the making ``format``, ``space``, ``fits``, ``search`` and ``gathered``
        will do.
    """
    if meta["format"] != FORMAT:
        return None
    space, edit = meta["space"], meta["space"].get("edit")
    if edit is None:
        return dict(space)
    if "registers" not in edit:
        told = _with_gathered(edit, meta.get("gathered"))
        return None if told is None else {**space, "edit": _with_thetas(told, meta.get("fits") or {})}
    found = meta.get("search") or {}
    if "neurons" not in found or "theta" not in found:
        return None
    neurons = sorted([layer, neuron] for layer, neuron, _ in found["neurons"])
    rule = {name: value for name, value in edit["registers"].items() if name not in _SEARCHED_BY}
    return {**space, "edit": {**edit, "registers": {**rule, "neurons": neurons, "theta": found["theta"]}}}


def without_numbers(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row space less the numbers that were fitted or searched."""
    edit = dict(space.get("edit") or {})
    for part, names in (("detector", {"thetas"}), ("registers", {"neurons", "theta"})):
        if part in edit:
            edit[part] = {name: value for name, value in edit[part].items() if name not in names}
    return {**space, "edit": edit}


def _with_gathered(edit: Mapping[str, Any], gathered: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an edit with the digest of what was gathered, in the place of the images; None where that isn't known."""
    parts = [part for part in ("attenuator", "register_mean") if _GATHERED_BY & set(edit.get(part) or ())]
    if not parts:
        return dict(edit)
    if gathered is None:
        return None
    told = {part: {name: value for name, value in edit[part].items() if name not in _GATHERED_BY} for part in parts}
    return {**edit, **told, "gathered": gathered["digest"]}


def _with_thetas(edit: Mapping[str, Any], fits: Mapping[str, Any]) -> dict[str, Any]:
    if not fits:
        return dict(edit)
    detector = {name: value for name, value in edit["detector"].items() if name not in _FITTED_BY}
    if isinstance(detector.get("match"), Mapping):
        detector["match"] = {name: value for name, value in detector["match"].items() if name not in _FITTED_BY}
    return {**edit, "detector": {**detector, "thetas": {layer: fit["theta"] for layer, fit in fits.items()}}}
