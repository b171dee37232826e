"""What to try after a first run: the default backbone has no artifacts, so its run shows +0.0000 everywhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from itae.base.beside import beside

_DEFAULT = ("digits_vit", "digits")


def next_step(result: Mapping[str, Any]) -> str | None:
    """Return the command that shows an effect, if a run of the default model and images flagged nothing."""
    settings, rates = result["settings"], result["artifact_rate"]
    default = (settings["backbone"]["model_name"], settings["dataset"]["name"]) == _DEFAULT
    return "itae experiment=demo" if default and rates and not any(rates.values()) else None


def print_next_step(result: Mapping[str, Any]) -> None:
    """Print it as the last line of a run."""
    if command := next_step(result):
        line = f"try next   {command}   (this backbone has no artifacts; there they are planted)\n"
        beside("What to try next", lambda: sys.stdout.write(line))
