"""The one command: plant, find, attenuate, and hold what was found against what was planted.

    python experiments/04_known_answers/run.py             the digits, all variants
    python experiments/04_known_answers/run.py --checkpoint WEIGHTS.safetensors --images PICTURES     and DINOv2-S
    python experiments/04_known_answers/run.py --quick     does it run? two variants, few images
    python experiments/04_known_answers/run.py --draw      the figure again, from results.csv

Labels are read by the scores alone. Shape suffixes: B images, N tokens, P patches, S = 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from known_figure import draw
from planting import Planted
from torch import Tensor

from itae.edits.attenuate import Attenuator, Fade, Floor, Scale
from itae.edits.bimodal import fit_threshold
from itae.edits.detect import ClsAttention, Detector, Random, ResidualNorm, VectorNorm
from itae.edits.edit import AnyEdit, Edit, make_edit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.edits.site import Flags, Site
from itae.embed.fit_layers import fit_layers
from itae.embed.register_search import search
from itae.embed.replay import SharedPass, Watch
from itae.embed.source import Source
from itae.images.batches import batches
from itae.images.datasets import Dataset, Digits, ImageFolder
from itae.images.transform import normalise
from itae.measure.cluster.kmeans import KMeans
from itae.measure.scores import scores
from itae.store.store import Store
from itae.vit.facts import Facts

HERE = Path(__file__).parent
BATCH, SEEDS, CALIBRATION = 64, 5, 256
DEFAULT, CLEAN, TRUTH = "default", "clean", "the truth"
REGISTERS = "test-time registers"
FIRST, MIDDLE, LATE = "early", "middle", "late"

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
    "default",
    "residual_norm",
    "residual_norm, mad",
    "value_norm, mad",
    REGISTERS,
    f"{REGISTERS}, mad",
    "random",
)

SIGNALS: dict[str, Detector] = {
    "value_norm": VectorNorm(side="high", vector="value"),
    "value_norm, low": VectorNorm(side="low", vector="value"),  # the paper's side
    "key_norm": VectorNorm(side="high", vector="key"),
    "query_norm": VectorNorm(side="high", vector="query"),
    "residual_norm": ResidualNorm(side="high"),
    "cls_attention": ClsAttention(side="high"),
}


Make = Callable[[Facts], AnyEdit | None]
"""Makes an edit for a model of these facts. A rival method is one more of these, under one more name in `EDITS`."""


def by(name: str, attenuator: Attenuator | None = None, layers: str = "all", rule: str = "bimodal") -> Make:
    """Return what makes the edit of a signal, `scale` at strength 1 in all blocks unless it is told otherwise."""
    return lambda facts: make_edit(replace(SIGNALS[name], rule=rule), attenuator or Scale(), layers, facts.depth)


def _random(facts: Facts) -> Edit | None:
    return make_edit(Random(match=replace(SIGNALS["value_norm"], rule="bimodal")), Scale(), "all", facts.depth)


def registers(rule: str) -> Make:
    """Return what makes the rival's edit; the rule tells outliers, from which its neurons are found."""
    return lambda facts: TestTimeRegisters(rule=rule).make(None, None, "all", facts)


EDITS: dict[str, Make] = {
    DEFAULT: by("value_norm"),  # conf/experiment/demo.yaml
    "key_norm": by("key_norm"),
    "residual_norm": by("residual_norm"),
    "value_norm, mad": by("value_norm", rule="mad"),
    "residual_norm, mad": by("residual_norm", rule="mad"),
    "floor": by("value_norm", Floor()),
    "fade": by("value_norm", Fade()),
    "last": by("value_norm", layers="last"),
    "last2": by("value_norm", layers="last2"),
    REGISTERS: registers("bimodal"),
    f"{REGISTERS}, mad": registers("mad"),
    "random": _random,
}


@dataclass(frozen=True)
class Truth:
    """Flags what was planted and nothing else: no detector does better, so what it does not win back, none can.

    Parameters
    ----------
    masks
        [P] bool by the sha256 of each image: what is planted goes by an image's content.
    """

    masks: Mapping[bytes, Tensor]

    needs_cls: ClassVar[bool] = False
    fitted: ClassVar[bool] = False

    def __call__(self, site: Site, theta: float | None = None) -> Flags:
        mask = torch.stack([self.masks[digest] for digest in site.digests]).unsqueeze(1)
        return Flags(mask, mask.float(), mask.new_ones(len(mask), 1, 1).float())

    def spec(self) -> dict[str, Any]:
        return {}


