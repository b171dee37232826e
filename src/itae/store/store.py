"""The store: embeddings are a function of dataset, backbone and edit, computed once and found again.

A folder holds it, and nothing else does: ``<cache>/<dataset>-<split>/<backbone>/<digest>/`` is an entry (its
files are described in `itae.store.entry`). Beside the entries lie hidden things that are never read as one:
``.draft-*`` (work in progress), ``.damaged-*`` (set aside), ``.trash-*`` (being removed) and ``.locks``. An
entry appears by rename, so what exists is whole; it is verified on every load, so what was damaged since is
made again.

**A row is f(bytes of the image, backbone, resolved edit).** An entry holds the sha256 of each image, so one in the
making takes rows of the same bytes from entries of the same space (`itae.store.donors`; what makes two spaces the same
for a row is told in `itae.embed.row_space`). They are verified like any that is loaded, and written into the shards of
the draft as computed ones are. So an entry never depends on another one: that may go, be damaged or be made again at
any moment, and costs at most that its rows are computed.

Several processes may want one entry. `Store.claim` is where they meet: one computes, the others wait and take
theirs from the disk. A claim goes when its process goes, however that ends (`itae.store.claims`).
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from itae.base.disk import disk_trouble_told, flush_folder, free_bytes, megabytes
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.store.claims import Claim, Claims
from itae.store.draft import Begun, Draft, begun
from itae.store.entry import FORMAT, META, DamagedEntry, Embeddings, Key, differences, look_up, read_entry
from itae.store.survey import Item, look_at, mark_used, read_json, size_of, used

__all__ = ["FORMAT", "DamagedEntry", "Draft", "Embeddings", "Item", "Key", "Store", "read_entry"]

log = logging.getLogger(__name__)

Enough = Callable[[Mapping[str, Any]], bool]
_NEIGHBOURS = 64  # how many entries a miss is compared with, the latest used first
_SLACK = 64 * 10**6  # bytes to leave free on the disk, for what is small and for everybody else


def _whatever(meta: Mapping[str, Any]) -> bool:
    return True


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
        self._claims = Claims(self.root / ".locks")
        self._held: list[Claim] = []

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
            self.tell_miss(key)
            return None
        try:
            entry = read_entry(path, key)
        except DamagedEntry as damage:
            if self._holds(path):
                return self._read_or_set_aside(key)
            # Somebody may have put a whole one in its place meanwhile, so look again with the lock held.
            with self._hold([path], wait=False) as claim:
                if claim.names:
                    return self._read_or_set_aside(key)
            # Damaged, or just being removed, or replaced by one with diagnostics: that is for who is at work to know.
            holder = self._claims.holder(self._name(path))
            log.warning("%s can't be read (%s): %s is at work on it.", path, damage, holder)
            return None
        mark_used(path)
        return entry

    def has(self, key: Key, enough: Enough = _whatever) -> bool:
        """Whether the entry of `key` is there and what its `meta.json` says is `enough`.

        Quick: that file and the sizes of the others are verified, and not their bytes, which `load` does.

        Raises
        ------
        UserError
            When the entry may not be read.
        """
        try:
            there = enough(look_up(self.path(key), key))
        except DamagedEntry:  # or not there
            return False
        mark_used(self.path(key))
        return there

    def tell_miss(self, key: Key) -> None:
        """Log in which field the nearest entry differs from the key of one that isn't there."""
        if log.isEnabledFor(logging.INFO):
            log.info("%s", self._why_missing(key))

    @contextmanager
    def claim(self, keys: Iterable[Key], wait: bool = True, enough: Enough = _whatever) -> Iterator[list[Key]]:
        """Hold the right to make the entries of `keys`; give those that are still missing.

        The first who claims a key gets it; the others wait here until it is done, or its maker has died. Without
        `wait`, keys that somebody else is making are left out. Who waits holds none yet, so overlapping claims don't
        wait for each other in a circle. Keys that turn out to be there are let go at once.

        Parameters
        ----------
        keys
            What is to be made.
        wait
            Whether to wait for what others make.
        enough
            Told what `meta.json` of an entry says, whether it will do; one that won't counts as missing, and goes when
            the new one takes its place.

        Raises
        ------
        UserError
            When the cache can't be written.
        """
        wanted = {key: self._name(self.path(key)) for key in keys}
        with self._hold([self.path(key) for key in wanted], wait) as claim:
            missing = [key for key in wanted if wanted[key] in claim.names and not self.has(key, enough)]
            with disk_trouble_told(self.root):
                claim.keep({wanted[key] for key in missing})
            yield missing

    def draft(
        self,
        key: Key,
        n: int,
        shard: int,
        settled: Mapping[str, Any] | None = None,
        kind: str = "",
        enough: Enough = _whatever,
    ) -> Draft:
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
        kind
            Tells it from another draft of the same key.
        enough
            As in `claim`: which entry is left in its place, should there be one when this one is done.
        """
        assert self._holds(self.path(key)), "a draft is made inside a claim"
        draft = Draft(self._draft(key, kind), key, n, shard, partial(self._place, enough=enough), settled)
        draft.open()
        return draft

    def begun(self, key: Key, kind: str = "") -> Begun | None:
        """Return what the work in progress for `key` was begun with, None where there is none."""
        return begun(self._draft(key, kind))

    def drop(self, key: Key, kind: str) -> None:
        """Remove a draft of a claimed key."""
        assert self._holds(self.path(key)), "a draft is removed inside a claim"
        shutil.rmtree(self._draft(key, kind), ignore_errors=True)

    def _draft(self, key: Key, kind: str) -> Path:
        return self.path(key).with_name(f".draft-{key.name}{kind}")

    def room_for(self, needed: int, drafts: Iterable[tuple[Key, str]] = ()) -> None:
        """Raise a `UserError` unless the disk has room for `needed` bytes, and some to spare.

        Parameters
        ----------
        needed
            What all shards of all keys take, and an entry that is put together from them.
        drafts
            Keys, and kinds of their drafts, which count as written already.
        """
        needed = max(0, needed - sum(size_of(self._draft(*draft)) for draft in drafts)) + _SLACK
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
        with self._hold([item.path.with_name(item.name)], wait=False) as claim:
            if claim.names:
                shutil.rmtree(self._to_trash(item.path, item.name), ignore_errors=True)
            return bool(claim.names)

    def is_held(self, item: Item) -> bool:
        """Whether a running process is at work on `item`."""
        with self._hold([item.path.with_name(item.name)], wait=False) as claim:
            return not claim.names

    def _to_trash(self, path: Path, name: str) -> Path:
        """Have what is at `path` be no entry any more, at once; return where it is now."""
        trash = path.with_name(f".trash-{name}-{uuid.uuid4().hex[:8]}")
        if os.path.lexists(path):
            with disk_trouble_told(path):
                os.rename(path, trash)
        return trash

    @contextmanager
    def _hold(self, paths: Iterable[Path], wait: bool) -> Iterator[Claim]:
        """Hold the right to change what is at `paths`: at those that nobody else has, or, with `wait`, at all."""
        with ExitStack() as stack:
            with disk_trouble_told(self.root):
                claim = stack.enter_context(self._claims.hold([self._name(path) for path in paths], wait))
            self._held.append(claim)
            stack.callback(self._held.remove, claim)
            yield claim

    def _holds(self, path: Path) -> bool:
        return any(self._name(path) in claim.names for claim in self._held)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

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

    def _place(self, folder: Path, key: Key, enough: Enough) -> Embeddings:
        """Move a finished entry from `folder` to its place, and read it back.

        One that is there and won't do goes with it. One that will can only have come there since the claim where locks
        don't work; it is kept.
        """
        path = self.path(key)
        there = self._read_or_set_aside(key)
        if there is not None and enough(there.meta):
            return there
        trash = self._to_trash(path, key.name)
        os.rename(folder, path)
        flush_folder(path.parent)
        shutil.rmtree(trash, ignore_errors=True)
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
