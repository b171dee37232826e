"""``itae prepare``: download what runs need, once and ahead of any; runs download no data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from itae.app.compose import plain_config, verb_config, verb_words
from itae.base.construct import construct


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
    backbone.weights(backbone.facts(Path(plain["paths"]["cache"]) / ".facts"))
