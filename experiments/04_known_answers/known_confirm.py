"""Plants drawn at random within the ranges that the variants span: what a frozen rule is confirmed on, once.

A strength lies on the line between two of the named ones, a plant has one to eight patches, and its block, place,
content and way are drawn from those that there are. A plant that costs less than the cheapest variant does is drawn,
told and not counted: of next to nothing there is no share to win back. That goes by the untouched model alone, so
what an edit finds can't decide it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from known_edits import Make
from known_passes import SEEDS, Data, clustered, found, made, passed
from planting import CONTENTS, POSITIONS, STRENGTHS, WAYS, Strength

COUNTS = {"digits": 30, "dinov2_s": 10}
LEAST = 0.08
"""NMI that a plant has to cost: the cheapest variant costs .082 (`key only`)."""
F1, WON_BACK = 0.95, 0.9
_NAMED = tuple(STRENGTHS)


def draws(seed: int, data: str, depth: int) -> Iterator[dict[str, Any]]:
    """Yield settings of `Planted` without end, the same ones for a seed and a data set.

    Parameters
    ----------
    seed
        Of all that is drawn.
    data
        One of `COUNTS`.
    depth
        Blocks of the model; a plant has at least one behind it.
    """
    rng = np.random.default_rng((seed, list(COUNTS).index(data)))
    while True:
        one, other = (_NAMED[i] for i in rng.integers(len(_NAMED), size=2))
        yield {
            "strength": _between(one, other, round(float(rng.random()), 3)),
            "count": int(rng.integers(1, 9)),
            "position": POSITIONS[rng.integers(len(POSITIONS))],
            "block": int(rng.integers(depth - 1)),
            "content": tuple(CONTENTS)[rng.integers(len(CONTENTS))],
            "way": WAYS[rng.integers(len(WAYS))],
            "seed": int(rng.integers(1 << 31)),
        }


def _between(one: str, other: str, share: float) -> str:
    """Have the strength that is `share` of the way from one to the other, and return its name."""
    name = f"{one} {1 - share:.3f}, {other} {share:.3f}"
    a, b = STRENGTHS[one], STRENGTHS[other]
    STRENGTHS[name] = Strength(
        *((1 - share) * x + share * y for x, y in ((a.length, b.length), (a.key, b.key), (a.value, b.value)))
    )
    return name


def verdict(table: pd.DataFrame) -> str:
    """Return how many of the plants that count an edit found and undid."""
    told = []
    for (data, edit), rows in table[table["counted"]].groupby(["data", "edit"], sort=False):
        found, won = rows["f1"] >= F1, rows["won_back"] >= WON_BACK
        told.append(
            f"{data}, {edit}: F1 of {F1:g} in {found.sum()}, {WON_BACK:.0%} won back in {won.sum()}, "
            f"both in {(found & won).sum()} of {len(rows)}"
        )
    return "\n".join(told)


def confirm(seed: int, data: Data, edits: Mapping[str, Make], done: Sequence[dict] = ()) -> Iterator[list[dict]]:
    """Yield the rows of plants drawn with `seed`, until enough of them cost something; `done` are rows of the first.

    Raises
    ------
    ValueError
        If `done` are of another seed.
    """
    settings = draws(seed, data.name, data.source.facts.depth)
    labels, facts, counted = np.asarray(data.source.images.labels), data.source.facts, 0
    for row in (row for row in done if row["edit"] == next(iter(edits))):
        if (plant := next(settings))["seed"] != row["seed"]:
            raise ValueError(f"these plants of {data.name} were not drawn with seed {seed}")
        counted += bool(row["counted"])
    clean = done[0]["nmi_clean"] if done else _nmi(data.clean.build(facts, torch.device("cpu")), data)
    while counted < COUNTS[data.name]:
        plant = next(settings)
        backbone = replace(data.clean, **plant)
        model = backbone.build(facts, torch.device("cpu"))
        planted = _nmi(model, data)
        lost = clean - planted
        about = (
            {"data": data.name, "images": len(labels), "pixels": data.clean.image_size}
            | plant
            | vars(STRENGTHS[plant["strength"]])
        )
        about |= {"nmi_clean": clean, "nmi_planted": planted, "nmi_lost": lost, "counted": lost >= LEAST}
        if not about["counted"]:
            yield [about | {"edit": name} for name in edits]
            continue
        counted += 1
        truth = torch.cat([backbone.plan(pixels, facts).mask for pixels, _ in data.some(data.rows)])
        named = made(model, data, edits, truth)
        behind = range(backbone.block + 1, facts.depth)
        vectors, counts, elsewhere = passed(model, data, list(named.values()), truth, behind, None)
        rows = []
        for i, name in enumerate(named):
            nmi = clustered(vectors[i], labels, SEEDS)["nmi"]
            told = {"edit": name, "nmi": nmi, "won_back": (nmi - planted) / lost} | found(counts[i])
            rows.append(about | told | {"flagged_before": elsewhere[i] / (truth.numel() * (backbone.block + 1))})
        print(f"{data.name}, {counted}: {plant}, lost {lost:.3f}, "
              f"F1 {rows[0]['f1']:.3f}, won back {rows[0]['won_back']:.1%}", flush=True)  # fmt: skip
        yield rows


def _nmi(model: Any, data: Data) -> float:
    """Return the NMI of the untouched model."""
    nothing = torch.zeros(len(data.rows), 0, dtype=torch.bool)
    vectors, _, _ = passed(model, data, [None], nothing, range(0), None)
    return clustered(vectors[0], np.asarray(data.source.images.labels), SEEDS)["nmi"]
