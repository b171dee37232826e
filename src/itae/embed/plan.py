"""The edits of one pass, and in which blocks they do the same, so that what they have in common is done once."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType

from itae.edits.edit import AnyEdit
from itae.edits.found import ByDetector
from itae.edits.neighbour_mean import NeighbourMeanEdit
from itae.edits.register_mean import RegisterMeanEdit


class Plan:
    """Edits by their positions, what each does in a block, and how it finds patches there.

    Parameters
    ----------
    edits
        What to compute, in this order; None is the untouched model.
    """

    def __init__(self, edits: Sequence[AnyEdit | None]) -> None:
        self.edits = list(edits)
        self.does: list[dict[int, str]] = [{} for _ in edits]
        self.finds: list[dict[int, str]] = [{} for _ in edits]
        for position, edit in enumerate(edits):
            if edit is not None:
                self.take(position, edit)

    def take(self, position: int, edit: AnyEdit) -> None:
        """Have `edit` at `position`, and keep what it does in a form to compare, which is not free to make."""
        self.edits[position] = edit
        self.does[position] |= edit.does()
        if isinstance(edit, ByDetector):
            thetas = edit.thetas if edit.detector.fitted else dict.fromkeys(edit.looks)
            self.finds[position] |= {layer: edit.finds(layer) for layer in edit.looks if layer in (thetas or ())}

    def untouched(self) -> list[int]:
        """Return the positions of no edit, and of edits that edit no block."""
        return [position for position, edit in enumerate(self.edits) if edit is None or not edit.layers]

    def with_tokens(self) -> dict[int, list[int]]:
        """Return the positions of the edits that add tokens, by how many."""
        longer: dict[int, list[int]] = {}
        for position, edit in enumerate(self.edits):
            if edit is not None and edit.extra and edit.layers:
                longer.setdefault(edit.extra, []).append(position)
        return longer

    def starts(self, kinds: type | UnionType = ByDetector | RegisterMeanEdit) -> dict[int, list[int]]:
        """Return the positions of the edits that add no token, of one kind or all, by their first block."""
        starts: dict[int, list[int]] = {}
        for position, edit in enumerate(self.edits):
            if edit is not None and isinstance(edit, kinds):
                starts.setdefault(edit.layers[0], []).append(position)
        return starts

    def finders(self) -> dict[int, dict[str, ByDetector]]:
        """Return, for each block of the untouched model that edits look at, an edit for each way to find patches."""
        finders: dict[int, dict[str, ByDetector]] = {}
        for edit, names in zip(self.edits, self.finds, strict=True):
            if isinstance(edit, ByDetector) and edit.in_untouched:
                for look in edit.looks:
                    finders.setdefault(look, {})[names[look]] = edit
        return finders

    def ways(self, layer: int, positions: list[int]) -> list[list[int]]:
        """Return the positions of the edits, those together that do the same in a block."""
        ways: dict[str | None, list[int]] = {}
        for position in positions:
            ways.setdefault(self.does[position].get(layer), []).append(position)
        return list(ways.values())

    def of(self, positions: list[int]) -> AnyEdit:
        """Return one of several edits that all do the same at the place in question."""
        edit = self.edits[positions[0]]
        assert edit is not None
        return edit

    def by_detector(self, positions: list[int]) -> ByDetector:
        """Return one of several edits by a detector that all do the same at the place in question."""
        edit = self.of(positions)
        assert isinstance(edit, ByDetector)
        return edit

    def replaces(self, positions: list[int], layer: int) -> bool:
        """Whether these edits replace tokens that enter a block."""
        edit = self.of(positions)
        return isinstance(edit, NeighbourMeanEdit) and layer in edit.layers
