"""``itae cache ls | verify | prune``: what the store holds, whether it is whole, and room when it has grown.

It needs neither Hydra nor torch, so it answers at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from itae.base.console import console, say
from itae.base.disk import megabytes
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.store.store import DamagedEntry, Item, Store, read_entry

_DAY = 86_400.0


def main(argv: Sequence[str], default_root: Path | None = None) -> int:
    """Run ``itae cache``.

    Parameters
    ----------
    argv
        What stands after ``itae cache``.
    default_root
        The store's folder when ``--cache`` does not name another; by default that of ``ITAE_CACHE``, or
        ``outputs/cache``.

    Returns
    -------
    int
        The exit status: 0; 1 when `verify` finds damage; 2 for a mistake.
    """
    default_root = default_root or Path(os.environ.get("ITAE_CACHE", "outputs/cache"))
    options = _parser(default_root).parse_args(argv)
    commands = {"ls": _list, "verify": _verify, "prune": _prune}
    try:
        if options.cache is not None and not at_home(options.cache).exists():
            raise UserError(f"--cache={options.cache}: there is no such folder; the default is {default_root}.")
        return commands[options.command](Store(options.cache or default_root), options)
    except UserError as error:
        console(stderr=True).print(f"itae: {error}", soft_wrap=True)
        return 2


def _parser(default_root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="itae cache", description="Look after the store of embeddings.")
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="list what is there")
    verify = commands.add_parser("verify", help="check every byte of every entry; exit 1 if one is damaged")
    prune = commands.add_parser("prune", help="make room; what a running process holds stays")
    for command in (ls, verify, prune):
        command.add_argument("--cache", type=Path, metavar="PATH", help=f"its folder ({default_root})")
    prune.add_argument("--max-gb", type=_not_negative, help="remove the least recently used until it fits")
    prune.add_argument("--older-than", type=_not_negative, metavar="DAYS", help="remove what was not used for so long")
    prune.add_argument("--unfinished", action="store_true", help="remove what interrupted runs left")
    prune.add_argument("--damaged", action="store_true", help="verify, and remove what is damaged")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return number


def _list(store: Store, options: argparse.Namespace) -> int:
    items = store.survey()
    if not items:
        say(f"Nothing in {store.root} yet.")
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("digest", "dataset", "backbone", "edit", "n x dim", "size", "used", "state"):
        numeric = name in ("n x dim", "size", "used")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric or name == "digest")
    for item in items:
        table.add_row(*_row(item))
    console(500).print(table)  # where nobody looks a row stays one line
    total = megabytes(sum(item.bytes for item in items))
    free = megabytes(shutil.disk_usage(store.root).free)
    say(f"{len(items)} in {store.root}, {total}; {free} free on this disk")
    return 0


def _row(item: Item) -> tuple[str, ...]:
    about = item.about
    space = about.get("space")
    edit = describe(space.get("edit")) if isinstance(space, dict) else "?"
    count = f"{about.get('n', '?')} x {about.get('dim', '?')}"
    state = {"entry": "whole", "damaged": f"damaged: {item.trouble}"}.get(item.kind, item.kind)
    if item.kind == "unfinished":
        state = f"unfinished, {len(list(item.path.glob('*.shard')))} shards"
    folders = item.path.parent.parent.name, item.path.parent.name
    return (item.name, *folders, edit, count, megabytes(item.bytes), _ago(item.used), state)


def describe(edit: Any) -> str:
    """Say in a few words what an edit does: ``VectorNorm(k=3, rule=mad) Scale(strength=1) layers=10,11``."""
    if edit is None:
        return "baseline"
    if not isinstance(edit, Mapping):
        return str(edit)
    first = [name for name in ("detector", "attenuator") if name in edit]
    rest = [name for name in sorted(edit) if name not in ("detector", "attenuator", "method")]
    return " ".join(_part(name, edit[name]) for name in first + rest)


def _part(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        title = str(value.get("class", name)).rpartition(".")[2]
        settings = ", ".join(
            f"{k}={_short(v)}" for k, v in sorted(value.items()) if k not in ("class", "source") and v is not None
        )
        return f"{title}({settings})"
    return f"{name}={_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ago(then: float) -> str:
    seconds = max(0.0, time.time() - then)
    for length, unit in ((_DAY, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _verify(store: Store, options: argparse.Namespace) -> int:
    whole = damaged = aside = 0
    for item in store.survey():
        trouble = _trouble(item)
        if item.path.name.startswith("."):
            aside += item.kind == "damaged"
        elif trouble is None:
            whole += 1
        else:
            damaged += 1
            say(f"damaged: {item.path}: {trouble}")
    earlier = f" and {aside} set aside earlier" if aside else ""
    say(f"{whole} whole, {damaged} damaged{earlier} in {store.root}")
    if damaged or aside:
        say("The next run makes what it needs again; `itae cache prune --damaged` makes room.")
    return 1 if damaged else 0


def _trouble(item: Item) -> str | None:
    """Return what is wrong with an entry, None when every byte is right or another process removed it."""
    if item.kind == "entry":
        try:
            read_entry(item.path)
        except DamagedEntry as damage:
            return str(damage) if item.path.exists() else None
        return None
    return item.trouble or item.kind


def _prune(store: Store, options: argparse.Namespace) -> int:
    asked = (options.max_gb, options.older_than)
    if asked == (None, None) and not (options.unfinished or options.damaged):
        raise UserError(
            "itae cache prune needs to know what may go: --max-gb, --older-than, --unfinished or --damaged "
            "(--dry-run shows it first)."
        )
    items = store.survey()
    if options.damaged:
        items = [_verified(item) for item in items]
    gone = _gone(store, _first_choice(items, options), options)
    if options.max_gb is not None:
        left = [item for item in items if item not in gone]
        gone += _make_fit(store, left, options)
    verb = "would be removed" if options.dry_run else "removed"
    freed = sum(item.bytes for item in gone)
    left_bytes = megabytes(sum(item.bytes for item in items) - freed)
    say(f"{len(gone)} {verb}, {megabytes(freed)}; {left_bytes} left in {store.root}")
    return 0


def _verified(item: Item) -> Item:
    trouble = _trouble(item) if item.kind == "entry" else None
    return replace(item, kind="damaged", trouble=trouble) if trouble else item


def _first_choice(items: list[Item], options: argparse.Namespace) -> list[Item]:
    """Return what goes by what it is or how old it is; what an interrupted prune left goes always."""
    kinds = {"leftover"}
    kinds |= {"unfinished"} if options.unfinished else set()
    kinds |= {"damaged"} if options.damaged else set()
    before = time.time() - _DAY * options.older_than if options.older_than is not None else -1.0
    chosen = [item for item in items if item.kind in kinds or item.used < before]
    return sorted(chosen, key=lambda item: item.used)


def _gone(store: Store, chosen: list[Item], options: argparse.Namespace) -> list[Item]:
    """Remove what can be removed of `chosen`, say so, and return it."""
    gone = []
    for item in chosen:
        held = store.is_held(item) if options.dry_run else not store.remove(item)
        what = "kept, a running process holds it:" if held else f"{item.kind}, {megabytes(item.bytes)},"
        say(f"{what} {' '.join(_row(item)[:4])}")
        if not held:
            gone.append(item)
    return gone


def _make_fit(store: Store, items: list[Item], options: argparse.Namespace) -> list[Item]:
    """Remove entries, the least recently used first, until all that is left fits in ``--max-gb``."""
    total, limit, gone = sum(item.bytes for item in items), options.max_gb * 1e9, []
    for item in sorted((item for item in items if item.kind == "entry"), key=lambda item: item.used):
        if total <= limit:
            break
        removed = _gone(store, [item], options)
        total -= sum(item.bytes for item in removed)
        gone += removed
    if total > limit:
        told = "What is left is still larger: see `itae cache ls`, --unfinished and --damaged."
        console().print(told, style="yellow", soft_wrap=True)
    return gone
