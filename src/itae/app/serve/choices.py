"""The rules of feedback that a page offers, and what their files say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.app.compose import conf_dir, plain_values
from itae.app.knowledge.words import Asked
from itae.base.construct import construct
from itae.base.names import choice_of

_OPTION = re.compile(r"^(\w+):.*?#\s*(.+)$", re.MULTILINE)


def rules_of(asked: Asked, chosen: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the rules by their names, and the name of the one that the command line has chosen."""
    from omegaconf import OmegaConf

    rules = {file.stem: plain_values({"feedback": OmegaConf.load(file)})["feedback"] for file in _files()}
    construct("feedback", chosen)
    given = [word.partition("=")[2] for word in asked.words if word.startswith("feedback=")]
    name = given[-1] if given else "nearest"
    if name not in rules or chosen["_target_"] != rules[name]["_target_"]:
        name = choice_of(chosen["_target_"])  # somebody's own
    return {**rules, name: dict(chosen)}, name


def rule_texts() -> dict[str, dict[str, str]]:
    """Return what the comments of each rule's file say: of it, under the empty name, and of its options."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in _files()}
    return {
        name: {"": text.partition("\n")[0].lstrip("# "), **dict(_OPTION.findall(text))} for name, text in texts.items()
    }


def _files() -> list[Path]:
    return sorted((conf_dir() / "feedback").glob("*.yaml"))
