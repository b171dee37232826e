"""Fitted thresholds as a small file that travels with a paper: ``itae calibrate FILE``, ``detector.calibration=FILE``.

The file is JSON. It holds one threshold a block and how it was found, and what it may be used with: the backbone
(name, sha256 of the weights, pixels, how images become them) and the detector (signal, side, scope, layer).
The edit and the images that it was fitted with are told beside.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.checks import is_number
from itae.base.errors import UserError
from itae.base.identity import key_of
from itae.base.place import at_home
from itae.edits.edit import AnyEdit
from itae.edits.found import ByDetector

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit
    from itae.embed.source import Source

log = logging.getLogger(__name__)

FORMAT = "itae calibration 1"
_TRANSFORM = ("resize", "decode", "interpolation", "mean", "std")  # of which files of earlier versions lack some
_FITTED_WITH = ("calibration_images", "calibration_seed")
_FITTED_UNDER = ("attenuator", "neighbour_mean", "layers")


def write_calibration(path: Path, source: Source, edit: ByDetector, fits: Mapping[int, Fit]) -> None:
    """Write the fitted thresholds of `edit` on `source` to `path`, which must not be there yet."""
    from itae.base.versions import versions

    key = source.key(edit)
    told = {
        "format": FORMAT,
        "backbone": _backbone(source),
        "detector": _detector(edit),
        "blocks": {str(layer): fit.as_json() for layer, fit in fits.items()},
        "fitted_with": {name: getattr(edit.judge, name) for name in _FITTED_WITH},
        "images": {"name": source.images.name, **key.dataset},
        "edit": key.space["edit"],
        "versions": versions(),
    }
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(told, indent=1) + "\n")
    except FileExistsError as error:
        raise UserError(f"{path} is there already; remove it, or choose another name.") from error
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; choose another place.") from error


def calibrated(edit: AnyEdit | None, source: Source) -> AnyEdit | None:
    """Return `edit` with the thresholds of the file that its detector names, if it names one.

    Raises
    ------
    UserError
        If the file can't be read, is for another backbone or detector, or lacks a block.
    """
    if not isinstance(edit, ByDetector) or edit.calibration is None:
        return edit
    path = edit.calibration
    told = _read(at_home(path))
    for name, ours in (("backbone", _backbone(source)), ("detector", _detector(edit))):
        theirs = {"decode": "full"} | told[name]  # as it was before there was a choice
        # Of one block the stream is the untouched model's, whatever the option says; of several it is another.
        untold = {"layer": None} if name == "detector" and len(edit.looks) > 1 else {}
        for field, value in (untold | ours).items():
            unsaid = field in _TRANSFORM and field not in theirs
            if theirs.get(field) != value and not unsaid:
                raise UserError(
                    f"detector.calibration={path} is for {name} {field}={theirs.get(field)!r}, and this run has "
                    f"{value!r}; use a calibration of this {name}."
                )
    lacking = [layer for layer in edit.looks if str(layer) not in told["blocks"]]
    if lacking:
        known = ", ".join(told["blocks"])
        raise UserError(
            f"detector.calibration={path} has no threshold for block {lacking[0]}; it has some for {known}."
        )
    thetas = {layer: told["blocks"][str(layer)]["theta"] for layer in edit.looks}
    made = edit.with_thetas({layer: math.nan if theta is None else float(theta) for layer, theta in thetas.items()})
    _warn_of_another_edit(made, source, told)
    return made


def _warn_of_another_edit(edit: ByDetector, source: Source, told: dict[str, Any]) -> None:
    """Say so where thresholds of later blocks were fitted on a stream that was edited in another way."""
    ours = edit.spec(source.facts.depth, source.backbone.pool)
    theirs = told.get("edit") or {}
    one_stream = len(edit.looks) == 1 or edit.in_untouched
    if not one_stream and any(ours.get(name) != theirs.get(name) for name in _FITTED_UNDER):
        log.warning(
            "The thresholds of %s were fitted under another attenuator or other layers, or another edit: blocks behind "
            "the first edited one saw another stream.", edit.calibration
        )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"detector.calibration={path} can't be read: {error.strerror}; make it with itae calibrate {path} ..."
        ) from error
    except ValueError as error:
        told = {"format": f"no JSON ({error})"}
    whole = isinstance(told, dict) and told.get("format") == FORMAT
    if not whole or not all(isinstance(told.get(name), dict) for name in ("backbone", "detector", "blocks")):
        raise UserError(f"detector.calibration={path} is no calibration; make one with itae calibrate FILE.")
    for layer, fit in told["blocks"].items():
        theta = fit.get("theta", "") if isinstance(fit, dict) else ""
        if not (theta is None or (is_number(theta) and math.isfinite(theta))):
            raise UserError(f"detector.calibration={path}: the threshold of block {layer} is {theta!r}, no number.")
    return told


def _backbone(source: Source) -> dict[str, Any]:
    space = source.key(None).space
    told = {name: space[name] for name in ("model", "weights", "image_size") if name in space}
    transform = {"decode": "full"} | space["transform"]
    return told | {name: transform[name] for name in _TRANSFORM}


def _detector(edit: ByDetector) -> dict[str, Any]:
    judge = replace(edit.judge, calibration=None)
    told = key_of(judge)
    return {name: value for name, value in told.items() if name not in (*_FITTED_WITH, "fit")}
