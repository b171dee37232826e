"""``itae knowledge init | add``: an empty base of one space, and pictures that become rows of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from itae.app.knowledge.edits import commit, edit_options
from itae.app.knowledge.opened import NEEDED, opened
from itae.app.knowledge.words import OF_A_SPACE, ask, config, parser
from itae.app.settings import cache_folder, runtime_of
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.knowledge.base import create
from itae.knowledge.exchange.incoming import incoming
from itae.knowledge.exchange.recipe import EDITED, recipe_of
from itae.store.store import Store


def init(argv: Sequence[str]) -> int:
    """Run ``itae knowledge init``."""
    made = parser("init", "Make an empty base of one space: a backbone, and an edit if words of one are given.",
                  "key=value")  # fmt: skip
    made.add_argument("--images", choices=("refer", "embed"), default="refer",
                      help="keep the places of pictures, or their bytes (refer)")  # fmt: skip
    asked = ask(made, argv, (*OF_A_SPACE, *NEEDED))
    if asked.others:
        raise UserError(f"{asked.others[0]}: itae knowledge init takes one folder, and words as backbone=dinov2_s14.")
    plain = config(asked.words)
    plain |= {"resize": plain["dataset"]["resize"], "decode": plain["dataset"]["decode"]}
    store, runtime = Store(cache_folder(plain["paths"])), runtime_of(plain["runtime"])
    recipe, encoder = recipe_of(plain, bool(asked.given(*EDITED, "layers")), store, runtime)
    create(asked.options.kb, encoder.space, recipe, asked.options.images)
    edit = "untouched" if encoder.edit is None else "edited"
    say(f"{asked.options.kb} is an empty base of {encoder.facts.architecture}, {edit}; add pictures:")
    say(f"  itae knowledge add {shlex.quote(asked.options.kb)} dataset=imagefolder dataset.root=PICTURES")
    return 0


def add(argv: Sequence[str]) -> int:
    """Run ``itae knowledge add``."""
    made = parser("add", "Add the pictures of a data set; those that are there with the same label are no change.",
                  "key=value")  # fmt: skip
    made.add_argument("--label", metavar="L|none|CSV",
                      help="of all, none, or by the columns id and label (by default the folder's)")  # fmt: skip
    made.add_argument("--group", metavar="parent|CSV",
                      help="what belongs together: each picture's folder, or by the columns id and group")  # fmt: skip
    made.add_argument("--meta", metavar="CSV", help="further columns, by a column id")
    made.add_argument("--source", metavar="NAME", help="what they are from (the folder's name)")
    made.add_argument("--replace", action="store_true", help="put them in the place of others of the same id")
    made.add_argument("--sync", action="store_true", help="also delete the source's rows whose pictures are gone")
    edit_options(made)
    asked = ask(made, argv, ("dataset", *OF_A_SPACE, *NEEDED))
    if asked.others:
        raise UserError(f"{asked.others[0]}: pictures to add are named by dataset=..., as in dataset=imagefolder "
                        "dataset.root=PICTURES.")  # fmt: skip
    if not asked.given("dataset"):
        raise UserError("Which pictures? Give a data set: dataset=imagefolder dataset.root=PICTURES.")
    options = asked.options
    with opened(asked) as here:
        node = dict(here.config["dataset"])
        for name in ("resize", "decode"):
            if not asked.given(f"dataset.{name}"):
                node[name] = here.base.about.words[name]
        rows = incoming(here.encoder, construct("dataset", node), options.source, options.label, options.group,
                        options.meta)  # fmt: skip
        source = rows.source if options.sync else None
        change = here.base.add(rows, options.replace, source if isinstance(source, str) else None)
        return commit(here.base, change, options)
