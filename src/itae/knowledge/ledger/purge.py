"""Forgetting for good: no byte of what was deleted stays in a base, nor in the cache of embeddings.

A purge is an edit that changes no row. Before it stands, for each earlier edit, a file in ``journal/purged`` with what
may stay of it: numbers of rows, the ids of those that are still there, and a name made up for each of the others, the
same in all edits (a hash with a salt that is never written, so that nobody can try out what it was); the reason, if it
was given for rows that are all still there.
``purging.json`` says that it goes on. Then its own file makes it an edit, and everything else is thrown away: old
versions, images, tags, entries of the cache. Who dies in between leaves ``purging.json``: if the edit is there, the
next who writes goes on from there, and else what was prepared goes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itae.base.errors import UserError
from itae.embed.kept_arrays import forget
from itae.knowledge.disk.pictures import Pictures
from itae.knowledge.ledger.about import GOING_ON, HEAD, indexes_of, read_tags, write_tags
from itae.knowledge.ledger.journal import Edit, Touched, file_of, sealed_edit
from itae.knowledge.ledger.state import State
from itae.knowledge.ledger.versions import Versions
from itae.knowledge.records.filed import NO_IMAGE, Filed
from itae.knowledge.records.sealed import Damaged, now, sealed, unsealed
from itae.knowledge.records.snapshot import Snapshot, digests_of, share
from itae.store.store import Store

BEYOND = (
    "the original images where they lie",
    "run folders, pages and sessions that show or name these rows",
    "runs sent to W&B",
    "exports of the base, and bases that were rebuilt or imported from it",
    "backups and copies of the base, of the cache and of the disk, and older versions that an object store keeps",
    "work in progress in the cache (itae cache prune --unfinished --damaged)",
)
"""What a purge can't reach."""


@dataclass(frozen=True)
class Purged:
    """What a purge did.

    Parameters
    ----------
    edit
        The edit that it is.
    rows
        How many states of rows are gone: of deleted ones, and of those that were replaced or corrected.
    places
        Where the originals of rows are that aren't in the base any more.
    entries
        The entries of the cache that went.
    kept
        Those that another process holds, which must go once it ends.
    beyond
        What else may hold them, and can't be reached from here.
    """

    edit: Edit
    rows: int
    places: tuple[str, ...]
    entries: tuple[Path, ...]
    kept: tuple[Path, ...]
    beyond: tuple[str, ...] = BEYOND


def purge(versions: Versions, images: Pictures, cache: Path | None, who: str, why: str) -> Purged:
    """Make the edit that forgets what was deleted, by who holds the right to write."""
    state = versions.newest()
    if state.edit is None:
        raise UserError(f"The knowledge base at {versions.folder.where} has no edits: there is nothing to purge.")
    gone = _gone(versions, state)
    places = _places(gone, state.snapshot)
    left = _left(versions, state.snapshot, gone)
    for edit in left:
        versions.folder.write(_prepared(edit.edit), sealed_edit(edit)[0])
    versions.folder.write(GOING_ON, sealed({"edit": state.edit.edit + 1, "cache": str(cache) if cache else None})[0])
    store = versions.store.compact(state.store, all_of_it=True)
    edit = versions.journal.write(_edit(versions, state, store, left, who, why))
    snapshot = replace(state.snapshot, version=edit.edit)
    share(state.snapshot, snapshot)
    versions.made(State(snapshot, store, edit))
    entries, kept = finish(versions, images)
    return Purged(edit, sum(map(len, gone)), places, entries, kept)


def to_purge(versions: Versions) -> tuple[int, tuple[str, ...]]:
    """Return how many states of rows a purge would forget, and where their originals are."""
    state = versions.newest()
    gone = _gone(versions, state) if state.edit is not None else []
    return sum(map(len, gone)), _places(gone, state.snapshot)


def _places(gone: list[Filed], snapshot: Snapshot) -> tuple[str, ...]:
    places = {each for rows in gone for each in rows.columns.column("place").to_pylist() if each is not None}
    return tuple(sorted(places - set(snapshot.table.column("place").take(snapshot.live).to_pylist())))


def _edit(versions: Versions, state: State, store: int, left: list[Edit], who: str, why: str) -> Edit:
    assert state.edit is not None
    return replace(
        state.edit,
        edit=state.edit.edit + 1,
        verb="purge",
        who=who,
        why=why,
        when=now().isoformat(),
        asked={},
        counts={"added": 0, "changed": 0, "deleted": 0, "rows": len(state.snapshot)},
        touched=Touched(),
        store=store,
        files=versions.store.files(store, known=True),
        floor=state.edit.edit + 1,
        previous=state.edit.link,
        salt=secrets.token_hex(32),
        forgotten=False,
        was="",
        sealed={str(edit.edit): sealed_edit(edit)[1] for edit in left},
        seal="",
    )


