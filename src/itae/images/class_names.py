"""Class names as a person reads them: which look alike, and which look like splits or like no class at all."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the braille pattern without a dot.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPLITS = {
    word: kind
    for kind, words in {
        "train": "train training trainset trn trainval",
        "val": "val valid validation validate valset dev devset eval evaluation",
        "test": "test testing testset holdout",
    }.items()
    for word in words.split()
}
_BESIDE_SPLITS = frozenset({"pred", "predict", "prediction", "unlabeled", "unlabelled", "extra", "query", "gallery"})
_FILLERS = frozenset(
    {
        *("set", "data", "dataset", "seg", "split", "part", "a", "b"),
        *("image", "images", "img", "imgs", "picture", "pictures", "photos"),
    }
)
_IMAGES = frozenset({"image", "images", "img", "imgs"})  # as beside masks; photos beside sketches may be classes
_UNLABELLED = frozenset({"unlabeled", "unlabelled", "unsorted", "untagged"})


def alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that look alike: they differ in case, white space, Unicode form or what is invisible.

    Letters of different scripts that look alike (Latin and Cyrillic a) are not found.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_looks(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def told_apart(group: Sequence[str]) -> str:
    """Return names that look alike so that they don't: escaped, unless their case is all that differs."""
    case_alone = len({name.casefold() for name in group}) == 1
    return " and ".join(f"'{name}'" if case_alone else ascii(name) for name in group)


def are_splits(names: Sequence[str]) -> bool:
    """Tell whether the names are those of splits (``train`` and ``val``, ``mnist_train`` and ``mnist_test``).

    ``test1`` and ``test2`` alone may be classes.
    """
    shared = frozenset.intersection(*map(_words, names)) - _SPLITS.keys() if len(names) > 1 else frozenset()
    kinds = [_kinds(name, shared) for name in names]
    if not all(kinds):
        return False
    every = frozenset[str]().union(*kinds)
    plain = all(name.lower() in _SPLITS for name in names)
    return bool(every - {"other"}) and (len(every) > 1 or plain or len(names) == 1)


def like_no_class(names: Sequence[str]) -> list[str]:
    """Return the names that are rather those of splits, or of images without a class; a lone ``train`` is a vehicle."""
    found = [name for name in names if _kinds(name) - {"other"} or not _UNLABELLED.isdisjoint(_words(name))]
    if len(names) > 1:
        found += [name for name in names if frozenset() < _words(name) <= _IMAGES]
    return [] if [name.lower() for name in found] == ["train"] else found


def _kinds(name: str, shared: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return which splits a name speaks of, or ``other`` for what is kept beside them; empty for another name.

    `shared` are words that all names beside it have, too: they tell nothing.
    """
    words = _words(name) - _FILLERS - shared
    if not words <= _SPLITS.keys() | _BESIDE_SPLITS:
        return frozenset()
    return frozenset(_SPLITS.get(word, "other") for word in words)


def _words(name: str) -> frozenset[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return frozenset(word.lower() for word in re.findall(r"[^\W\d_]+", apart))


def _looks(name: str) -> str:
    visible = _INVISIBLE.sub("", " ".join(name.split()))
    folded = unicodedata.normalize("NFC", visible).casefold()
    return unicodedata.normalize("NFC", " ".join(folded.split()))
