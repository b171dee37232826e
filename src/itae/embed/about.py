"""What is known of an edited pass, the same for every task: what was flagged, what moved, and what to know of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.names import choice_of, public_name
from itae.edits.edit import Edit, passes_of
from itae.edits.neighbour_mean import NeighbourMeanEdit
from itae.edits.shuffle import Shuffle
from itae.embed.diagnostics.flags import by_layer
from itae.embed.diagnostics.norms import by_site
from itae.embed.diagnostics.outliers import outliers_left
from itae.embed.diagnostics.sinks import SILENT, flagged_values, sinks_of
from itae.images.image_set import count_classes

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.embed.source import Source
    from itae.store.entry import Embeddings


def about_edit(source: Source, edit: AnyEdit | None, baseline: Embeddings, edited: Embeddings) -> dict[str, Any]:
    """Return what ``result.json`` says of an edit and of the images, whatever is done with the embeddings.

    Returns
    -------
    dict
        ``edit``, its spec or None; ``passes``, how many forward passes an image takes; ``layers``, rows of
        `itae.embed.diagnostics.flags.by_layer`; ``artifact_rate`` by layer; ``bimodality``, its mean over them;
        ``norms`` by site of the untouched model; ``sinks`` by block, see `itae.embed.diagnostics.sinks.sinks_of`;
        ``seen``, see `seen_of`, by side where there is something to say; ``device``, on which the embeddings were
        computed; ``fits``, ``registers``, ``gathered``, ``grid``, ``images``.
    """
    layers = by_layer(edited.diagnostics, len(edited.ids))
    sides = {"baseline": baseline, "edited": edited}
    return {
        "edit": edit.spec(source.facts.depth, source.backbone.pool) if edit else None,
        "passes": passes_of(edit),
        "artifact_rate": {str(row["layer"]): row["artifact_rate"] for row in layers},
        "bimodality": mean_known(row["bimodality"] for row in layers),
        "layers": layers,
        "norms": by_site(baseline.diagnostics),
        "sinks": sinks_of(baseline.diagnostics, edited.diagnostics),
        "seen": {side: seen for side, entry in sides.items() if (seen := seen_of(entry))},
        "device": ", ".join(dict.fromkeys(str(entry.meta.get("device", "?")) for entry in sides.values())),
        "fits": edited.meta["fits"],
        "registers": _registers(edited),
        "gathered": edited.meta.get("gathered"),
        "grid": list(source.facts.grid),
        "images": {"n": len(edited.ids), "classes": count_classes(edited.labels), "skipped": edited.meta["skipped"]},
    }


def seen_of(entry: Embeddings) -> dict[str, int] | None:
    """Return of how many ``images`` histograms, maps, norms and attention are, and how many of these are ``gone``.

    None where they are of all images of the set, or there are none. Of many images, norms and attention are looked at
    in some.
    """
    rows = entry.meta.get("rows") or {}
    if "seen" not in rows or (rows["seen"], rows["gone"]) == (entry.meta["n"], 0):
        return None
    return {"images": rows["seen"], "gone": rows["gone"]}


def told_seen(seen: Mapping[str, int]) -> str:
    """Return what `seen_of` says, in words."""
    return f"{seen['images']} images" + (f", {seen['gone']} of them no longer in the set" if seen["gone"] else "")


def _whose(baseline: Embeddings, edited: Embeddings) -> list[str]:
    """Say of which images the pictures are, where these are not those of the set."""
    what = {"Norms": seen_of(baseline), "Histograms, maps and attention": seen_of(edited)}
    alike = len({str(seen) for seen in what.values()}) == 1
    told = {"Histograms, maps, norms and attention": seen_of(edited)} if alike else what
    return [
        f"{name} are of {told_seen(seen)}; shares of flagged patches are of all {edited.meta['n']:,}."
        for name, seen in told.items()
        if seen
    ]


def mean_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known, or None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _registers(edited: Embeddings) -> dict[str, Any] | None:
    """Return what a search for register neurons found, and what is left of the outliers, or None without a search."""
    found = edited.meta.get("search")
    return found and found | {"outliers_left": outliers_left(edited.diagnostics)}


def notes_on_edit(
    source: Source,
    edit: AnyEdit | None,
    layers: Sequence[dict[str, Any]],
    baseline: Embeddings,
    edited: Embeddings,
) -> list[str]:
    """Say what a reader has to know of backbone and edit before believing a number."""
    notes = source.facts.caveats(source.dataset.name)
    if skipped := edited.meta["skipped"]:
        notes.append(f"{len(skipped)} images could not be decoded and are left out.")
    notes += _whose(baseline, edited)
    if edit is None:
        return [*notes, "No edit: detector, layers or strength leave nothing to do, so both columns are one backbone."]
    if (told := getattr(getattr(edit, "judge", None), "caveat", None)) and (
        caveat := told(math.prod(source.facts.grid))
    ):
        notes.append(caveat)
    notes += _whether_it_did_anything(edit, layers, baseline, edited)
    notes += _nothing_to_take(edited)
    unfit = [f"block {layer}: {fit['reason']}" for layer, fit in edited.meta["fits"].items() if fit["theta"] is None]
    if unfit:
        of = len(edited.meta["fits"])
        notes.append(f"No two modes in {len(unfit)} of {of} blocks, nothing flagged there ({unfit[0]}).")
    if tied := sum(row["tied"] for row in layers):
        notes.append(
            f"In {tied} (image, block) pairs too many patches have one and the same signal, as in a blank picture, for "
            "the rule to go by: nothing was flagged there."
        )
    if alone := sum(row["left_alone"] for row in layers):
        if isinstance(edit, NeighbourMeanEdit):
            return [
                *notes,
                f"In {alone} (image, block) pairs some flagged patch had flagged neighbours alone and stayed.",
            ]
        sided = hasattr(getattr(edit, "detector", None), "side")
        hint = "; detector.side chooses which end of the signal is flagged" if sided else ""
        notes.append(f"Every patch (or every patch of some head) was flagged in {alone} (image, block) pairs{hint}.")
    return notes + _silence_broken(edit, edited)


def _silence_broken(edit: AnyEdit, edited: Embeddings) -> list[str]:
    """Say where patches have values that are next to nothing, and what they get is not what a reader may think.

    An attenuator hands the attention that was paid to them to others; a control gives them others of their kind.
    """
    shuffled = isinstance(edit, Edit) and isinstance(edit.attenuator, Shuffle)
    if not isinstance(edit, Edit) or not (shuffled or getattr(edit.attenuator, "renormalises", False)):
        return []
    short = {layer: ratio for layer, ratio in flagged_values(edited.diagnostics).items() if ratio < SILENT}
    if not short:
        return []
    least = min(short, key=lambda layer: short[layer])
    name = choice_of(public_name(type(edit.attenuator)))
    more = f" (below {SILENT:g} in {len(short)} of {len(edit.layers)} blocks)" if len(edit.layers) > 1 else ""
    told = f"In block {least} the values of flagged patches are {short[least]:.2g} times as long as those of the others"
    if shuffled:
        return [
            f"{told}{more}. What control=shuffle puts in their place are such values of other images, next to nothing "
            "for next to nothing: that it moves little says nothing for or against the edit."
        ]
    return [
        f"{told}{more}. A head that pays attention to such patches says next to nothing, and may mean to; "
        f"attenuator={name} hands that attention to other patches, so that it speaks. attenuator=fade takes it and "
        "hands it to nobody: try that beside this one before you believe a gain or a harm."
    ]


def _nothing_to_take(edited: Embeddings) -> list[str]:
    """Say in which blocks there are no values to put in the place of flagged patches."""
    gathered = edited.meta.get("gathered") or {}
    values = gathered.get("values") or {}
    empty = [layer for layer, count in values.items() if not count]
    if not empty:
        return []
    return [
        f"control=shuffle: in {len(empty)} of {len(values)} edited blocks (block {empty[0]}) nothing was flagged in "
        f"{gathered['images']} calibration images, so there is no value of another image and nothing is changed there."
    ]


def _whether_it_did_anything(
    edit: AnyEdit, layers: Sequence[dict[str, Any]], baseline: Embeddings, edited: Embeddings
) -> list[str]:
    found = edited.meta.get("search")
    if found and not found["neurons"]:
        return [
            f"Nothing was edited: of {found['images']} images none has an outlier ({found['reason']}), so both columns "
            "are one backbone."
        ]
    if found and (left := outliers_left(edited.diagnostics)) is not None and left > found["outlier_rate"] / 2:
        return [
            f"Outliers are left in {100 * left:.2f} % of the patches, of {100 * found['outlier_rate']:.2f} % before: "
            "these neurons don't make most of them."
        ]
    if layers and not any(row["artifact_rate"] for row in layers):
        return ["Nothing was flagged: the edited backbone is the baseline."]
    if _changed_by_nobody_else(edit, baseline, edited):
        return [
            "control=shuffle changed no embedding: values were gathered of the very images alone that have something "
            "flagged, as where only one has; give it more images, or another threshold."
        ]
    if np.array_equal(baseline.vectors, edited.vectors):
        return ["The edit changed no embedding: what it edits reaches no token that is pooled."]
    return []


def _changed_by_nobody_else(edit: AnyEdit, baseline: Embeddings, edited: Embeddings) -> bool:
    """Whether patches get values of other images, there are values, and no embedding is another but for rounding."""
    if not isinstance(edit, Edit) or not isinstance(edit.attenuator, Shuffle):
        return False
    some = any(((edited.meta.get("gathered") or {}).get("values") or {}).values())
    off = np.abs(np.subtract(baseline.vectors, edited.vectors, dtype=np.float64)).max(initial=0.0)
    return some and bool(off <= 1e-5 * np.abs(baseline.vectors).max(initial=0.0))
