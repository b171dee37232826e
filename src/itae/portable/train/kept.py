"""Weights that were trained, kept by all that they depend on: there whole or not at all, and never taken damaged."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itae.base.code import sha256
from itae.base.disk import disk_trouble_told, flush_folder, replace_file
from itae.base.identity import identity
from itae.base.lock import Lock
from itae.portable.data.pairs import Splits
from itae.portable.devices.device import Net
from itae.portable.train.options import Train

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

METHOD = 1
"""How this package trains; a mend that makes other weights raises it."""
WEIGHTS, ABOUT = "weights.safetensors", "trained.json"
_PLACE, _LOCKS, _HALF = Path("portable", "trained"), "locks", "half"


@dataclass(frozen=True)
class Place:
    """Where the weights of one training are, or will be.

    Parameters
    ----------
    cache
        Folder of the cache (paths.cache).
    key
        Of the training: see `key_of`.
    """

    cache: Path
    key: str

    @property
    def root(self) -> Path:
        """The folder of all trainings."""
        return self.cache / _PLACE

    @property
    def folder(self) -> Path:
        """The folder of this one."""
        return self.root / self.key

    @property
    def checkpoint(self) -> Path:
        """The file that it goes on from after a kill."""
        return self.root / _HALF / f"{self.key}.safetensors"

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold its lock, and wait for whoever trains the same; `name` is the network's, for people who wait.

        Raises
        ------
        DiskError
            When the disk is full or can't be written.
        """
        with disk_trouble_told(self.root):
            for folder in (_LOCKS, _HALF):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            with Lock(self.root / _LOCKS / self.key).held(f"the training of {name} by another process"):
                yield

    def about(self) -> dict[str, Any] | None:
        """Return what is known of the weights, if they are there and as they were written."""
        if not self.folder.is_dir():
            return None
        try:
            about = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            if sha256(self.folder / WEIGHTS) == about["facts"]["sha256"]:
                return about
        except (OSError, ValueError, KeyError, TypeError):
            pass
        log.warning("The weights in %s are damaged; the network is trained anew.", self.folder)
        return None

    def keep(self, weights: dict[str, torch.Tensor], curve: list[dict[str, Any]], facts: dict[str, Any]) -> None:
        """Write weights and what is known of them; who is here holds the lock."""
        from safetensors.torch import save

        for left in (*self.root.glob(f".{self.key}-*.tmp"), self.folder):  # killed, or damaged
            shutil.rmtree(left, ignore_errors=True)
        draft = self.root / f".{self.key}-{uuid.uuid4().hex}.tmp"
        draft.mkdir()
        try:
            data = save(weights)
            replace_file(draft / WEIGHTS, data)
            about = {"curve": curve, "facts": facts | {"sha256": hashlib.sha256(data).hexdigest()}}
            replace_file(draft / ABOUT, json.dumps(about, indent=1).encode())
            flush_folder(draft)
            draft.rename(self.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self.checkpoint.unlink(missing_ok=True)


def key_of(net: Net, splits: Splits, options: Train, teacher: Net | None) -> str:
    """Return a hash of all that weights depend on: networks, weights to begin with, pairs, settings, the teacher's."""
    depends = {
        "method": METHOD,
        "net": _known(net),
        "pairs": splits.key,
        "options": options.key(taught=teacher is not None),
        "teacher": None if teacher is None else _known(teacher),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def _known(net: Net) -> dict[str, Any]:
    """Return what a network is by: its class and settings, and all that its weights are."""
    import numpy as np

    digest = hashlib.sha256()
    for name, tensor in sorted(net.build().state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return {**identity(net), "settings": net.settings(), "weights": digest.hexdigest()}
