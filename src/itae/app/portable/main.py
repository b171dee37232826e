"""``itae portable``: the command, its words and its help."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from itae.app.compose import PORTABLE, check_choices, compose, groups_of, options_of, plain_values, verb_words
from itae.app.portable import prepare
from itae.app.portable.settings import read_alone
from itae.app.words import OVERLAYS, as_typed, key_of
from itae.base.errors import UserError
from itae.base.secrets import hidden

_TOLD = "What does a deblurring network restore on each device of this machine, and what does it cost there?"


def main(argv: Sequence[str]) -> int:
    """Run ``itae portable`` with what stands after it; return the exit status."""
    if argv[:1] == ["prepare"]:
        return prepare.main(argv[1:])
    options = _parser().parse_args(argv)
    words = as_typed(options.words)
    _refuse_sweeps(words)
    check_choices(words, PORTABLE)
    _check_experiment(words, options.config_dir)
    plain = read_alone(plain_values(compose(words, options.config_dir, PORTABLE)), words)
    if options.cfg:
        import yaml

        print(yaml.safe_dump(hidden(plain), sort_keys=False, allow_unicode=True), end="")  # noqa: T201
        return 0
    from itae.app.portable.study_run import run

    run(plain, options.words, options.config_dir)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = verb_words(PORTABLE, _TOLD)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--cfg", action="store_true", help="print the config that the words make, and run nothing")
    parser.add_argument("words", nargs="*", metavar="key=value", help="for example train.steps=4000 device=ort")
    groups = [f"  {group}: {', '.join(options_of(group, PORTABLE))}" for group in groups_of(PORTABLE)]
    parser.epilog = "\n".join(
        [
            "A small network is trained, converted and judged on each device, as a table, figures and a page; a demo:",
            "  itae portable",
            "The same for longer, pruned, and quantised with training where that costs much:",
            "  itae portable train=default optimise=[prune,quantisation_aware]",
            "With more photographs, out of packages of Debian:",
            "  itae portable prepare data=debian",
            "  itae portable data=debian train=default",
            "What each operator costs on each device, as a table, figures, guidelines and a page:",
            "  itae portable experiment=operators",
            "The same in few seconds, with few operators, on two devices and small pictures:",
            "  itae portable experiment=quick",
            "Which networks suit each device, and which few suit all: a search of 25 minutes over seven:",
            "  itae portable experiment=search",
            "On some devices alone, with pictures of another size:",
            "  itae portable experiment=operators device=[ort,openvino_int8] measure.size=256",
            "",
            "Groups, and what may be chosen in each (group=option):",
            *groups,
            "Any option of the config that --cfg prints may be set, as in net.channels=8.",
        ]
    )
    return parser


def _refuse_sweeps(words: Sequence[str]) -> None:
    """Refuse several values of an option: measuring jobs run one at a time on a machine."""
    for word in words:
        several = False
        with contextlib.suppress(HydraException):  # told when Hydra comes to it
            several = OverridesParser.create().parse_override(word).is_sweep_override()
        if several:
            raise UserError(
                f"{word} is several values, and itae portable measures one setting at a time: give one, or a list in "
                f"[ ] where the option takes one, as in {key_of(word)}=[{word.partition('=')[2]}]."
            )


def _check_experiment(words: Sequence[str], config_dir: str | None) -> None:
    """Refuse an experiment of a run's: it stands beside ours, since trackers are shared, and is none of ours."""
    for word in words:
        if key_of(word) not in OVERLAYS:
            continue
        if key_of(word) != "experiment":
            raise UserError(f"{word}: itae portable has no recipes; see itae portable --help.")
        value = word.partition("=")[2].strip("\"'")
        own = [file.stem for file in sorted(Path(config_dir, "experiment").glob("*.yaml"))] if config_dir else []
        allowed = sorted({*options_of("experiment", PORTABLE), *own})
        if value not in ("null", *allowed):
            hint = "" if config_dir else " One of your own needs --config-dir FOLDER."
            raise UserError(f"{word.strip()} is not one of {', '.join(allowed)}.{hint}")
