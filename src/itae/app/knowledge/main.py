"""``itae knowledge VERB KB ...``: every verb of a knowledge base, each imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from itae.base.console import say
from itae.base.errors import UserError, did_you_mean

VERBS = {
    "init": ("itae.app.knowledge.fill", "make an empty base of one space"),
    "add": ("itae.app.knowledge.fill", "add the pictures of a data set"),
    "classify": ("itae.app.knowledge.ask", "what pictures are, by their neighbours"),
    "why": ("itae.app.knowledge.ask", "the neighbours behind one answer, and the fewest rows that turn it"),
    "correct": ("itae.app.knowledge.change", "give rows another label"),
    "delete": ("itae.app.knowledge.change", "unlearn rows"),
    "undo": ("itae.app.knowledge.change", "put back what one edit changed"),
    "restore": ("itae.app.knowledge.change", "make an earlier version the newest"),
    "relink": ("itae.app.knowledge.change", "say where pictures have moved to"),
    "log": ("itae.app.knowledge.history", "the edits: who, when, what, why"),
    "diff": ("itae.app.knowledge.history", "what differs between two versions"),
    "tag": ("itae.app.knowledge.history", "give a version a name"),
    "status": ("itae.app.knowledge.upkeep", "what a base holds"),
    "verify": ("itae.app.knowledge.upkeep", "check every byte"),
    "compact": ("itae.app.knowledge.upkeep", "put many small files together"),
    "purge": ("itae.app.knowledge.upkeep", "leave no byte of what was deleted"),
    "suspects": ("itae.app.knowledge.curate", "rows that are likely wrong"),
    "duplicates": ("itae.app.knowledge.curate", "pictures that are there twice, or nearly"),
    "outliers": ("itae.app.knowledge.curate", "pictures that are like no other"),
    "import": ("itae.app.knowledge.exchange", "add rows from vectors or a Parquet file"),
    "export": ("itae.app.knowledge.exchange", "write rows as vectors or a Parquet file"),
    "rebuild": ("itae.app.knowledge.exchange", "make the same base in another space"),
}
"""Each verb's module, in which its function is called as it is (``import_`` for a word of Python), and what it does."""


def main(argv: Sequence[str]) -> int:
    """Run ``itae knowledge`` with what stands after it; return the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        _help()
        return 0
    verb, *rest = argv
    if verb not in VERBS:
        raise UserError(f"itae knowledge {verb}: the verbs are {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}")
    module = importlib.import_module(VERBS[verb][0])
    status: int = getattr(module, "import_" if verb == "import" else verb)(rest)
    return status


def _help() -> None:
    say("usage: itae knowledge VERB KB ...")
    say("Classify by neighbours from a store of rows, KB, that can be added to, corrected and unlearned.")
    say("")
    for verb, (_, told) in VERBS.items():
        say(f"  {verb:<11}{told}")
    say("")
    say("itae knowledge VERB --help tells of each. For a start:")
    say("")
    say("  itae knowledge init KB")
    say("  itae knowledge add KB dataset=imagefolder dataset.root=PICTURES")
    say("  itae knowledge classify KB PICTURE")
