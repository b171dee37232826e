"""The one command: plant, find, attenuate, and hold what was found against what was planted.

    python experiments/04_known_answers/run.py             the digits, all variants
    python experiments/04_known_answers/run.py --checkpoint WEIGHTS.safetensors --images PICTURES     and DINOv2-S
    python experiments/04_known_answers/run.py --quick     does it run? two variants, few images
    python experiments/04_known_answers/run.py --confirm 7 the label-free setting, on plants drawn with this seed
    python experiments/04_known_answers/run.py --draw      the figure again, from results.csv

Labels are read by the scores alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from known_confirm import confirm, verdict
from known_edits import DEFAULT, EDITS, LABEL_FREE, REGISTERS, SIGNALS, TRUTH, Make, some
from known_figure import draw
from known_passes import (
    FIRST,
    LATE,
    SEEDS,
    Data,
    Signals,
    clustered,
    found,
    made,
    open_digits,
    open_dinov2,
    passed,
    seconds,
)
from planting import Planted
from torch import Tensor

from itae.edits.edit import AnyEdit
from itae.edits.registers import RegisterEdit

HERE = Path(__file__).parent
CLEAN = "clean"

VARIANTS: dict[str, dict[str, Any]] = {
    # name: strength, how many, where, after which block, with what content
    "weak": {"strength": "weak"},
    "middle": {"strength": "middle"},
    "strong": {"strength": "strong"},
    "one": {"count": 1},
    "eight": {"count": 8},
    "fixed": {"position": "fixed"},
    "by image": {"position": "by_image"},
    "early": {"block": FIRST},
    "late": {"strength": "loud", "block": LATE},
    "constant": {"content": "constant"},
    "brightness": {"content": "brightness"},
    "weak, eight by image": {"strength": "weak", "count": 8, "position": "by_image"},
    "weak, early": {"strength": "weak", "block": FIRST},
    "strong, one fixed, constant": {"strength": "strong", "count": 1, "position": "fixed", "content": "constant"},
    "weak, one": {"strength": "weak", "count": 1},
    "faint": {"strength": "faint"},
    "key only": {"strength": "key_only"},
    "value only": {"strength": "value_only", "count": 8},
    "by neurons": {"way": "neurons"},
    "weak, early, by neurons": {"strength": "weak", "block": FIRST, "way": "neurons"},
}
QUICK = ("eight", "late")
# DINOv2-S makes seven pictures a second here on one core, so there it is fewer of everything.
REAL_VARIANTS = ("weak", "middle", "eight", "late", "faint", "by neurons")
REAL_EDITS = (
    DEFAULT,
    LABEL_FREE,
    "residual_norm",
    "residual_norm, mad",
    "value_norm, mad",
    REGISTERS,
    f"{REGISTERS}, mad",
    "random",
    TRUTH,
)


def one_variant(
    data: Data, name: str, backbone: Planted, seeds: int, makers: Mapping[str, Make], signals_of: Sequence[str]
) -> tuple[list[dict], list[dict]]:
    """Return the rows of results.csv and, of the signals, of flags.csv of one variant; `backbone` may have no plant."""
    facts, labels = data.source.facts, np.asarray(data.source.images.labels)
    device = torch.device("cpu")
    model = backbone.build(facts, device)
    truth = torch.cat([backbone.plan(pixels, facts).mask for pixels, _ in data.some(data.rows)])
    behind = range(backbone.block + 1, facts.depth)
    edits = made(model, data, makers, truth if backbone.count else None)
    named: dict[str, AnyEdit | None] = {"untouched": None} | edits
    signals = Signals(facts.prefix, behind if backbone.count else (), signals_of)
    vectors, counts, elsewhere = passed(model, data, list(named.values()), truth, behind, signals)
    plant = {key: getattr(backbone, key) for key in ("strength", "count", "position", "block", "content", "way")}
    about = {"data": data.name, "images": len(labels), "variant": name} | (plant if backbone.count else {"count": 0})
    results = []
    for i, (edit_name, edit) in enumerate(named.items()):
        told = clustered(vectors[i], labels, seeds)
        if isinstance(edit, RegisterEdit):
            told |= {"neurons": sum(map(len, (edit.neurons or {}).values()))}
        elif edit is not None:
            told |= {f"flags_{key}": value for key, value in found(counts[i]).items()} if backbone.count else {}
            told |= {"flagged_behind": counts[i][1] / (truth.numel() * len(behind))}
            told |= {"flagged_before": elsewhere[i] / (truth.numel() * max(1, facts.depth - len(behind)))}
            if (thetas := edit.thetas) is not None:
                told |= {"blocks_fitted": sum(layer in behind and not np.isnan(t) for layer, t in thetas.items())}
        results.append(about | {"edit": edit_name} | told | {"s_per_image": seconds(model, data, edit)})
    return results, table_of_flags(data, about, signals, truth)


def table_of_flags(data: Data, about: dict[str, Any], signals: Signals, truth: Tensor) -> list[dict]:
    """Return what each signal and rule finds in the untouched stream, block by block and all blocks together."""
    share, out = float(truth.float().mean()), []
    for name in signals.names if signals.layers else ():
        for rule in ("mad", "quantile", "ratio", "bimodal"):
            counts: dict[Any, np.ndarray] = {}
            for layer in signals.layers:
                mask = signals.flags(name, layer, rule, share, data.calibration)
                counts[layer] = np.array([(mask & truth).sum(), mask.sum(), truth.sum()])
            counts["pooled"] = np.sum(list(counts.values()), axis=0)
            told = about | {"detector": name, "rule": rule}
            out += [told | {"block": block} | found(some) for block, some in counts.items()]
    return out


def against_clean(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the plant cost, the share of it that an edit won back, and the edit's harm without a plant."""
    out = []
    for _, part in table.groupby("data", sort=False):
        clean = part[part["count"] == 0].set_index("edit")
        for name, rows in part.groupby("variant", sort=False):
            planted = rows.set_index("edit")["nmi"]["untouched"]
            lost = clean["nmi"]["untouched"] - planted
            rows = rows.assign(nmi_lost=lost, harm_on_clean=clean["nmi"]["untouched"] - rows["edit"].map(clean["nmi"]))
            rows["won_back"] = (rows["nmi"] - planted) / lost if name != CLEAN else np.nan
            out.append(rows)
    return pd.concat(out)


