"""The shards of one pass: which are put together of rows that are there, and which take a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itae.base.progress import progress
from itae.embed.diagnostics.choose import collector
from itae.embed.rows import Taken, parts_of

if TYPE_CHECKING:
    from itae.base.errors import UserError
    from itae.edits.edit import AnyEdit
    from itae.embed.on_ray import RayWorkers
    from itae.embed.worker import Worker
    from itae.store.store import Draft, Key
    from itae.vit.facts import Facts


@dataclass(frozen=True)
class Work:
    """Drafts of one shard size that are to be filled.

    Parameters
    ----------
    facts
        Of the model.
    drafts
        What is filled.
    edits, taken
        The edit of each, and the rows that other entries hold.
    """

    facts: Facts
    drafts: Mapping[Key, Draft]
    edits: Mapping[Key, AnyEdit | None]
    taken: Mapping[Key, Taken]

    def done(self, engine: Callable[[], Worker | RayWorkers], passed: dict[Key, int]) -> dict[Key, UserError]:
        """Write the shards that are lacking; return what is wrong with those that can't be.

        The model is asked for if an image has to pass. How many do, for each key, is added to `passed`.
        """
        todo: list[int] = []
        total = 0
        for i in range(next(iter(self.drafts.values())).shards):
            for part in parts_of(i, self.drafts, self.taken):
                if part.rows:
                    todo += [i] if i not in todo[-1:] else []
                    total += len(part.rows)
                    for key in part.keys:
                        passed[key] += len(part.rows)
                else:
                    for key in part.keys:
                        self._put_together(key, i)
        if not todo:
            return {}
        ready = engine()
        with progress(total, "embedding", "images") as advance:
            return ready.fill(self.drafts, self.edits, self.taken, todo, advance)

    def _put_together(self, key: Key, i: int) -> None:
        """Write a shard all of whose rows are taken."""
        draft = self.drafts[key]
        nothing = collector(self.edits[key], self.facts, (), bool(draft.settled["diagnostics"]), draft.n)
        draft.write(i, *self.taken[key].filled(draft.span(i), nothing))
