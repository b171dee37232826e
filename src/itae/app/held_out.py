"""What keeps a protocol honest: its held-out images are none of the development images, and its method is the same.

Words decide neither: one folder has many names, and a preset or an overlay says more than its word. The bytes of the
images tell whether data are the same (a picture that was saved anew has others), the composed configs whether the
method is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from itae.app.compose import check_choices, compose, conf_dir
from itae.app.settings import KEYS
from itae.app.words import as_typed, key_of
from itae.base.construct import construct
from itae.base.errors import UserError
from itae.store.entry import differences

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from itae.images.image_set import ImageSet

_NAMES = ("_target_", "name", "root", "split", "variant", "count", "condition")
"""What names the data, under ``dataset``; of the rest, ``resize`` is a part of the method."""
OF_THE_METHOD = {"resize": None, "decode": "full"}
"""Options of a data set that say how an image is seen, and what they were before they could be chosen."""
_NO_METHOD = ("selection", "seed", "paths", "runtime", "tracker")
_OURS = ("hydra.mode", "hydra.run.dir", "hydra.sweep.dir")


@dataclass(frozen=True)
class Job:
    """The words of one job, and the config that they compose to, as plain values."""

    words: Sequence[str]
    plain: Mapping[str, Any]

    @classmethod
    def of(cls, words: Sequence[str]) -> Job:
        """Compose the words; a `UserError` or one of Hydra's says what is wrong with them."""
        from itae.app.compose import plain_config

        return cls(words, plain_config(compose(list(words))))


@dataclass(frozen=True)
class Compared:
    """What is known of both sides before anything runs.

    Attributes
    ----------
    development
        The config of a development run.
    images
        How many images the held-out data have.
    overlap
        How many of them are among the development images.
    """

    development: Mapping[str, Any]
    images: int
    overlap: int


def compare(words: Sequence[str], held_out: Sequence[str]) -> Compared:
    """Hold the development data of a sweep's `words` against the data that they become with those of `held_out`.

    Raises
    ------
    UserError
        If the words are no protocol's, the method would not be the same, or one side's images are the other's.
    """
    _check_words(words, held_out)
    jobs = _development(words)
    _refuse_what_is_not_said([job.plain["dataset"] for job in jobs], held_out)
    there = Job.of(frozen_words(jobs[0].words, held_out))
    refuse_another_method(jobs[0].plain, there)
    if any(job.plain["dataset"] == there.plain["dataset"] for job in jobs):
        raise _itself(held_out)
    development = [_digests(job) for job in jobs]
    held = _opened(there).digests
    _refuse_the_same(development, set(held), held_out)
    known = set.union(*development)
    return Compared(jobs[0].plain, len(held), sum(digest in known for digest in held))


def _check_words(words: Sequence[str], held_out: Sequence[str]) -> None:
    for word in (*words, *held_out):
        if "=" not in word:
            raise UserError(f"{word!r} is not key=value; see itae protocol --help.")
    for word in words:
        if key_of(word) in _OURS:
            raise UserError(f"{word}: where a protocol writes is --out; leave {key_of(word)} out.")
    _check_held_out(held_out)
    check_choices([*words, *held_out])


def _check_held_out(held_out: Sequence[str]) -> None:
    """Raise a `UserError` unless these words name one other data set and leave the method alone."""
    for word in held_out:
        group, _, option = key_of(word).partition(".")
        if group not in ("dataset", "paths", "runtime", "tracker") or option in OF_THE_METHOD:
            raise UserError(
                f"--held-out {word} changes the method and not the data: it may name another dataset, dataset.root, "
                f"dataset.split or dataset.variant, and have a dataset.limit; {key_of(word)} is given before it, for "
                "both."
            )
    told = {key_of(word).partition(".")[::2] for word in held_out}
    if not any(group == "dataset" and option not in ("limit", "bad_image") for group, option in told):
        raise UserError(
            f"--held-out {' '.join(held_out)} leaves the data as they are: name another dataset, dataset.root, "
            "dataset.split or dataset.variant."
        )
    for one in OverridesParser.create().parse_overrides(list(held_out)):
        if one.is_sweep_override():
            raise UserError(
                f"--held-out {one.input_line} is several values, and a protocol reports once: choose one; a text with "
                "commas is key='\"a,b\"'."
            )


