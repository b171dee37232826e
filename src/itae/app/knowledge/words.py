"""What stands behind a verb of ``itae knowledge``: options, paths, and words of the config, in any order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itae.base.errors import UserError
from itae.knowledge.exchange.recipe import EDITED

OF_A_SPACE = ("backbone", *EDITED, "layers", "dataset.resize", "dataset.decode")
"""Config keys that a space is made of."""
KEYS = ("backbone", "dataset", *EDITED, "layers", "voter", "feedback", "knowledge", "paths", "runtime")
"""All that a verb may read."""

_INDEX = "knowledge.index="
_OTHERS = "others"
_TOLD = {
    "PATH": "a picture, or a folder: all pictures in it and in its folders",
    "IMAGE": "a picture",
    "QUERY": "a picture, a folder of pictures (each is a query), or the id of a row",
    "FROM": "a folder with vectors.npy and ids.txt, or a .parquet file",
    "OUT": "a new folder, or a .parquet file",
    "key=value": "words of the config",
    "ID": "of a row, as itae knowledge classify tells it",
    "LABEL ID": "a label, or none, and the ids of the rows that get it",
    "EDIT": "the number of an edit, as itae knowledge log tells it",
    "VERSION": "the number of a version, or a tag",
    "A B": "two versions, each a number or a tag",
    "NAME": "a text that is no whole number",
    "OLD NEW": "how places of pictures began, and how they begin now",
    "NEW key=value": "the folder of the new base, and words of the config in which its space is another",
}
"""What stands behind KB, by how it is called in a verb's help."""
_WORDS = {
    "voter": "voter=auto|plurality|softmax|rank|distance|class_mean, voter.k=10",
    "feedback": "feedback=nearest|none|margin|rocchio|mean_difference|kernel|logistic|svm|tally",
    "knowledge": "knowledge.index=IVF1024,PQ64",
    "dataset": "dataset=imagefolder dataset.root=FOLDER",
    "backbone": "backbone=NAME",
    "paths": "paths.cache=FOLDER",
    "runtime": "runtime.device=cpu",
}
"""Words that say what a key of the config is for; other keys are told as they are."""


@dataclass(frozen=True)
class Asked:
    """A command line, taken apart.

    Parameters
    ----------
    options
        What argparse took.
    others
        The rest but words of the config: paths, ids, a label.
    words
        Words of the config, as they were typed.
    """

    options: argparse.Namespace
    others: list[str]
    words: list[str]

    def given(self, *keys: str) -> list[str]:
        """Return the words that set one of these keys, or something in it."""
        return [word for word in self.words if any(_sets(word, key) for key in keys)]

    def one(self, told: str) -> str:
        """Return the one path, id or number that was given, or raise a `UserError` that says `told`."""
        if len(self.others) != 1:
            raise UserError(told)
        return self.others[0]


def parser(verb: str, told: str, *others: str, prog: str = "itae knowledge ") -> argparse.ArgumentParser:
    """Return the parser of a verb; `others` is how what stands behind KB is told in its help, if there is anything."""
    made = argparse.ArgumentParser(prog=f"{prog}{verb}", description=told)
    made.add_argument("kb", metavar="KB", help="the folder of the base, or the URL of one in an object store")
    for name in others:
        made.add_argument(_OTHERS, nargs="*", metavar=name, help=_TOLD[name])
    return made


def ask(made: argparse.ArgumentParser, argv: Sequence[str], reads: Sequence[str] = ()) -> Asked:
    """Take a command line apart.

    A word is one of the config when it sets a key of it and no file has that name. After ``--`` no word is an option
    or one of the config.

    Parameters
    ----------
    made
        Of `parser`.
    argv
        What stands behind the verb.
    reads
        Keys of the config that this verb reads.

    Raises
    ------
    UserError
        For a key that it doesn't read.
    """
    if reads:
        made.epilog = (
            f"Words of the config that it reads, as key=value: {', '.join(_WORDS.get(key, key) for key in reads)}."
        )
    cut = list(argv).index("--") if "--" in argv else len(argv)
    before, after = list(argv[:cut]), list(argv[cut + 1 :])
    words = [word for word in before if any(_sets(word, key) for key in KEYS) and not os.path.lexists(word)]
    for word in words:
        if not any(_sets(word, key) for key in reads):
            told = f"it reads {', '.join(reads)}" if reads else "it reads no words of the config"
            raise UserError(f"{word}: {made.prog} has no use for it; {told}.")
    options, unknown = made.parse_known_intermixed_args([word for word in before if word not in words])
    if unknown:
        made.error(f"unrecognized arguments: {' '.join(unknown)}")
    return Asked(options, [*getattr(options, _OTHERS, []), *after], words)


def config(words: Sequence[str]) -> dict[str, Any]:
    """Return the resolved config of some words, with a voter, and ``knowledge.index``, a text or None."""
    from itae.app.compose import check_choices, compose, plain_values
    from itae.app.words import as_typed

    index = [word.partition("=")[2] for word in words if word.startswith(_INDEX)]
    if other := [word for word in words if word.startswith("knowledge.") and not word.startswith(_INDEX)]:
        known = "knowledge has one option, knowledge.index, as in knowledge.index=IVF1024,PQ64 or =lance:IVF_PQ."
        raise UserError(f"{other[0]}: {known}")
    typed = as_typed([word for word in words if not word.startswith(_INDEX)])  # its commas are no sweep
    check_choices(typed)
    told = index[-1] if index and index[-1] not in ("", "null") else None
    return plain_values(compose(typed)) | {"knowledge": {"index": told}}


def laid_over(node: Mapping[str, Any], group: str, words: Sequence[str], composed: Mapping[str, Any]) -> Any:
    """Return a node of a base's recipe with what some words say of it: another choice, or other options of its own."""
    if any(word.startswith(f"{group}=") for word in words):
        return composed[group]
    keys = [word.partition("=")[0].removeprefix(f"{group}.") for word in words if word.startswith(f"{group}.")]
    return {**node, **{key: composed[group][key] for key in keys}}


def _sets(word: str, key: str) -> bool:
    name, equals, _ = word.lstrip("+").partition("=")
    return bool(equals) and (name == key or name.startswith(f"{key}."))
