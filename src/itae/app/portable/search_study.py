"""``study=search``: which networks suit each device, which few suit all, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.app.portable.deploy_study import data_of
from itae.app.portable.study import Figures, Result, Study
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.portable.cells.asked import Measuring
from itae.portable.devices.library import absent
from itae.portable.search.asked import Searching
from itae.portable.search.result import FILES, flat, show, texts

if TYPE_CHECKING:
    from itae.track.tracking import Log

SEARCH = ("space", "supernet", "search")
"""Groups that say what is searched, and how."""
_NEEDED = ("skimage", "torchmetrics", "optuna", "moocore")
_PIP = "pip install itae[portable]"


def search_study(plain: Mapping[str, Any], common: Callable[[], Measuring]) -> Study:
    """Return the study that a config asks for.

    Raises
    ------
    UserError
        For an option or a size that is not allowed, a space of too few networks, and photographs that aren't there.
    """
    if gone := absent("study=search", _NEEDED):
        raise UserError(f"{gone}; install it: {_PIP}")
    data, of_search = data_of(plain), {name: construct(name, plain[name]) for name in SEARCH}
    asked = Searching(**vars(common()), **data, **of_search)
    asked.source.check()
    asked.blur.check()

    def work(folder: Path, told: Callable[[str], None]) -> Result:
        from itae.portable.search import study  # numpy and what it brings: a config error comes before

        return study.searched(asked, folder, told)

    name = f"search {', '.join(asked.devices)}"
    return Study("search", name, work, _figures, FILES, texts, show, track)


def _figures() -> Figures:
    from itae.portable.search.figures import FIGURES

    return FIGURES


def track(tracker: Log, result: Mapping[str, Any], folder: Path) -> None:
    """Log what the front of each device is worth, what is lost by one set for all, the tables, and the figures."""
    from itae.portable.deploy.crops import as_rows  # numpy: a config error comes before

    found, ranks = result["search"], result["ranks"]
    told: dict[str, Any] = {
        "devices": {},
        "timing": result["timing"],
        "training": {"cpu_s": result["training"]["cpu_s"]},
    }
    told["candidates"] = {name: result["candidates"][name] for name in ("judged", "trials", "seconds")}
    told["portable"] = {"nets": len(found["portable"]["nets"])}
    if found["portable"]["worst"] is not None:
        told["portable"]["worst"] = found["portable"]["worst"]
    if ranks is not None and ranks["spearman"] is not None:
        told["ranks"] = {"spearman": ranks["spearman"]}
    regret = {one["on"]: one["share"] for one in found["portable"]["regret"]}
    for device, of in found["devices"].items():
        area, best = of["hypervolume"], max(of["nets"][name]["psnr"]["value"] for name in of["front"])
        error = found["predictor"].get(device)
        scores = {
            "front": len(of["front"]), "area": area["searched"]["value"], "area_gain": area["gain"]["value"],
            "area_above": area["above"], "gain_db": best - of["reference"]["psnr"], "portable_loses": regret[device],
            "predictor_error": None if error is None else error["mean_error"][0],
        }  # fmt: skip
        told["devices"][device] = {name: value for name, value in scores.items() if value is not None}
    tracker.metrics(told)
    tracker.table("search", lambda: flat(result))
    tracker.table("regret", lambda: [dict(one) for one in (*found["regret"], *found["portable"]["regret"])])
    tracker.table("guidelines", lambda: [{"kind": one["kind"], "says": one["text"]} for one in result["guidelines"]])
    tracker.table("pictures", lambda: as_rows(result["pictures"], folder))
    tracker.figures([folder / name for name in result["figures"]])
