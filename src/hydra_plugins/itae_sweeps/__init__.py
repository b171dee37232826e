"""Launchers for sweeps: Hydra finds them here, and `itae.cli` names them to it where it doesn't.

Hydra imports this module in every program that uses it, so it imports nothing of weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SharedPassLauncher(Launcher):
    """Run the jobs of a sweep in this process, those that share a backbone and a data set on one pass."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return what came out, in their order."""
        from hydra_plugins.itae_sweeps._launch import launch

        return launch(self, job_overrides, initial_job_idx)

    def send(self, groups: list[Any]) -> None:
        """Run the groups, one after the other."""
        from hydra_plugins.itae_sweeps._launch import run_group

        for group in groups:
            run_group(group)


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, less a check that our launchers make themselves: it composes every job once more."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher, if that is one of ours, to compose and check all jobs before it starts any."""
        if not isinstance(self.launcher, SharedPassLauncher):
            super().validate_batch_is_legal(batch)


class OptunaSweeper(Sweeper):
    """Search for the settings with the best value of a metric, label-free by default, batch by batch."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over, and make the launcher that the config names."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study; return its best trial."""
        from hydra_plugins.itae_sweeps._optuna import search

        return search(self, arguments)


PLUGINS = (SharedPassLauncher, GridSweeper, OptunaSweeper)
