"""What is known of a model without its weights."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What is known of a model without its weights.

    Parameters
    ----------
    architecture
        timm's name, without the tag of the weights.
    depth, width, heads
        Blocks, embedding width E, attention heads H.
    prefix
        Tokens before the first patch: CLS, then registers.
    has_cls
        Whether the first of them is a CLS token.
    grid
        Patches in height and width.
    mean, std, interpolation
        The preprocessing that the weights were trained with.
    hub_repo, hub_file
        Where timm has the weights, None if it has none.
    neurons
        Inputs of each block's ``mlp.fc2``; 0 where not every block has one, or can't take a token more.
    projects
        Whether a linear head follows the model's own pooling, which may be a projection into a joint space.
    unreadable
        Which part of which block can't be taken for linear, see `itae.vit.linear`; empty where all can.
    registers
        Trained register tokens, the last ones before the first patch.
    """

    architecture: str
    depth: int
    width: int
    heads: int
    prefix: int
    has_cls: bool
    grid: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    hub_repo: str | None
    hub_file: str | None
    neurons: int = 0
    projects: bool = False
    unreadable: str = ""
    registers: int = 0

    def caveats(self, dataset: str) -> list[str]:
        """Say what a reader has to know of the embedded backbones, which are toys, before believing a number."""
        notes = []
        if self.architecture == "digits_vit_artifacts":
            notes.append("The artifacts of this backbone are planted: it shows that the machinery works, and no more.")
        ours = self.architecture.startswith(("digits_vit", "digits_clip"))
        if ours and dataset in ("digit_pairs", "digits_conditions"):
            notes.append("This backbone learnt from single digits, upright and light on dark; these are made of them.")
        elif ours and dataset != "digits":
            notes.append(
                "This backbone knows handwritten digits and nothing else; choose one for these images (backbone=)."
            )
        return notes


def recall(path: Path) -> Facts | None:
    """Read what `remember` wrote; None where there is nothing yet, or nothing whole."""
    try:
        values: dict[str, Any] = dict(json.loads(path.read_bytes()))
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return Facts(**values)
    except (OSError, ValueError, TypeError):
        return None  # not there yet, or damaged: the facts are read again


def remember(path: Path, facts: Facts) -> None:
    """Write the facts as JSON, whole or not at all."""
    with contextlib.suppress(OSError):  # a memo only; the store says what is wrong with the folder
        path.parent.mkdir(parents=True, exist_ok=True)
        unique = path.with_suffix(f".{os.getpid()}.tmp")
        unique.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        unique.replace(path)
