"""Put the runs of experiment=category_retrieval beside published figures of metric learning.

    python experiments/category_retrieval/fill.py outputs/category_retrieval     from the result.json files in there
    python experiments/category_retrieval/fill.py                                none: the published figures alone

results.csv comes out: a row for each data set, method, side and rule of ours, and one for each published figure. R@1
before any mark is of the whole collection, as metric learning tells it; after marks, scores are of what was not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from itae.base.errors import UserError
from itae.results.find import find_results

HERE = Path(__file__).parent
DATA = ("cub200", "cars196", "sop", "inshop")
COLUMNS = ("data", "split", "method", "backbone", "side", "control", "searches", "judged", "r_at_1", "r_at_1_low",
           "r_at_1_high", "map_at_r", "map_at_r_low", "map_at_r_high", "harm_rate", "from")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="sweeps, or folders with some")
    made.add_argument("--out", type=Path, default=HERE, help="where results.csv goes (beside this file)")
    options = made.parse_args(argv)
    rows = list(published())
    try:
        files = find_results(options.folders) if options.folders else []
    except UserError as error:
        raise SystemExit(str(error)) from error
    for file in files:
        run = json.loads(file.read_text(encoding="utf-8"))
        if reason := why_not(run):
            print(f"left out   {file}: {reason}")
        else:
            rows += ours(run)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {name: i for i, name in enumerate(DATA)}
    options.out.mkdir(parents=True, exist_ok=True)
    table.sort_values("data", key=lambda names: names.map(order), kind="stable").to_csv(
        options.out / "results.csv", index=False
    )
    print(f"{options.out / 'results.csv'}: {(table['from'] == 'here').sum()} of {len(table)} rows are of ours")
    return 0


def published() -> Iterator[dict[str, Any]]:
    """Yield a row for each figure of references.csv: references, and no numbers of ours."""
    for line in pd.read_csv(HERE / "references.csv").to_dict("records"):
        for data in DATA:
            if pd.notna(line[data]):
                side = "trained on it" if line["trained_on_it"] == "yes" else "frozen"
                yield {"data": data, "method": line["method"], "backbone": line["backbone"], "side": side, "judged": 0,
                       "r_at_1": round(line[data] / 100, 4), "from": line["read_at"]}  # fmt: skip


def why_not(run: dict[str, Any]) -> str | None:
    """Return why a run has no place in the table, or None if it has one."""
    if run["status"] != "ok":
        return f"it is {run['status']}"
    if run["kind"] != "feedback":
        return f"it is one of task={run['kind']}"
    data = run["settings"]["dataset"]
    if data["name"] not in DATA:
        return f"{data['name']} is not in the table"
    split = "query" if data["name"] == "inshop" else "test"
    if data["split"] != split or data["limit"] is not None:
        return f"it is of split {data['split']}, limit {data['limit']}, and not of all of {split}"
    return None


def ours(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run: before any mark, and each rule at each number of judged images, on both sides."""
    found, settings = run["feedback"], run["settings"]
    for side in ("baseline", "edited"):
        head = {"data": settings["dataset"]["name"], "split": settings["dataset"]["split"], "side": side,
                "backbone": settings["backbone"]["model_name"], "searches": found["searches"], "from": "here",
                "control": settings["control"]["_target_"].rpartition(".")[2]}  # fmt: skip
        yield head | {"method": "similarity", "judged": 0} | _numbers(found["before"][side])
        for case in found["rules"][side]:
            yield head | {"method": case["rule"], "judged": case["judged"] * case["round"]} | _numbers(case)


def _numbers(case: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in ("r_at_1", "map_at_r", "harm_rate"):
        one = case.get(name)
        if one is not None and one["mean"] is not None:
            low, high = one["interval"] or (None, None)
            told |= {name: round(one["mean"], 4)}
            told |= {f"{name}_{end}": x and round(x, 4) for end, x in (("low", low), ("high", high))}
    return {name: value for name, value in told.items() if name in COLUMNS}


if __name__ == "__main__":
    sys.exit(main())
