"""The page of a knowledge base: what is in it, how it grew, and what in it wants looking at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from itae.look.figures import COLOURS
from itae.look.page.commands import command, relink, shell_word
from itae.look.page.frame import render, write
from itae.look.page.knowledge_data import CHANGED, MOVED, AboutBase, Duplicates, Edit, Picture, Source
from itae.look.page.rows_part import TELLS, in_turn, rows_part, told_time, words_part

FEW = 5
"""A label with fewer rows is told apart: its rows are outvoted as soon as more neighbours than that are asked."""
_SHOWN = 30  # labels, sources and lost pictures that are not folded away
_EDITS = 20
_POINTS = 2000  # edits that the growth is drawn of, the last
_VERBS = ("add", "correct", "delete", "undo", "restore", "import")  # a colour for each, whichever a base has
_TOP = 4  # labels that a source is told by


def write_base_page(about: AboutBase, picture: Picture, out: Path) -> None:
    """Write the page of a base.

    Parameters
    ----------
    about
        What it tells.
    picture
        How its rows look.
    out
        The file.

    Raises
    ------
    UserError
        If the file can't be written.
    """
    data = _data(about, picture)
    parts, plots = ("knowledge", "base_plots", "base"), bool(about.edits or about.map)
    text = render("base", data, parts, plots, TELLS, about=about, **_content(about, data["rows"]))
    write(out, text)


def _content(about: AboutBase, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template writes out and `about` hasn't as it is."""
    labels = sorted(about.labels.items(), key=lambda told: (-told[1], told[0]))
    sources = sorted(about.sources, key=lambda one: -one.rows)
    edits = list(about.edits)[::-1]
    colours = verb_colours(about.edits)
    changed = [one for one, told in zip(rows["ids"], rows["pictures"], strict=True) if told.get("gone") == CHANGED]
    states = dict(about.pictures) | ({CHANGED: len(changed)} if changed else {})
    lost = [*((one, MOVED) for one in about.lost), *((one, CHANGED) for one in changed)]
    return {
        "labels": _bars(labels),
        "few": [(name, rows) for name, rows in reversed(labels) if rows < FEW],
        "FEW": FEW,
        "sources": [(one, _share(one.rows, sources[0].rows), _top(one)) for one in sources],
        "edits": [(edit, colours[edit.verb]) for edit in edits],
        "EDITS": _EDITS,
        "SHOWN": _SHOWN,
        "POINTS": _POINTS,
        "conflicts": sum(_odd(one, about) != [] for one in about.duplicates or ()),
        "states": states,
        "placed": sum(rows for state, rows in states.items() if state != "none"),
        "lost": [(one, state, about.details[one].place) for one, state in lost],
        "relink": relink(about.place, [place for one, _ in lost if (place := about.details[one].place)]),
        "gone": states.get(MOVED, 0) + states.get(CHANGED, 0),
        "identity": yaml.safe_dump(dict(about.identity), sort_keys=False, allow_unicode=True),
        "line": lambda verb, *names: command(verb, about.place, *names),
    }


def _bars(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int, float]]:
    return [(name, rows, _share(rows, counts[0][1])) for name, rows in counts]


def _share(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _top(source: Source) -> tuple[list[tuple[str, int]], int]:
    """Return the commonest labels of a source, and how many more it has."""
    counts = sorted(source.labels.items(), key=lambda told: -told[1])
    return counts[:_TOP], max(0, len(counts) - _TOP)


def _odd(group: Duplicates, about: AboutBase) -> list[str]:
    """Return which rows of a group have other labels than most of it; all of them if none are most."""
    sets = {one: frozenset(about.details[one].labels) for one in group.ids}
    counts: dict[frozenset[str], int] = {}
    for labels in sets.values():
        counts[labels] = counts.get(labels, 0) + 1
    most = max(counts.values())
    usual = [labels for labels, rows in counts.items() if rows == most]
    return [one for one, labels in sets.items() if len(usual) > 1 or labels != usual[0]]


def verb_colours(edits: Sequence[Edit]) -> dict[str, str]:
    """Return a colour for each verb."""
    verbs = dict.fromkeys([*_VERBS, *(edit.verb for edit in edits)])
    return {verb: COLOURS[i] if i < len(_VERBS) else COLOURS[-1] for i, verb in enumerate(verbs)}


def _data(about: AboutBase, picture: Picture) -> dict[str, Any]:
    """Return what the script draws from; rows are told by their positions in ``rows``."""
    suspects, outliers = about.suspects or (), about.outliers or ()
    groups = sorted(about.duplicates or (), key=lambda one: not _odd(one, about))  # what has several labels first
    close = in_turn(
        [[one.id for one in suspects], [i for group in groups for i in group.ids], [o.id for o in outliers]]
    )
    near = [name for one in suspects for name, _ in one.near]
    drawn = list(about.map.ids) if about.map else []
    rows = rows_part(close, [*in_turn([near, drawn]), *about.lost], about.details, picture)
    place = {name: i for i, name in enumerate(rows["ids"])}
    labels = sorted({*about.labels, *(one.suggested for one in suspects if one.suggested is not None)})
    number = {name: i for i, name in enumerate(labels)}
    return {
        "kb": shell_word(about.place),
        "rows": rows,
        "labels": {"names": labels, **words_part(labels)},
        "suspects": [
            {
                "row": place[one.id],
                "score": round(one.score, 4),
                "reasons": list(one.reasons),
                "suggested": None if one.suggested is None else number[one.suggested],
                "near": [[place[name], round(similarity, 4)] for name, similarity in one.near],
            }
            for one in suspects
        ],
        "duplicates": [
            {
                "rows": [place[one] for one in group.ids],
                "similarity": group.similarity and round(group.similarity, 4),
                "odd": [place[one] for one in _odd(group, about)],
            }
            for group in groups
        ],
        "outliers": [
            {"row": place[one.id], "distance": round(one.distance, 4), "within": one.within} for one in outliers
        ],
        "map": about.map
        and {
            "rows": [place[one] for one in about.map.ids],
            "x": [round(float(x), 3) for x, _ in about.map.points],
            "y": [round(float(y), 3) for _, y in about.map.points],
            "axes": list(about.map.axes),
        },
        "growth": _growth(about.edits),
    }


def _growth(edits: Sequence[Edit]) -> Mapping[str, Any]:
    last = edits[-_POINTS:]
    return {
        "versions": [edit.number for edit in last],
        "rows": [edit.rows for edit in last],
        "verbs": [edit.verb for edit in last],
        "colours": verb_colours(last),
        "about": [f"{edit.who}, {told_time(edit.when)}" for edit in last],
        "why": [edit.why for edit in last],
        "start": edits[-len(last) - 1].rows if len(edits) > len(last) else 0,
    }
