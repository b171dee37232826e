"""Where images are, when they have been moved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError, did_you_mean
from itae.knowledge.ledger.changes import Change
from itae.knowledge.records.filed import Filed
from itae.knowledge.records.snapshot import Snapshot


def relinking(before: Snapshot, places: Mapping[str, str]) -> Change:
    """Return the change that tells where images are now; see `KnowledgeBase.relink`."""
    wanted = _wanted(before, places)
    found, lost = {}, []
    for i, place in wanted.items():
        if place == before.column("place", i):
            continue
        digest = sha256_of(place)
        if digest == before.digests_M32[i].tobytes():
            found[i] = place
        else:
            lost.append(f"{before.ids[i]}: {place} {'is not there' if digest is None else 'holds another image'}")
    if lost and len(lost) == len(wanted):
        more = f", and so of {len(lost) - 1:,} more" if len(lost) > 1 else ""
        raise UserError(
            f"None of the pictures is where it is said to be now ({lost[0]}{more}): give the place of the same bytes; "
            "a picture that has changed is put in with itae knowledge add --replace."
        )
    positions = np.array(list(found), np.int64)
    return Change(
        "relink",
        before,
        lambda snapshot: relinking(snapshot, places),
        positions,
        added=_moved(before.filed(positions), list(found.values())) if found else None,
        asked={"places": dict(places)},
        same=len(wanted) - len(found) - len(lost),
        notes=tuple(lost),
        named=[before.ids[i] for i in wanted],
    )


def _wanted(before: Snapshot, places: Mapping[str, str]) -> dict[int, str]:
    """Return the new place of each row that is spoken of, by its position."""
    live = before.live.tolist()
    held = zip(live, before.table.column("place").take(pa.array(before.live)).to_pylist(), strict=True)
    old = {i: place for i, place in held if place is not None}
    wanted: dict[int, str] = {}
    for name, place in places.items():
        if name in before.position:
            wanted[before.position[name]] = place
            continue
        moved = {i: place + there[len(name) :] for i, there in old.items() if _begins(there, name)}
        if not moved:
            some = next(iter(old.values()), None)
            such = f" such as {some!r}" if some else ", of which it has none"
            raise UserError(
                f"{name!r} is neither the id of a row nor where a place of the base begins{such}."
                f"{did_you_mean(name, before.position)}"
            )
        wanted |= moved
    return wanted


def _begins(place: str, beginning: str) -> bool:
    return place == beginning or place.startswith(beginning if beginning.endswith("/") else f"{beginning}/")


def sha256_of(place: str) -> bytes | None:
    """Return the sha256 of a file, None where there is none to read."""
    try:
        with Path(place).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return None


def _moved(rows: Filed, places: list[str]) -> Filed:
    at = rows.columns.schema.get_field_index("place")
    column = pa.array(places, pa.string())
    return Filed(rows.columns.set_column(at, rows.columns.schema.field(at), column), rows.vectors_NE)
