"""The store: embeddings are a function of dataset, backbone and edit, computed once and found again.

A folder holds it, and nothing else does: ``<cache>/<dataset>-<split>/<backbone>/<digest>/`` is an entry (its
files are described in `itae.store.entry`). Beside the entries lie hidden things that are never read as one:
``.draft-*`` (work in progress), ``.damaged-*`` (set aside), ``.trash-*`` (being removed) and ``.locks``. An
entry appears by rename, so what exists is whole; it is verified on every load, so what was damaged since is
made again.

Several processes may want one entry. `Store.claim` is where they meet: one computes, the others wait and take
theirs from the disk. The locks are the system's own, so they go when their process goes, however it ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from itae.base.disk import disk_trouble_told, flush_folder, free_bytes, megabytes
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.store.draft import Draft, shard_size
from itae.store.entry import FORMAT, META, DamagedEntry, Embeddings, Key, differences, read_entry
from itae.store.survey import Item, look_at, read_json, size_of, used

__all__ = ["FORMAT", "DamagedEntry", "Draft", "Embeddings", "Item", "Key", "Store", "read_entry"]

log = logging.getLogger(__name__)

_NEIGHBOURS = 64  # how many entries a miss is compared with, the latest used first
_SLACK = 64 * 10**6  # bytes to leave free on the disk, for what is small and for everybody else


class Store:
    """A folder of embeddings.

    Parameters
    ----------
    root
        The folder; it is made when something is first written.

    Raises
    ------
    UserError
        When `root` is something else than a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = at_home(root).absolute()
        if os.path.exists(self.root) and not os.path.isdir(self.root):
            raise UserError(f"paths.cache={str(root)!r} is a file; the cache needs a folder.")
        self._held: set[Path] = set()

    def path(self, key: Key) -> Path:
        """Return the folder that the entry of `key` has, or would have."""
        return self.root.joinpath(*key.folder, key.name)

    def load(self, key: Key) -> Embeddings | None:
        """Return the entry of `key`, every byte of it verified, or None.

        A damaged entry is set aside with a warning and counts as missing; a miss logs the field that differs
        from the nearest entry.

        Raises
        ------
        UserError
            When the entry may not be read, or is damaged and can't be set aside.
        """
        path = self.path(key)
        if not os.path.lexists(path):
            if log.isEnabledFor(logging.INFO):
                log.info("%s", self._why_missing(key))
            return None
        try:
            entry = read_entry(path, key)
        except DamagedEntry as damage:
            if path in self._held:
                return self._read_or_set_aside(key)
            # Somebody may have put a whole one in its place meanwhile, so look again with the lock held.
            try:
                with self._lock(path, wait=False):
                    return self._read_or_set_aside(key)
            except Timeout:
                log.warning("%s is damaged (%s); %s is at work on it.", path, damage, _holder(path))
                return None
        _mark_used(path)
        return entry

    @contextmanager
    def claim(self, keys: Iterable[Key], wait: bool = True) -> Iterator[list[Key]]:
        """Hold the right to make the entries of `keys`; give those that are still missing.

        The first who claims a key gets it; the others wait here until it is done, or its maker has died. Without
        `wait`, keys that somebody else is making are left out.
        Everybody takes the locks in one order, so overlapping claims don't wait for each other in a circle.
        The locks of keys that turn out to be there are let go at once.

        Raises
        ------
        UserError
            When the cache can't be written.
        """
        wanted = list(dict.fromkeys(keys))
        with ExitStack() as everything:
            locks = {}
            for key in sorted(wanted, key=lambda key: (key.digest, key.folder)):
                lock = everything.enter_context(ExitStack())
                try:
                    lock.enter_context(self._lock(self.path(key), wait))
                except Timeout:
                    continue
                locks[key] = lock
            missing = [key for key in wanted if key in locks and self._read_or_set_aside(key) is None]
            for key in locks:
                if key not in missing:
                    locks[key].close()
            yield missing

    def draft(self, key: Key, n: int, shard: int, settled: Mapping[str, Any] | None = None) -> Draft:
        """Return the work in progress for `key`, inside a claim: what is there of it, or a new one.

        Parameters
        ----------
        key
            A claimed key.
        n
            How many images there are.
        shard
            How many images to write at a time.
        settled
            Plain values that were found before the first shard, such as fitted thresholds. Shards that were
            made with others are not taken up.
        """
        path = self.path(key)
        assert path in self._held, "a draft is made inside a claim"
        draft = Draft(path.with_name(f".draft-{key.name}"), key, n, shard, self._place, settled)
        draft.open()
        return draft

    def unfinished_shard(self, key: Key) -> int | None:
        """Return the shard size of the work in progress for `key`, None where there is none."""
        return shard_size(self.path(key).with_name(f".draft-{key.name}"))

    def room_for(self, needed: int, keys: Iterable[Key] = ()) -> None:
        """Raise a `UserError` unless the disk has room for `needed` bytes, and some to spare.

        Parameters
        ----------
        needed
            What all shards of all keys take, and an entry that is put together from them.
        keys
            Keys whose drafts count as written already.
        """
        drafts = [self.path(key).with_name(f".draft-{key.name}") for key in keys]
        needed = max(0, needed - sum(size_of(path) for path in drafts)) + _SLACK
        free = free_bytes(self.root)
        if free < needed:
            raise UserError(
                f"No room for the embeddings at {self.root}: {megabytes(needed)} are needed and "
                f"{megabytes(free)} are free. Make room (`itae cache prune`) or set paths.cache to a larger "
                "disk."
            )

    def survey(self) -> list[Item]:
        """Return everything in the store that takes room. Quick: checksums are not verified."""
        folders = [path for path in self.root.glob("*/*/*") if path.is_dir() and not path.is_symlink()]
        folders = [path for path in folders if not path.relative_to(self.root).as_posix().startswith(".")]
        items = [look_at(path) for path in sorted(folders)]
        return [item for item in items if item is not None]

    def remove(self, item: Item) -> bool:
        """Remove `item` unless a running process holds it; return whether it is gone."""
        try:
            with self._lock(item.path.with_name(item.name), wait=False):
                self._trash(item.path, item.name)
        except Timeout:
            return False
        return True

    def discard(self, key: Key, entry: Embeddings) -> None:
        """Remove the entry of `key`, once nobody is at work on it, if it is still this one."""
        with self._lock(self.path(key), wait=True):
            there = read_json(self.path(key) / META)
            if there.get("seal") == entry.meta["seal"]:
                self._trash(self.path(key), key.name)

    def _trash(self, path: Path, name: str) -> None:
        trash = path.with_name(f".trash-{name}-{uuid.uuid4().hex[:8]}")
        if os.path.lexists(path):
            with disk_trouble_told(path):
                os.rename(path, trash)  # never half an entry under its own name
        shutil.rmtree(trash, ignore_errors=True)

    def is_held(self, item: Item) -> bool:
        """Whether a running process is at work on `item`."""
        try:
            with self._lock(item.path.with_name(item.name), wait=False):
                return False
        except Timeout:
            return True

    @contextmanager
    def _lock(self, path: Path, wait: bool) -> Iterator[None]:
        """Hold the lock of the entry at `path`; without `wait`, raise `Timeout` when another process does."""
        file = path.parent / ".locks" / path.name
        with disk_trouble_told(self.root):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if not wait:
                    raise
                log.info("Waiting for %s, who is making %s.", _holder(path), path)
                lock.acquire(poll_interval=0.1)
        note = _note(path)
        try:
            with disk_trouble_told(self.root):
                since = datetime.now().isoformat(" ", "seconds")
                note.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}", encoding="utf-8")
            self._held.add(path)
            yield
        finally:
            self._held.discard(path)
            note.unlink(missing_ok=True)
            lock.release()

    def _read_or_set_aside(self, key: Key) -> Embeddings | None:
        """Read the entry of `key` with its lock held, so that nobody else can be replacing it."""
        path = self.path(key)
        if not os.path.lexists(path):
            return None
        try:
            return read_entry(path, key)
        except DamagedEntry as damage:
            aside = path.with_name(f".damaged-{key.name}-{uuid.uuid4().hex[:8]}")
            with disk_trouble_told(path):
                os.rename(path, aside)
            log.warning("%s is damaged: %s. Set aside as %s; it will be made again.", path, damage, aside.name)
            return None

    def _place(self, folder: Path, key: Key) -> Embeddings:
        """Move a finished entry from `folder` to its place, and read it back."""
        path = self.path(key)
        # Only where locks don't work can something have come here since the claim: keep it if it is whole.
        if os.path.lexists(path) and (entry := self._read_or_set_aside(key)) is not None:
            return entry
        os.rename(folder, path)
        flush_folder(path.parent)
        return read_entry(path, key)

    def _why_missing(self, key: Key) -> str:
        where = "/".join(key.folder)
        try:
            paths = [path for path in self.path(key).parent.iterdir() if not path.name.startswith(".")]
        except OSError:
            paths = []
        latest = sorted(paths, key=used, reverse=True)[:_NEIGHBOURS]
        differing = {path.name: differences(key.identity, _identity(path / META)) for path in latest}
        if not differing:
            return f"No embeddings of {where} in {self.root} yet."
        name, fields = min(differing.items(), key=lambda pair: len(pair[1]))
        fields_told = [f"{field} is {_short(asked)}, {_short(there)} there" for field, (asked, there) in fields.items()]
        more = f" and {len(fields_told) - 3} more" if len(fields_told) > 3 else ""
        return f"No embeddings of {where} for this key; nearest is {name}: {'; '.join(fields_told[:3])}{more}."


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _identity(meta_file: Path) -> dict[str, Any]:
    about = read_json(meta_file)
    return {name: about[name] for name in ("format", "space", "dataset") if name in about}


def _mark_used(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # somebody else's cache, or a read-only one: then the mark is missing, and nothing else
        log.debug("%s can't be marked as used.", path)


def _note(path: Path) -> Path:
    return path.parent / ".locks" / f"{path.name}.who"


def _holder(path: Path) -> str:
    try:
        return _note(path).read_text(encoding="utf-8", errors="replace") or "another process"
    except OSError:
        return "another process"
