"""Compose the jobs of a sweep as Hydra does, less the reading of the same files for each."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override


class Composer:
    """Compose one job after the other.

    Hydra reads the files that a job's overrides choose and then sets the values that they name. The first takes nine
    tenths of the time and comes out the same for all jobs that choose the same files, so it is done once for these; the
    values are set by Hydra's own code. 64 jobs of two values each take .4 CPU s so, and 5.6 with Hydra's
    ``load_sweep_config`` alone, of 13 that a sweep of so many small cached jobs takes in all (five pairs).

    Parameters
    ----------
    loader
        Hydra's.
    master
        The config of the sweep.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        parser = OverridesParser.create()
        self._parsed = functools.cache(lambda word: parser.parse_overrides([word])[0])  # most words are of all jobs
        self._chosen: dict[tuple[str, ...], bytes | None] = {}  # pickled: read back, they are a copy in no time

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """Return the config of the job with these overrides, as Hydra's ``load_sweep_config`` does."""
        overrides = [self._parsed(word) for word in words]
        groups = set(self._master.hydra.runtime.choices)
        values = [override for override in overrides if _sets_a_value(override) and override.key_or_group not in groups]
        packed = self._of_choices(tuple(str(override.input_line) for override in overrides if override not in values))
        config: DictConfig | None = pickle.loads(packed) if packed else None
        # With a value that is added or taken away the order may matter, and what is wrong Hydra says best.
        if config is None or any((override in values) is _is_chosen(config, override) for override in overrides):
            return self._loader.load_sweep_config(self._master, list(words))
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        task = [override for override in overrides if not override.is_hydra_override()]
        config.hydra.overrides.task = [override.input_line for override in task]
        config.hydra.job.override_dirname = get_overrides_dirname(task, **config.hydra.job.config.override_dirname)
        return config

    def _of_choices(self, words: tuple[str, ...]) -> bytes | None:
        """Return what Hydra composes of these, None where it can't."""
        if words not in self._chosen:
            try:
                self._chosen[words] = pickle.dumps(self._loader.load_sweep_config(self._master, list(words)))
            except HydraException:
                self._chosen[words] = None
        return self._chosen[words]


def _sets_a_value(override: Override) -> bool:
    """Whether it gives one value to what may be no group."""
    plain = not (override.is_add() or override.is_force_add() or override.is_delete())
    return plain and override.package is None and not override.is_hydra_override() and not override.is_sweep_override()


def _is_chosen(config: DictConfig, override: Override) -> bool:
    return override.key_or_group in config.hydra.runtime.choices
