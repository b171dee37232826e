"""A base that is opened by a verb, and the encoder of its space, checked against the words of the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.app.knowledge.words import OF_A_SPACE, Asked, config, laid_over
from itae.app.settings import cache_folder, runtime_of
from itae.base.disk import disk_trouble_told
from itae.embed.encoder import Encoder
from itae.knowledge.base import KnowledgeBase, open_knowledge
from itae.knowledge.exchange.recipe import EDITED, encoder_of, recipe_of, refuse_another_space
from itae.knowledge.near.index import open_index, use_index
from itae.knowledge.records.snapshot import Snapshot
from itae.store.store import Store

NEEDED = ("paths", "runtime")
"""What every verb reads that embeds."""


@dataclass(frozen=True)
class Opened:
    """A base, the encoder of its space, and the config of a command line's words."""

    base: KnowledgeBase
    encoder: Encoder
    config: dict[str, Any]


@contextlib.contextmanager
def opened(asked: Asked) -> Iterator[Opened]:
    """Open the base of a command line, and make its encoder; the model goes with the body.

    Words that make a space are held against the base's own.

    Raises
    ------
    UserError
        If there is no base, or words name another space than its own.
    """
    base = open_knowledge(asked.options.kb)
    plain = config(asked.words)
    store, runtime = Store(cache_folder(plain["paths"])), runtime_of(plain["runtime"])
    runtime.check_device()
    recipe = base.about.words
    if asked.given(*OF_A_SPACE):
        nodes, edited = with_words(recipe, asked, plain)
        _, theirs = recipe_of(nodes, edited, store, runtime)
        refuse_another_space(asked.options.kb, base.about.space, theirs.space)
    encoder = encoder_of(recipe, store, runtime)
    refuse_another_space(asked.options.kb, base.about.space, encoder.space)  # weights or code may have changed since
    try:
        yield Opened(base, encoder, plain)
    finally:
        encoder.close()


def snapshot_of(
    base: KnowledgeBase,
    config: Mapping[str, Any],
    cache: Path,
    at: str | int | None,
    check: Callable[[Snapshot], object] = lambda snapshot: None,
) -> Snapshot:
    """Return a version of a base, with an index where the config's ``knowledge.index`` names one.

    Parameters
    ----------
    base, config
        As `Opened` has them.
    cache
        The store's folder, where indexes lie.
    at
        A number or tag, None for the newest.
    check
        Raises where the snapshot won't do, before an index is made of it.
    """
    factory = config["knowledge"]["index"]
    if factory is None:
        return base.snapshot(at)
    folder = base.index_folder(cache)
    snapshot = base.snapshot_beside(folder / "vectors", at)
    check(snapshot)
    with disk_trouble_told(folder):
        use_index(snapshot, open_index(snapshot, folder / "indexes", factory))
    return snapshot


def with_words(recipe: Mapping[str, Any], asked: Asked, plain: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the nodes of a recipe with what words of a command line say of them, and whether that is an edit."""
    own, given = recipe["edit"] or {}, asked.given(*OF_A_SPACE)
    nodes = {"backbone": recipe["backbone"]} | {name: own.get(name, plain[name]) for name in EDITED}
    made = {name: laid_over(node, name, given, plain) for name, node in nodes.items()}
    made["layers"] = own["layers"] if own and not asked.given("layers") else plain["layers"]
    for name in ("resize", "decode"):
        made[name] = plain["dataset"][name] if asked.given(f"dataset.{name}") else recipe[name]
    return made, bool(own) or bool(asked.given(*EDITED, "layers"))
