"""``itae knowledge import | export | rebuild``: rows from and to elsewhere, and a base in another space."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from itae.app.knowledge.opened import NEEDED, with_words
from itae.app.knowledge.words import OF_A_SPACE, ask, config, parser
from itae.app.settings import cache_folder, runtime_of
from itae.base.console import say
from itae.base.errors import UserError
from itae.knowledge.base import open_knowledge
from itae.knowledge.rebuild import rebuild as rebuilt
from itae.knowledge.recipe import recipe_of
from itae.store.store import Store


def rebuild(argv: Sequence[str]) -> int:
    """Run ``itae knowledge rebuild``."""
    made = parser("rebuild", "Make the same base in another space; ids, labels and journal stay.", "NEW key=value")
    asked = ask(made, argv, (*OF_A_SPACE, *NEEDED))
    if len(asked.others) != 1:
        raise UserError("itae knowledge rebuild KB NEW key=value...: give the folder of the new base.")
    base = open_knowledge(asked.options.kb)
    plain = config(asked.words)
    store, runtime = Store(cache_folder(plain["paths"])), runtime_of(plain["runtime"])
    runtime.check_device()
    nodes, edited = with_words(base.about.words, asked, plain)
    recipe, encoder = recipe_of(nodes, edited, store, runtime)
    new = rebuilt(base, asked.others[0], encoder, recipe)
    snapshot = new.snapshot()
    say(f"{new.path} has {len(snapshot)} rows and {snapshot.version} edits, in its own space; to look: "
        f"itae knowledge status {shlex.quote(asked.others[0])}")  # fmt: skip
    return 0
