"""``study=operators``: what an operator costs on each device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.app.portable.study import Figures, Result, Study
from itae.base.construct import construct
from itae.portable.cells.asked import Asked, Measuring
from itae.portable.operators.result import FILES, show, texts
from itae.portable.operators.rows import rows_of
from itae.portable.operators.table import flat

if TYPE_CHECKING:
    from itae.track.tracking import Log


def operators_study(plain: Mapping[str, Any], common: Callable[[], Measuring]) -> Study:
    """Return the study that a config asks for.

    Raises
    ------
    UserError
        For a network or a change that is none.
    """
    rows = rows_of(construct("net", plain["net"]), plain.get("changes"))
    asked = Asked(**vars(common()), rows=rows)

    def work(folder: Path, told: Callable[[str], None]) -> Result:
        from itae.portable.operators import study  # numpy and what it brings: a config error comes before

        return study.operators(asked, told)

    name = f"operators {', '.join(asked.devices)}"
    return Study("operators", name, work, _figures, FILES, texts, show, track)


def _figures() -> Figures:
    from itae.portable.operators.figures import FIGURES

    return FIGURES


def track(tracker: Log, result: Mapping[str, Any], folder: Path) -> None:
    """Log the scores of each device in one call, the table of all cells, and the figures."""
    found: dict[str, Any] = {"devices": {}, "correlation_with_macs": {}, "timing": result["timing"]}
    from itae.portable.operators.correlations import MACS  # numpy: a config error comes before

    base = next(row for row in result["rows"] if row["name"] == result["base"])
    for device in result["devices"]:
        cells = [row["cells"][device] for row in result["rows"] if "ms" in row["cells"].get(device, {})]
        told = {"base_ms": base["cells"].get(device, {}).get("ms"), "steady": sum(cell["steady"] for cell in cells)}
        told["parity_db"] = min((cell["parity_db"] for cell in cells if cell["parity_db"] is not None), default=None)
        found["devices"][device] = {name: value for name, value in told.items() if value is not None}
    for pair in result["correlations"]:
        if MACS in pair["between"] and pair["rho"] is not None:
            (device,) = (name for name in pair["between"] if name != MACS)
            found["correlation_with_macs"][device] = pair["rho"]
    found["cells"] = sum(len(row["cells"]) for row in result["rows"])
    tracker.metrics(found)
    tracker.table("operators", lambda: flat(result))
    tracker.table("guidelines", lambda: [{"kind": one["kind"], "says": one["text"]} for one in result["guidelines"]])
    tracker.figures([folder / name for name in result["figures"]])
