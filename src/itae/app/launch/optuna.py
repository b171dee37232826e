"""A search by Optuna: trials are asked for in batches, so that each batch shares a pass."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from itae.app.compose import plain_config
from itae.app.launch.launch import end
from itae.app.launch.objectives import Objective, objectives_of, settled
from itae.app.words import as_typed
from itae.base.checks import number, one_of, whole
from itae.base.console import console, say
from itae.base.errors import UserError
from itae.base.secrets import hidden_address, hidden_word, hide_in_files
from itae.results.shown import Shown, shown_of

log = logging.getLogger(__name__)

SAMPLERS = ("tpe", "random", "qmc")


def search(
    options: Mapping[str, Any], config: DictConfig, launcher: Launcher, loader: ConfigLoader, arguments: Sequence[str]
) -> dict[str, Any] | list[dict[str, Any]]:
    """Run the study and return its best trial, or, of several objectives, the list of those on the front.

    Raises
    ------
    UserError
        If Optuna isn't installed, a setting is wrong, there is nothing to search over, or no trial succeeded.
    """
    optuna = _optuna()
    _check(options)
    objectives, known = settled(objectives_of(options), config)
    space, fixed = _space(optuna, options["params"] or {}, loader, arguments)
    selection = _selection(objectives, known, str(config.selection))
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    hide_in_files([folder / "multirun.yaml"])
    study, objectives = _study(optuna, options, objectives, folder)
    _refuse_another(study, options, objectives, space, fixed, folder)
    done = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
    log.info("%d of %d trials are done.", done, options["n_trials"])
    first, configs = len(study.trials), []
    while done < options["n_trials"]:
        trials = [study.ask(space) for _ in range(min(options["batch"], options["n_trials"] - done))]
        words = [
            as_typed(
                [*fixed, *(f"{key}={_word(value)}" for key, value in trial.params.items()), f"selection={selection}"]
            )
            for trial in trials
        ]
        returns = launcher.launch(words, initial_job_idx=first)
        configs += [plain_config(job.cfg) for job in returns if job.cfg is not None]
        results = [job.return_value if job.status == JobStatus.COMPLETED else None for job in returns]
        if any(one.direction is None for one in objectives):
            study, objectives = _directed(optuna, study, options, objectives, results, folder)
            _refuse_another(study, options, objectives, space, fixed, folder)
        _tell(optuna, study, trials, results, objectives)
        _refuse_failures(options["max_failure_rate"], study.trials[-len(trials) :], returns)
        done, first = done + len(trials), first + len(trials)
    found = _found(optuna, study, objectives, selection, folder)
    end(configs, folder, objectives[0].best if len(objectives) == 1 else None)
    return found


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs Optuna; install it: pip install 'itae[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _check(options: Mapping[str, Any]) -> None:
    one_of("hydra.sweeper.sampler", options["sampler"], SAMPLERS)
    for name in ("n_trials", "batch"):
        whole(f"hydra.sweeper.{name}", options[name], low=1)
    number("hydra.sweeper.max_failure_rate", options["max_failure_rate"], low=0, high=1)


def _space(
    optuna: Any, searched: Mapping[str, Any], loader: ConfigLoader, arguments: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the distributions to search and the words that are the same for all trials."""
    params = as_typed([f"{key}={value}" for key, value in searched.items()])
    parser = OverridesParser.create(config_loader=loader)
    space, fixed = {}, []
    for override in parser.parse_overrides([*params, *arguments]):
        if override.is_sweep_override():
            space[override.get_key_element()] = _distribution(optuna, override)
        else:
            fixed.append(str(override.input_line))
    if not space:
        raise UserError(
            "hydra/sweeper=optuna has nothing to search over; give it a range, as in 'detector.k=interval(2,8)'."
        )
    return space, fixed


def _distribution(optuna: Any, override: Override) -> Any:
    value: Any = override.value()
    if override.is_interval_sweep():
        log_scale = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return optuna.distributions.IntDistribution(value.start, value.end, log=log_scale)
        return optuna.distributions.FloatDistribution(float(value.start), float(value.end), log=log_scale)
    return optuna.distributions.CategoricalDistribution(list(override.sweep_string_iterator()))


