"""The edits that are held against what was planted, by their names in the tables, and the signals that they go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from itae.edits.attenuate import Attenuator, Fade, Floor, Scale
from itae.edits.combined import Combined
from itae.edits.detect import EACH, ClsAttention, Detector, Random, ResidualNorm, VectorNorm
from itae.edits.edit import AnyEdit, Edit, make_edit
from itae.edits.registers import TestTimeRegisters
from itae.edits.site import Flags, Site
from itae.vit.facts import Facts

DEFAULT, LABEL_FREE, TRUTH = "default", "label_free", "the truth"
REGISTERS = "test-time registers"

SIGNALS: dict[str, Detector] = {
    "value_norm": VectorNorm(side="high", vector="value"),
    "value_norm, low": VectorNorm(side="low", vector="value"),  # the paper's side
    "key_norm": VectorNorm(side="high", vector="key"),
    "query_norm": VectorNorm(side="high", vector="query"),
    "residual_norm": ResidualNorm(side="high"),
    "cls_attention": ClsAttention(side="high"),
    "combined": Combined(),  # key and value
}


Make = Callable[[Facts], AnyEdit | None]
"""Makes an edit for a model of these facts. A rival method is one more of these, under one more name in `EDITS`."""


def by(
    name: str,
    attenuator: Attenuator | None = None,
    layers: str = "all",
    rule: str = "bimodal",
    where: str | None = None,
) -> Make:
    """Return what makes the edit of a signal, `scale` at strength 1 in all blocks unless it is told otherwise."""
    detector = replace(SIGNALS[name], rule=rule, layer=where)
    return lambda facts: make_edit(detector, attenuator or Scale(), layers, facts.depth)


def _random(facts: Facts) -> Edit | None:
    return make_edit(Random(match=replace(SIGNALS["value_norm"], rule="bimodal")), Scale(), "all", facts.depth)


def registers(rule: str) -> Make:
    """Return what makes the rival's edit; the rule tells outliers, from which its neurons are found."""
    return lambda facts: TestTimeRegisters(rule=rule).make(None, None, "all", facts)


EDITS: dict[str, Make] = {
    DEFAULT: by("value_norm"),  # conf/experiment/demo.yaml
    LABEL_FREE: by("combined", where=EACH),  # conf/recipe/label_free.yaml
    "key_norm": by("key_norm"),
    "residual_norm": by("residual_norm"),
    "value_norm, mad": by("value_norm", rule="mad"),
    "residual_norm, mad": by("residual_norm", rule="mad"),
    "floor": by("value_norm", Floor()),
    "fade": by("value_norm", Fade()),
    "last": by("value_norm", layers="last"),
    "last2": by("value_norm", layers="last2"),
    REGISTERS: registers("bimodal"),
    f"{REGISTERS}, mad": registers("mad"),
    "random": _random,
    TRUTH: lambda _facts: None,  # made where it is known what was planted
}


@dataclass(frozen=True)
class Truth:
    """Flags what was planted and nothing else: no detector does better, so what it does not win back, none can.

    Parameters
    ----------
    masks
        [P] bool by the sha256 of each image: what is planted goes by an image's content.
    """

    masks: Mapping[bytes, Tensor]

    needs_cls: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        mask = torch.stack([self.masks[digest] for digest in site.digests]).unsqueeze(1)
        return Flags(mask, mask.float(), mask.new_ones(len(mask), 1, 1).float())

    def spec(self) -> dict[str, Any]:
        return {}


def some(names: Iterable[str]) -> dict[str, Make]:
    return {name: EDITS[name] for name in names}