@dataclass
class Data:
    """A data set as a backbone without a plant sees it.

    Parameters
    ----------
    name
        ``digits`` or ``dinov2_s``.
    clean
        The backbone, with a plant of no patches.
    source
        Its source: images, labels, facts.
    pixels
        [n, 3, S, S], normalised.
    timed, fitted
        How many images the time of an edit is taken on, and thresholds are fitted on.
    """

    name: str
    clean: Planted
    source: Source
    pixels: Tensor
    timed: int
    fitted: int

    @classmethod
    def open(cls, name: str, dataset: Dataset, backbone: Planted, root: Path, timed: int, fitted: int) -> Data:
        source = Source.open(dataset, backbone, Store(root))
        n = len(source.images)
        raw = batches(source.images, source.transform, 0, n, BATCH, 2)
        pixels = torch.cat([normalise(torch.from_numpy(some), source.transform) for some in raw])
        return cls(name, backbone, source, pixels, timed, fitted)

    def planted(self, variant: dict[str, Any]) -> Planted:
        """Return the backbone of a variant; early, middle and late are the first, a third of and the last-but-one."""
        depth = self.source.facts.depth
        blocks = {FIRST: 0, MIDDLE: depth // 3, LATE: depth - 2}
        settings: dict[str, Any] = {"count": 3} | variant | {"block": blocks[variant.get("block", MIDDLE)]}
        return replace(self.clean, **settings)

    def some(self, rows: np.ndarray) -> Iterator[tuple[Tensor, list[bytes]]]:
        for at in range(0, len(rows), BATCH):
            some = rows[at : at + BATCH]
            yield self.pixels[torch.from_numpy(some)], [self.source.images.digests[i] for i in some]

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.pixels))

    @property
    def calibration(self) -> np.ndarray:
        """The rows that `itae` fits thresholds on, with its own seed."""
        n = len(self.pixels)
        return np.sort(np.random.default_rng(0).choice(n, min(n, self.fitted), replace=False))


