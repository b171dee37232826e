"""What the page of a base tells, gathered from one of its versions.

Shapes: M positions of a snapshot, N live rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from itae.knowledge.curate.duplicates import THRESHOLD, Group, duplicates
from itae.knowledge.curate.outliers import outliers
from itae.knowledge.curate.suspects import suspects
from itae.knowledge.disk.folder import is_url
from itae.knowledge.ledger import journal
from itae.knowledge.near.held_out import draw
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.pages.shown_rows import details, looks_of, place_of
from itae.knowledge.records.snapshot import NONE as NO_LABEL
from itae.knowledge.records.snapshot import SEVERAL
from itae.look.embedding_figures import POINTS, project
from itae.look.page.knowledge_data import (
    MOVED,
    NONE,
    THERE,
    AboutBase,
    Duplicates,
    Edit,
    Map,
    Outlier,
    Picture,
    Source,
    Suspect,
)

if TYPE_CHECKING:
    from itae.knowledge.base import KnowledgeBase
    from itae.knowledge.records.snapshot import Snapshot

MOST_ROWS = 50_000
"""Of a base with more rows the page is made without what takes as long as to look for the neighbours of all of them."""
LIKELY = 0.5
"""The score from which a row is shown as a suspect."""
_SUSPECTS, _GROUPS, _OUTLIERS, _NEAR, _LOST = 50, 200, 24, 6, 200  # shown, at most


def page_of_base(base: KnowledgeBase, at: int | str | None = None, device: str = "auto") -> tuple[AboutBase, Picture]:
    """Return what the page of a base tells, and how its rows look: what `write_base_page` takes.

    Parameters
    ----------
    base
        The base.
    at
        A version or tag; the newest by default.
    device
        See `itae.knowledge.near.neighbours.nearest`.

    Raises
    ------
    UserError
        When there is no such version, or it is damaged.
    """
    snapshot = base.snapshot(at)
    found, notes = _curated(snapshot, device)
    states, lost = _pictures(base, snapshot)
    sources = _sources(snapshot)
    about = AboutBase(
        name=os.path.basename(place_of(base).rstrip("/")),
        place=place_of(base),
        version=snapshot.version,
        root=snapshot.root,
        rows=len(snapshot),
        labels={name: sum(one.labels.get(name, 0) for one in sources) for name in snapshot.label_names},
        unlabelled=int((snapshot.labels_M[snapshot.live] == NO_LABEL).sum()),
        groups=len(np.unique(snapshot.groups_M[snapshot.live])),
        tags={name: version for name, version in base.tags().items() if version <= snapshot.version},
        images=base.about.images,
        space=_in_words(base, snapshot),
        identity=base.about.space,
        sources=sources,
        edits=[_edit(one) for one in base.log() if one.edit <= snapshot.version],
        pictures=states,
        lost=lost,
        map=_map(snapshot),
        notes=notes,
        **found,
    )
    return replace(about, details=details(snapshot, _named(about))), looks_of(base, snapshot)


def _named(about: AboutBase) -> Iterator[str]:
    for suspect in about.suspects or ():
        yield suspect.id
        yield from (name for name, _ in suspect.near)
    for group in about.duplicates or ():
        yield from group.ids
    yield from (one.id for one in about.outliers or ())
    yield from about.lost
    yield from about.map.ids if about.map else ()


def _curated(snapshot: Snapshot, device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return suspects, duplicates and outliers, as far as they are looked for, and how that was."""
    n = len(snapshot)
    if not n:
        return {}, {}
    if n > MOST_ROWS:
        verbs = ("suspects", "duplicates", "outliers")
        told = f"Of more than {MOST_ROWS:,} rows a page looks for none; itae knowledge %s does."
        return {}, {verb: told % verb for verb in verbs}
    groups = duplicates(snapshot)
    far = outliers(snapshot, _OUTLIERS, device)
    found = {
        "suspects": _suspects(snapshot, device) if len(snapshot.voters) else None,
        "duplicates": [_group(snapshot, one) for one in groups[:_GROUPS]],
        "outliers": [Outlier(snapshot.ids[one.position], one.distance, one.label) for some in far for one in some],
    }
    shown = f"; the first {_GROUPS} of {len(groups):,} groups are shown" if len(groups) > _GROUPS else ""
    notes = {
        "suspects": f"All {len(snapshot.voters):,} rows that have a label were held against their nearest, those of "
        f"their own group left out; shown are those of a score of {LIKELY} or more, the {_SUSPECTS} highest at most.",
        "duplicates": f"Nearly the same are pictures of a similarity of {THRESHOLD} or more{shown}.",
    }
    return found, notes if len(snapshot.voters) else {"duplicates": notes["duplicates"]}


