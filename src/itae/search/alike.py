"""How alike each row of a base is to the query and to what was judged, kept from round to round.

A new mark costs one product with all vectors; what was asked before is there. Of a small base the similarities are kept
as they are told, in float64; of a large one as the quick product in float32 has them, and `itae.search.rank` computes
those anew that matter.

Shapes: M positions of a snapshot, J vectors, E embedding width.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from itae.knowledge.records.similarity import margin, similarities
from itae.knowledge.records.snapshot import Snapshot

_TOGETHER = 64  # vectors in one product
SMALL = 4096  # positions; of so many a row's similarities in float64 are as quick as what they would save
_ROWS = 1024  # of a product, in the processor's cache
_BYTES = 2**28  # of similarities that are kept, and at least those of one round


class Alike:
    """Similarities of all rows of one snapshot to vectors that are asked for again and again.

    Several threads may ask the same one.

    Parameters
    ----------
    snapshot
        The version.
    small
        Up to how many positions similarities are kept in float64.
    """

    def __init__(self, snapshot: Snapshot, small: int = SMALL) -> None:
        self.snapshot = snapshot
        self.exact = len(snapshot.alive_M) <= small
        self.margin = 0.0 if self.exact else margin(max(1, snapshot.vectors_ME.shape[1]))
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._coming: dict[bytes, np.ndarray] = {}
        self._guard = threading.Lock()

    def expect(self, vectors_QE: np.ndarray) -> None:
        """Say which vectors will be asked for, one after the other.

        One product with some of them reads the rows once, where one with each reads them each time. Where similarities
        are kept in float64 that is no gain, and nothing happens.

        Parameters
        ----------
        vectors_QE
            float32, of length 1.
        """
        if not self.exact:
            self._coming = {vector_E.tobytes(): vector_E for vector_E in vectors_QE}

    def columns(self, vectors_JE: np.ndarray) -> list[np.ndarray]:
        """Return how alike all positions are to each vector, [M] each; of dead ones it means nothing.

        Parameters
        ----------
        vectors_JE
            float32, of length 1.
        """
        with self._guard:
            return self._columns(vectors_JE)

    def _columns(self, vectors_JE: np.ndarray) -> list[np.ndarray]:
        names = [vector_E.tobytes() for vector_E in vectors_JE]
        new = {name: vectors_JE[j] for j, name in enumerate(names) if name not in self._kept}
        if new:
            if beside := sum(name in self._coming for name in new):
                new |= self._next(len(new) - beside)
            made_KM = self._made(np.stack(list(new.values())))
            self._kept.update(zip(new, made_KM, strict=True))
        for name in names:
            self._kept.move_to_end(name)
        found = [self._kept[name] for name in names]
        size = max(1, found[0].nbytes) if found else 1
        while len(self._kept) > max(len(set(names)), _BYTES // size):
            self._kept.popitem(last=False)
        return found

    def _next(self, beside: int) -> dict[bytes, np.ndarray]:
        """Return as many that are to come as will be kept with some others; these aren't awaited any more."""
        count = min(_TOGETHER, _BYTES // (4 * len(self.snapshot.alive_M))) - beside
        found = {name: self._coming[name] for name in list(self._coming)[: max(0, count)]}
        self._coming = {name: vector_E for name, vector_E in self._coming.items() if name not in found}
        return {name: vector_E for name, vector_E in found.items() if name not in self._kept}

    def _made(self, vectors_KE: np.ndarray) -> list[np.ndarray]:
        vectors_ME = self.snapshot.vectors_ME
        if self.exact:
            every = np.arange(len(vectors_ME))
            return list(similarities(vectors_ME, vectors_KE, np.broadcast_to(every, (len(vectors_KE), len(every)))))
        if len(vectors_KE) == 1:
            return [vectors_ME @ vectors_KE[0]]
        made = [np.empty(len(vectors_ME), np.float32) for _ in vectors_KE]  # each by itself, as each may be let go
        across_EK = np.ascontiguousarray(vectors_KE.T)
        for start in range(0, len(vectors_ME), _ROWS):  # a third less time than one product of so few columns
            some = slice(start, start + _ROWS)
            for column, part in zip(made, (vectors_ME[some] @ across_EK).T, strict=True):
                column[some] = part
        return made
