"""``itae protocol``: choose on development data without labels, freeze, report once on held-out data.

A setting that was chosen by the scores it is reported with proves nothing. Here a sweep runs on one or several
development sets (or splits), one setting is chosen by a label-free criterion, the mean over these sets, and that
setting alone is run on the held-out set, once. Where none beats the untouched backbone by the criterion, no edit is
chosen. Thresholds of ``detector.rule=bimodal`` are fitted anew on the unlabelled images of the held-out set. What the
two sides have in common is told by `itae.app.held_out`, before anything runs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.app.compose import searchpath
from itae.app.held_out import OF_THE_METHOD, Job, compare, frozen_words, refuse_another_method
from itae.app.settings import SELECTIONS
from itae.app.started import fresh_name
from itae.app.words import as_typed, key_of
from itae.base.checks import one_of
from itae.base.console import say
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.base.secrets import hidden_words, restored
from itae.base.typed import quoted
from itae.look.page import PAGE, end_with_page
from itae.results import before
from itae.results.find import RESULT, find_results
from itae.results.rows import SEED, check_metric, is_control, science, settings_of, with_values
from itae.results.run import read_run, write_result
from itae.results.table import read_table

if TYPE_CHECKING:
    import pandas as pd

    from itae.results.shown import Shown

DEV, HELD_OUT, RECORD = "dev", "held_out", "protocol.json"


def main(argv: Sequence[str]) -> int:
    """Run ``itae protocol`` with what stands after it; return the exit status."""
    options = _parser().parse_args(argv)
    words, held_out = as_typed(options.words), as_typed(options.held_out)
    if options.config_dir is not None:
        words = [searchpath(options.config_dir), *words]  # as a word it goes with what is frozen
    folder = at_home(options.out or Path("outputs/protocols") / fresh_name()).absolute()
    asked = {"words": words, "held_out": held_out, "by": options.by}
    told = _begun(folder, asked)
    compared = compare(words, held_out)
    if options.by is not None and compared.development["task"]["_target_"] == before.TASK:  # of others it is told later
        one_of("--by", options.by, sorted(before.METRICS, key=lambda name: before.METRICS[name].get("labels", True)))
    told = told or _chosen(folder, asked, compared.development["selection"])
    _refuse_what_changed(folder, told)
    told["overlap"] = [compared.overlap, compared.images]
    _write(folder / RECORD, hidden_words(told))  # before it is run
    where = _set("hydra.run.dir", folder / HELD_OUT)
    try:  # hydra.mode: an overlay that is a sweep, as experiment=threshold_sweep, is none here
        _itae(*told["held_out"], f"selection={told['selection']}", "hydra.mode=RUN", where)
    except UserError as error:
        raise UserError(
            f"The held-out run did not end well; what was chosen is frozen, and the same command with "
            f"--out {shlex.quote(str(folder))} tries it again."
        ) from error
    if compared.overlap:
        _note(folder / HELD_OUT, _overlap(told))
    _tell(told, folder)
    return 0


def _begun(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what an earlier call of the same words has frozen in `folder` and not reported; None for nothing yet."""
    if not (folder / RECORD).exists():
        return None
    try:
        told: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        before, _ = told["asked"], told["folder"]
    except (OSError, ValueError, LookupError, TypeError):
        before = None
    held_out = folder / HELD_OUT
    if before is None or ((held_out / RESULT).exists() and read_run(held_out).ok):
        raise UserError(f"{folder} holds a protocol that has been reported; choose another --out.")
    if before != hidden_words(asked):
        raise UserError(f"{folder} holds a protocol of other words, to be reported yet; choose another --out.")
    return told | {"held_out": restored(told["held_out"], [*asked["words"], *asked["held_out"]])}


def _chosen(folder: Path, asked: Mapping[str, Any], said: str) -> dict[str, Any]:
    """Sweep on the development data, choose, and return what is frozen."""
    _itae("-m", *asked["words"], _set("hydra.sweep.dir", folder / DEV))
    chosen = choose_setting(folder / DEV, asked["by"])
    frozen = frozen_words(restored(chosen["words"], asked["words"]), asked["held_out"])
    found = [word for word in asked["words"] if key_of(word) == "hydra.searchpath"]  # Hydra keeps it from its jobs
    frozen = [*found, *frozen]
    selection = max("dev_labels" if chosen.pop("labels") else "proxy", said, key=SELECTIONS.index)
    frozen += [] if chosen["edit"] else ["layers=none"]
    return {"asked": asked, "selection": selection, **chosen, "held_out": frozen}


def _refuse_what_changed(folder: Path, told: Mapping[str, Any]) -> None:
    """Raise a `UserError` if the frozen words mean another method by now: an overlay or the environment may change."""
    words = told["held_out"] if told["edit"] else told["held_out"][:-1]  # less layers=none
    refuse_another_method(read_run(folder / DEV / told["folder"]).settings, Job.of(words))


def _set(key: str, path: Path) -> str:
    """Return the word that sets a path, whatever characters are in it."""
    folder = quoted(str(path), "'")
    return f"{key}={folder}"


