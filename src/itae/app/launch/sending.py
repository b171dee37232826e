"""What comes to another process, and how that becomes as this one is.

The engines have picklers of their own, and each fails in its own way on Hydra's objects. So what is sent is pickled
once, before any of them is asked.
"""

from __future__ import annotations

import logging
from typing import Any

from itae.base.errors import UserError
from itae.base.place import Place


def enter(place: Place, level: int) -> None:
    """Have a process that starts elsewhere know what the sweep's own knows, and tell messages from `level` on."""
    place.enter()
    logging.basicConfig(level=level, format="[%(asctime)s][%(name)s][%(levelname)s] %(message)s")
    import itae.app.compose  # noqa: F401  # it adds to OmegaConf what our configs are resolved by


def packed(thing: Any) -> bytes:
    """Return something pickled.

    Raises
    ------
    UserError
        If it can't be; a Hydra callback that holds a lock, for example.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(thing)
    except Exception as error:
        raise UserError(
            f"This sweep can't be sent to another process ({type(error).__name__}: {error}); look at hydra.callbacks, "
            "or use hydra/launcher=shared_pass with hydra.launcher.n_jobs=1."
        ) from error
