"""The command line: Hydra's own words for runs, a few commands beside it, and one sentence for each mistake.

``--help``, tab completion and every config error are answered without importing torch.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from itae.errors import UserError, did_you_mean

USER_MISTAKE = 2
INTERRUPTED = 130
COMMANDS = {
    "cache": "itae.store.cli",
    "calibrate": "itae.cli",
    "collect": "itae.collect",
    "dashboard": "itae.dashboard",
    "prepare": "itae.cli",
    "protocol": "itae.protocol",
    "report": "itae.page",
    "sync": "itae.sync",
}
"""What may stand first on the command line, and where it is."""


def conf_dir() -> Path:
    """Return the folder of the configs: inside the package, or beside ``src`` in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


OmegaConf.register_new_resolver(
    "itae_token",  # two runs of one second mustn't share a folder
    lambda kind: os.urandom(3).hex(),
    use_cache=True,
    replace=True,
)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _run(cfg: DictConfig) -> None:
    from itae.experiment import run

    run(cfg, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """Run ``itae`` with the arguments of the process, and exit with its status.

    0: all is well. 1: a bug, with its traceback. 2: a user's mistake, told in one sentence, or jobs of a sweep that
    failed. 130: interrupted.
    """
    sys.argv[0] = "itae"  # and not __main__.py, in what is told
    # Read when numpy is imported. Else its idle threads spin for 30 ms after each product and FAISS waits for a core.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    gc.set_threshold(1_000_000)  # of what an import makes nothing is garbage; a small run is half imports
    atexit.register(gc.freeze)  # the last collections would look at all that was imported, for a second and more
    argv = sys.argv[1:]
    if argv and argv[0] in COMMANDS:
        sys.exit(_guarded(lambda: _command(argv[0])(argv[1:])))
    if argv == ["--version"]:
        from itae import __version__

        print(f"itae {__version__}")  # noqa: T201
        return
    sys.argv[1:] = as_typed(argv)
    signal.signal(signal.SIGTERM, terminated)
    sys.exit(_guarded(_hydra_run))


def terminated(*_: Any) -> NoReturn:
    """End as after an error, so that result.json says so. A cluster sends SIGTERM at the time limit."""
    raise SystemExit(128 + signal.SIGTERM)


def as_typed(words: Sequence[str]) -> list[str]:
    """Return the words of a command line in the form in which Hydra takes them.

    That is with the home folder for ``~``, which a shell leaves alone after a ``=``, and ``experiment=x`` for
    ``+experiment=x``, the way of many templates: here the group has a default, and both are right.
    """
    words = [re.sub(r"=~(?=/)", f"={Path.home()}", word, count=1) for word in words]
    return [re.sub(r"^\+experiment=", "experiment=", word) for word in words]


def _hydra_run() -> int:
    check_choices(sys.argv[1:])
    _name_plugins()
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print a message of its own and hide the exception
    try:
        _run()
    except (UserError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        if before == "1" or _from_a_job(error):
            raise
        raise UserError(f"{_before_the_job(error)} (HYDRA_FULL_ERROR=1 shows where)") from error
    finally:
        HydraConfig.instance().cfg = None  # or a later run of this process would take itself for a part of the sweep
        if before is None:
            os.environ.pop("HYDRA_FULL_ERROR")
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
    return 0


def _name_plugins() -> None:
    """Name our launchers to Hydra, which can't find them in every kind of editable install (hydra#3252)."""
    from hydra.core.plugins import Plugins

    from hydra_plugins import itae_sweeps

    known = Plugins.instance()
    for cls in itae_sweeps.PLUGINS:
        if f"{cls.__module__}.{cls.__qualname__}" not in known.class_name_to_class:
            known.register(cls)


def _command(name: str) -> Callable[[list[str]], int]:
    """Return the ``main`` of a command; only its own module is imported."""
    here = {"prepare": _prepare, "calibrate": _calibrate}
    return here[name] if name in here else importlib.import_module(COMMANDS[name]).main


def _prepare(argv: list[str]) -> int:
    """Download what the data set and the backbone of this config need, so that runs find it."""
    _, cfg = _composed(_words("prepare", "Download what a run of the same words needs; runs download no data."), argv)

    from itae.experiment import prepare

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare(cfg)
    return 0


def _calibrate(argv: list[str]) -> int:
    """Fit the thresholds of this config's edit, and write them to a file."""
    told = "Fit the thresholds of a run of the same words, without labels, for detector.calibration=FILE to take."
    parser = _words("calibrate", told)
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write them, for example paper.json")
    options, cfg = _composed(parser, argv)

    from itae.experiment import calibrate
    from itae.report import print_fits

    print_fits(calibrate(cfg, options.file), options.file)
    return 0


def _words(name: str, told: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"itae {name}", description=told)
    parser.add_argument("--config-dir", "-cd", help="a folder with configs of your own")
    return parser


def _composed(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, DictConfig]:
    """Return a command's options and the config of its words."""
    parser.add_argument("words", nargs="*", metavar="key=value", help="for example dataset=cifar10 paths.data=data")
    options = parser.parse_args(argv)
    words = as_typed(options.words)
    check_choices(words)
    return options, compose(words, options.config_dir)


def compose(words: list[str], config_dir: str | None = None) -> DictConfig:
    """Return the config of a command line's words, without running anything.

    Parameters
    ----------
    words
        As on the command line: ``["backbone=dinov2_s14", "layers=last4"]``.
    config_dir
        A folder with configs of one's own, searched beside those of the package.
    """
    more = [f"hydra.searchpath=['file://{Path(config_dir).absolute()}']"] if config_dir else []
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose("config", [*more, *words])


# --- one sentence for each mistake


def _guarded(work: Callable[[], int]) -> int:
    """Do `work` and return its status; a user's mistake becomes one sentence on stderr."""
    try:
        with _argparse_in_a_sentence():
            return work()
    except KeyboardInterrupt:
        told = "Interrupted; what was computed so far is kept, and the same command goes on from there."
        return _tell(told, INTERRUPTED)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        return _tell(sentence_of(error), USER_MISTAKE)
    except BrokenPipeError:  # whoever read what is printed has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        return 0


def _tell(sentence: str, status: int) -> int:
    sys.stderr.write(f"itae: {' '.join(sentence.splitlines())}\n")
    return status


@contextlib.contextmanager
def _argparse_in_a_sentence() -> Iterator[None]:
    """Have argparse, Hydra's own included, say what is wrong without printing the whole usage first."""

    def refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
        place = "; options such as -m stand before or after all words" if "unrecognized" in message else ""
        raise UserError(f"{message}{place}; see {parser.prog} --help.")

    before = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        argparse.ArgumentParser.error = before  # type: ignore[method-assign]


_hydras_value = JobReturn.return_value


def _job_value(job: JobReturn) -> Any:
    """Return what a job returned or raise what it raised, a user's mistake without Hydra's line before it."""
    error = job._return_value
    if job.status != JobStatus.FAILED or not isinstance(error, UserError):
        return _hydras_value.fget(job)  # type: ignore[attr-defined]
    assert job.hydra_cfg is not None
    if job.hydra_cfg.hydra.mode.name != "MULTIRUN":
        raise error
    raise UserError(f"job {job.hydra_cfg.hydra.job.num} ({' '.join(job.overrides or ())}): {error}") from error


JobReturn.return_value = property(_job_value, _hydras_value.fset)  # type: ignore


def _from_a_job(error: BaseException) -> bool:
    """Tell whether an exception comes from the run itself, and not from what Hydra does before it."""
    ours = {_run.__wrapped__.__code__, _job_value.__code__}
    return any(frame.f_code in ours for frame, _ in traceback.walk_tb(error.__traceback__))


def _before_the_job(error: Exception) -> str:
    """Say what is wrong when Hydra itself fails: only the user's words and configs have a part in that."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; set hydra.run.dir or hydra.sweep.dir to a folder you may write to"
    cause = error.__cause__ or error
    return f"Hydra can't run this ({type(cause).__name__}: {_paragraph(cause)}); see itae --help and itae --hydra-help"


def sentence_of(error: Exception) -> str:
    """Return what a user is told of a mistake, ours or one that Hydra found."""
    if isinstance(error, UserError):
        return str(error)
    text = _paragraph(error)
    if isinstance(error, MissingConfigException):
        return _no_such_config(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    key = re.search(r"Could not (?:override|find a match for|locate)\D*?'([^']+)'|'([^']+)' does not exist", text)
    if key:
        return _unknown_key(key[1] or key[2])
    if text.startswith("Ambiguous value"):
        return f"{text}; to sweep over it add --multirun; a list is key=[a,b], and a text with commas key='a,b'."
    if isinstance(error, ConfigCompositionException) and error.__cause__ is not None:
        return f"{text} ({_paragraph(error.__cause__)})."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key} can't be resolved: {text}."
    return f"{text}."


def _paragraph(error: BaseException) -> str:
    """Return the first paragraph of a message in one line, less what Hydra and OmegaConf add for debugging."""
    first = re.split(r"\n\s*\n|\n\s*(?:full_key|See https|1\. )", str(error).strip())[0]
    return " ".join(first.split()).rstrip(".") or type(error).__name__


def _no_such_config(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None:
        return f"{_paragraph(error)}."
    name = error.missing_cfg_file.removesuffix(".yaml")
    # A value with a / in it belongs to one of our groups whole, as in dataset=photos/holidays.
    group, _, option = name.rpartition("/") if name.startswith("hydra/") or "/" not in name else name.partition("/")
    if not group:
        return f"There is no config {option!r}; leave out --config-name, or give its folder with --config-dir."
    options = error.options or sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    hint = did_you_mean(option, options)
    if group == "dataset" and "/" in option:
        hint = f" A folder of pictures is dataset=imagefolder dataset.root={option}."
    return f"{group}={option} is not one of {', '.join(options)}.{hint}"


def _unreadable(error: OverrideParseException) -> str:
    word = str(error.override)
    if "=" not in word:
        return f"{word!r} is not key=value; the commands, {', '.join(COMMANDS)}, come first; see itae --help."
    reason = re.sub(r"^Error parsing override '.*?'(?=$| )| expecting .*", "", _paragraph(error)).strip()
    return f"{word!r} can't be read as key=value{f' ({reason})' if reason else ''}; quote special characters."


def _unknown_key(key: str) -> str:
    if key.startswith("hydra."):
        return f"There is no option {key!r}; see itae --cfg hydra."
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--config-dir", "-cd")
    options, words = own.parse_known_args(sys.argv[1:])
    choices = [f"{word.key_or_group}={word.value()}" for word in _choices(words) if isinstance(word.value(), str)]
    known = list(_flat(OmegaConf.to_container(compose(choices, options.config_dir))))
    parent, _, last = key.rpartition(".")
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    allowed = f" {parent or 'The config'} has {', '.join(siblings)}." if siblings else ""
    owners = [file.stem for file in sorted((conf_dir() / parent).glob("*.yaml")) if last in list(OmegaConf.load(file))]
    if parent and owners:
        return f"There is no option {key!r} as things are; it belongs to {parent}={f', {parent}='.join(owners)}."
    return f"There is no option {key!r}.{allowed}{did_you_mean(key, known)}"


def _flat(node: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _flat(value, f"{prefix}{key}.")


def _choices(words: Iterable[str]) -> Iterator[Override]:
    """Yield the words of a command line that choose an option of a group, which decides what options there are."""
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    for word in words:
        with contextlib.suppress(HydraException):  # told by Hydra itself when it comes to it
            override = OverridesParser.create().parse_override(word)
            if override.key_or_group in groups and override.package is None and not override.is_delete():
                yield override


def check_choices(words: Iterable[str]) -> None:
    """Refuse a choice that Hydra would fail on, or would take for something else than what is meant."""
    for word in _choices(words):
        group, value = word.key_or_group, word.value()
        if word.is_add():
            raise UserError(f"{word.input_line}: {group} is always chosen, so leave out the +.")
        several = group == "experiment"  # overlays: none, one or a list of them
        if isinstance(value, list) and not several:
            raise UserError(f"{word.input_line}: choose one; to try several, add --multirun and leave out the [ ].")
        fits = isinstance(value, str | list) or word.is_sweep_override() or (value is None and several)
        if not fits:
            options = ", ".join(sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")))
            raise UserError(f"{word.input_line} is not one of {options}.")
