"""Clusters as folders, for people who look at pictures with what they look at pictures with."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itae.data import ImageSet

log = logging.getLogger(__name__)

FOLDER = "clusters"


def write_links(folder: Path, images: ImageSet, ids: Sequence[str], clusters: np.ndarray) -> Path | None:
    """Make a folder for each cluster, with a link to each of its images.

    Parameters
    ----------
    folder
        The run's; ``clusters/<number>/`` is made in it, in place of an earlier one.
    images
        Where the files are.
    ids, clusters
        Of the images that were clustered, and their clusters, [n].

    Returns
    -------
    Path or None
        ``clusters/``; None where the images are no files.
    """
    paths = {name: item for name, item in zip(images.ids, images.items, strict=True) if isinstance(item, str)}
    if not paths:
        log.warning("The images of %s are no files, so there is nothing to link to.", images.name)
        return None
    top = folder / FOLDER
    shutil.rmtree(top, ignore_errors=True)
    digits = len(str(int(clusters.max())))
    for cluster in np.unique(clusters):
        (top / f"{cluster:0{digits}d}").mkdir(parents=True)
    for name, cluster in zip(ids, clusters.tolist(), strict=True):
        link = top / f"{cluster:0{digits}d}" / name.replace("/", "__")
        if link.is_symlink():  # a/b__c and a__b/c
            link = link.with_name(f"{link.stem} {len(os.listdir(link.parent))}{link.suffix}")
        link.symlink_to(os.path.abspath(paths[name]))
    return top
