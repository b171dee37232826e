"""Launchers for sweeps: Hydra finds them here, and `itae.app.cli` names them to it where it doesn't.

Hydra imports this module in every program that uses it, so it imports nothing of weight.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from itae.base.runtime import OnRay


class SharedPassLauncher(Launcher):
    """Run the jobs of a sweep on this machine, those that share a backbone and a data set on one pass.

    Parameters
    ----------
    n_jobs
        In how many processes the jobs of a group run once its pass is done, as joblib has it; None: see
        `_processes.count`.
    """

    n_jobs: int | None

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return what came out, in their order."""
        self.check()
        self.ahead(len(job_overrides))
        from itae.app.launch.launch import launch

        return launch(self, job_overrides, initial_job_idx)

    def check(self) -> None:
        """Raise a `UserError` if nothing can be run, before anything is composed."""
        if self.n_jobs is not None:
            _check_n_jobs(self.n_jobs, ", or null for what pays")

    def ahead(self, jobs: int) -> None:
        """Begin what can begin before the jobs are known."""
        from itae.app.launch.processes import start_server
        from itae.app.settings import is_wandb

        start_server(jobs, self.n_jobs, is_wandb(self.config))

    def split(self, jobs: list[Any]) -> list[list[Any]]:
        """Return the jobs that share a pass in as many groups as they are to be sent in."""
        return [jobs]

    def send(self, program: Any, groups: list[Any]) -> dict[Any, str]:
        """Run the groups, one after the other; return why jobs broke off that could leave no word of it."""
        from itae.app.launch.launch import run_group

        return {job: why for group in groups for job, why in run_group(program, group, self.n_jobs).items()}


def _check_n_jobs(n_jobs: Any, more: str = "") -> None:
    from itae.base.errors import UserError

    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise UserError(f"hydra.launcher.n_jobs={n_jobs!r} must be a whole number but 0, -1 for all cores{more}.")


class _Elsewhere(SharedPassLauncher):
    """What the launchers share that send groups to other processes."""

    name: ClassVar[str]  # of the preset and of the module that sends
    needs: ClassVar[str]  # the package that does the work
    extra: ClassVar[str]  # what pip installs it by

    def __init__(self, max_group: int | None = None) -> None:
        self.max_group = max_group

    def asked(self) -> Any:
        """Return what the engine is asked for."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse a missing package and values that can't be meant."""
        from itae.base.checks import whole
        from itae.base.errors import UserError

        if importlib.util.find_spec(self.needs) is None:
            line = f"pip install {self.extra}"
            raise UserError(f"hydra/launcher={self.name} needs {self.needs}, which is not installed: {line}")
        whole("hydra.launcher.max_group", self.max_group, low=1, optional=True)

    def ahead(self, jobs: int) -> None:
        """Begin nothing: it would be on the wrong machine."""

    def split(self, jobs: list[Any]) -> list[list[Any]]:
        """Return the jobs in groups of at most `max_group`."""
        size = self.max_group or len(jobs)
        return [jobs[i : i + size] for i in range(0, len(jobs), size)]

    def send(self, program: Any, groups: list[Any]) -> dict[Any, str]:
        """Pack the groups and hand them to the engine; return why the jobs of a group broke off."""
        from itae.app.launch.launch import reasons
        from itae.app.launch.parcel import pack

        engine = importlib.import_module(f"itae.app.launch.{self.name}")
        return reasons(groups, engine.send(self.asked(), pack(program, groups))) if groups else {}


class JoblibLauncher(_Elsewhere):
    """Run groups at a time on this machine, each in a process of its own."""

    n_jobs: int
    name, needs, extra = "joblib", "joblib", "joblib"

    def __init__(self, n_jobs: int = -1, max_group: int | None = None) -> None:
        super().__init__(max_group)
        self.n_jobs = n_jobs

    def check(self) -> None:
        """Refuse a missing package and values that can't be meant."""
        super().check()
        _check_n_jobs(self.n_jobs)

    def asked(self) -> int:
        """Return in how many processes groups run, as joblib has it."""
        return self.n_jobs