def measure(
    data: Data,
    variants: Sequence[str],
    seeds: int,
    edits: Mapping[str, Make] = EDITS,
    signals: Sequence[str] = tuple(SIGNALS),
) -> Iterator[tuple[list[dict], list[dict]]]:
    """Yield the rows of results.csv and flags.csv, variant by variant; it is told how the first of `edits` did."""
    clean, _ = one_variant(data, CLEAN, data.clean, seeds, edits, ())
    yield clean, []
    for name in variants:
        begin = time.perf_counter()
        results, flags = one_variant(data, name, data.planted(VARIANTS[name]), seeds, edits, signals)
        table = against_clean(pd.DataFrame(clean + results)).set_index(["variant", "edit"])
        row = table.loc[(name, next(iter(edits)))]
        told = f"NMI lost {row['nmi_lost']:.3f}, F1 {row['flags_f1']:.3f}, won back {row['won_back']:.1%}"
        print(f"{data.name}, {name}: {told}  ({time.perf_counter() - begin:.0f} s)", flush=True)
        yield results, flags


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--checkpoint", help="DINOv2-S's weights (.safetensors); with --images")
    out.add_argument("--images", help="a folder with a sub-folder of pictures for each class")
    out.add_argument("--limit", type=int, default=192, help="pictures of that folder (%(default)s)")
    out.add_argument("--size", type=int, default=224, help="with --confirm: pixels of those pictures (%(default)s)")
    out.add_argument("--seed", type=int, default=0, help="of the planting: other patches and vectors; give --out, too")
    out.add_argument("--variants", nargs="*", choices=list(VARIANTS), help="some of the variants alone")
    out.add_argument("--edits", nargs="*", choices=list(EDITS), help="some of the edits alone; other rows stay")
    out.add_argument("--signals", nargs="*", choices=list(SIGNALS), help="of flags.csv: some of the signals alone")
    out.add_argument("--only", choices=("digits", "dinov2_s"), help="one of the data sets; other rows stay")
    out.add_argument("--confirm", type=int, metavar="SEED", help="plants drawn with it, for label_free: confirm.csv")
    out.add_argument("--quick", action="store_true", help="two variants of few digits, two seeds")
    out.add_argument("--draw", action="store_true", help="the figure alone, from results.csv")
    out.add_argument("--out", type=Path, help="where the results go (this folder; with --quick, outputs/experiments)")
    return out


