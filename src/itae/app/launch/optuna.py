"""A search by Optuna: trials are asked for in batches, so that each batch shares a pass."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from itae.app.compose import plain_config
from itae.app.launch.launch import end
from itae.base.checks import one_of, whole
from itae.base.errors import UserError
from itae.measure.scores import LABELLED
from itae.measure.silhouette import CRITERIA

log = logging.getLogger(__name__)

SAMPLERS = ("tpe", "random", "qmc")


def search(
    options: Mapping[str, Any], config: DictConfig, launcher: Launcher, loader: ConfigLoader, arguments: Sequence[str]
) -> dict[str, Any]:
    """Run the study and return its best trial.

    Raises
    ------
    UserError
        If Optuna isn't installed, a setting is wrong, there is nothing to search over, or no trial succeeded.
    """
    optuna = _optuna()
    _check(options, str(config.task._target_))
    space, fixed = _space(optuna, options["params"] or {}, loader, arguments)
    selection = _selection(options["metric"], str(config.selection))
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    study = _study(optuna, options, folder)
    _refuse_another(study, options, space, fixed, folder)
    done = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
    log.info("%d of %d trials are done.", done, options["n_trials"])
    number, configs = len(study.trials), []
    while done < options["n_trials"]:
        trials = [study.ask(space) for _ in range(min(options["batch"], options["n_trials"] - done))]
        words = [
            [*fixed, *(f"{key}={_word(value)}" for key, value in trial.params.items()), f"selection={selection}"]
            for trial in trials
        ]
        returns = launcher.launch(words, initial_job_idx=number)
        configs += [plain_config(job.cfg) for job in returns if job.cfg is not None]
        for trial, job in zip(trials, returns, strict=True):
            value = _value(job, options["metric"])
            state = optuna.trial.TrialState.COMPLETE if value is not None else optuna.trial.TrialState.FAIL
            study.tell(trial, value, state=state)
        done, number = done + len(trials), number + len(trials)
    best = _best(optuna, study, options, selection, folder)
    end(configs, folder, options["metric"])
    return best


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs Optuna; install it: pip install 'itae[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _check(options: Mapping[str, Any], task: str) -> None:
    if task.startswith("itae."):  # somebody's own task may have other numbers
        one_of("hydra.sweeper.metric", options["metric"], (*CRITERIA, *LABELLED))
    one_of("hydra.sweeper.direction", options["direction"], ("maximize", "minimize"))
    one_of("hydra.sweeper.sampler", options["sampler"], SAMPLERS)
    for name in ("n_trials", "batch"):
        whole(f"hydra.sweeper.{name}", options[name], low=1)


def _space(
    optuna: Any, searched: Mapping[str, Any], loader: ConfigLoader, arguments: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the distributions to search and the words that are the same for all trials."""
    params = [f"{key}={value}" for key, value in searched.items()]
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


def _study(optuna: Any, options: Mapping[str, Any], folder: Path) -> Any:
    samplers = optuna.samplers
    seed = options["seed"]
    sampler = {
        "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=True),  # trials of a batch keep apart
        "random": lambda: samplers.RandomSampler(seed=seed),
        "qmc": lambda: samplers.QMCSampler(seed=seed),
    }[options["sampler"]]()
    storage = options["storage"] or optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    )
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name=options["study_name"], direction=options["direction"],
        load_if_exists=True,
    )  # fmt: skip


def _selection(metric: str, said: str) -> str:
    """Return how the best trial is chosen: a metric that may see labels makes an oracle, whatever the config says."""
    if metric not in CRITERIA:  # what somebody's own task measures is taken for one, as in a table
        return "oracle"
    return said if said in ("dev_labels", "oracle") else "proxy"


def _refuse_another(
    study: Any, options: Mapping[str, Any], space: Mapping[str, Any], fixed: Sequence[str], folder: Path
) -> None:
    """Raise a `UserError` if the study was made for something else: its trials would be mixed up with these."""
    asked = {
        "metric": options["metric"],
        "words": " ".join(sorted(fixed)),
        "space": ", ".join(f"{key} in {distribution}" for key, distribution in sorted(space.items())),
    }
    before = study.user_attrs.get("asked")
    if before is None and not study.trials:
        study.set_user_attr("asked", asked)
        return
    before = before or {}
    for name, value in asked.items():
        if before.get(name) != value:
            place = options["storage"] or folder
            raise UserError(
                f"The study {options['study_name']!r} in {place} searches by another {name} ({before.get(name)}, not "
                f"{value}); give this one another hydra.sweep.dir, or hydra.sweeper.study_name."
            )


def _value(job: Any, metric: str) -> float | None:
    """Return the objective of a job that went well, None for one that failed or has no such number."""
    if job.status != JobStatus.COMPLETED:
        return None
    metric_value = job.return_value["edited"].get(metric)
    value = metric_value.get("mean") if isinstance(metric_value, Mapping) else metric_value
    if value is None:
        known = ", ".join(
            name for name, values in job.return_value["edited"].items() if isinstance(values, Mapping | float)
        )
        raise UserError(f"hydra.sweeper.metric={metric!r} is not in the results; there are {known}.")
    return float(value) if math.isfinite(value) else None


def _best(optuna: Any, study: Any, options: Mapping[str, Any], selection: str, folder: Path) -> dict[str, Any]:
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise UserError(f"None of the {len(study.trials)} trials succeeded; see the run.log of each in {folder}.")
    best = {
        "job": study.best_trial.number, "settings": study.best_params, "metric": options["metric"],
        "value": study.best_value, "selection": selection, "trials": len(complete),
    }  # fmt: skip
    (folder / "best.json").write_text(json.dumps(best, indent=2) + "\n")
    words = " ".join(f"{key}={value}" for key, value in study.best_params.items())
    with_labels = {"oracle": "ORACLE: chosen with labels", "dev_labels": "chosen with labels of development data"}
    chosen = with_labels.get(selection, "chosen without labels")
    print(f"best       job {best['job']} ({words}): {options['metric']} {study.best_value:.4f}, {chosen}")  # noqa: T201
    return best
