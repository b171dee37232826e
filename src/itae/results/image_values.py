"""``image_values.npz`` in a run's folder: what each image adds to each score of its edited side.

By it an edit is held against its random control, image by image, whatever the task. A clustering keeps its assignments
instead (`itae.results.clusterings`), of which the same is computed. Read without pickle; zip checks the sums, and
whether the file is this run's is asked of its scores.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itae.base.errors import UserError
from itae.measure.intervals import image_values
from itae.results.clusterings import images_of, read_clusterings

if TYPE_CHECKING:
    from itae.results.run import Run
    from itae.store.store import Embeddings

IMAGE_VALUES = "image_values.npz"
_OF_A_METRIC = "value."


@dataclass(frozen=True)
class ImageValues:
    """What each image adds to each score.

    Attributes
    ----------
    images
        The sha256 of all images' ids and bytes in their order.
    groups
        Whole numbers from 0, equal for images that are drawn together, [n], or None where each is by itself.
    values
        By metric, float64 [repeats, n], a repeat being a seed, an order or a draw; the mean over images is the score.
    """

    images: bytes
    groups: np.ndarray | None
    values: Mapping[str, np.ndarray]


def write_image_values(
    path: Path, edited: Embeddings, values: Mapping[str, np.ndarray], groups: np.ndarray | None
) -> None:
    """Write them; of values that are 0 and 1, or few others, little more than a bit each is left of the file."""
    told: dict[str, Any] = {"images": np.frombuffer(images_of(edited), np.uint8)}
    if groups is not None:
        told["groups"] = groups
    path.parent.mkdir(parents=True, exist_ok=True)
    told |= {f"{_OF_A_METRIC}{name}": each for name, each in values.items()}
    np.savez_compressed(path, **told)


def read_image_values(run: Run) -> ImageValues:
    """Read them back, or compute them of a run's clusterings.

    Raises
    ------
    UserError
        If a run has kept neither, or what it has kept is damaged or another run's.
    """
    path = run.folder / IMAGE_VALUES
    if not path.exists():  # each run begins without one; clusterings may be of another task's that ran here before
        kept = read_clusterings(run)
        return ImageValues(kept.images, kept.groups, image_values(kept.labels, kept.assignments, kept.knn_correct))
    try:
        with np.load(path, allow_pickle=False) as file:
            told = {name: file[name] for name in file.files}
        values = {name.removeprefix(_OF_A_METRIC): np.asarray(each, np.float64) for name, each in told.items()
                  if name.startswith(_OF_A_METRIC)}  # fmt: skip
        found = ImageValues(told["images"].tobytes(), told.get("groups"), values)
        its_own = _agree(run.result["edited"], found)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run it again.") from error
    if not its_own:
        raise UserError(f"{path} is of another run than {run.folder}; run it again.")
    return found


def _agree(edited: Mapping[str, Any], found: ImageValues) -> bool:
    """Return whether the means are the scores of the result, and all is of as many images."""
    images = {each.shape[1] for each in found.values.values()} | (
        {len(found.groups)} if found.groups is not None else set()
    )
    return len(images) == 1 and all(
        len(each) == len(edited[name]["per_seed"])
        and np.allclose(each.mean(axis=1), edited[name]["per_seed"], atol=1e-9)
        for name, each in found.values.items()
    )
