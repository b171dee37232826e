"""What times of candidates are predicted from: networks of the space, measured on each device before any is trained.

Weights cost the same whatever they are. Times are kept by all that they depend on, the machine among it, since the
order of candidates depends on them: a search that was killed goes on, and doesn't begin another. They decide which
networks are measured in the end, and then those are measured anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from itae.base.disk import disk_trouble_told, replace_file
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.portable.cells.asked import Asked, Row
from itae.portable.cells.ratio import usable
from itae.portable.cells.timed import timed
from itae.portable.clock.load import machine
from itae.portable.devices.exports import settings_of
from itae.portable.nets.spec import Spec
from itae.portable.search.asked import Searching
from itae.portable.search.predictor import Predictor, to_measure

log = logging.getLogger(__name__)

METHOD = 1
"""How this package measures them; a mend that makes other times raises it."""
PLACE = Path("portable", "search")


@dataclass(frozen=True)
class Times:
    """What is known of the devices before the search."""

    predictors: Mapping[str, Predictor]
    slowest: Mapping[str, float]
    """On each of those devices, the time of the slowest network made by hand in ms: measured, or else predicted."""
    devices: tuple[str, ...]
    """On which any network runs."""
    not_run: Mapping[str, str]
    key: str
    """Of the times that were measured."""
    notes: tuple[str, ...]

    def __call__(self, device: str, spec: Spec) -> float:
        """Return the predicted time of a network in ms.

        Raises
        ------
        UserError
            If it is unlike all that was measured.
        """
        return self.predictors[device](spec)

    def of(self, device: str, spec: Spec) -> float | None:
        """Return the predicted time of a network in ms; None where it can't be predicted."""
        with contextlib.suppress(UserError, KeyError):
            return self(device, spec)
        return None


def times(asked: Searching, told: Callable[[str], None]) -> Times:
    """Measure networks on the devices, and return what predicts the times of others there.

    A device on which too few of them run steadily has no predictor; that is told, and candidates are looked for
    without it.

    Raises
    ------
    UserError
        If no network runs on any device, or no device has a predictor.
    """
    specs = to_measure(asked.space, asked.search.measured, asked.search.seed)
    rows = [Row(f"measured_{i + 1}", f"network {i + 1}", asked.net(f"network {i + 1}", spec))
            for i, spec in enumerate(specs)]  # fmt: skip
    beyond = {name: spec for name, spec in asked.hand_made.items() if spec not in asked.space}
    rows += [Row(name, name, asked.net(name, spec)) for name, spec in beyond.items()]
    found, key, note = _kept(asked, rows, told)
    cells = {row["name"]: row["cells"] for row in found["rows"]}
    devices = tuple(name for name in asked.devices if any("ms" in of.get(name, {}) for of in cells.values()))
    predictors, notes = {}, [note] if note else []
    for name in devices:
        ms = [_steady(cells[row.name][name]) for row in rows[: len(specs)]]
        try:
            predictors[name] = Predictor(name, specs, ms, asked.size, asked.search.seed)
            told(f"{'predictor':10} {predictors[name].held_out.sentence(name)}")
        except UserError as error:
            notes.append(f"Candidates are looked for without {name}: {error}")
            told(f"{'note':10} {notes[-1]}")
    if not predictors:
        raise UserError(notes[-1].partition(": ")[2])
    slowest = {}
    for name, of in predictors.items():
        known = [_steady(cells[net][name]) for net in beyond]
        known += [_predicted(of, spec) for net, spec in asked.hand_made.items() if net not in beyond]
        if known := [ms for ms in known if ms == ms]:
            slowest[name] = max(known)
    failed = {name: why for name, why in found["not_run"].items() if name in asked.devices}
    return Times(predictors, slowest, devices, {**asked.left_out, **failed}, key, tuple(notes))


def _steady(cell: Mapping[str, Any]) -> float:
    return float(cell["ms"]) if usable(cell) else float("nan")


def _predicted(predictor: Predictor, spec: Spec) -> float:
    try:
        return predictor(spec)
    except UserError:
        return float("nan")


def _kept(asked: Searching, rows: list[Row], told: Callable[[str], None]) -> tuple[dict[str, Any], str, str | None]:
    """Return what is measured of the rows, its key, and a note if that was done by a run before this one."""
    depends = {
        "method": METHOD, "rows": [[row.name, row.net.settings()] for row in rows], "seed": asked.seed,
        "measure": {name: value for name, value in asdict(asked.measure).items() if name != "wait"},
        "devices": {name: {**identity(of), "settings": settings_of(of), "facts": of.facts()}
                    for name, of in asked.devices.items()},
        "machine": machine(),
    }  # fmt: skip
    text = json.dumps(depends, sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()
    file = asked.cache / PLACE / f"{key}.times.json"
    if file.is_file():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            note = (
                f"The times that others are predicted from were measured on {found['when']}, by a run before this one; "
                "those of the networks that were chosen are of this run."
            )
            told(f"{'note':10} {note}")
            return found, key, note
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s can't be read (%s); its networks are measured anew.", file, error)
    found = timed(Asked(asked.devices, asked.left_out, asked.measure, asked.cache, asked.seed, rows), told)
    found["when"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    with disk_trouble_told(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(found).encode())
    return found, key, None