def _write(path: Path, told: Mapping[str, Any]) -> None:
    """Write it whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="itae protocol",
        description="Choose a setting on development data without labels, freeze it, report once on held-out data.",
    )
    parser.add_argument("--config-dir", "-cd", help="a folder with configs of your own")
    parser.add_argument(
        "words", nargs="+", metavar="key=value", help="of the sweep on the development data, as after -m"
    )
    parser.add_argument(
        "--held-out", action="append", required=True, metavar="key=value",
        help="what names the held-out data, as dataset=cifar100 or dataset.split=test; all else is that of the sweep; "
        "may be given repeatedly",
    )  # fmt: skip
    parser.add_argument(
        "--by", metavar="METRIC",
        help="the criterion (that of the task, of clustering silhouette); with labels: dev_labels",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where all of it goes (a new folder in outputs/protocols)"
    )
    return parser


def _itae(*words: str) -> None:
    """Run ``itae`` in a process of its own, which says what is wrong if something is."""
    status = subprocess.run([sys.executable, "-m", "itae", *words], check=False).returncode
    if status:
        raise UserError(f"The protocol ends here: itae {shlex.join(words)} ended with status {status}.")


def choose_setting(sweep: Path, by: str | None = None) -> dict[str, Any]:
    """Return the setting of a sweep with the best mean of `by` over its data sets, if it beats the baseline.

    Parameters
    ----------
    sweep
        Its folder.
    by
        A metric; by default the criterion that its task names.

    Returns
    -------
    dict
        ``by``: the metric. ``words``: the command line of the setting. ``folder``: one of its runs. ``labels``: whether
        labels were looked at, by the metric or by the sweep itself, as a search by ACC does. ``edit``: whether it beats
        the untouched backbone; if not, no edit is chosen. ``score``, ``untouched``: the metric of both. ``tried``: how
        many settings there were. ``sets``: how many data sets.

    Raises
    ------
    UserError
        If no run has the metric, or runs can't be compared: several tasks, backbones or clusterers.
    """
    table, _, shown = read_table(find_results([sweep]), sweep)
    by, column, untouched = _criterion(table, by, shown)
    metric = shown.metric(by)
    rows = table[(table["status"] == "ok") & table[column].notna() & ~is_control(table)]
    settings = science(rows)
    apart = ("kind", "task.", "backbone.", "clusterer")
    several = [name for name in settings if name.startswith(apart) and settings[name].nunique() > 1]
    if several:
        raise UserError(
            f"{several[0]} has several values, across which {by} does not compare; run one protocol for each."
        )
    data = [name for name in rows if name.startswith("dataset.") and name.partition(".")[2] not in OF_THE_METHOD]
    sets = rows[data].astype("string").fillna("").agg(" ".join, axis=1)
    names = [name for name in settings_of(settings) if name not in data]
    groups = [group.index for _, group in settings.groupby(names, dropna=False, sort=False)] if names else [rows.index]
    whole = [index for index in groups if sets[index].nunique() == sets.nunique()]
    if not whole:
        raise UserError("No setting ended well on every development set; see the table of the sweep.")
    means = [metric.sign * rows.loc[index, column].groupby(sets[index]).mean().mean() for index in whole]
    best = whole[max(range(len(whole)), key=means.__getitem__)]
    score, base = (float(rows.loc[best, name].groupby(sets[best]).mean().mean()) for name in (column, untouched))
    folder = str(rows.loc[best[0], "folder"])
    words = read_run(sweep / folder).result["started"]["overrides"]
    return {
        "by": by,
        "words": [word for word in words if key_of(word) not in (SEED, "selection")],
        "folder": folder,
        "labels": metric.labels or bool(rows["selection"].isin(("dev_labels", "oracle")).any()),
        "edit": metric.sign * (score - base) > 0,
        "score": score,
        "untouched": base,
        "tried": len(whole),
        "sets": int(sets.nunique()),
    }


def _criterion(table: pd.DataFrame, by: str | None, shown: Shown) -> tuple[str, str, str]:
    """Return the metric that chooses, its column and that of the baseline; a `UserError` where there is none."""
    by = by or shown.criterion
    if by is None:
        raise UserError("These runs name no criterion that needs no labels; choose by one of their metrics with --by.")
    column = with_values(table, by)
    check_metric("--by", by if column is None else None, table, shown)
    if column is None:
        raise UserError(f"--by={by}: no run has it; choose by another of their metrics.")
    untouched = column.replace("edited.", "baseline.", 1)
    if untouched == column or untouched not in table:
        raise UserError(f"--by={by} has no value for the untouched backbone; choose another, as {shown.criterion}.")
    return by, column, untouched


def _overlap(told: Mapping[str, Any]) -> str:
    overlap, images = told["overlap"]
    return f"Held-out images that are among the development images, by their bytes: {overlap} of {images}."


def _note(folder: Path, text: str) -> None:
    """Have the result and the page of the held-out run say so, too."""
    run = read_run(folder)
    run.result["notes"].append(text)
    write_result(folder, run.result)
    if (folder / PAGE).exists():
        end_with_page(folder)


def _tell(told: dict[str, Any], folder: Path) -> None:
    best = (
        "the best setting"
        if told["edit"]
        else "the baseline, the untouched backbone, is best, so no edit was run; the best setting"
    )
    lines = (
        ("chosen", f"{best}, by {told['by']} over {told['sets']} development sets: {told['score']:.4f}, baseline "
                   f"{told['untouched']:.4f}, of {told['tried']} settings tried"),
        ("frozen", f"itae {shlex.join(told['held_out'])}"),
        ("selection", told["selection"]),
        ("overlap", _overlap(told) if told["overlap"][0] else "none of the held-out images is a development image"),
        ("results", str(folder)),
    )  # fmt: skip
    for name, text in lines:
        say(f"{name:10} {text}")
