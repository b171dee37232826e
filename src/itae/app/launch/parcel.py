"""A group of jobs as bytes: what all engines carry to another process, here or on another machine.

It arrives with what a process that starts elsewhere lacks: the folder that relative paths are meant from, and the ways
to modules of the user's own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itae.app.launch.group import Group, Program
from itae.app.launch.launch import run_group
from itae.app.launch.sending import enter, packed
from itae.base.errors import UserError
from itae.base.place import Place


@dataclass(frozen=True)
class Parcel:
    """A group on its way.

    Parameters
    ----------
    folder
        Where the sweep writes.
    place
        Where it was started.
    program, group
        Pickled.
    jobs
        How many are in the group.
    """

    folder: str
    place: Place
    program: bytes
    group: bytes
    jobs: int

    def __call__(self, level: int = logging.INFO) -> None:
        """Run what is not done of the group. Called in another process, and again if that is lost or runs out of time.

        Parameters
        ----------
        level
            From which on messages go to stderr; all of a job's are in its ``run.log``.

        Raises
        ------
        UserError
            If the sweep's folder is not on this machine.
        """
        if "SLURM_CPUS_PER_TASK" in os.environ:  # else every group takes all cores of its machine
            os.environ.setdefault("OMP_NUM_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
        enter(self.place, level)
        if not Path(self.folder).is_dir():
            raise UserError(f"{self.folder} is not there on {os.uname().nodename}: a shared file system is needed.")
        import cloudpickle

        group = cloudpickle.loads(self.group).left()  # a worker that was lost had done the others
        if group.jobs:
            run_group(cloudpickle.loads(self.program), group)

    def checkpoint(self) -> Any:
        """Return what Slurm is to run when the time is up: the same, which goes on with the first job not done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def pack(program: Program, groups: Sequence[Group]) -> list[Parcel]:
    """Return the groups ready to be sent.

    Their configs say as values then what they said by names: environment variables may differ elsewhere.

    Raises
    ------
    UserError
        As `packed` does.
    """
    from omegaconf import open_dict

    for group in groups:
        for job, config in zip(group.jobs, group.configs, strict=True):
            with open_dict(config):
                config.update(job.config)
    here, what = Place.here(), packed(program)
    return [
        Parcel(str(Path(str(group.configs[0].hydra.sweep.dir)).absolute()), here, what, packed(group), len(group.jobs))
        for group in groups
    ]
