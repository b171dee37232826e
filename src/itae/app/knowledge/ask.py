"""``itae knowledge classify | why``: what pictures are, by their neighbours, and what an answer hangs on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from itae.app.knowledge.opened import NEEDED, Opened, opened
from itae.app.knowledge.words import OF_A_SPACE, Asked, ask, parser
from itae.base.console import console, say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.images.image_set import ImageSet
from itae.knowledge.classify import Answer
from itae.knowledge.classify import classify as answers_of

READS = ("voter", "knowledge", *OF_A_SPACE, *NEEDED)
_NEIGHBOURS = 3  # that a line of the table has room for


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
        print(json.dumps([{"path": path, **answer.plain()} for path, answer in pairs]))  # noqa: T201  nothing else
        return 0
    _show(images, answers)
    return 0


def _question(made: argparse.ArgumentParser) -> None:
    made.add_argument("--at", metavar="VERSION", help="of this version or tag (the newest)")
    made.add_argument("--json", action="store_true", help="one JSON document in place of text")


def _answers(asked: Asked, here: Opened, abstain: float | None = None) -> tuple[ImageSet, list[Answer]]:
    snapshot = here.base.snapshot(asked.options.at)
    images = here.encoder.pictures(asked.others)
    voter = construct("voter", here.config["voter"])
    device = here.encoder.runtime.device
    vectors = here.encoder(images)
    return images, answers_of(snapshot, vectors, images.digests, voter, abstain, device=device)


def _show(images: ImageSet, answers: Sequence[Answer]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("picture", "label", "share", "p", "nearest"):
        numeric = name in ("share", "p")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric)
    for path, answer in zip(images.ids, answers, strict=True):
        share = f"{next(iter(answer.scores.values())):.3f}" if answer.scores else ""
        near = ", ".join(f"{one['id']} {one['similarity']:.3f}" for one in answer.neighbours[:_NEIGHBOURS])
        table.add_row(path, answer.label or "-", share, f"{answer.p:.3f}", near)
    console(500).print(table)
    for path, answer in zip(images.ids, answers, strict=True):
        for row in answer.known:
            say(f"known      {path} is {row['id']}, {_label(row['label'])}")
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        say(f"note       {note}")
    say(f"base       version {answers[0].version}, root {answers[0].root[:16]}")


def _label(label: Any) -> str:
    return ", ".join(label) if isinstance(label, list) else label or "no label"
