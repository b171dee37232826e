"""How often does a 95 % interval hold the delta that such data give on average? Counted on data made anew each time.

    python experiments/06_intervals/run.py                          writes results.csv, some 5 minutes of one core
    python experiments/06_intervals/run.py --times 20 --out DIR     does it run?

Columns beside the setting: the share of intervals that hold it for each metric, and ``.width``, the mean width over
that of a normal interval of the deltas' true spread: 1.12 where ten seeds are all that varies.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from itae.measure.cluster.kmeans import KMeans
from itae.measure.intervals import image_values, mean_interval

HERE = Path(__file__).parent
SEEDS = 10
Sides = tuple[np.ndarray, list[dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Setting:
    """What is drawn each time: images of classes, and clusterings that take some images for another class's.

    Which images, is up to an image's own difficulty, the same on all sides and for all seeds, to something of the side,
    and, by `noise`, of the image under that seed; `level` is how much better or worse a whole seed is, and `optima` the
    share of seeds that end with two classes in one cluster and a third in two.
    """

    varies: str
    images: int
    classes: int
    wrong_before: float
    wrong_after: float
    noise: float = 0.0
    level: float = 0.0
    optima: float = 0.0
    draws: int = 0

    def __call__(self, rng: np.random.Generator) -> Sides:
        """Return labels, and the values of images of the edited side and of the untouched one, or of each draw."""
        labels = rng.integers(0, self.classes, self.images)
        taken_for = (labels + 1 + rng.integers(0, self.classes - 1, self.images)) % self.classes
        difficulty = rng.normal(size=self.images)
        wrong = [self.wrong_after, *[self.wrong_before] * max(1, self.draws)]
        return labels, [self._side(rng, labels, taken_for, difficulty, share) for share in wrong]

    def _side(
        self, rng: np.random.Generator, labels: np.ndarray, taken_for: np.ndarray, difficulty: np.ndarray, share: float
    ) -> dict[str, np.ndarray]:
        own = np.sqrt(0.7 - self.noise) * difficulty + np.sqrt(0.3) * rng.normal(size=self.images)
        found = np.empty((SEEDS, self.images), np.int64)
        for clusters in found:
            hard = own + np.sqrt(self.noise) * rng.normal(size=self.images)
            clusters[:] = np.where(hard > ndtri(1 - share) + self.level * rng.normal(), taken_for, labels)
            if rng.random() < self.optima:
                one, other, third = rng.choice(self.classes, 3, replace=False)
                clusters[clusters == one] = other
                clusters[(clusters == third) & (difficulty > 0)] = one
        return image_values(labels, found, own < ndtri(1 - share))


@dataclass(frozen=True)
class Refit:
    """Normal classes in 16 dimensions, clustered by k-means itself, anew for each set of images.

    The interval takes clusterings as they are, so this is what it leaves out.
    """

    varies: str
    images: int
    classes: int
    noise_before: float
    noise_after: float
    restarts: int

    def __call__(self, rng: np.random.Generator) -> Sides:
        """Return as `Setting` does, without neighbours."""
        centres = 0.6 * np.random.default_rng(0).normal(size=(self.classes, 16))
        labels = rng.integers(0, self.classes, self.images)
        points, sides = centres[labels] + rng.normal(size=(self.images, 16)), []
        seed = int(rng.integers(10**6))
        for noise in (self.noise_after, self.noise_before):
            vectors = (points + noise * rng.normal(size=points.shape)).astype(np.float32)
            fits = (KMeans(restarts=self.restarts).fit(vectors, self.classes, seed + i, "cpu") for i in range(SEEDS))
            sides.append(image_values(labels, np.array([fit.assignments for fit in fits]), None))
        return labels, sides


def settings() -> Iterator[Setting | Refit]:
    """Yield what is tried: sizes with what varies and how large the effect is, then draws, then k-means itself."""
    sizes = ((300, 4), (300, 50), (1000, 10), (2000, 50))
    kinds = (
        ("images", {}),
        ("images, seeds", {"noise": 0.3, "level": 0.1}),
        ("images, local optima", {"noise": 0.1, "optima": 0.4}),
    )
    effects = itertools.cycle(((0.4, 0.4), (0.4, 0.3), (0.6, 0.2), (0.3, 0.35)))
    for (images, classes), (varies, more) in itertools.product(sizes, kinds):
        yield Setting(varies, images, classes, *next(effects), **more)
    for (images, classes), draws in zip(((300, 10), (2000, 50), (1000, 10)), (1, 2, 5), strict=True):
        yield Setting("against random", images, classes, *next(effects), noise=0.2, level=0.05, draws=draws)
    for images, classes, noises, restarts in ((300, 4, (0.6, 0.6), 10), (1000, 10, (0.8, 0.3), 1)):
        yield Refit("k-means on other images", images, classes, *noises, restarts)


def coverage(draw: Callable[[np.random.Generator], Sides], times: int, seed: int = 0) -> dict[str, float]:
    """Return for each metric how often the interval holds the mean delta of all times, and its relative width."""
    rng, deltas, ends = np.random.default_rng(seed), [], []
    for _ in range(times):
        _, (edit, *others) = draw(rng)
        beyond = {name: edit[name] - np.stack([other[name] for other in others]) for name in edit}
        deltas.append({name: value.mean() for name, value in beyond.items()})
        ends.append({name: mean_interval(value) for name, value in beyond.items()})
    found = {}
    for name in deltas[0]:
        each, span = np.array([one[name] for one in deltas]), np.array([one[name] for one in ends])
        found[name] = float(np.mean((span[:, 0] <= each.mean()) & (each.mean() <= span[:, 1])))
        found[f"{name}.width"] = float(np.diff(span).mean() / (2 * ndtri(0.975) * each.std()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    rows = []
    for setting in settings():
        times = options.times if isinstance(setting, Setting) else max(2, options.times // 4)
        rows.append(asdict(setting) | {"times": times} | coverage(setting, times))
        print({name: round(v, 3) if isinstance(v, float) else v for name, v in rows[-1].items()}, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).round(4).to_csv(options.out / "results.csv", index=False)


if __name__ == "__main__":
    main()
