"""Print what rounds of a search cost, in CPU milliseconds and as ratios in one run.

    python experiments/bench/search.py                 all of it, about ten minutes on 2 cores, 3 GB of memory
    python experiments/bench/search.py rounds million  some of it

Vectors are made up, as in `neighbours.py` beside it. Ten images were judged, five of each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from neighbours import in_turns, made, ratio, say

from itae.app.compose import compose, conf_dir, plain_values
from itae.base.construct import construct
from itae.knowledge.near.index import open_index, use_index
from itae.knowledge.records.snapshot import Snapshot
from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank
from itae.search.rules import Rule, Unchanged

MANY, MILLION = (50_000, 384), (1_000_000, 512)
COUNT, ROUNDS = 20, 7


def rules() -> Iterator[tuple[str, Rule]]:
    for path in sorted((conf_dir() / "feedback").glob("*.yaml")):
        yield path.stem, construct("feedback", plain_values(compose([f"feedback={path.stem}"]))["feedback"])


def judged_of(snapshot: Snapshot) -> tuple[Query, Marks]:
    """Return a query, and the ten rows nearest to it of which those of its class are a yes."""
    query = Query(snapshot.vectors_ME[7], rows=np.array([7]))
    near = rank(Alike(snapshot), query, Marks(), Unchanged(), 200).positions_K
    same = snapshot.labels_M[near] == snapshot.labels_M[7]
    yes, no = near[same][:5].tolist(), near[~same][:5].tolist()
    no += [i for i in range(1000, 1100) if snapshot.labels_M[i] != snapshot.labels_M[7]][: 5 - len(no)]
    return query, Marks(yes, no)


def told(seconds: list[float]) -> str:
    each = [1e3 * one for one in seconds]
    return f"{statistics.median(each):.1f} ms   ({min(each):.1f} to {max(each):.1f}, {len(each)} rounds)"


def cold(snapshot: Snapshot, query: Query, marks: Marks, rule: Rule) -> None:
    rank(Alike(snapshot), query, marks, rule, COUNT)


def one_more(snapshot: Snapshot, query: Query, marks: Marks, rule: Rule) -> Callable[[], None]:
    """Return a round in which one mark is new each time, and all other similarities are there."""
    alike = Alike(snapshot)
    rank(alike, query, marks, rule, COUNT)
    new = iter(range(2000, 3000))

    def work() -> None:
        rank(alike, query, Marks([*marks.yes, next(new)], marks.no), rule, COUNT)

    return work


def rounds(scratch: Path) -> None:
    """50,000 x 384: whole rounds of every rule, at most 50 ms, those that train at most 200."""
    snapshot = made(MANY, 100)
    query, marks = judged_of(snapshot)
    named = dict(rules())
    works = [partial(cold, snapshot, query, marks, rule) for rule in named.values()]
    warm = [one_more(snapshot, query, marks, rule) for rule in named.values()]
    times = in_turns(ROUNDS, *works, *warm)
    for name, first, more in zip(named, times, times[len(named) :], strict=False):
        say(f"a round on 50,000 x 384, 10 judged, nothing known, {name}", told(first))
        say("  one new mark, the rest known", told(more))


def million(scratch: Path) -> None:
    """1,000,000 x 512 against one product of matrix and vector."""
    snapshot = made(MILLION, 1000)
    query, marks = judged_of(snapshot)
    vector = snapshot.vectors_ME[9].copy()
    named = dict(rules())
    warm = [one_more(snapshot, query, marks, rule) for rule in named.values()]
    bare, *times = in_turns(ROUNDS, lambda: snapshot.vectors_ME @ vector, *warm)
    say("1,000,000 x 512: matrix @ vector", told(bare))
    for name, more in zip(named, times, strict=True):
        beyond = [1e3 * (a - 1.5 * b) for a, b in zip(more, bare, strict=True)]
        say(f"  one new mark, {name}: ratio to that", ratio(more, bare))
        say("    beyond 1.5 of it (at most 50 ms)", f"{statistics.median(beyond):.0f} ms   (to {max(beyond):.0f})")
    works = [partial(cold, snapshot, query, marks, rule) for rule in named.values()]
    bare, *times = in_turns(3, lambda: snapshot.vectors_ME @ vector, *works)
    for name, first in zip(named, times, strict=True):
        say(f"  a round with 10 marks, nothing known, {name}: ratio (at most 4)", ratio(first, bare))


def index(scratch: Path) -> None:
    """50,000 x 384 by indexes: how many of the 20 that exact search shows are shown, over 40 searches."""
    snapshot = made(MANY, 100)
    named, draw = dict(rules()), np.random.default_rng(3).integers(0, MANY[0], 40).tolist()
    for factory in ("IVF256,Flat", "IVF256,PQ48"):
        by_index = replace(snapshot, memo={})
        found = open_index(by_index, scratch / "indexes", factory)
        use_index(by_index, found)
        say(f"50,000 x 384, {factory}", found.note)
        shares: dict[str, list[float]] = {name: [] for name in named}
        for i in draw:
            exact, query = Alike(snapshot), Query(snapshot.vectors_ME[i], rows=np.array([i]))
            near = rank(exact, query, Marks(), Unchanged(), 10).positions_K
            marks = Marks(near[::2].tolist(), near[1::2].tolist())  # a wish of which similarity says nothing
            for name, rule in named.items():
                pages = [rank(one, query, marks, rule, COUNT).positions_K for one in (exact, Alike(by_index))]
                shares[name].append(len(np.intersect1d(*pages)) / COUNT)
        for name, some in shares.items():
            say(f"  of the page after ten marks, {name}", f"{np.mean(some):.3f}   (lowest {min(some):.2f})")


PARTS = {"rounds": rounds, "million": million, "index": index}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if not asked.parts or name in asked.parts:
                part(Path(folder))