def _development(words: Sequence[str]) -> list[Job]:
    """Return one job for each data set of a sweep: what else it sweeps over has the first of its values."""
    parse = OverridesParser.create().parse_overrides
    given = parse(list(words))
    overrides = {one.get_key_element(): one for one in (*parse(_params(given)), *given)}  # the last word counts
    jobs: list[list[str]] = [[]]
    for one in overrides.values():
        jobs = [[*job, word] for job in jobs for word in _values(one)]
    found = {json.dumps(job.plain["dataset"], sort_keys=True): job for job in map(Job.of, jobs)}
    return list(found.values())


def _params(given: Sequence[Override]) -> list[str]:
    """Return what an overlay of the words (``experiment=``) sweeps over."""
    words = [str(one.input_line) for one in given if not one.is_sweep_override()]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose("config", words, return_hydra_config=True)
    return as_typed([f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()])


def _values(override: Override) -> list[str]:
    """Return the words that a word of a sweep stands for; one, if they can't reach the data."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    group = re.split(r"[./@]", key_of(key))[0]
    if group in ("backbone", "clusterer"):
        raise UserError(
            f"{override.input_line}: criteria do not compare across several values of it; run one protocol for each."
        )
    if not override.is_discrete_sweep():
        return [f"{key}={override.value().start}"]  # type: ignore[union-attr]
    words = [f"{key}={value}" for value in override.sweep_string_iterator()]
    return words if group == "dataset" or group not in set(KEYS) - {"paths"} else words[:1]


def _refuse_what_is_not_said(nodes: Sequence[Mapping[str, Any]], held_out: Sequence[str]) -> None:
    """Raise a `UserError` if development sets differ in something that the held-out data then get from one of them."""
    said = {key_of(word).partition(".")[2] for word in held_out}
    if any(key_of(word) == "dataset" for word in held_out):
        said |= set(_NAMES)
    for name in dict.fromkeys(name for node in nodes for name in node):
        values = dict.fromkeys(str(node.get(name)) for node in nodes)
        if len(values) > 1 and name not in (*said, *OF_THE_METHOD):
            key = "dataset" if name in ("_target_", "name") else f"dataset.{name}"
            raise UserError(
                f"dataset.{name} is {' or '.join(values)} on the development data: say with --held-out {key}= what it "
                "is on the held-out data."
            )


def frozen_words(words: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """Return a setting's words with those of the held-out data in their place.

    Another ``dataset`` replaces what names the data and nothing else: ``dataset.resize``, ``dataset.limit`` stay.
    """
    gone = {key_of(word) for word in held_out}
    if "dataset" in gone:
        gone |= {f"dataset.{name}" for name in _NAMES}
    merged = [word for word in words if word.startswith("++dataset={")]  # options, and not the choice of a data set
    return [*(word for word in words if word in merged or key_of(word) not in gone), *held_out]


def refuse_another_method(development: Mapping[str, Any], there: Job) -> None:
    """Raise a `UserError` if the held-out run differs from a development run in anything but its data.

    Where it runs and writes, its seed and how it was chosen are no part of the method.
    """
    for name, (after, before) in differences(_method(there.plain), _method(development)).items():
        raise UserError(
            f"{name} would be {after} on the held-out data and is {before} on the development data; give {name}= with "
            "the words of the sweep, for both."
        )


def _method(plain: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in plain.items() if name not in _NO_METHOD}
    return kept | {"dataset": {name: plain["dataset"].get(name, default) for name, default in OF_THE_METHOD.items()}}


def _opened(job: Job) -> ImageSet:
    images: ImageSet = construct("dataset", job.plain["dataset"]).open()
    return images


def _digests(job: Job) -> set[bytes]:
    return set(_opened(job).digests)


def _refuse_the_same(development: Sequence[set[bytes]], held: set[bytes], held_out: Sequence[str]) -> None:
    if held in development:
        raise _itself(held_out)
    if held <= set.union(*development):
        raise UserError(
            f"--held-out {' '.join(held_out)}: all {len(held)} held-out images are among the development images, by "
            "their bytes; name another dataset, dataset.root or dataset.split."
        )
    for one in development:
        if one <= held:
            raise UserError(
                f"--held-out {' '.join(held_out)}: all {len(one)} development images are among the {len(held)} "
                "held-out images, by their bytes; name another dataset, dataset.root or dataset.split."
            )


def _itself(held_out: Sequence[str]) -> UserError:
    return UserError(
        f"--held-out {' '.join(held_out)} is the development data itself; name another dataset, dataset.root or "
        "dataset.split."
    )
