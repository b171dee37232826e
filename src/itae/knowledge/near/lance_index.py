"""Lance's index of a snapshot's live rows: a small dataset of its own, for those of a base are hashed and versioned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itae.base.errors import UserError
from itae.knowledge.disk.lance_files import lance_here, settle, trouble_of_lance
from itae.knowledge.near.index_kind import Search, blocks
from itae.knowledge.records.sealed import Damaged
from itae.knowledge.records.snapshot import Snapshot

TYPES = ("IVF_FLAT", "IVF_SQ", "IVF_PQ", "IVF_HNSW_SQ", "IVF_HNSW_PQ")
"""Types of Lance's index: IVF_FLAT keeps whole vectors, SQ a byte a number, PQ a byte for eight of them."""

_DATASET, _ROW, _VECTOR = "index.lance", "row", "vector"
_CACHED = 2**28  # bytes of an index in memory as it is searched; Lance's own is 6 GB


@dataclass(frozen=True)
class LanceIndex:
    """An index by the name of its type, one of `TYPES`; an `itae.knowledge.near.index_kind.Kind`.

    Lance chooses how many lists there are. By default a search looks into an eighth of them, at least 8. Its one
    parameter is ``nprobes=32``: there is none to refine, since all candidates are compared anew. To make one takes up
    to about 1 GB, seen on 300,000 and 600,000 vectors of 384 numbers.
    """

    type: str

    @property
    def version(self) -> str:
        """Lance and its version."""
        return f"Lance {lance_here().__version__}"

    def make(self, snapshot: Snapshot, folder: Path) -> str:
        """Write the vectors of all live rows, and Lance's index of them."""
        if self.type not in TYPES:
            raise UserError(
                f"knowledge.index={f'lance:{self.type}'!r} is no index that itae has Lance make; write one of "
                f"{', '.join(f'lance:{one}' for one in TYPES)}."
            )
        width = snapshot.vectors_ME.shape[1]
        schema = pa.schema([(_ROW, pa.int64()), (_VECTOR, pa.list_(pa.float32(), width))])
        codes = {"num_sub_vectors": width // next(n for n in (8, 4, 2, 1) if width % n == 0)}
        more = codes if self.type.endswith("PQ") else {}
        try:
            with trouble_of_lance():
                dataset = lance_here().write_dataset(_batches(snapshot, schema), folder / _DATASET, schema)
                settle(dataset)
                dataset.create_index(_VECTOR, self.type, metric="cosine", **more)
                (made,) = dataset.stats.index_stats(f"{_VECTOR}_idx")["indices"] or [{}]
        except Damaged as error:
            raise self._too_few(snapshot, str(error)) from error
        if "num_partitions" not in made:  # Lance says nothing, and makes none
            raise self._too_few(snapshot, "Lance trains codes on 256 or more")
        lists = int(made["num_partitions"])
        return f"nprobes={min(lists, max(8, lists // 8))}"

    def read(self, folder: Path, search: str) -> Search:
        """Open an index, whose lists are read as they are looked at."""
        name, _, number = search.partition("=")
        if name != "nprobes" or not (number.isascii() and number.isdigit() and int(number)):
            raise UserError(f"{search!r} is no search of this index; one is nprobes=32.")
        return _Searched(lance_here().dataset(folder / _DATASET, index_cache_size_bytes=_CACHED), int(number))

    def _too_few(self, snapshot: Snapshot, why: str) -> UserError:
        return UserError(
            f"knowledge.index={f'lance:{self.type}'!r} can't be made of {len(snapshot)} rows ({why}); take "
            "lance:IVF_FLAT, or knowledge.index=null, which is exact."
        )


@dataclass(frozen=True)
class _Searched:
    dataset: Any
    nprobes: int

    def __call__(self, queries_QE: np.ndarray, count: int) -> np.ndarray:
        rows_QL = np.full((len(queries_QE), count), -1)
        for row_L, query_E in zip(rows_QL, queries_QE, strict=True):
            asked = {"column": _VECTOR, "q": query_E, "k": count, "nprobes": self.nprobes}
            try:
                with trouble_of_lance():
                    found = self.dataset.to_table(columns=[_ROW, "_distance"], nearest=asked)[_ROW].to_numpy()
            except Damaged as error:
                raise UserError(f"{self.dataset.uri} can't be searched ({error}): make the index anew.") from error
            row_L[: len(found)] = found
        return rows_QL


def _batches(snapshot: Snapshot, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for rows, vectors in blocks(snapshot, 0, len(snapshot)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        yield pa.record_batch([pa.array(rows), column], schema=schema)
