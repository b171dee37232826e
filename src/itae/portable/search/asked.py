"""What a search is asked for: a space, pictures to learn from and to judge by, how is trained and searched, devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from itae.base.errors import UserError
from itae.base.threads import cpu_count
from itae.portable.deploy.asked import Learning
from itae.portable.nets.spec import Spec
from itae.portable.nets.unet import UNet
from itae.portable.search.hand_made import HAND_MADE
from itae.portable.search.options import FEWEST_MEASURED, Search
from itae.portable.search.sandwich import Sandwich
from itae.portable.search.space import Space
from itae.portable.search.workers import Workers
from itae.portable.train.options import Train


@dataclass(frozen=True)
class Searching(Learning):
    """All that is asked for; what isn't told here is `Learning`'s.

    Parameters
    ----------
    space
        What is searched.
    supernet
        How its networks learn all at once.
    search
        How it is searched.
    hand_made
        Networks by name that were listed before, and that a search has to beat. Default: `HAND_MADE`.
    processes
        In which networks are trained and judged side by side; None (default): as many as there are CPUs for, each of
        which has the training's threads.

    Raises
    ------
    UserError
        Where sizes don't fit each other, or there are too few networks.
    """

    space: Space
    supernet: Sandwich
    search: Search
    hand_made: Mapping[str, Spec] = field(default_factory=lambda: HAND_MADE)
    processes: int | None = None

    def __post_init__(self) -> None:
        """Check sizes, and that there are networks enough."""
        self.judged_as_timed()
        self.fits(self.train, [("a network of the search", self.multiple)])
        crop, most = self.search.crop, self.pairs.train_size
        if crop % self.multiple or crop > most:
            raise UserError(
                f"search.crop={crop} must be a multiple of {self.multiple}, since networks halve pictures, and "
                f"at most pairs.train_size={most}."
            )
        if self.measure.size % self.multiple:
            fits = math.ceil(self.measure.size / self.multiple) * self.multiple
            raise UserError(
                f"measure.size={self.measure.size} must be a multiple of {self.multiple}, for networks of the search "
                f"halve pictures; take {fits}."
            )
        if len(self.space) < FEWEST_MEASURED:
            raise UserError(
                f"The space has {len(self.space)} networks, and times are predicted from {FEWEST_MEASURED} at least; "
                "give its lists more values (space.channels, space.blocks, ...)."
            )

    @property
    def multiple(self) -> int:
        """What height and width have to be multiples of, for any of the networks."""
        return math.lcm(self.space.multiple, *(spec.multiple for spec in self.hand_made.values()))

    @property
    def short(self) -> Train:
        """How a candidate is trained where training judges."""
        search = self.search
        return replace(self.train, steps=search.steps, every=search.steps, crop=search.crop, batch=search.batch)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures that networks are timed on, and judged by."""
        return self.measure.size, self.measure.size

    def workers(self) -> Workers:
        """Return processes that train side by side; none has begun."""
        return Workers(self.processes or max(1, cpu_count() // self.train.threads), self.train.threads)

    def net(self, name: str, spec: Spec) -> UNet:
        """Return a network as it begins: all are drawn from the seed of the study."""
        return UNet(**Spec.architecture(spec), seed=self.seed, name=name)