class SlurmLauncher(_Elsewhere):
    """Run each group as one job of a Slurm array. The options are described in the preset."""

    name, needs, extra = "slurm", "submitit", "'itae[slurm]'"

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        timeout_min: int = 240,
        cpus_per_task: int = 4,
        gpus_per_node: int | None = None,
        mem_gb: float | None = None,
        array_parallelism: int = 256,
        requeues: int = 3,
        setup_commands: Sequence[str] = (),
        additional_parameters: Mapping[str, Any] | None = None,
        max_group: int | None = None,
    ) -> None:
        super().__init__(max_group)
        self.options = {
            "requeues": requeues,
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "slurm_partition": partition,
            "slurm_account": account,
            "slurm_qos": qos,
            "slurm_array_parallelism": array_parallelism,
            "slurm_setup": list(setup_commands) or None,
            "slurm_additional_parameters": dict(additional_parameters or {}) or None,
        }

    def asked(self) -> Mapping[str, Any]:
        """Return what each job asks of Slurm, as submitit has it, and how often it may be started again."""
        return self.options

    def check(self) -> None:
        """Refuse a missing package, and a machine without Slurm's commands."""
        import shutil

        from itae.base.errors import UserError

        super().check()
        missing = [command for command in ("sbatch", "srun", "squeue", "scancel") if shutil.which(command) is None]
        if missing:
            raise UserError(
                f"hydra/launcher=slurm needs Slurm's {missing[0]}, which is not on PATH; start it from a login node."
            )


class RayLauncher(_Elsewhere):
    """Run each group as one task of a Ray cluster. The options are described in the preset."""

    name, needs, extra = "ray", "ray", "'itae[ray]'"

    def __init__(
        self,
        address: str | None = "local",
        num_cpus: float = 1,
        num_gpus: float = 0,
        max_retries: int = 2,
        runtime_env: Mapping[str, Any] | None = None,
        max_group: int | None = None,
    ) -> None:
        super().__init__(max_group)
        self.options: dict[str, Any] = {
            "address": address,
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "max_retries": max_retries,
            "runtime_env": runtime_env,
        }

    def asked(self) -> OnRay:
        """Return what each group asks of the cluster."""
        from itae.base.runtime import OnRay

        return OnRay(**self.options)

    def check(self) -> None:
        """Refuse a missing package and values that can't be meant."""
        super().check()
        self.asked().check("hydra.launcher")


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, with a quicker check beforehand that every job can be composed."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid. Our launchers get all of it at once, to check every job before any of them begins."""
        if isinstance(self.launcher, SharedPassLauncher):
            from itae.base.errors import UserError

            self.launcher.check()
            if self.max_batch_size is not None:
                raise UserError(
                    f"hydra.sweeper.max_batch_size={self.max_batch_size} is for hydra/launcher=basic, which alone runs "
                    "a sweep in batches; leave it out."
                )
        return super().sweep(arguments)

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """Return the words of each job, in batches; those of an overlay's sweep (``params``) never were typed."""
        from itae.app.words import as_typed

        batches = BasicSweeper.split_arguments(overrides, max_batch_size)
        return [[as_typed(words) for words in batch] for batch in batches]

    def _parse_config(self) -> list[str]:
        from itae.app.words import as_typed

        return as_typed(super()._parse_config())

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job; a launcher of ours does that itself before it starts any."""
        from itae.base.secrets import hide_in_files

        assert self.config is not None
        hide_in_files([Path(str(self.config.hydra.sweep.dir), "multirun.yaml")])  # which Hydra has just written
        if not isinstance(self.launcher, SharedPassLauncher):
            from itae.app.launch.composer import Composer

            assert self.hydra_context is not None
            assert self.config is not None
            compose = Composer(self.hydra_context.config_loader, self.config)
            for words in batch:
                compose(words)


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
        from itae.app.launch.optuna import search

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        return search(self.options, self.config, self.launcher, self.hydra_context.config_loader, arguments)


PLUGINS = (SharedPassLauncher, JoblibLauncher, SlurmLauncher, RayLauncher, GridSweeper, OptunaSweeper)
