"""``itae prepare``: download what runs need, once and ahead of any; runs download no data."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from itae.app.compose import plain_config, verb_config, verb_words
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.search.text.towers import Tower, tower_of
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run ``itae prepare`` with what stands after it; return the exit status."""
    about = "Download what a run of the same words needs; runs download no data."
    _, cfg = verb_config(verb_words("prepare", about), argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare(cfg)
    return 0


def prepare(cfg: DictConfig) -> None:
    """Download what the data set and the backbone of a config need, once and ahead of any run."""
    plain = plain_config(cfg)
    construct("dataset", plain["dataset"]).prepare()
    backbone = construct("backbone", plain["backbone"])
    facts = backbone.facts(Path(plain["paths"]["cache"]) / ".facts")
    backbone.weights(facts)
    with contextlib.suppress(UserError):  # the space of images alone: a run needs no more
        prepare_texts(backbone, facts, tower_of(plain["backbone"]))


def prepare_texts(backbone: Backbone, facts: Facts, tower: Tower) -> None:
    """Download the text tower of a joint space, if one is not in the package and open_clip is installed."""
    if not tower.configs or importlib.util.find_spec("open_clip") is None:
        return
    from itae.search.text.open_clip_tower import fetch

    try:
        fetch(backbone, facts, tower)
    except UserError as error:
        log.warning("Images can be embedded, and texts can't: %s", error)
