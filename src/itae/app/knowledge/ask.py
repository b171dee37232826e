"""``itae knowledge classify | why``: what pictures are, by their neighbours, and what an answer hangs on."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from itae.app.knowledge.opened import NEEDED, Opened, opened, snapshot_of
from itae.app.knowledge.printed import counted, json_option, print_json, print_table, table_of
from itae.app.knowledge.words import OF_A_SPACE, Asked, ask, parser
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.image_set import ImageSet
from itae.knowledge.answers.choose import refuse_unlabelled
from itae.knowledge.answers.classify import Answer
from itae.knowledge.answers.classify import classify as answers_of
from itae.knowledge.answers.why import Why
from itae.knowledge.answers.why import why as why_of
from itae.knowledge.records.snapshot import Snapshot

READS = ("voter", "knowledge", *OF_A_SPACE, *NEEDED)
_NEIGHBOURS = 3  # that a line of the table has room for
_TURNING = 8  # rows that turn an answer, in text


def classify(argv: Sequence[str]) -> int:
    """Run ``itae knowledge classify``."""
    made = parser("classify", "Say what pictures are, by the rows of a base that are nearest to them.", "PATH")
    _question(made)
    made.add_argument("--abstain", type=float, metavar="P", help="no label for what is as unusual as this: p < P")
    asked = ask(made, argv, READS)
    if not asked.others:
        raise UserError("itae knowledge classify KB PATH...: give pictures, or folders of pictures.")
    with opened(asked) as here:
        images, answers = _answers(asked, here, asked.options.abstain)
    if asked.options.json:
        pairs = zip(images.ids, answers, strict=True)
        print_json([{"path": path, **answer.plain()} for path, answer in pairs])
        return 0
    _show(images, answers)
    return 0


def why(argv: Sequence[str]) -> int:
    """Run ``itae knowledge why``."""
    told = "Say why a picture gets its label: the rows that voted, and the fewest without which it gets another."
    made = parser("why", told, "IMAGE")
    _question(made)
    made.add_argument("--page", metavar="OUT.html", help="write a page of it")
    asked = ask(made, argv, READS)
    path = asked.one("itae knowledge why KB IMAGE: give one picture.")
    with opened(asked) as here:
        voter, images = _voter_and_pictures(asked, here)
        if len(images) != 1:
            raise UserError(f"{path} holds {len(images)} pictures; itae knowledge why is about one.")
        with _snapshot(asked, here) as snapshot:
            found = why_of(snapshot, here.encoder(images)[0], images.digests[0], voter, here.encoder.runtime.device)
            if asked.options.page is not None:
                _write_page(here, snapshot, found, voter, images, at_home(asked.options.page))
    if asked.options.json:
        print_json({"path": images.ids[0], **found.plain()})
        return 0
    _show(images, [found.answer])
    _explain(found)
    if asked.options.page is not None:
        say(f"page       {asked.options.page}")
    return 0


def _write_page(here: Opened, snapshot: Snapshot, found: Why, voter: Any, images: ImageSet, out: Path) -> None:
    from itae.knowledge.answers.choose import choose
    from itae.knowledge.pages.page_of_answer import page_of_answer
    from itae.look.page.why_page import write_why_page

    chosen = choose(snapshot, voter, here.encoder.runtime.device).voter
    about, picture = page_of_answer(here.base, snapshot, found, chosen, images.ids[0])
    write_why_page(about, images.read(0), picture, out)


def _explain(found: Why) -> None:
    table = table_of("neighbour", "label", "similarity", "share", "source")
    for row in found.neighbours:
        table.add_row(row["id"], _label(row["label"]), f"{row['similarity']:.6f}", f"{row['share']:.3f}", row["source"])
    if found.neighbours:
        print_table(table)
    for source in found.sources:
        say(f"source     {source['source']}: {source['share']:.3f} of the vote, {counted(source['rows'], 'row')}")
    if found.turn is not None:
        fewest = " (the fewest)" if found.turn["fewest"] else ""
        say(f"turns      {counted(len(found.turn['rows']), 'row')} without which it is {found.turn['label']}{fewest}:")
        for row in found.turn["rows"][:_TURNING]:
            say(f"           {row['id']}, {_label(row['label'])}")
        if (more := len(found.turn["rows"]) - _TURNING) > 0:
            say(f"           and {more} more, which --json has")
    for note in found.notes:
        if note not in found.answer.notes:
            say(f"note       {note}")


def _question(made: argparse.ArgumentParser) -> None:
    made.add_argument("--at", metavar="VERSION", help="of this version or tag (the newest)")
    json_option(made)


def _answers(asked: Asked, here: Opened, abstain: float | None = None) -> tuple[ImageSet, list[Answer]]:
    voter, images = _voter_and_pictures(asked, here)
    device = here.encoder.runtime.device
    with _snapshot(asked, here) as snapshot:
        return images, answers_of(snapshot, here.encoder(images), images.digests, voter, abstain, device=device)


@contextlib.contextmanager
def _snapshot(asked: Asked, here: Opened) -> Iterator[Snapshot]:
    """Yield the version that is asked, with what looks for its neighbours: this process, an index, workers of Ray."""
    runtime, factory, at = here.encoder.runtime, here.config["knowledge"]["index"], asked.options.at
    if runtime.engine == "ray":
        from itae.knowledge.near.on_ray import NO_INDEX, ray_workers

        if factory is not None:
            raise UserError(NO_INDEX)
        with ray_workers(here.base, runtime.ray) as workers:
            folder = here.base.index_folder(here.encoder.store.root)
            snapshot = here.base.snapshot_beside(folder / "vectors", at)  # whose vectors they have in memory
            workers.serve(snapshot)
            yield snapshot
    else:
        yield snapshot_of(here.base, here.config, here.encoder.store.root, at, refuse_unlabelled)


def _voter_and_pictures(asked: Asked, here: Opened) -> tuple[Any, ImageSet]:
    """Return what is wrong most often, before the base is read or a picture embedded."""
    return construct("voter", here.config["voter"]), here.encoder.pictures(asked.others)


def _show(images: ImageSet, answers: Sequence[Answer]) -> None:
    table = table_of("picture", "label", "share", "p", "nearest")
    for path, answer in zip(images.ids, answers, strict=True):
        share = f"{next(iter(answer.scores.values())):.3f}" if answer.scores else ""
        near = ", ".join(f"{one['id']} {one['similarity']:.3f}" for one in answer.neighbours[:_NEIGHBOURS])
        table.add_row(path, answer.label or "-", share, f"{answer.p:.3f}", near)
    print_table(table)
    for path, answer in zip(images.ids, answers, strict=True):
        for row in answer.known:
            say(f"known      {path} is {row['id']}, {_label(row['label'])}")
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        say(f"note       {note}")
    say(f"base       version {answers[0].version}, root {answers[0].root[:16]}")


def _label(label: Any) -> str:
    return ", ".join(label) if isinstance(label, list) else label or "no label"
