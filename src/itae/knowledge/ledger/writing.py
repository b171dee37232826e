"""How an edit is written: rows into the store, then a file of the journal, by one process at a time.

What a process that dies leaves behind is none: `itae.knowledge.disk.lance_store` goes back to what the journal tells,
and a purge that was not finished is finished by the next who writes (`itae.knowledge.ledger.purge`).
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from itae.base.lock import Lock
from itae.knowledge.disk.folder import OnDisk, trouble_told
from itae.knowledge.disk.pictures import Pictures
from itae.knowledge.ledger.about import write_head
from itae.knowledge.ledger.changes import Change
from itae.knowledge.ledger.journal import Edit
from itae.knowledge.ledger.purge import finish
from itae.knowledge.ledger.since import Since, ids_of
from itae.knowledge.ledger.state import State, rooted
from itae.knowledge.ledger.versions import Versions
from itae.knowledge.records.ranges import merged
from itae.knowledge.records.sealed import now

log = logging.getLogger(__name__)

_SMALL_FILES = 16  # in a version, above which they are put together: Lance looks into each for every edit


@contextlib.contextmanager
def writing(versions: Versions, images: Pictures) -> Iterator[None]:
    """Hold the right to write, and wait for it.

    Raises
    ------
    UserError
        When the disk can't be written, or what is there is damaged.
    """
    folder = versions.folder
    with contextlib.ExitStack() as stack:
        stack.enter_context(trouble_told(folder.where))
        stack.enter_context(versions.damage_told())
        if isinstance(folder, OnDisk):
            lock = Lock(Path(folder.where) / ".lock")
            stack.enter_context(lock.held(f"who writes the knowledge base at {folder.where}", pause=0.01))
        stack.enter_context(versions.guard)
        finish(versions, images)
        yield


def write(
    versions: Versions, images: Pictures, change: Change, who: str | None, why: str, seen: int | None = None
) -> Edit | None:
    """Make an edit of a change, by who holds the right to; None where nothing changes."""
    state = versions.newest()
    since = Since(versions, seen) if seen is not None else None
    if since is not None:
        since.refuse(ids_of(change))  # first: of a row that is gone the change can't be found anew
    if change.before is not state.snapshot:
        change = change.again(state.snapshot)
        if since is not None:
            since.refuse(ids_of(change))
    if not change:
        return None
    if versions.about.images == "embed" and change.added is not None and (change.verb == "add" or change.image):
        images.put(change.added, change.image)
    made = _written(versions, state, change, who or user(), why)
    versions.made(made)
    _tidy(versions, made)
    return made.edit


def _written(versions: Versions, state: State, change: Change, who: str, why: str) -> State:
    """Write an edit; return the version that it made."""
    before, after, touched = state.snapshot, change.after, change.touched
    blocks, root = state.then(after, merged(touched.before, touched.after))
    store = versions.store.write(state.store, change.put(), touched.before)
    edit = Edit(
        edit=before.version + 1,
        verb=change.verb,
        who=who,
        why=why,
        when=change.when or now().isoformat(),
        asked=change.asked,
        counts={**change.counts, "rows": len(after)},
        touched=touched,
        store=store,
        files=versions.store.files(store, known=True),
        blocks={str(block): digest for block, digest in blocks.items()},
        root=root,
        next=after.next_number,
        floor=state.edit.floor if state.edit else 0,
        previous=state.edit.link if state.edit else versions.about.seal,
    )
    return State(rooted(after, blocks, root, edit.next), store, versions.journal.write(edit))


def _tidy(versions: Versions, state: State) -> None:
    """Put small files together where there are many; whatever goes wrong with that, the edit stands."""
    try:
        if versions.store.small_files(state.store) > _SMALL_FILES:
            compact(versions, all_of_it=False)
    except Exception as error:
        log.warning("The files of %s could not be put together (%s); the edit is made.", versions.folder.where, error)


def compact(versions: Versions, all_of_it: bool = True) -> None:
    """Put the store's files together, by who holds the right to write; makes no version."""
    state = versions.newest()
    if state.edit is None:
        return
    store = versions.store.compact(state.store, all_of_it)
    if store != state.store:
        write_head(versions.folder, state.edit.edit, store, versions.store.files(store, known=True))
        versions.made(State(state.snapshot, store, state.edit))


def user() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return str(os.getuid())
