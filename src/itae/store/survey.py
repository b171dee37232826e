"""What lies in the store, for people to see: entries, work in progress, and what is left of either."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.store.entry import META, DamagedEntry, read_meta

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that takes room in the store.

    Attributes
    ----------
    path
        Its folder.
    kind
        ``entry``, ``damaged`` (set aside, or by the look of it), ``unfinished`` or ``leftover``.
    about
        What its `meta.json` or `draft.json` says; empty when that can't be read.
    bytes
        Its size.
    used
        When it was last used, in seconds since 1970.
    trouble
        What is wrong with a damaged one.
    """

    path: Path
    kind: str
    about: dict[str, Any]
    bytes: int
    used: float
    trouble: str = ""

    @property
    def name(self) -> str:
        """The first 16 digits of the digest."""
        found = re.search("[0-9a-f]{16}", self.path.name)
        return found[0] if found else self.path.name


def look_at(path: Path) -> Item | None:
    """Return what a folder of the store is, None for what is none of its."""
    name = path.name
    if name.startswith(".draft-"):
        return Item(path, "unfinished", read_json(path / "draft.json"), size_of(path), used(path))
    if name.startswith(".damaged-"):
        return Item(path, "damaged", read_json(path / META), size_of(path), used(path), "set aside")
    if name.startswith(".trash-"):
        return Item(path, "leftover", {}, size_of(path), used(path))
    if not re.fullmatch("[0-9a-f]{16}", name):
        return None
    try:
        return Item(path, "entry", read_meta(path), size_of(path), used(path))
    except (DamagedEntry, OSError, KeyError, TypeError) as damage:
        return Item(path, "damaged", read_json(path / META), size_of(path), used(path), str(damage))


def size_of(path: Path) -> int:
    """Return the bytes of all files in a folder."""
    found = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                found += os.stat(os.path.join(folder, file)).st_size
            except FileNotFoundError:  # a shard's temporary name, gone since
                continue
    return found


def used(path: Path) -> float:
    """Return when an entry was last used, in seconds since 1970."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def mark_used(path: Path) -> None:
    """Note that an entry was used now."""
    try:
        os.utime(path)
    except OSError:  # somebody else's cache, or a read-only one: then the mark is missing, and nothing else
        log.debug("%s can't be marked as used.", path)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file only to show what it says; whatever is wrong with it, nothing is said."""
    try:
        about = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