def _word(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _study(
    optuna: Any, options: Mapping[str, Any], objectives: list[Objective], folder: Path
) -> tuple[Any, list[Objective]]:
    """Return the study, gone on with if there is one, and the objectives with its directions.

    Of a new one whose directions only a result will tell, a stand-in: see `_directed`.
    """
    storage = options["storage"] or optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    )
    name, sampler, asked = options["study_name"], _sampler(optuna, options, 0), [one.direction for one in objectives]
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        study.sampler = _sampler(optuna, options, len(study.trials))
        if len(study.directions) == len(asked):
            objectives = [replace(one, direction=one.direction or way)
                          for one, way in zip(objectives, _ways(study), strict=True)]  # fmt: skip
        return study, objectives
    if None in asked:
        # Not of the same seed: the study's own sampler would begin with the very same trials.
        sampler = optuna.samplers.RandomSampler(None if options["seed"] is None else options["seed"] + 1)
        return optuna.create_study(sampler=sampler, directions=["minimize"] * len(asked)), objectives
    return optuna.create_study(storage=storage, sampler=sampler, study_name=name, directions=asked), objectives


def _directed(
    optuna: Any,
    stand_in: Any,
    options: Mapping[str, Any],
    objectives: list[Objective],
    results: Sequence[Mapping[str, Any] | None],
    folder: Path,
) -> tuple[Any, list[Objective]]:
    """Return the study, with the first trials, which were drawn at random and are not told yet, and its objectives.

    Which way an objective is better is said by the results, and a study has to know it when it is made.
    """
    first = next((result for result in results if result is not None), None)
    if first is None:
        raise UserError(f"None of the first {len(results)} trials succeeded; see the run.log of each in {folder}.")
    study, objectives = _study(optuna, options, [one.directed(shown_of(first)) for one in objectives], folder)
    study.add_trials(stand_in.trials)
    return study, objectives


def _tell(
    optuna: Any,
    study: Any,
    trials: Sequence[Any],
    results: Sequence[Mapping[str, Any] | None],
    objectives: Sequence[Objective],
) -> None:
    """Tell a study what came out: of a trial whose job failed, or whose result lacks a number, that it failed.

    Raises
    ------
    UserError
        For a number that no result has, of this batch and of those before.
    """
    values, missing, ok = [], [], bool(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
    for result in results:
        try:
            values.append([None if result is None else one.value(result) for one in objectives])
            ok = ok or result is not None
        except UserError as error:
            values.append([None])
            missing.append(error)
    if missing and not ok:
        raise missing[0]
    for trial, found in zip(trials, values, strict=True):
        if None in found:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial.number, found)


def _refuse_failures(rate: float, trials: Sequence[Any], returns: Sequence[JobReturn]) -> None:
    """Raise a `UserError` if more than the allowed share of a batch has failed, as Hydra's own sweeper does."""
    failed = [trial.state.name == "FAIL" for trial in trials]
    if sum(failed) > rate * len(trials):
        told = f"{sum(failed)} of {len(trials)} trials of a batch failed, and hydra.sweeper.max_failure_rate={rate:g}"
        for job in (job for job in returns if job.status != JobStatus.COMPLETED):
            try:
                _ = job.return_value  # which raises what the job raised
            except Exception as error:
                raise UserError(f"{told}: {error}") from error
        raise UserError(f"{told}: their results lack the metric.")


def _ways(study: Any) -> list[str]:
    return [direction.name.lower() for direction in study.directions]


def _sampler(optuna: Any, options: Mapping[str, Any], trials: int) -> Any:
    """Return the sampler of a study that has had so many trials.

    A sampler is not kept with its study (Optuna has it pickled), and one of the same seed would draw its first trials
    once more. Quasi-random ones are kept in the study by their seed, and go on by themselves.
    """
    samplers, seed = optuna.samplers, options["seed"]
    if trials and seed is not None and options["sampler"] != "qmc":
        seed += 1 + trials  # + 1 is the stand-in's: see `_study`
    make = {
        "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=True),  # trials of a batch keep apart
        "random": lambda: samplers.RandomSampler(seed=seed),
        "qmc": lambda: samplers.QMCSampler(seed=seed),
    }
    return make[options["sampler"]]()


