"""What was fitted or searched for is kept, as small JSON files in the store, found by all that it depends on.

So it is the same numbers in every run on the same images, of whatever names, on whatever device, and rows of earlier
embeddings do. A file appears by rename; a fit or a search that is killed has left nothing and begins anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from itae.base.disk import disk_trouble_told, replace_file
from itae.edits.bimodal import Fit
from itae.edits.registers import MOST, RegisterNeurons
from itae.store.entry import canonical

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Kept(Generic[Found]):
    """Files of one kind.

    Parameters
    ----------
    place
        Its folder in the store, and what names begin with.
    form
        What a file says that it is, with the version.
    write, read
        What was found as plain values, and back.
    """

    def __init__(
        self,
        place: tuple[str, str],
        form: str,
        write: Callable[[Found], dict[str, Any]],
        read: Callable[[dict[str, Any]], Found],
    ) -> None:
        self._place, self._form, self._write, self._read = place, form, write, read

    def path(self, root: Path, key: Mapping[str, Any]) -> Path:
        """Return the file in the store at `root` for what depends on `key`."""
        folder, prefix = self._place
        return root / folder / f"{prefix}{hashlib.sha256(canonical(key).encode('ascii')).hexdigest()[:16]}.json"

    def recall(self, root: Path, key: Mapping[str, Any]) -> Found | None:
        """Return what was found before, or None; a damaged file counts as none."""
        path = self.path(root, key)
        try:
            told = json.loads(path.read_bytes())
            if told.pop("format") != self._form or canonical(told.pop("key")) != canonical(key):
                raise ValueError("of something else")
            return self._read(told)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s can't be read (%s); what it held is found anew.", path, error)
            return None

    def remember(self, root: Path, key: Mapping[str, Any], found: Found) -> None:
        """Write what was found, whole or not at all.

        Raises
        ------
        UserError
            If the disk is full or can't be written.
        """
        path = self.path(root, key)
        told = {"format": self._form, "key": key} | self._write(found)
        with disk_trouble_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, (json.dumps(told, allow_nan=False) + "\n").encode("ascii"))


def _fits_of(told: Mapping[str, Any]) -> dict[int, Fit]:
    return {int(layer): Fit.of_json(fit) for layer, fit in told["fits"].items()}


def _neurons_of(told: dict[str, Any]) -> RegisterNeurons:
    neurons = tuple((int(layer), int(neuron), float(score)) for layer, neuron, score in told.pop("neurons"))
    return RegisterNeurons(neurons, **told)


FITS: Kept[dict[int, Fit]] = Kept(
    (".facts", "fits-"),
    "itae fits 1",
    lambda fits: {"fits": {str(layer): fit.as_json() for layer, fit in fits.items()}},
    _fits_of,
)
NEURONS: Kept[RegisterNeurons] = Kept(
    (".registers", ""),
    "itae registers 2",  # 2: a MAD of 0 tells no outliers
    lambda found: found.summary(MOST),
    _neurons_of,
)
