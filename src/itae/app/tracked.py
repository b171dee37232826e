"""What a tracker gets of a run: a name, the config, metrics, a row for each block, figures, a table of artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.app.settings import reads
from itae.app.started import in_a_sweep
from itae.base.beside import beside
from itae.embed.diagnostics.norms import NORM_EDGES, histograms
from itae.look.artifact_figures import marked
from itae.results.run import mean_artifact_rate
from itae.track.tracking import Histogram

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.look.run_figures import Seen
    from itae.track.tracking import Log


def names(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tracker calls the run."""
    from hydra.core.hydra_config import HydraConfig

    read = reads(plain)
    edit = [] if "attenuator" in read else [plain["edit"]["_target_"].rpartition(".")[2]]
    what = " ".join([*edit, *([str(plain["layers"])] if "layers" in read else [])])
    name = [str(plain["backbone"].get("model_name")), str(plain["dataset"].get("name")), str(what)]
    group = Path(HydraConfig.get().sweep.dir).name if in_a_sweep() else None
    return {"name": " ".join(name), "group": group, "job_type": plain["task"]["_target_"].rpartition(".")[2]}


def config(result: Mapping[str, Any], edit: AnyEdit | None, folder: Path) -> dict[str, Any]:
    """Return the config as a tracker gets it: with the words of the command line, and lists as numbers to sort by."""
    layers = edit.layers if edit else ()
    run = {"overrides": result["started"]["overrides"], "folder": str(folder.absolute()), "blocks": len(layers)}
    ends = {"first_block": layers[0], "last_block": layers[-1]} if layers else {}
    return result["settings"] | {"run": run | ends}


def track(tracker: Log, result: Mapping[str, Any], more: Mapping[str, Any], seen: Seen, folder: Path) -> None:
    """Log the metrics in one call, one row for each block, the figures, and some images with their artifacts.

    Parameters
    ----------
    tracker, result, folder
        Where to, what, and where the figures are.
    more
        Metrics that the task tells the tracker alone.
    seen
        What the figures are drawn from.
    """
    told = ("baseline", "edited", "delta", "bimodality", "moved", "timing", "selection")
    summary = {"images": result["images"]["n"], "passes": result["passes"]}
    summary |= {**{name: result[name] for name in told if result[name]}, **more}
    rate = mean_artifact_rate(result)
    tracker.metrics(summary | ({} if rate is None else {"artifact_rate": rate}))
    tracker.layers(_rows_by_block(result, seen))
    tracker.figures([folder / name for name in result["figures"]])
    tables = result["settings"]["tracker"].get("tables")
    if tables or (tables is None and not in_a_sweep()):
        tracker.table("artifacts", lambda: beside("The table of artifacts", lambda: _rows_by_image(seen)) or [])


def _rows_by_block(result: Mapping[str, Any], seen: Seen) -> list[dict[str, Any]]:
    """Return what is known of each block: of the norms in the untouched model, and of the edit where there is one."""
    rows: dict[int, dict[str, Any]] = {}
    for name, counts in histograms(seen.baseline.diagnostics).items():
        for layer, here in enumerate(counts) if "." not in name else ():
            site = result["norms"].get(f"{name}[{layer}]")
            if site is None:
                continue
            row = rows.setdefault(layer, {"layer": layer})
            row |= {f"{name}_p50": site["norm"]["p50"], f"{name}_p99": site["norm"]["p99"]}
            row |= {f"{name}_bimodality": site["bimodality"], f"{name}_gap": (site["modes"] or {}).get("gap")}
            row[f"{name}_log10_norm"] = Histogram(here, np.log10(NORM_EDGES))  # W&B draws bins of one width
    for edited in result["layers"]:
        row = rows.setdefault(edited["layer"], {"layer": edited["layer"]})
        row |= {name: value for name, value in edited.items() if name != "signal"}
        row |= {f"signal_{p}": value for p, value in edited["signal"].items()}
    for block, sinks in result["sinks"].items():
        row = rows.setdefault(int(block), {"layer": int(block)})
        row |= {f"sinks_{name}": value for name, value in sinks.items()}
    return [{key: value for key, value in rows[layer].items() if value is not None} for layer in sorted(rows)]


def _rows_by_image(seen: Seen) -> list[dict[str, Any]]:
    """Return one row for each of the images whose masks are kept."""
    block, found = seen.examples
    return [
        {
            "id": example.name,
            "block": block,
            "patches flagged": int(example.mask.sum()),
            "image": example.picture,
            "flagged": marked(example.picture, example.mask),
            "attention before": example.attention(example.before),
            "attention after": example.attention(example.after),
        }
        for example in found
    ]
