"""The same base in another space: every edit made again, on rows whose pictures were embedded anew."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.disk import flush_folder
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.embed.extract import extract
from itae.images.dataset import Dataset
from itae.images.formats import Listing
from itae.images.kept import pixels_of
from itae.knowledge.base import KnowledgeBase, create, open_knowledge
from itae.knowledge.disk.folder import folder_at, is_url, trouble_told
from itae.knowledge.ledger.about import refuse_another
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.ledger.places import sha256_of
from itae.knowledge.records.filed import NO_IMAGE, Filed
from itae.knowledge.records.similarity import unit
from itae.knowledge.records.snapshot import Snapshot

if TYPE_CHECKING:
    from itae.embed.encoder import Encoder

Items = Mapping[bytes, str | np.ndarray]
"""The pictures of a base, each once: a file or pixels, by their sha256."""


@dataclass(frozen=True, kw_only=True)
class Pictures(Dataset):
    """The pictures of a base as a data set; their ids are their sha256 in hex."""

    items: Items
    split: str = "all"

    def _find(self) -> Listing:
        return Listing([digest.hex() for digest in self.items], list(self.items.values()), None, [])


def rebuild(
    base: KnowledgeBase, path: str | os.PathLike[str], encoder: Encoder, words: dict[str, Any]
) -> KnowledgeBase:
    """Return a new base of the same ids, labels, groups, journal and tags, in the space of an encoder.

    On a disk it is there once it is whole.

    Edits keep their number, who, when and why. Those up to a purge are one edit: what they took away is gone.

    Parameters
    ----------
    base
        The old one.
    path
        Of the new one; nothing may be there.
    encoder, words
        Of the new space, as `itae.knowledge.exchange.recipe.recipe_of` gives them.

    Raises
    ------
    UserError
        If there is something at `path`, or the picture of a row, of any version, isn't to be had any more; before
        anything is embedded.
    """
    log = base.log()
    first = max(1, log[-1].floor) if log else 1
    with tempfile.TemporaryDirectory(prefix="itae-") as folder, _whole_or_not(path) as unfinished:
        items = _items(base, range(first, len(log) + 1), Path(folder))
        vectors = _vectors(base, encoder, items)
        made = create(unfinished, encoder.space, words, base.about.images)
        for edit in log[first - 1 :]:
            old, new = base.snapshot(edit.edit), made.snapshot()
            touched = edit.touched
            put = [*touched.added, *touched.changed] if edit.edit > first else list(old.position)
            change = _change(new, old, put, touched.deleted if edit.edit > first else (), vectors)
            image = partial(_image, base, old, change)
            told = _told(edit, first)
            made.commit(replace(change, **told, when=edit.when, image=image), edit.who, edit.why)
        for tag, number in base.tags().items():
            if number >= first:
                made.tag(tag, number - first + 1)
    return open_knowledge(path)


@contextlib.contextmanager
def _whole_or_not(path: str | os.PathLike[str]) -> Iterator[str | Path]:
    """Give a folder for a new base beside its place, which it gets once it is whole; an object store renames none."""
    if is_url(path):
        refuse_another(folder_at(path))
        yield os.fspath(path)
        return
    to = at_home(path).absolute()
    if os.path.lexists(to):
        raise UserError(f"There is something at {to} already: give the new base another folder.")
    unfinished = to.with_name(f".{to.name}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield unfinished
        with trouble_told(str(to), "give a folder that you may write to"):
            unfinished.rename(to)
            flush_folder(to.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _items(base: KnowledgeBase, versions: Sequence[int], folder: Path) -> Items:
    """Find the picture of each row that was ever there, or say which are gone."""
    found: dict[bytes, str | np.ndarray] = {}
    gone: dict[bytes, str] = {}
    for version in versions:
        snapshot = base.snapshot(version)
        for i in snapshot.live.tolist():
            digest = snapshot.digests_M32[i].tobytes()
            if digest in found:
                continue
            item = _item(base, snapshot, i, digest, folder)
            if item is None:
                gone[digest] = snapshot.ids[i]
            else:
                found[digest] = item
    if lost := {digest: id_ for digest, id_ in gone.items() if digest not in found}:
        raise UserError(_lost(base, list(lost.values()), {each.tobytes() for each in _live(base)} & lost.keys()))
    return found


def _live(base: KnowledgeBase) -> np.ndarray:
    newest = base.snapshot()
    return newest.digests_M32[newest.live]


def _lost(base: KnowledgeBase, lost: Sequence[str], here: Collection[bytes]) -> str:
    """Say which pictures aren't to be had, and what to do: rows of earlier versions alone can't be edited."""
    some = ", ".join(map(repr, lost[:3])) + (", ..." if len(lost) > 3 else "")
    what = "The picture of 1 row" if len(lost) == 1 else f"The pictures of {len(lost):,} rows"
    told = f"{what} ({some}) can't be found, neither kept nor where they were, and a rebuild embeds them anew"
    if here:
        return f"{told}: say where they are with itae knowledge relink, or delete and purge these rows."
    return (
        f"{told}: only earlier versions have them, so put them back where they were, or forget those versions with "
        "itae knowledge purge."
    )


def _item(base: KnowledgeBase, snapshot: Snapshot, i: int, digest: bytes, folder: Path) -> str | np.ndarray | None:
    if digest == NO_IMAGE:
        return None
    place = snapshot.column("place", i)
    if place is not None and sha256_of(place) == digest:
        return str(place)
    data = base.image(snapshot, i)
    if data is None:
        return None
    if (pixels := pixels_of(data)) is not None:
        return pixels
    file = folder / digest.hex()
    file.write_bytes(data)
    return str(file)


def _vectors(base: KnowledgeBase, encoder: Encoder, items: Items) -> dict[bytes, np.ndarray]:
    """Embed the pictures; only those that no cache has pass the model."""
    if not items:
        return {}
    name = re.sub(r"[^\w.+-]", "-", Path(base.path).name).lstrip(".+-") or "base"
    images = Pictures(name=name, items=items, resize=encoder.resize, decode=encoder.decode)
    [entry] = extract(encoder.source(images), [encoder.edit], encoder.runtime)
    return dict(zip(map(bytes.fromhex, entry.ids), unit(entry.vectors), strict=True))


def _change(
    new: Snapshot, old: Snapshot, put: Sequence[str], deleted: Sequence[str], vectors: Mapping[bytes, np.ndarray]
) -> Change:
    """Return the change that makes of one version of the new base the next."""
    positions = np.array(sorted(old.position[id_] for id_ in put), np.int64)
    kept = old.filed(positions)
    anew = [vectors[old.digests_M32[i].tobytes()] for i in positions.tolist()]
    rows = Filed(kept.columns, np.stack(anew)) if anew else None
    gone = [new.position[id_] for id_ in (*put, *deleted) if id_ in new.position]
    return Change("rebuild", new, _not_again, np.array(sorted(gone), np.int64), added=rows)


def _image(base: KnowledgeBase, old: Snapshot, change: Change, n: int) -> bytes:
    assert change.added is not None
    data = base.image(old, old.position[change.added.columns.column("id")[n].as_py()])
    assert data is not None, "it was there when it was embedded"
    return data


def _told(edit: Edit, first: int) -> dict[str, Any]:
    """Return what the journal says of an edit in a base whose first edit is another."""
    if edit.edit == first > 1:
        return {"verb": "add", "asked": {"rebuilt": first}}
    undone = edit.asked.get("edit")
    if undone is None or first == 1:
        return {"verb": edit.verb, "asked": edit.asked}
    return {"verb": edit.verb, "asked": {"edit": undone - first + 1} if undone > first else {}}


def _not_again(snapshot: Snapshot) -> Change:
    raise UserError(
        f"Somebody else has edited the new base (version {snapshot.version}) while it was made; remove it, and rebuild "
        "once more."
    )
