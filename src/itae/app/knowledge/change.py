"""``itae knowledge correct | delete | undo | restore | relink``: edits of rows that are there."""

from __future__ import annotations

from collections.abc import Sequence

from itae.app.knowledge.edits import commit, edit_options
from itae.app.knowledge.words import Asked, ask, parser
from itae.base.errors import UserError
from itae.base.place import at_home
from itae.knowledge.base import open_knowledge
from itae.knowledge.exchange.tables import lines_of
from itae.knowledge.ledger.versions import is_number


def correct(argv: Sequence[str]) -> int:
    """Run ``itae knowledge correct``."""
    made = parser("correct", "Give rows another label; LABEL may be none.",
                  "LABEL ID")  # fmt: skip
    made.add_argument("--labels", action="append", metavar="LABEL", default=None,
                      help="a label, in place of LABEL; once for each of several")  # fmt: skip
    made.add_argument("--csv", metavar="CSV", help="in place of LABEL and ID: the columns id and label; several lines "
                      "of a row are several labels, an empty cell none")  # fmt: skip
    edit_options(made)
    asked = ask(made, argv)
    labels = _labels(asked)
    base = open_knowledge(asked.options.kb)
    return commit(base, base.correct_each(labels), asked.options)


def _labels(asked: Asked) -> dict[str, list[str]]:
    """Return the labels that each row is to get, by its id."""
    if asked.options.csv is not None and (asked.others or asked.options.labels):
        raise UserError("itae knowledge correct KB --csv CSV: the file says which rows get which labels; give no more.")
    if asked.options.csv is not None:
        return _labels_in(asked.options.csv)
    if asked.options.labels is None:
        label, ids = (asked.others or [""])[0], asked.others[1:]
        labels = [] if label == "none" else [label]
    else:
        ids, labels = asked.others, asked.options.labels
    if not ids:
        raise UserError("itae knowledge correct KB LABEL ID...: give a label, and the ids of the rows that get it.")
    return dict.fromkeys(ids, labels)


def _labels_in(path: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, row in enumerate(lines_of("--csv", path, ("id", "label")), 2):
        if not row["id"] or row["label"] is None:
            lacks = "label" if row["id"] else "id"
            raise UserError(f"--csv={path}, line {number}, has no {lacks}: give it both; an empty cell is no label.")
        found.setdefault(row["id"], []).extend([row["label"]] if row["label"] else [])
    return found


def delete(argv: Sequence[str]) -> int:
    """Run ``itae knowledge delete``."""
    made = parser("delete", "Unlearn rows: by their ids, a label, a source or a condition.", "ID")
    made.add_argument("--label", metavar="L", help="all rows that have this label")
    made.add_argument("--source", metavar="S", help="all rows from there")
    made.add_argument("--where", metavar="EXPR", help="all rows for which this holds: SQL on id, label, source, group, "
                      "time and metadata")  # fmt: skip
    edit_options(made)
    asked = ask(made, argv)
    options = asked.options
    base = open_knowledge(options.kb)
    change = base.delete(asked.others or None, options.label, options.source, options.where)
    return commit(base, change, options)


def undo(argv: Sequence[str]) -> int:
    """Run ``itae knowledge undo``."""
    made = parser("undo", "Put back the rows that one edit touched; a new edit.", "EDIT")
    edit_options(made)
    asked = ask(made, argv)
    number = asked.one("itae knowledge undo KB EDIT: give the number of an edit, which itae knowledge log tells.")
    if not is_number(number):
        raise UserError(f"itae knowledge undo: {number!r} is no number of an edit; itae knowledge log tells them.")
    base = open_knowledge(asked.options.kb)
    return commit(base, base.undo(int(number)), asked.options)


def restore(argv: Sequence[str]) -> int:
    """Run ``itae knowledge restore``."""
    made = parser("restore", "Bring the rows of an earlier version back; a new edit.", "VERSION")
    edit_options(made)
    asked = ask(made, argv)
    version = asked.one("itae knowledge restore KB VERSION: give a version or a tag.")
    base = open_knowledge(asked.options.kb)
    return commit(base, base.restore(version), asked.options)


def relink(argv: Sequence[str]) -> int:
    """Run ``itae knowledge relink``."""
    made = parser(
        "relink", "Say that pictures below OLD are below NEW now; one counts as found by its bytes.", "OLD NEW"
    )
    made.add_argument("--csv", metavar="CSV", help="in place of OLD and NEW: the columns id and place")
    edit_options(made)
    asked = ask(made, argv)
    if asked.options.csv is not None:
        places = _places(asked.options.csv)
    elif len(asked.others) == 2:
        old, new = map(_absolute, asked.others)
        places = {old: new}
    else:
        raise UserError("itae knowledge relink KB OLD NEW: give how places began, and how they begin now.")
    base = open_knowledge(asked.options.kb)
    return commit(base, base.relink(places), asked.options)


def _absolute(place: str) -> str:
    """Return a place as a base has it."""
    return place if "://" in place else str(at_home(place).absolute())


def _places(path: str) -> dict[str, str]:
    places: dict[str, str] = {}
    for number, row in enumerate(lines_of("--csv", path, ("id", "place")), 2):
        id_, place = row["id"], row["place"]
        if not id_ or not place:
            raise UserError(f"--csv={path}, line {number}, has no {'place' if id_ else 'id'}: give it both.")
        if places.setdefault(id_, place) != place:
            raise UserError(f"--csv={path}, line {number}: {id_!r} has two places; keep one.")
    return {id_: _absolute(place) for id_, place in places.items()}
