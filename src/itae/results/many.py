"""Many runs as one table, from Python."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from itae.base.errors import UserError
from itae.results.find import RESULT, find_results

if TYPE_CHECKING:
    import pandas as pd


def load_runs(*paths: str | os.PathLike[str]) -> pd.DataFrame:
    """Read many runs back: one row a run, its settings under dotted names (``detector.rule``), its metrics beside them.

    Parameters
    ----------
    paths
        Run folders, sweeps, or folders with some in them.

    Returns
    -------
    pandas.DataFrame
        As ``itae collect`` writes it, with the whole path as ``folder`` and the names of ``detector``, ``attenuator``
        and ``clusterer``. What is no result that can be read is left out, with a warning.

    Raises
    ------
    UserError
        If there is no run, or none that can be read.
    """
    from itae.results.rows import with_choices
    from itae.results.table import read_table

    table, damaged, _ = read_table(find_results([Path(path) for path in paths]), Path(os.sep, "nowhere"))
    for file, reason in damaged.items():
        warnings.warn(f"{file} can't be read ({reason}) and is left out", stacklevel=2)
    if table.empty:
        raise UserError(f"No {RESULT} of {len(damaged)} found can be read; give folders with runs.")
    return with_choices(table)
