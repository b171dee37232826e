"""What interrupted runs have left of an entry, and how it is gone on with.

Shards with diagnostics do for a run that wants none, which then makes the rest with them, too. Shards without don't do
for a run that wants them: it has to pass every image again. Its shards are another draft, and those that were there
stay for runs without until an entry with diagnostics is in the store.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from itae.base.runtime import Runtime
from itae.embed.source import shard_of
from itae.store.store import Begun, Key, Store

if TYPE_CHECKING:
    from itae.edits.bimodal import Fit
    from itae.edits.found import ByDetector

log = logging.getLogger(__name__)


class Way(NamedTuple):
    """How shards are made: of how many images each, and whether with diagnostics."""

    shard: int
    diagnostics: bool


def draft_kind(diagnostics: bool) -> str:
    """Return the kind of draft in which shards with or without diagnostics are kept."""
    return "" if diagnostics else "-bare"


def ways(store: Store, keys: Iterable[Key], n: int, runtime: Runtime) -> dict[Key, Way]:
    """Return how the shards of each key are made: as those that are there, if any, else as a run begins.

    Keys without shards go with those that have the fewest, in one pass.

    Parameters
    ----------
    store
        Where drafts are.
    keys
        Of the entries that are to be made.
    n
        How many images there are.
    runtime
        What is asked for now: batch size and diagnostics.
    """
    left = {key: found for key in keys if (found := _furthest(store, key, n, runtime)) is not None}
    fewest = min(left.values(), default=(0, Way(shard_of(runtime.batch_size), runtime.diagnostics)))
    return {key: left.get(key, fewest)[1] for key in keys}


def _furthest(store: Store, key: Key, n: int, runtime: Runtime) -> tuple[int, Way] | None:
    """Return how many images there are in the draft to go on with, and how its shards were made; None without any."""
    begun = [(whole, some) for whole, some in _begun(store, key, n) if some.written]
    found = [(min(n, some.written * some.shard), Way(some.shard, whole)) for whole, some in begun]
    do = [one for one in found if one[1].diagnostics or not runtime.diagnostics]
    if len(do) < len(found):
        log.info(
            "%d shards of %s hold no diagnostics, which are wanted now; they stay for runs that want none.",
            begun[-1][1].written,
            store.path(key),
        )
    return max(do, default=None)


def kept_fits(store: Store, key: Key, edit: ByDetector, n: int, way: Way) -> dict[int, Fit] | None:
    """Return the thresholds that shards were made with, or were to be made with; None without any.

    Made anew, on another machine for example, they would differ in the last digit, and no shard would do any more.
    """
    from itae.edits.bimodal import Fit

    for _, some in sorted(_begun(store, key, n), key=lambda begun: begun[0] != way.diagnostics):
        with contextlib.suppress(LookupError, TypeError, ValueError):  # begun without, or not as it was written
            return {layer: Fit.of_json(some.settled["fits"][str(layer)]) for layer in edit.looks}
    return None


def _begun(store: Store, key: Key, n: int) -> list[tuple[bool, Begun]]:
    """Return the drafts of a key that are of as many images, and whether they have diagnostics, those that do first."""
    drafts = [(whole, store.begun(key, draft_kind(whole))) for whole in (True, False)]
    return [(whole, some) for whole, some in drafts if some is not None and some.n == n]