def main(words: Sequence[str] | None = None) -> int:
    args = parser().parse_args(words)
    if bool(args.checkpoint) != bool(args.images):
        parser().error("--checkpoint and --images go together.")
    if args.seed and not args.out and not args.quick:
        parser().error(f"--seed={args.seed} needs --out: {HERE} holds the results of seed 0.")
    args.out = args.out or (Path("outputs/experiments") / HERE.name if args.quick else HERE)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.draw:
        with tempfile.TemporaryDirectory() as root:
            run(args, Path(root))
    if args.confirm is not None:
        return 0
    draw(pd.read_csv(args.out / "results.csv"), pd.read_csv(args.out / "flags.csv"), args.out / "figure.png")
    return 0


def run(args: argparse.Namespace, root: Path) -> None:
    seeds = 2 if args.quick else SEEDS
    if args.confirm is not None:
        confirm_all(args, root)
        return
    signals = tuple(SIGNALS) if args.signals is None else tuple(args.signals)
    if args.only != "dinov2_s":
        names = args.variants or (QUICK if args.quick else tuple(VARIANTS))
        data = open_digits(root, 200 if args.quick else None, args.seed)
        data = replace(data, timed=32, fitted=64) if args.quick else data
        for rows in measure(data, names, seeds, some(args.edits or EDITS), signals):
            write(args.out, *rows, args.edits)
    if args.checkpoint and args.only != "digits":
        real = open_dinov2(root, args.checkpoint, args.images, args.limit, args.seed)
        names = args.variants or (QUICK if args.quick else REAL_VARIANTS)
        for rows in measure(real, names, seeds, some(args.edits or REAL_EDITS), signals):
            write(args.out, *rows, args.edits)


def confirm_all(args: argparse.Namespace, root: Path) -> None:
    """Write confirm.csv as far as it is, plant by plant, go on where it ends, and tell what came out."""
    path, plans = args.out / "confirm.csv", []
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    if args.only != "dinov2_s":
        plans.append((open_digits(root), some((LABEL_FREE,))))
    if args.checkpoint and args.only != "digits":
        plans.append((open_dinov2(root, args.checkpoint, args.images, args.limit, size=args.size), some((LABEL_FREE,))))
    for data, edits in plans:
        for told in confirm(args.confirm, data, edits, [row for row in rows if row["data"] == data.name]):
            rows += told
            pd.DataFrame(rows).round(5).to_csv(path, index=False)
    print(verdict(pd.DataFrame(rows)))


def write(folder: Path, results: list[dict], flags: list[dict], edits: Sequence[str] | None = None) -> None:
    """Put the rows of a variant, of some `edits` alone, in the place of those of the same edits and signals there."""
    results = [row for row in results if edits is None or row["edit"] in edits]
    table = replaced(folder / "results.csv", results, "edit", ["untouched", *EDITS])
    against_clean(table).round(5).to_csv(folder / "results.csv", index=False)
    if flags:
        replaced(folder / "flags.csv", flags, "detector", list(SIGNALS)).round(5).to_csv(
            folder / "flags.csv", index=False
        )


def replaced(path: Path, rows: list[dict], kind: str, kinds: Sequence[str]) -> pd.DataFrame:
    """Return the table at `path` with `rows` for what it has of their variant and kind, in the order of both."""
    new = pd.DataFrame(rows)
    if path.exists():
        old = pd.read_csv(path)
        same = (old["data"] == new["data"].iloc[0]) & (old["variant"] == new["variant"].iloc[0])
        new = pd.concat([old[~(same & old[kind].isin(new[kind]))], new])
    order = [CLEAN, *VARIANTS]
    variant = new["variant"].map({name: i for i, name in enumerate(order)}) + len(order) * (new["data"] != "digits")
    place = variant * len(kinds) + new[kind].map({name: i for i, name in enumerate(kinds)})
    return new.assign(place=place).sort_values("place", kind="stable").drop(columns="place")


if __name__ == "__main__":
    sys.exit(main())
