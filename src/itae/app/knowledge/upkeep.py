"""``itae knowledge status | verify | compact | purge``: what there is, whether it is whole, and what must not stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from itae.app.knowledge.printed import counted, json_option, print_json
from itae.app.knowledge.words import ask, config, parser
from itae.app.settings import cache_folder
from itae.base.console import say
from itae.knowledge.base import KnowledgeBase, open_knowledge

_SHOWN = 20


def status(argv: Sequence[str]) -> int:
    """Run ``itae knowledge status``."""
    made = parser("status", "What a base holds.")
    made.add_argument("--at", metavar="VERSION", help="of this version or tag (the newest)")
    json_option(made)
    asked = ask(made, argv)
    base = open_knowledge(asked.options.kb)
    found, space = base.status(asked.options.at), base.about.space
    if asked.options.json:
        print_json({**asdict(found), "space": space})
        return 0
    edit = "an edit" if space.get("edit") else "no edit"
    say(f"version    {found.version}, root {found.root}")
    say(f"space      {space.get('model', '?')}, {edit}")
    say(f"rows       {found.rows}, {found.labels.pop('', 0)} of them without a label")
    _say_counts("labels", found.labels)
    _say_counts("sources", found.sources)
    say(f"images     {'kept in the base' if found.images == 'embed' else 'where they are'}")
    for name, version in found.tags.items():
        say(f"tag        {name}: version {version}")
    if found.floor:
        say(f"purged     what was before version {found.floor}")
    if found.gone:
        some = ", ".join(found.gone[:_SHOWN])
        say(f"moved      not where they were: {counted(len(found.gone), 'picture')} ({some}); itae knowledge relink")
    if found.unfinished:
        say("purge      one was interrupted; the next edit, or itae knowledge purge, ends it")
    return 0


def _say_counts(name: str, counts: dict[str, int]) -> None:
    most = sorted(counts.items(), key=lambda pair: -pair[1])[:_SHOWN]
    some = ", ".join(f"{label}: {count}" for label, count in most)
    say(f"{name:<11}{len(counts)}{f' ({some})' if counts else ''}{' and more' if len(counts) > _SHOWN else ''}")


def verify(argv: Sequence[str]) -> int:
    """Run ``itae knowledge verify``; 1 if anything is damaged."""
    made = parser("verify", "Hold everything against its checksums: rows, pictures, every version, the journal.")
    json_option(made)
    asked = ask(made, argv)
    found = open_knowledge(asked.options.kb).verify()
    if asked.options.json:
        print_json(asdict(found))
    else:
        for problem in found.problems:
            say(f"damaged    {problem}")
        for note in found.notes:
            say(f"note       {note}")
        whole = counted(len(found.whole), "version")
        say(f"{counted(found.rows, 'row')}, {whole} whole, {len(found.damaged)} damaged")
    return 1 if found.problems else 0


def compact(argv: Sequence[str]) -> int:
    """Run ``itae knowledge compact``."""
    asked = ask(parser("compact", "Put the many small files that edits leave together; makes no version."), argv)
    base = open_knowledge(asked.options.kb)
    before = base.versions.newest()
    base.compact()
    files = base.store.small_files(base.versions.newest().store)
    say(f"{counted(base.store.small_files(before.store), 'small file')}, {files} now")
    return 0


def purge(argv: Sequence[str]) -> int:
    """Run ``itae knowledge purge``."""
    made = parser("purge", "Leave no byte of what was deleted, in the base and in the cache; undo and --at end here.",
                  "key=value")  # fmt: skip
    made.add_argument("--why", default="", metavar="TEXT", help="the reason, for the journal")
    made.add_argument("--who", metavar="NAME", help="by whom (the user)")
    json_option(made)
    made.add_argument("--dry-run", action="store_true", help="only say what would go")
    asked = ask(made, argv, ("paths",))
    base = open_knowledge(asked.options.kb)
    if asked.options.dry_run:
        return _would_purge(base, asked.options.json)
    cache = cache_folder(config(asked.words)["paths"])
    found = base.purge(cache, asked.options.who, asked.options.why)
    if asked.options.json:
        told = {"edit": found.edit.edit, "rows": found.rows, "places": found.places, "beyond": found.beyond}
        told |= {"entries": list(map(str, found.entries)), "kept": list(map(str, found.kept))}
        print_json(told)
        return 0
    states = counted(found.rows, "deleted or earlier state")
    say(f"edit {found.edit.edit}: forgot {states} of rows, and all versions before this one")
    say(f"cache      removed {counted(len(found.entries), 'entry', 'entries')} that held such pictures")
    for path in found.kept:
        say(f"held       {path} is in use by another process; purge again when that has ended")
    for place in found.places:
        say(f"original   {place}")
    for what in found.beyond:
        say(f"not reached: {what}")
    return 0


def _would_purge(base: KnowledgeBase, as_json: bool) -> int:
    rows, places = base.to_purge()
    if as_json:
        print_json({"edit": None, "rows": rows, "places": places})
        return 0
    say(f"would forget {counted(rows, 'deleted or earlier state')} of rows, and all versions before this one")
    for place in places:
        say(f"original   {place}")
    return 0
