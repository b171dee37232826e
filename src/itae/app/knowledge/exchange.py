"""``itae knowledge import | export | rebuild``: rows from and to elsewhere, and a base in another space."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from itae.app.knowledge.edits import commit, edit_options
from itae.app.knowledge.opened import NEEDED, with_words
from itae.app.knowledge.printed import counted
from itae.app.knowledge.words import OF_A_SPACE, ask, config, parser
from itae.app.settings import cache_folder, runtime_of
from itae.base.console import say
from itae.knowledge.base import open_knowledge
from itae.knowledge.exchange.exchange import export as exported
from itae.knowledge.exchange.exchange import rows_from
from itae.knowledge.exchange.rebuild import rebuild as rebuilt
from itae.knowledge.exchange.recipe import recipe_of
from itae.store.store import Store


def import_(argv: Sequence[str]) -> int:
    """Run ``itae knowledge import``."""
    told = "Add rows from a folder of vectors.npy, ids.txt, labels.csv, digests.npy, or a .parquet file. That their "
    told += "vectors are of the base's space, nobody can check."
    made = parser("import", told, "FROM")
    made.add_argument("--source", metavar="NAME", help="what they are from (what the file says, or its name)")
    made.add_argument("--replace", action="store_true", help="put them in the place of others of the same id")
    edit_options(made)
    asked = ask(made, argv)
    path = asked.one("itae knowledge import KB FROM: give a folder or a .parquet file.")
    base = open_knowledge(asked.options.kb)
    return commit(base, base.add(rows_from(path, asked.options.source), asked.options.replace), asked.options)


def export(argv: Sequence[str]) -> int:
    """Run ``itae knowledge export``."""
    told = "Write the rows into a new folder of vectors.npy, ids.txt, labels.csv, digests.npy, or a .parquet file."
    made = parser("export", told, "OUT")
    made.add_argument("--at", metavar="VERSION", help="of this version or tag (the newest)")
    asked = ask(made, argv)
    path = asked.one("itae knowledge export KB OUT: give a new folder or .parquet file.")
    snapshot = open_knowledge(asked.options.kb).snapshot(asked.options.at)
    exported(snapshot, path)
    say(f"{path} has {counted(len(snapshot), 'row')}, those of version {snapshot.version}")
    return 0


def rebuild(argv: Sequence[str]) -> int:
    """Run ``itae knowledge rebuild``."""
    made = parser("rebuild", "Make the same base in another space; ids, labels and journal stay.", "NEW key=value")
    asked = ask(made, argv, (*OF_A_SPACE, *NEEDED))
    path = asked.one("itae knowledge rebuild KB NEW key=value...: give the folder of the new base.")
    base = open_knowledge(asked.options.kb)
    plain = config(asked.words)
    store, runtime = Store(cache_folder(plain["paths"])), runtime_of(plain["runtime"])
    runtime.check_device()
    nodes, edited = with_words(base.about.words, asked, plain)
    recipe, encoder = recipe_of(nodes, edited, store, runtime)
    new = rebuilt(base, path, encoder, recipe)
    snapshot = new.snapshot()
    held = f"{counted(len(snapshot), 'row')} and {counted(snapshot.version, 'edit')}"
    say(f"{path} has {held}, in its own space; to look: itae knowledge status {shlex.quote(path)}")
    return 0
