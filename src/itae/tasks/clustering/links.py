"""Clusters as folders, for people who look at pictures with what they look at pictures with."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from itae.images.image_set import ImageSet

log = logging.getLogger(__name__)

FOLDER = "clusters"
_LONGEST = 200  # bytes of a name; file systems take 255


def write_links(folder: Path, images: ImageSet, ids: Sequence[str], clusters: np.ndarray) -> Path | None:
    """Make a folder for each cluster, with a link to each of its images.

    Parameters
    ----------
    folder
        The run's; ``clusters/<number>/`` is made in it, and ``clusters/noise/`` for what is in no cluster. Links of an
        earlier run are removed, and nothing else.
    images
        Where the files are.
    ids, clusters
        Of the images that were clustered, and their clusters, [n]; -1 is noise.

    Returns
    -------
    Path or None
        ``clusters/``; None where the images are no files.
    """
    remove_links(folder)
    paths = {name: item for name, item in zip(images.ids, images.items, strict=True) if isinstance(item, str)}
    if not paths:
        log.warning("The images of %s are no files, so there is nothing to link to.", images.name)
        return None
    top = folder / FOLDER
    digits = len(str(max(0, int(clusters.max()))))
    for name, cluster in zip(ids, clusters.tolist(), strict=True):
        inside = top / (f"{cluster:0{digits}d}" if cluster >= 0 else "noise")
        inside.mkdir(parents=True, exist_ok=True)
        link = inside / file_name(name)
        if os.path.lexists(link):  # a/b__c and a__b/c
            link = inside / file_name(name, unique=True)
        link.symlink_to(os.path.abspath(paths[name]))
    return top


def remove_links(folder: Path) -> None:
    """Remove the links that an earlier run made in this folder, and the folders that are empty then."""
    for link in (folder / FOLDER).glob("*/*"):
        if link.is_symlink():
            link.unlink()
    for inside in (*(folder / FOLDER).glob("*"), folder / FOLDER):
        with contextlib.suppress(OSError):  # not empty, or no folder: somebody's own
            inside.rmdir()


def file_name(name: str, unique: bool = False) -> str:
    """Return the name of an image's link: its id, in one word that a file system takes."""
    flat = name.replace("/", "__")
    if not unique and len(os.fsencode(flat)) <= _LONGEST:
        return flat
    end = os.path.splitext(flat)[1]
    stem = os.fsencode(flat.removesuffix(end))[-100:].decode("utf-8", "ignore")
    return f"{stem} {hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}{end}"
