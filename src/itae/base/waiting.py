"""A wait that is told: on the console, where warnings are shown, and not in silence."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

FIRST = 2.0  # seconds of silence
_OTHER = 30.0  # seconds at least until something else that is waited for is told
_AGAIN = 900.0  # seconds until the same is told again


class Waiting:
    """Tell what is waited for: once after two seconds, when it is something else, and every quarter of an hour."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told, self._last = "", self._began

    def goes_on(self, what: str) -> None:
        """Say that `what` is still waited for, if it is time to."""
        now = time.monotonic()
        pause = FIRST if not self._told else _AGAIN if what == self._told else _OTHER
        if now - self._last >= pause:
            so_far = f" ({(now - self._began) / 60:.0f} minutes so far)" if self._told else ""
            log.warning("Waiting for %s%s.", what, so_far)
            self._told, self._last = what, now
