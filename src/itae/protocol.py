"""``itae protocol``: choose on development data without labels, freeze, report once on held-out data.

A setting that was chosen by the scores it is reported with proves nothing. Here a sweep runs on one or several
development sets (or splits), one setting is chosen by a label-free criterion, the mean over these sets, and that
setting alone is run on the held-out set, once. Where none beats the untouched backbone by the criterion, no edit is
chosen. Thresholds of ``detector.rule=bimodal`` are fitted anew on the unlabelled images of the held-out set.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from itae.collect_rows import LABEL_FREE, SEED, check_metric, is_control, science, settings_of, with_values
from itae.collect_table import read_table
from itae.errors import UserError
from itae.runs import find_results, load_run

DEV, HELD_OUT, RECORD = "dev", "held_out", "protocol.json"


def main(argv: Sequence[str]) -> int:
    """Run ``itae protocol`` with what stands after it; return the exit status."""
    options = _parser().parse_args(argv)
    _check(options)
    token = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.urandom(3).hex()}"
    folder = (options.out or Path("outputs/protocols") / token).expanduser().absolute()
    if (folder / RECORD).exists():
        raise UserError(f"{folder} holds a protocol that has been reported; choose another --out.")
    _itae("-m", *options.words, "selection=fixed", f"hydra.sweep.dir={folder / DEV}")
    chosen = choose_setting(folder / DEV, options.by)
    frozen = frozen_words(chosen["words"], options.held_out)
    frozen += [] if chosen["edit"] else ["layers=none"]
    selection = "proxy" if options.by in LABEL_FREE else "dev_labels"
    told = {"by": options.by, "selection": selection, **chosen, "held_out": frozen}
    folder.joinpath(RECORD).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")  # before it is run
    _itae(*frozen, f"selection={selection}", f"hydra.run.dir={folder / HELD_OUT}")
    _tell(told, folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="itae protocol",
        description="Choose a setting on development data without labels, freeze it, report once on held-out data.",
    )
    parser.add_argument(
        "words", nargs="+", metavar="key=value", help="of the sweep on the development data, as after -m"
    )
    parser.add_argument(
        "--held-out", action="append", required=True, metavar="key=value",
        help="what the held-out run has instead, as in dataset=cifar100 or dataset.split=test; may be given repeatedly",
    )  # fmt: skip
    parser.add_argument("--by", default=LABEL_FREE[0], help="the criterion (%(default)s); with labels: dev_labels")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where all of it goes (a new folder in outputs/protocols)"
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    for word in (*options.words, *options.held_out):
        if "=" not in word:
            raise UserError(f"{word!r} is not key=value; see itae protocol --help.")
    apart = [w for w in options.held_out if w.partition("=")[0] in ("dataset", "dataset.root", "dataset.split")]
    if not apart or set(apart) <= set(options.words):
        raise UserError(
            f"--held-out {' '.join(options.held_out)} is the development data itself; name another dataset, "
            "dataset.root or dataset.split."
        )


def _itae(*words: str) -> None:
    """Run ``itae`` in a process of its own, which says what is wrong if something is."""
    status = subprocess.run([sys.executable, "-m", "itae", *words], check=False).returncode
    if status:
        raise UserError(f"The protocol ends here: itae {' '.join(words)} ended with status {status}.")


def choose_setting(sweep: Path, by: str) -> dict[str, Any]:
    """Return the setting of a sweep with the best mean of `by` over its data sets, if it beats the untouched backbone.

    Returns
    -------
    dict
        ``words``: its command line. ``edit``: whether it beats the untouched backbone; if not, no edit is chosen.
        ``score``, ``untouched``: the criterion of both. ``tried``: how many settings there were. ``sets``: how many
        data sets.

    Raises
    ------
    UserError
        If no run has the criterion, or runs can't be compared: several backbones or clusterers.
    """
    table, _ = read_table(find_results([sweep]), sweep)
    column = with_values(table, by)
    check_metric("--by", by if column is None else None, table)
    assert column is not None
    untouched = column.replace("edited.", "baseline.", 1)
    rows = table[(table["status"] == "ok") & table[column].notna() & ~is_control(table)]
    if untouched == column or untouched not in rows:
        raise UserError(f"--by={by} has no value for the untouched backbone; choose another, as {LABEL_FREE[0]}.")
    settings = science(rows)
    several = [
        name for name in settings if name.startswith(("backbone.", "clusterer")) and settings[name].nunique() > 1
    ]
    if several:
        raise UserError(
            f"{several[0]} has several values, across which {by} does not compare; run one protocol for each."
        )
    sets = (
        rows[[name for name in rows if name.startswith("dataset.")]].astype("string").fillna("").agg(" ".join, axis=1)
    )
    names = [name for name in settings_of(settings) if not name.startswith("dataset.")]
    sign = -1.0 if by == "inertia" else 1.0
    groups = [group.index for _, group in settings.groupby(names, dropna=False, sort=False)] if names else [rows.index]
    whole = [index for index in groups if sets[index].nunique() == sets.nunique()]
    if not whole:
        raise UserError("No setting ended well on every development set; see the table of the sweep.")
    means = [sign * rows.loc[index, column].groupby(sets[index]).mean().mean() for index in whole]
    best = whole[max(range(len(whole)), key=means.__getitem__)]
    score, before = (float(rows.loc[best, name].groupby(sets[best]).mean().mean()) for name in (column, untouched))
    words = load_run(sweep / rows.loc[best[0], "folder"]).result["started"]["overrides"]
    return {
        "words": [word for word in words if not word.startswith((f"{SEED}=", "selection="))],
        "edit": sign * score > sign * before,
        "score": score,
        "untouched": before,
        "tried": len(whole),
        "sets": int(sets.nunique()),
    }


def frozen_words(words: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """Return a setting's words with those of the held-out data in their place."""
    keys = {word.partition("=")[0] for word in held_out}
    kept = [word for word in words if word.partition("=")[0].lstrip("+") not in keys]
    if "dataset" in keys:  # options of the development set mean nothing to another
        kept = [word for word in kept if not word.lstrip("+").startswith("dataset.")]
    return [*kept, *held_out]


def _tell(told: dict[str, Any], folder: Path) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    best = (
        "the best setting" if told["edit"] else "the untouched backbone is best, so no edit was run; the best setting"
    )
    lines = (
        ("chosen", f"{best}, by {told['by']} over {told['sets']} development sets: {told['score']:.4f}, untouched "
                   f"{told['untouched']:.4f}, of {told['tried']} settings tried"),
        ("frozen", f"itae {' '.join(told['held_out'])}"),
        ("selection", told["selection"]),
        ("results", str(folder)),
    )  # fmt: skip
    for name, text in lines:
        console.print(f"{name:10} {text}", soft_wrap=True, markup=False)
