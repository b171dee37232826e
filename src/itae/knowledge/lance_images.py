"""Images in a Lance dataset beside the rows: ``images.lance``, by their sha256."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from itae.knowledge.filed import Filed
from itae.knowledge.folder import is_url
from itae.knowledge.lance_files import first_line, lance_here, names_of, remove_unneeded, settle, trouble_of_lance
from itae.knowledge.pictures import Picture, new_ones
from itae.knowledge.sealed import Damaged

_BATCH = 64  # images at a time
_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"}),
        pa.field("bytes", pa.large_binary(), nullable=False),
    ]
)


class LanceImages:
    """Images of a base; each is held against its sha256 as it is read.

    Parameters
    ----------
    where
        The base's folder, or its URL.
    """

    def __init__(self, where: str) -> None:
        self.uri = f"{where}/images.lance"

    def put(self, rows: Filed, image: Callable[[int], bytes] | None) -> None:
        """Keep the images of rows that are not there yet."""
        self._back_to_whole()
        pictures = new_ones(rows, image, self._there())
        while some := list(islice(pictures, _BATCH)):
            columns = [[digest.hex() for digest, _ in some], [data for _, data in some]]
            table = pa.table(columns, _SCHEMA)
            with trouble_of_lance():
                dataset = self._dataset()
                if dataset is None:
                    dataset = lance_here().write_dataset(table, self.uri, _SCHEMA, "overwrite")
                else:
                    dataset.merge_insert("sha256").when_not_matched_insert_all().execute(table)
                settle(dataset)

    def get(self, digest: bytes) -> bytes | None:
        """Return an image."""
        with trouble_of_lance():
            dataset = self._dataset()
            if dataset is None:
                return None
            found = dataset.to_table(filter=f"sha256 = '{digest.hex()}'").column("bytes").to_pylist()
        if not found:
            return None
        return _whole(digest, found[0])

    def all(self) -> Iterator[Picture]:
        """Return what is kept, without holding it against its sha256."""
        with trouble_of_lance():
            dataset = self._dataset()
            for batch in dataset.to_batches(batch_size=_BATCH) if dataset is not None else ():
                for digest, data in zip(*(batch.column(name).to_pylist() for name in _SCHEMA.names), strict=True):
                    yield bytes.fromhex(digest), data

    def keep(self, digests: Iterable[bytes]) -> None:
        """Remove all but some."""
        with trouble_of_lance():
            dataset = self._dataset()
            if dataset is None:
                return
            gone = sorted(self._there() - set(digests))
            for i in range(0, len(gone), 500):
                some = ", ".join(f"'{digest.hex()}'" for digest in gone[i : i + 500])
                dataset.delete(f"sha256 IN ({some})")
            dataset.optimize.compact_files(materialize_deletions_threshold=0.0, num_threads=1, batch_size=_BATCH)
            dataset.restore()  # a manifest tells what made its version, with the condition of what was deleted
            settle(dataset)
            dataset.cleanup_old_versions(timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False)
            if not is_url(self.uri):
                remove_unneeded(Path(self.uri), set(names_of(dataset)))

    def _there(self) -> set[bytes]:
        dataset = self._dataset()
        if dataset is None:
            return set()
        return {bytes.fromhex(each) for each in dataset.to_table(columns=["sha256"]).column("sha256").to_pylist()}

    def _back_to_whole(self) -> None:
        """Go back to the last version that is whole: on a full disk the latest may have been cut short."""
        with trouble_of_lance():
            latest = dataset = self._dataset()
            while dataset is not None:
                with contextlib.suppress(OSError):
                    settle(dataset)
                    break
                dataset = dataset.checkout_version(dataset.version - 1) if dataset.version > 1 else None
            if dataset is not None and dataset.version != latest.version:
                dataset.restore()

    def _dataset(self) -> Any:
        try:
            return lance_here().dataset(self.uri)
        except (ValueError, FileNotFoundError) as error:
            if is_url(self.uri) or not any(Path(self.uri).glob("_versions/*.manifest")):
                return None
            raise Damaged(f"images.lance can't be read: {first_line(error)}") from None


def _whole(digest: bytes, data: bytes) -> bytes:
    if hashlib.sha256(data).digest() != digest:
        raise Damaged(f"the image {digest.hex()[:16]} in images.lance has other bytes than it had")
    return data
