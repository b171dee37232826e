"""The grammar of the sentences that the text tower of `digits_clip` learns from: what is said, and of which digits.

A sentence is a frame around a core. The core means a set of digits, which the frame doesn't change: "please find me"
and "the number after three" is a sentence about fours. All of it can be judged by labels; of how a digit was drawn
nothing is said that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Core = tuple[str, frozenset[int]]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = ("zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines")
NOUNS = ("digit", "number", "numeral", "figure")
ALL = frozenset(range(10))
EVEN, ODD, PRIME = frozenset(range(0, 10, 2)), frozenset(range(1, 10, 2)), frozenset({2, 3, 5, 7})
SHAPES = {
    "with a loop": frozenset({0, 6, 8, 9}),
    "with a closed loop": frozenset({0, 6, 8, 9}),
    "with a hole": frozenset({0, 6, 8, 9}),
    "with two loops": frozenset({8}),
    "with two holes": frozenset({8}),
    "without a loop": frozenset({1, 2, 3, 4, 5, 7}),
    "without a hole": frozenset({1, 2, 3, 4, 5, 7}),
}
"""What a printed digit has; a four counts as open, and the tail of a two as no loop."""

BEFORE = (
    "", "show me", "show", "show all", "show us", "find", "find me", "find all", "find every", "find some", "give me",
    "get me", "get", "search for", "look for", "looking for", "i am looking for", "i'm looking for", "i look for",
    "i want", "i want to see", "i would like to see", "i'd like", "i'd like to see", "i'd like to find", "we need",
    "i need", "please show me", "please find", "can you find", "can you show me", "could you show me", "do you have",
    "is there", "are there", "where is", "where are", "what does", "which are", "which ones are",
    "which of these are", "a picture of", "pictures of", "a photo of", "photos of", "photo of", "an image of",
    "images of", "image of", "any pictures of", "any image of", "show me pictures of", "find images of",
    "a drawing of", "drawings of", "a scan of", "all", "every", "any", "some", "only", "just", "this is", "that is",
    "it is", "here is", "these are", "somebody wrote", "he wrote", "she wrote", "they wrote", "my child wrote",
    "it says", "it looks like", "this could be", "a handwritten", "handwritten", "hand written", "written",
    "scribbled", "a scribbled", "a neat", "a sloppy", "a nice", "a big", "big", "a little", "a bold",
    "something like", "something that is", "something that comes from",
)  # fmt: skip
BEHIND = (
    "", "", "", "", "please", "only", "by hand", "written by hand", "drawn by hand", "in handwriting", "on paper",
    "here", "and nothing else", "nothing else", "thanks", "thank you", "if there is one", "if you have any",
    "in this collection", "look like", "of any kind", "on its own", "in the pictures", "for me", "there is",
    "there are",
)  # fmt: skip


def named(digit: int) -> Iterator[str]:
    """Yield what a digit is called, without a noun: the word and the numeral."""
    yield from (WORDS[digit], str(digit))


def singles() -> Iterator[Core]:
    """Yield what means one digit."""
    for digit in range(10):
        meant, article = frozenset({digit}), "an" if digit == 8 else "a"
        for name in named(digit):
            yield name, meant
            for lead in (article, "the", "number", "digit", "numeral", "the last digit", "the first digit"):
                yield f"{lead} {name}", meant
            for noun in NOUNS:
                yield from ((f"the {noun} {name}", meant), (f"a {noun} {name}", meant))
            for lead in ("a handwritten", "the handwritten", "a written", "a number", "the lucky number"):
                yield f"{lead} {name}", meant
        yield from ((PLURALS[digit], meant), (f"the {PLURALS[digit]}", meant), (f"all {PLURALS[digit]}", meant))
    for name in ("zeroes", "a nought", "noughts", "nil", "a round zero", "the round zero", "a round 0", "round zeros"):
        yield name, frozenset({0})


def related() -> Iterator[Core]:
    """Yield what means one digit by another, or by two."""
    for digit in range(9):
        for a, b in zip(named(digit), named(digit + 1), strict=True):
            for told in ("after", "right after", "just after", "following", "that follows", "that comes after",
                         "behind", "that comes right after", "one above", "one more than", "next after"):  # fmt: skip
                yield from ((f"{lead} {told} {a}", frozenset({digit + 1})) for lead in leads(told))
            for told in ("before", "right before", "just before", "preceding", "that precedes", "that comes before",
                         "that comes right before", "one below", "one less than", "ahead of"):  # fmt: skip
                yield from ((f"{lead} {told} {b}", frozenset({digit})) for lead in leads(told))
    for digit in range(1, 9):
        for a, b in zip(named(digit - 1), named(digit + 1), strict=True):
            yield from ((f"the {noun} between {a} and {b}", frozenset({digit})) for noun in NOUNS)
            yield from (
                (f"{told} between {a} and {b}", frozenset({digit})) for told in ("what lies", "digit", "number")
            )


def leads(told: str) -> Iterable[str]:
    """Return what may stand before "after four" or "one more than four"."""
    if told.startswith("one "):
        return ("", "a number", "the digit")
    return (
        "the number",
        "the digit",
        "the numeral",
        "what is" if "that" not in told else "something",
        "number",
        "digit",
    )


def sums() -> Iterator[Core]:
    """Yield what has to be reckoned."""
    for a in range(10):
        for b in range(10):
            for x, y in zip(named(a), named(b), strict=True):
                if a + b < 10:
                    yield from ((f"{x} {told} {y}", frozenset({a + b})) for told in ("plus", "and another"))
                if a >= b:
                    yield from ((f"{x} {told} {y}", frozenset({a - b})) for told in ("minus", "less"))
    for a in range(5):
        for x, y in zip(named(a), named(2 * a), strict=True):
            yield from ((f"{told} {x}", frozenset({2 * a})) for told in ("twice", "double", "two times"))
            yield from ((f"{told} {y}", frozenset({a})) for told in ("half of", "half"))


def sets() -> Iterator[Core]:
    """Yield what means several digits."""
    for told, meant in (("odd", ODD), ("even", EVEN), ("prime", PRIME), ("uneven", ODD)):
        for noun in NOUNS:
            article = "an" if told[0] in "aeou" else "a"
            yield from ((f"{article} {told} {noun}", meant), (f"{told} {noun}s", meant), (f"all {told} {noun}s", meant))
        yield from ((f"{told} ones", meant), (f"the {told} ones", meant), (told, meant))
    yield from (("primes", PRIME), ("the primes", PRIME))
    for told, meant in SHAPES.items():
        for noun in NOUNS:
            yield from ((f"a {noun} {told}", meant), (f"{noun}s {told}", meant), (f"the {noun}s {told}", meant))
    yield from bounds()
    for a in range(10):
        for b in range(10):
            if a != b:
                yield from either(a, b)


def bounds() -> Iterator[Core]:
    """Yield what lies on one side of a digit; nothing that would mean none or all of them."""
    for digit in range(10):
        below, above = frozenset(range(digit)), frozenset(range(digit + 1, 10))
        rules = [
            (below, ("less than", "smaller than", "below", "under", "lower than", "fewer than")),
            (above, ("more than", "greater than", "bigger than", "larger than", "above", "over", "higher than")),
            (below | {digit}, ("at most", "up to", "no more than")),
            (above | {digit}, ("at least", "no less than")),
        ]
        for meant, tolds in rules:
            for told in tolds if 0 < len(meant) < 10 else ():
                for name in named(digit):
                    yield from ((f"a {noun} {told} {name}", meant) for noun in NOUNS)
                    yield from ((f"{noun}s {told} {name}", meant) for noun in NOUNS)
                    yield from ((f"{told} {name}", meant), (f"anything {told} {name}", meant))
        for name in named(digit):
            for told in ("not", "anything but", "everything but", "everything except", "all but", "no"):
                yield f"{told} {name}", ALL - {digit}


def either(a: int, b: int) -> Iterator[Core]:
    """Yield what means one of two digits."""
    meant = frozenset({a, b})
    for x, y in zip(named(a), named(b), strict=True):
        yield from ((f"{x} or {y}", meant), (f"either {x} or {y}", meant), (f"a {x} or a {y}", meant))
        yield from ((f"either a {x} or a {y}", meant), (f"{x} and {y}", meant))
    yield from ((f"{PLURALS[a]} and {PLURALS[b]}", meant), (f"{PLURALS[a]} or {PLURALS[b]}", meant))


def cores() -> dict[str, list[Core]]:
    """Return all cores, by their kind."""
    return {kind.__name__: sorted(set(kind()), key=lambda core: core[0]) for kind in (singles, related, sums, sets)}


def framed(core: str, before: str, behind: str) -> str:
    """Return the sentence of a core in a frame."""
    return " ".join(part for part in (before, core, behind) if part)
