"""How pictures become vectors of a base: the words for it, which the base keeps, and the encoder that they make.

A base belongs to one space. What was fitted is in it as numbers, so that what is added later is seen as what was there
first; a rule that is still to be fitted makes no space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.names import choice_of
from itae.base.place import at_home
from itae.base.runtime import Runtime
from itae.edits.controls import controlled, edit_under
from itae.edits.edit import AnyEdit
from itae.edits.found import ByDetector, told_thetas
from itae.edits.registers import RegisterEdit
from itae.embed.calibration import calibrated
from itae.embed.encoder import Encoder
from itae.store.entry import differences
from itae.store.store import Store
from itae.vit.facts import Facts

EDITED = ("detector", "attenuator", "control", "edit")
"""The config groups of an edit."""


def recipe_of(plain: Mapping[str, Any], edited: bool, store: Store, runtime: Runtime) -> tuple[dict[str, Any], Encoder]:
    """Return the recipe of a resolved config, as plain values, and its encoder.

    Parameters
    ----------
    plain
        Nodes of the config: ``backbone``, ``resize``, ``decode``, and, if `edited`, those of `EDITED` and ``layers``.
    edited
        Whether an edit is asked for at all; else the recipe is the untouched model's.
    store, runtime
        Of the encoder.

    Raises
    ------
    UserError
        For whatever is wrong with a node, and for a rule whose numbers aren't known yet.
    """
    recipe = {name: plain[name] for name in ("backbone", "resize", "decode")} | {"edit": None}
    recipe["backbone"] = _from_anywhere(plain["backbone"])
    if edited:
        recipe["edit"] = {name: plain[name] for name in (*EDITED, "layers")}
    encoder = encoder_of(recipe, store, runtime)
    if isinstance(encoder.edit, RegisterEdit):
        raise UserError(
            "edit=test_time_registers searches its neurons on a data set, and a knowledge base has none; leave it out, "
            "or choose edit=attention."
        )
    if getattr(encoder.edit, "ungathered", False):
        control = choice_of(recipe["edit"]["control"]["_target_"])
        raise UserError(
            f"control={control} takes numbers of calibration images, and a knowledge base has no such images; leave it "
            "out, or choose another control."
        )
    if encoder.edit is None:
        return recipe | {"edit": None}, encoder
    if not isinstance(encoder.edit, ByDetector):  # it has no numbers to keep
        return recipe, encoder
    edit = calibrated(encoder.edit, encoder.source_of_nothing)
    assert isinstance(edit, ByDetector)
    if edit.unfitted:
        raise UserError(
            "detector.rule=bimodal is fitted, and a knowledge base keeps the numbers; give them with "
            "detector.calibration=FILE (itae calibrate FILE ... makes one)."
        )
    if edit.thetas is not None:
        recipe["edit"]["thetas"] = told_thetas(edit.thetas)
    return recipe, dataclasses.replace(encoder, edit=edit)


def encoder_of(recipe: Mapping[str, Any], store: Store, runtime: Runtime) -> Encoder:
    """Return the encoder of a recipe.

    Raises
    ------
    UserError
        For whatever is wrong with it: weights that aren't there any more, for one.
    """
    backbone = construct("backbone", recipe["backbone"])
    facts = backbone.facts(store.root / ".facts")
    edit = _edit_of(recipe["edit"], facts)
    if edit is not None:
        edit.check(facts)
    return Encoder(backbone, facts, recipe["resize"], recipe["decode"], edit, store, runtime)


def refuse_another_space(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise a `UserError` that names the first field in which a base's space is not that of a query or of new rows.

    Parameters
    ----------
    name
        Of the base, for people.
    ours, theirs
        The base's space, and the other.
    """
    for field, (there, asked) in differences(dict(ours), dict(theirs)).items():
        if field == "edit":  # one of the two has none
            there, asked = ("set", "none") if asked == "null" else ("none", "set")
            raise UserError(
                f"{name} is of another space: edit is {there} in it, and {asked} here; leave out the words of one "
                f"({', '.join((*EDITED, 'layers'))}), or make a base of that space with itae knowledge rebuild."
            )
        raise UserError(
            f"{name} is of another space: {field} is {there} in it, and {asked} here; vectors of two spaces can't be "
            f"compared, so give the same, or make a base of that space with itae knowledge rebuild."
        )


def _edit_of(node: Mapping[str, Any] | None, facts: Facts) -> AnyEdit | None:
    if node is None:
        return None
    made = {name: construct(name, node[name]) for name in EDITED}
    detector, attenuator = controlled(made["edit"], made["control"], made["detector"], made["attenuator"])
    edit: AnyEdit | None = edit_under(made["control"], made["edit"]).make(detector, attenuator, node["layers"], facts)
    if isinstance(edit, ByDetector) and (thetas := node.get("thetas")) is not None:
        known = {int(layer): math.nan if theta is None else theta for layer, theta in thetas.items()}
        return edit.with_thetas(known)
    return edit


def _from_anywhere(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return a backbone's node in which a file of weights is found from any folder."""
    checkpoint = backbone.get("checkpoint")
    if not isinstance(checkpoint, str) or checkpoint.startswith("pkg://"):
        return dict(backbone)
    return {**backbone, "checkpoint": str(Path(at_home(checkpoint)).absolute())}
