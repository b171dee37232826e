"""What is written beside the numbers: pictures, pages, lists of files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


def beside(what: str, write: Callable[[], T]) -> T | None:
    """Write something beside the numbers; whatever goes wrong with it, they stand."""
    try:
        return write()
    except Exception as error:
        log.warning("%s could not be written (%s); the results are not touched by this.", what, error)
        log.info("", exc_info=True)
        return None
