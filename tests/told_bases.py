"""A made-up base and an answer of it, for tests of their pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from PIL import Image

from itae.look.page.knowledge_data import (
    CHANGED,
    MOVED,
    NONE,
    THERE,
    AboutAnswer,
    AboutBase,
    Duplicates,
    Edit,
    Map,
    Neighbour,
    Outlier,
    Row,
    Source,
    Suspect,
    Turn,
)

START = datetime(2026, 11, 3, 9, 12, tzinfo=UTC)
LABELS = ("bird", "bug", "clock")
VERBS = ("add", "correct", "delete", "undo", "restore", "purge")


LOST = {"photos/0003.png": MOVED, "photos/0004.png": CHANGED, "photos/0007.png": NONE}


def picture(name):
    """Return a picture of one colour, by the letters of its row's id; of some, why there is none."""
    shade = sum(map(ord, name)) % 256
    return LOST.get(name) or Image.new("RGB", (60, 50), (shade, 255 - shade, 120))


def a_row(i):
    """Return row `i`, which has another label where `i` is a multiple of 5."""
    label = LABELS[(i + (i % 5 == 0)) % 3]
    return Row((label,), f"source {i % 2}", f"group {i // 2}", f"/photos/{i}.png", START + timedelta(hours=i))


def ids(n):
    """Return n ids."""
    return [f"photos/{i:04d}.png" for i in range(n)]


def a_base(n=60, suspects=None, edits=12, **other):
    """Return what the page of a base of `n` rows tells, some of it replaced."""
    names = ids(n)
    details = {name: a_row(i) for i, name in enumerate(names)}
    wrong = [i for i in range(n) if i % 5 == 0][:suspects] if suspects is None else range(suspects)
    about = AboutBase(
        name="animals",
        place="/bases/animals",
        version=edits,
        root="3f" * 32,
        rows=n,
        labels={label: sum(label in row.labels for row in details.values()) for label in LABELS} | {"rare": 2, "no": 0},
        unlabelled=3,
        groups=n // 2,
        tags={"clean": 2, "newest": edits},
        space={"backbone": "digits_vit", "edit": "none", "size": "28 px", "pooling": "cls, fp32"},
        identity={"model": "digits_vit", "pool": "cls"},
        sources=[
            Source(f"source {k}", n // 2, START, START + timedelta(days=k), dict.fromkeys(LABELS, n // 6))
            for k in (0, 1)
        ],
        edits=[an_edit(i, n) for i in range(1, edits + 1)],
        pictures={THERE: n - 2, MOVED: 1, NONE: 1},
        lost=[names[3]],
        suspects=[a_suspect(i, names) for i in wrong],
        duplicates=[Duplicates((names[1], names[4], names[5], names[7])), Duplicates((names[8], names[11]), 0.9912)],
        outliers=[Outlier(names[9], 0.8), Outlier(names[2], 0.7, "clock")],
        map=Map(names, [(i % 7, i % 11) for i in range(n)], ("first", "second")),
        details=details,
        notes={"suspects": f"{n} rows were looked at."},
    )
    return replace(about, **other)


def a_suspect(i, names):
    near = tuple((names[(i + step) % len(names)], 1 - step / 100) for step in (1, 2, 3))
    return Suspect(names[i], 1 - i / 10_000, (f"3 of its 3 nearest are {LABELS[i % 3]}",), LABELS[i % 3], near)


def an_edit(i, n):
    when = START + timedelta(days=i)
    return Edit(i, VERBS[(i - 1) % len(VERBS)], "ada", when, f"because {i}", n if i == 1 else 0, i % 3, 0, n)


def an_answer(**other):
    """Return what the page of an answer tells, some of it replaced."""
    names = ids(6)
    about = AboutAnswer(
        base="animals",
        place="/bases/animals",
        version=12,
        root="3f" * 32,
        image="/queries/a bird.png",
        label="bird",
        scores={"bird": 0.6, "bug": 0.3, "clock": 0.1},
        voter="rank, k 6",
        again=["itae", "knowledge", "why", "/bases/animals", "/queries/a bird.png", "voter=rank", "--at", "12"],
        p=0.43,
        known=[(names[5], "bird")],
        neighbours=[Neighbour(name, 0.9 - i / 100, share) for i, (name, share) in enumerate(zip(
            names, (0.3, 0.2, 0.2, 0.1, 0.1, 0.1), strict=True))],
        turn=Turn((names[0], names[2]), "bug", True),
        details={name: a_row(i) for i, name in enumerate(names)},
        notes=["p is against 500 of 1,000 rows, a fixed draw"],
    )  # fmt: skip
    return replace(about, **other)
