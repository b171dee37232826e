"""``itae portable prepare``: photographs out of packages of the user's Debian, once and ahead of any run."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence

from itae.app.compose import PORTABLE, check_choices, compose, plain_values, verb_words
from itae.app.words import as_typed
from itae.base.console import say
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.base.secrets import hidden_word

_TOLD = (
    "Take photographs out of packages of Debian: copied where a package is installed, else fetched by apt-get, without "
    "root and without installing it. What is there already is left alone. Runs fetch nothing."
)


def main(argv: Sequence[str]) -> int:
    """Run ``itae portable prepare`` with what stands after it; return the exit status."""
    parser = verb_words(f"{PORTABLE} prepare", _TOLD)
    parser.add_argument("words", nargs="*", metavar="key=value", help="data=debian, data.packages=[mate-backgrounds]")
    options = parser.parse_args(argv)
    words = as_typed(options.words)
    check_choices(words, PORTABLE)
    plain = plain_values(compose(words, options.config_dir, PORTABLE))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source = construct("data", plain["data"])
    if not hasattr(source, "prepare"):
        raise UserError(
            f"{type(source).__name__} has nothing to prepare: its pictures are here, or yours to get; "
            "`itae portable prepare data=debian` takes photographs out of Debian's packages."
        )
    source.prepare()
    learns = shlex.join(["itae", "portable", *map(hidden_word, options.words)])
    say(f"{len(source.photographs())} photographs are in {source.root}; `{learns}` learns from them.")
    return 0