def _gone(versions: Versions, state: State) -> list[Filed]:
    """Return the rows that edits took away or changed, as they were."""
    found = []
    assert state.edit is not None
    for number in range(max(1, state.edit.floor) + 1, state.edit.edit + 1):
        edit = versions.edit(number)
        rows = versions.rows(number - 1, edit.touched.before)
        if rows is not None:
            found.append(rows)
    return found


def _left(versions: Versions, snapshot: Snapshot, gone: list[Filed]) -> list[Edit]:
    """Return what may stay of each edit."""
    salt = secrets.token_bytes(32)
    names: dict[str, str] = {}

    def named(each: str) -> str:
        if each in snapshot.position or each.startswith("purged:"):
            return each
        if each not in names:
            names[each] = "purged:" + hmac.new(salt, each.encode(), hashlib.sha256).hexdigest()[:16]
        return names[each]

    words, found = _words(gone, snapshot), []
    for number in range(1, snapshot.version + 1):
        edit, rows = versions.edit(number), versions.edit(number).touched
        added, changed, deleted = (tuple(map(named, each)) for each in (rows.added, rows.changed, rows.deleted))
        found.append(
            replace(
                edit,
                who="" if _tells(edit.who, words) else edit.who,
                why="" if rows.ids - snapshot.position.keys() or _tells(edit.why, words) else edit.why,
                asked={},
                touched=Touched(added, changed, deleted, rows.before, rows.after),
                store=0,
                files=None,
                blocks={},
                root="",
                salt="",
                sealed={},
                forgotten=True,
                was=edit.link,
                seal="",
            )
        )
    return found


def _words(gone: list[Filed], snapshot: Snapshot) -> set[str]:
    """Return the texts that stood in rows and stand in none any more."""
    held = _texts(snapshot.filed(snapshot.live)) if len(snapshot) else set()
    return {each for rows in gone for each in _texts(rows)} - held


def _texts(rows: Filed) -> set[str]:
    found: set[str] = set()
    for column in rows.columns.columns:
        column = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if pa.types.is_string(column.type):
            found |= set(column.unique().to_pylist())
    return {each for each in found if each}


def _tells(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)


def _prepared(edit: int) -> str:
    return f"journal/purged/{edit:08d}.json"


def finish(versions: Versions, images: Pictures) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Throw away what a purge left to be thrown away; return the entries of the cache that went, and that are held."""
    folder = versions.folder
    if not folder.exists(GOING_ON):
        return (), ()
    told, _ = unsealed(folder.read(GOING_ON), GOING_ON)
    number = int(told["edit"])
    entries: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    if versions.journal.newest() >= number:
        state = versions.newest()
        live = {each.tobytes() for each in state.snapshot.digests_M32[state.snapshot.live]}
        if told["cache"]:
            shutil.rmtree(indexes_of(Path(told["cache"]), versions.about), ignore_errors=True)
            entries, kept = _cleared(Path(told["cache"]), _digests(versions, number) - live - {NO_IMAGE})
        _rewrite(versions, number)
        write_tags(folder, {name: version for name, version in read_tags(folder).items() if not 0 < version < number})
        folder.remove(HEAD)
        images.keep(live)
        versions.store.forget(state.store)
        versions.earlier_dropped()
    folder.keep("journal/purged", ())
    folder.remove(GOING_ON)
    return entries, kept


def _digests(versions: Versions, number: int) -> set[bytes]:
    """Return the sha256 of images of rows that edits before a purge took away, as far as they are not forgotten yet."""
    found: set[bytes] = set()
    for n in range(2, number):
        edit = versions.edit(n)
        if not edit.forgotten and not versions.edit(n - 1).forgotten:
            rows = versions.rows(n - 1, edit.touched.before)
            found |= set() if rows is None else {each.tobytes() for each in digests_of(rows)}
    return found


def _rewrite(versions: Versions, number: int) -> None:
    """Put what may stay of earlier edits in their place, the first first."""
    folder = versions.folder
    for name, seal in sorted(versions.edit(number).sealed.items(), key=lambda pair: int(pair[0])):
        edit = versions.edit(int(name))
        if edit.seal == seal:
            continue
        data = folder.read(_prepared(edit.edit))
        if unsealed(data, _prepared(edit.edit))[1] != seal:
            raise Damaged(f"{_prepared(edit.edit)} is not what the purge prepared")
        folder.write(file_of(edit.edit), data)


def _cleared(cache: Path, digests: set[bytes]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Remove the entries of a cache that have a row of these images; return them, and those that can't go now."""
    store = Store(cache)
    gone: list[Path] = []
    kept: list[Path] = []
    for item in store.survey():
        try:
            rows = np.load(item.path / "digests.npy", allow_pickle=False)
        except (OSError, ValueError):  # of an old format, or no entry
            continue
        if any(each.tobytes() in digests for each in np.ascontiguousarray(rows)):
            (gone if store.remove(item) else kept).append(item.path)
    gone += forget(cache, digests)
    return tuple(gone), tuple(kept)