def _selection(objectives: Sequence[Objective], known: Shown | None, said: str) -> str:
    """Return how trials are chosen: an objective that may see labels makes an oracle, whatever the config says.

    What somebody's own task or clusterer measures is taken for one: it is said before there is a result.
    """
    if any(one.sees_labels(known) for one in objectives):
        return "oracle"
    return said if said in ("dev_labels", "oracle") else "proxy"


def _refuse_another(
    study: Any,
    options: Mapping[str, Any],
    objectives: Sequence[Objective],
    space: Mapping[str, Any],
    fixed: Sequence[str],
    folder: Path,
) -> None:
    """Raise a `UserError` if the study was made for something else: its trials would be mixed up with these."""
    asked = {
        "metric": ", ".join(one.key for one in objectives),
        "words": " ".join(sorted(map(hidden_word, fixed))),
        "space": ", ".join(f"{key} in {told}" for key, told in sorted(space.items())),
    }
    before = study.user_attrs.get("asked")
    if before is None and not any(trial.state.is_finished() for trial in study.trials):
        study.set_user_attr("asked", asked)
        return
    before = (before or {}) | {"direction": ", ".join(_ways(study))}
    asked["direction"] = ", ".join(str(one.direction) for one in objectives)
    for name, value in asked.items():
        if before.get(name) != value:
            place = hidden_address(options["storage"] or str(folder))
            raise UserError(
                f"The study {options['study_name']!r} in {place} searches by another {name} ({before.get(name)}, not "
                f"{value}); give this one another hydra.sweep.dir, or hydra.sweeper.study_name."
            )


def _found(
    optuna: Any, study: Any, objectives: Sequence[Objective], selection: str, folder: Path
) -> dict[str, Any] | list[dict[str, Any]]:
    """Write and print the best trial, or of several objectives the front; return it."""
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise UserError(f"None of the {len(study.trials)} trials succeeded; see the run.log of each in {folder}.")
    chosen = _CHOSEN.get(selection, "chosen without labels")
    if len(objectives) == 1:
        key = objectives[0].key
        best = {
            "job": study.best_trial.number, "settings": study.best_params, "metric": key,
            "value": study.best_value, "selection": selection, "trials": len(complete),
        }  # fmt: skip
        (folder / "best.json").write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
        say(f"best       job {best['job']} ({_told(study.best_params)}): {key} {study.best_value:.4f}, {chosen}")
        return best
    front = [
        {"job": trial.number, "settings": trial.params, "selection": selection,
         "values": {one.key: value for one, value in zip(objectives, trial.values, strict=True)}}
        for trial in sorted(study.best_trials, key=lambda trial: trial.number)
    ]  # fmt: skip
    (folder / "front.json").write_text(json.dumps(front, indent=2) + "\n", encoding="utf-8")
    _print_front(front, objectives, f"{len(front)} of {len(complete)} trials are on the front, {chosen}")
    return front


_CHOSEN = {"oracle": "ORACLE: chosen with labels", "dev_labels": "chosen with labels of development data"}


def _told(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items())


def _print_front(front: Sequence[Mapping[str, Any]], objectives: Sequence[Objective], title: str) -> None:
    """Print the trials that no other is better than in all objectives, the best in the first of them first."""
    from rich.table import Table

    first = objectives[0]
    sign = -1 if first.direction == "maximize" else 1
    table = Table(title=title, title_justify="left")
    for name in ("job", "settings", *(f"{one.key} ({one.direction})" for one in objectives)):
        table.add_column(name, justify="left" if name == "settings" else "right")
    for one in sorted(front, key=lambda one: sign * one["values"][first.key]):
        table.add_row(str(one["job"]), _told(one["settings"]), *(f"{value:.4f}" for value in one["values"].values()))
    console(160).print(table)
