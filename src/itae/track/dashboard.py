"""``itae dashboard``: a W&B workspace and a report on what runs log, built by wandb-workspaces.

Both show the same: what the edit gained by blocks and threshold, which settings go together with what, how norms and
the attention on artifacts go through the blocks, and pictures of the artifacts.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from itae.base.errors import UserError
from itae.results.shown import shown_of
from itae.track.labels import address, chosen, project_of
from itae.track.tracking import logged_in
from itae.track.wandb_service import starting, within

_SITES = ("q", "k", "v", "resid_post")
_NUMBERS = ("threshold", "quantile", "k", "ratio", "stds")
_TIMEOUT = 30.0  # seconds for each of the two


def main(argv: Sequence[str]) -> int:
    """Run ``itae dashboard`` with what stands after it; return the exit status."""
    parser = argparse.ArgumentParser(prog="itae dashboard", description="Make a W&B workspace and a W&B report.")
    parser.add_argument(
        "target",
        metavar="ENTITY/PROJECT",
        nargs="?",
        help="where the runs are (WANDB_ENTITY, and WANDB_PROJECT or itae)",
    )
    parser.add_argument("--metric", default="acc", help="whose delta is shown (%(default)s, of clustering)")
    parser.add_argument("--dry-run", action="store_true", help="say what they would hold, and send nothing")
    options = parser.parse_args(argv)
    entity, project = _target(options.target)
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise UserError("itae dashboard needs wandb-workspaces, which is not installed: pip install 'itae[dashboard]'")
    sections = panels(options.metric)
    if options.dry_run:
        for name, some in sections.items():
            sys.stdout.write(f"{name:10} {', '.join(type(panel).__name__ for panel in some)}\n")
        return 0
    if not logged_in():
        raise UserError("Nobody is logged in to W&B: run wandb login, or set WANDB_API_KEY.")
    os.environ.setdefault("WANDB_SILENT", "true")  # it would print the addresses a second time
    with starting():
        for kind, make in (("workspace", workspace), ("report", report)):
            # Its address is asked for in there: W&B may log in once more for it.
            url = _saved(kind, lambda make=make: make(entity, project, sections).save().url)  # type: ignore[misc]
            sys.stdout.write(f"{kind:10} {url}\n")
    return 0


def _target(told: str | None) -> tuple[str, str]:
    """Return entity and project: those that are told, else those that runs are logged to."""
    if told is None:
        entity = chosen("entity", None)
        if entity is None:
            raise UserError("Name ENTITY/PROJECT, as in my-team/itae, or set WANDB_ENTITY.")
        return entity, project_of(None)
    entity, _, project = told.partition("/")
    if not entity or not project or "/" in project:
        raise UserError(f"{told!r} is not ENTITY/PROJECT, as in my-team/itae.")
    address("ENTITY", entity)
    address("PROJECT", project)
    return entity, project


def _saved(kind: str, save: Callable[[], str]) -> str:
    try:
        return within(_TIMEOUT, save)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"W&B did not take the {kind} ({reason[:300]}); see to the network and the login.") from error


def panels(metric: str = "acc") -> dict[str, list[Any]]:
    """Return the panels by section.

    Parameters
    ----------
    metric
        Whose paired delta is shown.
    """
    import wandb_workspaces.reports.v2 as wr

    shown = shown_of({})
    delta, beside = wr.SummaryMetric(f"delta.{metric}.mean"), wr.SummaryMetric(f"edited.{metric}.mean")
    if metric in shown.metrics:  # of clustering, beside what chooses there
        beside = wr.SummaryMetric(f"edited.{shown.criterion}.mean")
    rate, change = wr.SummaryMetric("artifact_rate"), shown.metric(f"delta.{metric}").title
    column = wr.ParallelCoordinatesPlotColumn
    settings = ("backbone.model_name", "dataset.name", "run.first_block", "run.last_block", "detector.vector",
                "detector.rule", *(f"detector.{name}" for name in _NUMBERS), "attenuator.strength")  # fmt: skip
    layer: dict[str, Any] = {"x": "layer", "smoothing_type": "none"}
    return {
        "Deltas": [
            wr.BarPlot(
                title=f"{change}, by edited blocks", metrics=[f"delta.{metric}.mean"], groupby=wr.Config("layers"),
                groupby_aggfunc="mean", groupby_rangefunc="stddev", title_x=change,
            ),
            wr.ScatterPlot(title=f"{change}, by share of flagged patches", x=rate, y=delta),
            wr.ScatterPlot(title=f"{change}, by last edited block", x=wr.Config("run.last_block"), y=delta),
            *(
                wr.ScatterPlot(title=f"{change}, by detector.{name}", x=wr.Config(f"detector.{name}"), y=delta)
                for name in _NUMBERS
            ),
            wr.ScatterPlot(title=f"{change}, by strength", x=wr.Config("attenuator.strength"), y=delta),
        ],
        "Settings": [
            wr.ParallelCoordinatesPlot(
                title=f"settings and {change}",
                columns=[*(column(wr.Config(name)) for name in settings), column(rate),
                         column(beside), column(delta)],
            )
        ],
        "Norms": [
            *(
                wr.LinePlot(title=f"norm of {site}, by block", y=[f"layer/{site}_p50", f"layer/{site}_p99"], **layer)
                for site in _SITES
            ),
            wr.LinePlot(title="bimodality, by block", y=[f"layer/{site}_bimodality" for site in _SITES], **layer),
            wr.LinePlot(title="gap between two modes, by block", y=[f"layer/{site}_gap" for site in _SITES], **layer),
        ],
        "Artifacts": [
            wr.LinePlot(title="share of patches flagged, by block", y=["layer/artifact_rate"], **layer),
            wr.LinePlot(
                title="attention of the CLS token on them, by block",
                y=["layer/cls_attention_before", "layer/cls_attention_after"], **layer,
            ),
            wr.MediaBrowser(title="flagged patches and attention", media_keys=["figures/artifacts"], num_columns=1),
            wr.MediaBrowser(title="norms", media_keys=["figures/norms", "figures/signal"], num_columns=2),
            wr.WeavePanelSummaryTable(table_name="artifacts"),
        ],
    }  # fmt: skip


def workspace(entity: str, project: str, sections: Mapping[str, Sequence[Any]]) -> Any:
    """Return the workspace, not saved yet."""
    import wandb_workspaces.workspaces as ws

    made = [ws.Section(name=name, panels=list(some), is_open=True) for name, some in sections.items()]
    return ws.Workspace(entity=entity, project=project, name="itae", sections=made)


def report(entity: str, project: str, sections: Mapping[str, Sequence[Any]]) -> Any:
    """Return the report, not saved yet."""
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [
        wr.P(
            "Deltas are edited minus baseline, the untouched backbone, on the same images. The more settings were "
            "tried, the less the best of them tells."
        )
    ]
    for name, some in sections.items():
        runset = wr.Runset(entity=entity, project=project)
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runset], panels=list(some))]
    return wr.Report(
        entity=entity, project=project, title="itae: artifacts, and what their edits change", blocks=blocks
    )
