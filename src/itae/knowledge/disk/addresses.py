"""Where in Lance rows lie, by their numbers: a condition on numbers has it look at every row of every file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from itae.knowledge.records.filed import Filed
from itae.knowledge.records.ranges import Range
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import whole

if TYPE_CHECKING:
    import lance

_FILE = 32  # bits of an address below the number of its fragment: the place in it


class Addresses:
    """The address of each row of a version of a dataset.

    Parameters
    ----------
    dataset
        At the version; its rows are looked at once.

    Attributes
    ----------
    version
        That these addresses are of.
    """

    def __init__(self, dataset: lance.LanceDataset) -> None:
        found = dataset.to_table(columns=["number"], with_row_address=True)
        numbers = whole(found.column("number")).to_numpy()
        order = np.argsort(numbers, kind="stable")
        self._numbers, self._addresses = numbers[order], whole(found.column("_rowaddr")).to_numpy()[order]
        self._later: dict[int, int] = {}
        self._fragments = {fragment.fragment_id for fragment in dataset.get_fragments()}
        self.version = int(dataset.version)

    def of(self, numbers: Iterable[Range]) -> list[int]:
        """Return the addresses of rows by their numbers.

        Raises
        ------
        Damaged
            When one isn't there.
        """
        found = []
        for first, last in numbers:
            asked = np.arange(first, last + 1)
            at = np.minimum(np.searchsorted(self._numbers, asked), len(self._numbers) - 1)
            for number, address, here in zip(asked.tolist(), self._addresses[at], self._numbers[at], strict=True):
                if number not in self._later and here != number:
                    raise Damaged(f"the row of number {number} is not in rows.lance")
                found.append(self._later.get(number, int(address)))
        return found

    def follow(self, dataset: lance.LanceDataset, put: Filed | None) -> None:
        """Go on to a later version, in which rows were taken away and some were put behind."""
        if put is not None and len(put):
            new = [each for each in dataset.get_fragments() if each.fragment_id not in self._fragments]
            places = [(each.fragment_id << _FILE) + i for each in new for i in range(each.physical_rows)]
            self._later |= zip(put.columns.column("number").to_pylist(), places, strict=True)
            self._fragments |= {each.fragment_id for each in new}
        self.version = int(dataset.version)
