"""Jobs that share a pass, and what runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from itae.app import sweep


class Launching(Protocol):
    """A launcher of Hydra's, as it is when a sweep begins."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig

    def split(self, jobs: list[Any]) -> list[list[Any]]:
        """Return the jobs that share a pass in as many groups as they are to be sent in."""

    def send(self, program: Any, groups: list[Any]) -> dict[Any, str]:
        """Run the groups; return why jobs broke off that could leave no word of it."""


@dataclass(frozen=True)
class Program:
    """What runs a job: the same for all jobs of a sweep."""

    hydra_context: HydraContext
    task_function: TaskFunction
    state: Any

    def enter(self) -> None:
        """Have this process know what the sweep's own knows."""
        Singleton.set_state(self.state)
        setup_globals()

    def run(self, config: DictConfig) -> None:
        """Run one job as Hydra's own launcher does; its error is in its result.json and its run.log."""
        run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)


@dataclass(frozen=True)
class Group:
    """Jobs that share a pass.

    Parameters
    ----------
    jobs, stamps, configs
        For each what it is, what its folder had when it was planned, and its config as Hydra has it.
    """

    jobs: list[sweep.Job]
    stamps: list[sweep.Stamp]
    configs: list[DictConfig]

    def left(self) -> Group:
        """Return the group less the jobs that have been done since it was planned."""
        left = [i for i, job in enumerate(self.jobs) if not sweep.done_since(job, self.stamps[i])]
        return Group([self.jobs[i] for i in left], [self.stamps[i] for i in left], [self.configs[i] for i in left])
