"""Test-time augmentation: the mean embedding of an image and of other views of it, with nothing edited.

It is the rival that needs no idea of artifacts: Krizhevsky, Sutskever and Hinton (NeurIPS 2012) took the mean of what a
network says of crops of an image and of their mirror images, and many have since. Each view is a forward pass of the
whole model, where an edit of attention takes about one in all; a result says how many (`passes`).

Views are made of the pixels that the model takes, so nothing is decoded twice, and they are the same for every image.
The mean is of embeddings as the model has them, not of unit vectors: so one view is the untouched embedding, and
lengths stay what they are there. Behind a last LayerNorm the lengths of an image's views hardly differ anyway.

Letters: B images, C colours, S pixels of a side.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from itae.base.checks import true_or_false, whole
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.edits.edit import METHOD, parse_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from itae.vit.facts import Facts

_WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
"""Down and right, in shifts: those to opposite sides one after the other, so that few views hardly move the mean."""
FARTHEST = 64
"""Pixels of the largest shift."""


class View(NamedTuple):
    """One way to look at an image: moved first, then mirrored.

    Attributes
    ----------
    down, right
        Pixels by which the picture is moved; what comes in is its edge, again and again.
    mirrored
        Whether left and right change places.
    """

    down: int = 0
    right: int = 0
    mirrored: bool = False

    def of(self, pixels_BCSS: Tensor) -> Tensor:
        """Return the view of each image, of the same shape."""
        import torch

        seen = pixels_BCSS
        for dim, by in ((-2, self.down), (-1, self.right)):
            if by:
                places = torch.arange(seen.shape[dim], device=seen.device) - by
                seen = seen.index_select(dim, places.clamp_(0, seen.shape[dim] - 1))
        return seen.flip(-1) if self.mirrored else seen


@dataclass(frozen=True)
class Augment:
    """``edit=augment``: how many views of an image, and which.

    They are the image, its mirror image, and then the image moved right, left, down, up, and along the diagonals, each
    with its mirror image behind it; `views` is how many of these are taken. Five or nine without `flip`, and ten or
    eighteen with it, lie evenly around the image.

    Parameters
    ----------
    views
        How many, and so how many forward passes an image takes: 1, which is the untouched model, to 18, or to 9 without
        `flip`.
    flip
        Whether mirror images are among them. Where left and right mean something, as in digits and text, they are other
        things.
    shift
        Pixels of the model's input by which the image is moved, 1 to 64.

    Raises
    ------
    UserError
        If a value is outside what is said above.
    """

    views: int = 2
    flip: bool = True
    shift: int = 4

    def __post_init__(self) -> None:
        """Check every value."""
        whole("edit.views", self.views, low=1)
        true_or_false("edit.flip", self.flip)
        whole("edit.shift", self.shift, low=1, high=FARTHEST)
        if self.views > (most := (1 + self.flip) * (1 + len(_WAYS))):
            raise UserError(
                f"edit.views={self.views}: with edit.flip={str(self.flip).lower()} there are {most} views; use {most} "
                "at most."
            )

    def make(self, detector: Any, attenuator: Any, layers: Any, facts: Facts) -> AugmentEdit | None:
        """Return the edit, or None of one view; detector, attenuator and layers are attention's.

        But ``layers=none`` is the untouched model, whatever the edit.
        """
        if not parse_layers(layers, facts.depth) or self.views == 1:
            return None
        return AugmentEdit(self)

    def listed(self) -> tuple[View, ...]:
        """Return the views, the image itself first."""
        moves = [(0, 0), *((self.shift * down, self.shift * right) for down, right in _WAYS)]
        sides = (False, True) if self.flip else (False,)
        return tuple(View(*move, mirrored) for move in moves for mirrored in sides)[: self.views]


@dataclass(frozen=True)
class AugmentEdit:
    """Take the mean over an image's views.

    Parameters
    ----------
    settings
        Which views.
    """

    settings: Augment

    layers: ClassVar[tuple[int, ...]] = ()
    extra: ClassVar[int] = 0
    reads_queries: ClassVar[bool] = False

    @property
    def views(self) -> tuple[View, ...]:
        """The views, the image itself first."""
        return self.settings.listed()

    @property
    def farthest(self) -> int:
        """Pixels by which a view is moved to one side at most."""
        return max(max(abs(view.down), abs(view.right)) for view in self.views)

    @property
    def passes(self) -> int:
        """How many forward passes an image takes."""
        return self.settings.views

    def does(self) -> dict[int, str]:
        """No block does anything else."""
        return {}

    def attends(self, layer: int) -> bool:
        """No attention is edited."""
        return False

    def inside(self, block: nn.Module, layer: int, prefix: int) -> contextlib.AbstractContextManager[None]:
        """Edit nothing."""
        return contextlib.nullcontext()

    def check(self, facts: Facts) -> None:
        """Any model can look twice."""

    def spec(self, depth: int, pool: str) -> dict[str, Any]:
        """Return what the vectors depend on: the views themselves, as pixels down and right, and whether mirrored."""
        views = [list(view) for view in self.views]
        return {"method": METHOD, "augment": identity(self.settings) | {"views": views}}