class Signals:
    """The signals [n, P] of every detector in every block of the untouched model, kept as a pass goes by."""

    def __init__(self, prefix: int, layers: Sequence[int]) -> None:
        self.prefix, self.layers = prefix, layers
        self.kept: dict[tuple[str, int], list[Tensor]] = {(name, i): [] for name in SIGNALS for i in layers}
        self._before: Tensor | None = None

    def output(self, layer: int, tokens: Tensor) -> None:
        self._before = tokens

    def operands(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        if layer not in self.layers:
            return
        assert self._before is not None
        site = Site(q, k, v, self._before, self.prefix, layer, q.shape[-1] ** -0.5, [bytes(32)] * len(q))
        for name, detector in SIGNALS.items():
            self.kept[name, layer].append(detector.signal(site)[:, 0])

    def flags(self, name: str, layer: int, rule: str, share: float, sample: np.ndarray) -> Tensor:
        """Return what a rule flags [n, P]; a fitted threshold is fitted on the rows `sample`."""
        signal = torch.cat(self.kept[name, layer])
        numbers: dict[str, Any] = {"mad": {"k": 5.0}, "quantile": {"quantile": share}, "ratio": {"ratio": 2.0}}
        detector = SIGNALS[name]
        if rule == "bimodal":
            theta = fit_threshold(signal[torch.from_numpy(sample)].numpy(), detector.side).theta
            return detector.flags(signal, theta).mask
        return replace(detector, rule=rule, **numbers[rule]).flags(signal).mask


def found(counts: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1 of counts of right, flagged and planted."""
    right, flagged, planted = (float(count) for count in counts)
    precision, recall = right / flagged if flagged else 0.0, right / planted if planted else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if right else 0.0,
    }


def fitted(model: Any, data: Data, edits: Mapping[str, Make]) -> dict[str, AnyEdit]:
    """Return the edits, their thresholds fitted and their neurons searched for as `itae` does it."""
    facts = data.source.facts
    made = {name: edit for name, make in edits.items() if (edit := make(facts)) is not None}
    unfitted = {name: edit for name, edit in made.items() if isinstance(edit, Edit) and edit.unfitted}
    shared = SharedPass(model, facts.prefix, "cls", list(unfitted.values()))
    fits = fit_layers(shared, list(unfitted.values()), data.some(data.calibration)) if unfitted else []
    for (name, edit), some in zip(unfitted.items(), fits, strict=True):
        made[name] = edit.with_thetas({layer: fit.theta for layer, fit in some.items()})
    for name, edit in made.items():
        if isinstance(edit, RegisterEdit):
            found = search(model, facts.prefix, edit.settings, lambda: data.some(data.calibration))
            made[name] = edit.with_neurons(found)
    return made


def clustered(vectors: np.ndarray, labels: np.ndarray, seeds: int) -> dict[str, float]:
    kmeans, k = KMeans(), len(np.unique(labels))
    rows = [scores(labels, kmeans.fit(vectors, k, seed, "cpu").assignments) for seed in range(seeds)]
    told: dict[str, float] = {}
    for metric in ("acc", "nmi"):
        values = np.array([row[metric] for row in rows])
        told |= {metric: values.mean(), f"{metric}_std": values.std(ddof=1) if seeds > 1 else 0.0}
    return told


def seconds(model: Any, data: Data, edit: AnyEdit | None) -> float:
    """Return the seconds for each image of a pass with this edit alone, the untouched model's own way included."""
    facts, rows = data.source.facts, data.rows[: data.timed]
    shared = SharedPass(model, facts.prefix, "cls", [edit])
    begin = time.perf_counter()
    for pixels, digests in data.some(rows):
        shared(pixels, digests)
    return (time.perf_counter() - begin) / len(rows)


def one_variant(
    data: Data, name: str, backbone: Planted, seeds: int, makers: Mapping[str, Make]
) -> tuple[list[dict], list[dict]]:
    """Return the rows of results.csv and of flags.csv of one variant; `backbone` may have no plant."""
    facts, labels = data.source.facts, np.asarray(data.source.images.labels)
    device = torch.device("cpu")
    model = backbone.build(facts, device)
    truth = torch.cat([backbone.plan(pixels, facts).mask for pixels, _ in data.some(data.rows)])
    behind = range(backbone.block + 1, facts.depth)
    edits = fitted(model, data, makers)
    if backbone.count:
        masks = dict(zip(data.source.images.digests, truth, strict=True))
        edits[TRUTH] = Edit(Truth(masks), Scale(), tuple(range(facts.depth)))
    named: dict[str, AnyEdit | None] = {"untouched": None} | edits
    names, signals = list(named), Signals(facts.prefix, behind if backbone.count else ())
    counts, elsewhere = np.zeros((len(names), 3)), np.zeros(len(names))
    rows_now = slice(0)

    def flags(position: int, layer: int, what: Any, _paid: object) -> None:
        mask, planted = what.mask[:, 0], truth[rows_now]
        if layer in behind:
            counts[position] += [(mask & planted).sum(), mask.sum(), planted.sum()]
        else:
            elsewhere[position] += mask.sum()

    watch = Watch(flags, False, signals.operands, signals.output)
    shared, vectors = SharedPass(model, facts.prefix, "cls", list(named.values()), watch), []
    for pixels, digests in data.some(data.rows):
        rows_now = slice(rows_now.stop, rows_now.stop + len(pixels))
        vectors.append([out.numpy() for out in shared(pixels, digests)])
    plant = {key: getattr(backbone, key) for key in ("strength", "count", "position", "block", "content", "way")}
    about = {"data": data.name, "images": len(labels), "variant": name} | (plant if backbone.count else {"count": 0})
    results = []
    for i, (edit_name, parts) in enumerate(zip(names, zip(*vectors, strict=True), strict=True)):
        told = clustered(np.concatenate(parts), labels, seeds)
        edit = named[edit_name]
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
    for name in SIGNALS if signals.layers else ():
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


def open_digits(root: Path, limit: int | None = None, seed: int = 0) -> Data:
    dataset = Digits(name="digits", limit=limit)
    sample = replace(dataset, limit=min(limit or 512, 512))
    weights = "pkg://itae/weights/digits_vit.safetensors"
    backbone = Planted("digits_vit", weights, 32, module="itae.digits_vit", sample=sample, count=0, seed=seed)
    return Data.open("digits", dataset, backbone, root, 4 * BATCH, CALIBRATION)


def open_dinov2(root: Path, checkpoint: str, images: str, limit: int, seed: int = 0) -> Data:
    dataset = ImageFolder(name="imagefolder", root=images, limit=limit)
    name, sample = "vit_small_patch14_dinov2.lvd142m", replace(dataset, limit=96)
    backbone = Planted(name, checkpoint, sample=sample, count=0, seed=seed)
    return Data.open("dinov2_s", dataset, backbone, root, BATCH // 4, 64)


def measure(
    data: Data, variants: Sequence[str], seeds: int, edits: Mapping[str, Make] = EDITS
) -> Iterator[tuple[list[dict], list[dict]]]:
    """Yield the rows of results.csv and flags.csv, variant by variant, of `edits` (named, `default` among them)."""
    clean, _ = one_variant(data, CLEAN, data.clean, seeds, edits)
    yield clean, []
    for name in variants:
        begin = time.perf_counter()
        results, flags = one_variant(data, name, data.planted(VARIANTS[name]), seeds, edits)
        table = against_clean(pd.DataFrame(clean + results)).set_index(["variant", "edit"])
        row = table.loc[(name, DEFAULT)]
        told = f"NMI lost {row['nmi_lost']:.3f}, F1 {row['flags_f1']:.3f}, won back {row['won_back']:.1%}"
        print(f"{data.name}, {name}: {told}  ({time.perf_counter() - begin:.0f} s)", flush=True)
        yield results, flags


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--checkpoint", help="DINOv2-S's weights (.safetensors); with --images")
    out.add_argument("--images", help="a folder with a sub-folder of pictures for each class")
    out.add_argument("--limit", type=int, default=192, help="pictures of that folder (%(default)s)")
    out.add_argument("--seed", type=int, default=0, help="of the planting: other patches and vectors; give --out, too")
    out.add_argument("--variants", nargs="*", choices=list(VARIANTS), help="some of the variants alone")
    out.add_argument("--only", choices=("digits", "dinov2_s"), help="one of the data sets; other rows stay")
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
    draw(pd.read_csv(args.out / "results.csv"), pd.read_csv(args.out / "flags.csv"), args.out / "figure.png")
    return 0


def run(args: argparse.Namespace, root: Path) -> None:
    seeds = 2 if args.quick else SEEDS
    if args.only != "dinov2_s":
        names = args.variants or (QUICK if args.quick else tuple(VARIANTS))
        data = open_digits(root, 200 if args.quick else None, args.seed)
        data = replace(data, timed=32, fitted=64) if args.quick else data
        for rows in measure(data, names, seeds):
            write(args.out, *rows)
    if args.checkpoint and args.only != "digits":
        real = open_dinov2(root, args.checkpoint, args.images, args.limit, args.seed)
        names = args.variants or (QUICK if args.quick else REAL_VARIANTS)
        for rows in measure(real, names, seeds, {name: EDITS[name] for name in REAL_EDITS}):
            write(args.out, *rows)


def write(folder: Path, results: list[dict], flags: list[dict]) -> None:
    """Put the rows of a variant in the place of those that are there."""
    table = replaced(folder / "results.csv", results)
    against_clean(table).round(5).to_csv(folder / "results.csv", index=False)
    if flags:
        replaced(folder / "flags.csv", flags).round(5).to_csv(folder / "flags.csv", index=False)


def replaced(path: Path, rows: list[dict]) -> pd.DataFrame:
    """Return the table at `path` with `rows` for what it has of their variant, in the order of `VARIANTS`."""
    new = pd.DataFrame(rows)
    if path.exists():
        old = pd.read_csv(path)
        same = (old["data"] == new["data"].iloc[0]) & (old["variant"] == new["variant"].iloc[0])
        new = pd.concat([old[~same], new])
    order = [CLEAN, *VARIANTS]
    place = new["variant"].map({name: i for i, name in enumerate(order)}) + len(order) * (new["data"] != "digits")
    return new.assign(place=place).sort_values("place", kind="stable").drop(columns="place")


if __name__ == "__main__":
    sys.exit(main())