def _suspects(snapshot: Snapshot, device: str) -> list[Suspect]:
    found = [one for one in suspects(snapshot, _SUSPECTS, device=device) if one.score >= LIKELY]
    if not found:
        return []
    rows = np.array([one.position for one in found])
    groups = Excluded(snapshot.groups_M, snapshot.groups_M[rows])
    near, similar = nearest(snapshot, snapshot.vectors_ME[rows], _NEAR, snapshot.voters, groups, device)
    beside = [
        tuple((snapshot.ids[i], s) for i, s in zip(*both, strict=True) if i != MISSING)
        for both in zip(near.tolist(), similar.tolist(), strict=True)
    ]
    return [
        Suspect(snapshot.ids[one.position], one.score, one.says, one.suggested, some)
        for one, some in zip(found, beside, strict=True)
    ]


def _group(snapshot: Snapshot, group: Group) -> Duplicates:
    ids = tuple(snapshot.ids[i] for i in group.positions)
    return Duplicates(ids, None if group.same_bytes else group.similarity)


def _edit(one: journal.Edit) -> Edit:
    counts = one.counts
    return Edit(one.edit, one.verb, one.who, datetime.fromisoformat(one.when), one.why, counts["added"],
                counts["changed"], counts["deleted"], counts["rows"])  # fmt: skip


def _sources(snapshot: Snapshot) -> list[Source]:
    """Return what came from each source, by columns: a base may have a million rows."""
    live = snapshot.live
    table = snapshot.table.select(["source", "time"]).take(pa.array(live))
    codes = table.column("source").combine_chunks().dictionary_encode()
    codes_N = codes.indices.to_numpy()
    times = table.group_by("source").aggregate([("time", "min"), ("time", "max")]).to_pylist()
    when = {one["source"]: (one["time_min"], one["time_max"]) for one in times}
    counts = np.zeros((len(codes.dictionary), len(snapshot.label_names)), np.int64)
    labels_N = snapshot.labels_M[live]
    np.add.at(counts, (codes_N[labels_N >= 0], labels_N[labels_N >= 0]), 1)
    for n in np.flatnonzero(labels_N == SEVERAL).tolist():
        counts[codes_N[n], list(snapshot.several[int(live[n])])] += 1
    rows = np.bincount(codes_N, minlength=len(counts))
    return [
        Source(name, int(rows[s]), *when[name], {snapshot.label_names[c]: int(counts[s, c])
                                                 for c in np.argsort(-counts[s], kind="stable") if counts[s, c]})
        for s, name in enumerate(codes.dictionary.to_pylist())
    ]  # fmt: skip


def _pictures(base: KnowledgeBase, snapshot: Snapshot) -> tuple[dict[str, int], list[str]]:
    """Return rows by the state of their picture, as far as it is known without reading it, and some that are gone."""
    live, held = snapshot.live, snapshot.digests_M32[snapshot.live].any(axis=1)
    if base.about.images == "embed":
        return {THERE: int(held.sum()), NONE: int((~held).sum())}, []
    places = snapshot.table.column("place").take(pa.array(live)).to_pylist()
    states = {THERE: 0, MOVED: 0, NONE: 0}
    lost: list[str] = []
    for i, place in zip(live.tolist(), places, strict=True):
        state = NONE if place is None or is_url(place) else THERE if os.path.exists(place) else MOVED
        states[state] += 1
        if state == MOVED and len(lost) < _LOST:
            lost.append(snapshot.ids[i])
    return states, lost


def _map(snapshot: Snapshot) -> Map | None:
    drawn = draw(snapshot, snapshot.live, POINTS)
    if len(drawn) < 3:
        return None
    vectors = snapshot.vectors_ME[drawn]
    points, _, axes = project(vectors, vectors[:0], "pca")
    return Map([snapshot.ids[i] for i in drawn.tolist()], points.tolist(), axes)


def _in_words(base: KnowledgeBase, snapshot: Snapshot) -> dict[str, str]:
    """Return what vectors are a function of, for people: what of it is compared is told beside it, whole."""
    space, edit = base.about.space, base.about.words.get("edit")
    told = {
        "backbone": f"{space.get('model', '?')}, {snapshot.vectors_ME.shape[1]} numbers a picture",
        "edit": "none: the untouched model" if edit is None else _edited(edit),
        "size": f"{space.get('image_size', '?')} px, {base.about.words.get('resize', '?')}",
        "pooling": f"{space.get('pool', '?')}, {space.get('precision', '?')}",
    }
    return {name: text for name, text in told.items() if "?" not in text}


def _edited(edit: Mapping[str, Any]) -> str:
    parts = [_settings(edit[name]) for name in ("detector", "attenuator") if isinstance(edit.get(name), Mapping)]
    return ", ".join([*parts, f"layers {edit.get('layers')}"])


def _settings(node: Mapping[str, Any]) -> str:
    name = str(node.get("_target_", "?")).rpartition(".")[2]
    values = [f"{key} {value}" for key, value in node.items() if key != "_target_" and value is not None]
    return f"{name} ({', '.join(values)})" if values else name
