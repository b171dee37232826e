"""Tell the runs of experiment=model_size by backbone: norms' tails, the flagged share, the gain against its control.

    python experiments/model_size/fill.py outputs/model_size     from the result.json files in there

results.csv has a row for each backbone and data set. All runs have to be of one edit, and there is one run, and one
draw of its control, for each row. Norms are of the untouched model's patches: those of values in the
last block, and those of what the last block writes, which the paper-like plots of DINOv2 show.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from itae.base.errors import UserError
from itae.results.find import find_results
from itae.results.run import Run, mean_artifact_rate, read_run

HERE = Path(__file__).parent
SITES = ("v", "resid_post")
CONTROLS = ("NoControl", "Random")
EDIT = ("edit", "detector", "attenuator", "layers")


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="sweeps, or folders with some")
    made.add_argument("--out", type=Path, default=HERE, help="where results.csv goes (beside this file)")
    options = made.parse_args(argv)
    pairs: dict[tuple[str, str], dict[str, Run]] = {}
    try:
        for run in (read_run(file) for file in find_results(options.folders)):
            settings = run.result.get("settings") or {}
            if why := why_not(run):
                print(f"left out   {run.folder}: {why}")
                continue
            place = (settings["dataset"]["name"], settings["backbone"]["model_name"])
            both, control = pairs.setdefault(place, {}), control_of(settings)
            if control in both:
                raise UserError(f"{run.folder} and {both[control].folder} are both {', '.join(place)}, {control}; "
                                "give one of them.")  # fmt: skip
            both[control] = run
        check_alike([run for both in pairs.values() for run in both.values()])
    except UserError as error:
        raise SystemExit(str(error)) from error
    rows = [line(*place, both) for place, both in pairs.items() if "NoControl" in both]
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.out / "results.csv", index=False)
    print(f"{options.out / 'results.csv'}: {len(rows)} rows")
    return 0


def why_not(run: Run) -> str:
    """Return why a run is no row of this table, or nothing."""
    if run.result["status"] != "ok":
        return f"it is {run.result['status']}"
    settings = run.result["settings"]
    if settings["task"]["_target_"] != "itae.tasks.clustering.Clustering":
        return "it is no clustering"
    if control_of(settings) not in CONTROLS:
        return f"its control is none of {', '.join(CONTROLS)}"
    return ""


def control_of(settings: Mapping[str, Any]) -> str:
    return str(settings["control"]["_target_"]).rpartition(".")[2]


def check_alike(runs: Sequence[Run]) -> None:
    """Raise a `UserError` unless all runs are of one edit: columns of several would not compare."""
    edits = {json.dumps([run.result["settings"][key] for key in EDIT], sort_keys=True): run for run in runs}
    if len(edits) > 1:
        first, second, *_ = edits.values()
        raise UserError(f"{first.folder} and {second.folder} are of different edits; give the runs of one of them.")


def line(data: str, backbone: str, both: dict[str, Run]) -> dict[str, Any]:
    """Return one row: norms, what was flagged, what the edit adds, and what as many random patches add."""
    run, control = both["NoControl"], both.get("Random")
    row: dict[str, Any] = {"data": data, "backbone": backbone, "images": run.result["images"]["n"]}
    norms = run.norms
    for site in SITES if len(norms) else ():
        last = norms[norms["site"] == site].sort_values("block").iloc[-1]
        row |= {f"{site}_p50": last["p50"], f"{site}_p99_over_p50": last["p99"] / last["p50"]}
        row |= {f"{site}_most_over_p50": last["p100"] / last["p50"], f"{site}_bimodality": last["bimodality"]}
    row["flagged"] = mean_artifact_rate(run.result)
    for name, one in (("delta", run), ("random", control)):
        told = (one.result["delta"] or {}).get("acc") if one else None
        low, high = (told or {}).get("interval") or (None, None)
        row |= {f"{name}_acc": (told or {}).get("mean"), f"{name}_acc_low": low, f"{name}_acc_high": high}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


if __name__ == "__main__":
    sys.exit(main())
