"""How a run was started: by which words, where, and whether as one job of many."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from omegaconf import OmegaConf

from itae.base.secrets import hidden_word


def in_a_sweep() -> bool:
    """Whether this run is a job of a sweep, which has one table and one page for all."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False
    mode = HydraConfig.get().mode
    return mode is not None and mode.name == "MULTIRUN"


def fresh_name() -> str:
    """Return a name for a new folder, by the time and by lot; conf/config.yaml has it for runs of the command line."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.urandom(3).hex()}"


def started() -> dict[str, Any]:
    """Return when, where, by which words and with whose configs the run was started: what it takes to start it again.

    Secrets in the words are hidden.

    ``config_dir`` is the folder of configs beside ours, of ``--config-dir`` or the first of ``hydra.searchpath``, which
    is no word of the job; None without one.
    """
    from hydra.core.hydra_config import HydraConfig

    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    if not HydraConfig.initialized():
        return {"at": now, "cwd": os.getcwd(), "overrides": None, "config_dir": None}
    hydra = HydraConfig.get()
    words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # one may hold an interpolation
    words = [hidden_word(word) for word in words]
    own = ("command-line", "hydra.searchpath in command-line")
    folders = (one.path for one in hydra.runtime.config_sources if one.provider in own and one.schema == "file")
    return {"at": now, "cwd": hydra.runtime.cwd, "overrides": words, "config_dir": next(folders, None)}
