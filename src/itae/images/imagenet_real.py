"""ImageNet ReaL: which classes are seen in each image of ImageNet's val, where the official list has one for each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from itae.base.errors import UserError
from itae.base.place import at_home
from itae.images.formats import text_of
from itae.images.imagenet_lists import CLASSES

_IMAGE = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")


def real_labels(path: str | Path, ids: Sequence[str], classes: int = CLASSES) -> list[frozenset[int]]:
    """Return the labels of ImageNet ReaL ("Are we done with ImageNet?", arXiv 2006.07159) for images of val.

    Parameters
    ----------
    path
        Where ``real.json`` of github.com/google-research/reassessed-imagenet is: a list that has, for each image in the
        order of their numbers, the list of the classes that are seen in it.
    ids
        n ids such as ``val/ILSVRC2012_val_00000001.JPEG``; folders before the name have no say.
    classes
        How many classes there are; ReaL counts ImageNet's 1,000 in the order of their WordNet ids.

    Returns
    -------
    list of frozenset of int
        n sets of classes; an image of an empty one is left out of the score.

    Raises
    ------
    UserError
        If the file isn't such a list, has a class that there isn't or too few images, or an id is of another image.
    """
    numbers = [_number(id_) for id_ in ids]
    file = at_home(path)
    text = text_of(file)
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{file}' is no JSON ({error}).") from None
    if not isinstance(labels, list) or not all(isinstance(of, list) for of in labels):
        raise UserError(
            f"'{file}' is not ImageNet ReaL's real.json: that is a list with a list of classes for each image."
        )
    for number, of in enumerate(labels, start=1):
        if wrong := [label for label in of if type(label) is not int or not 0 <= label < classes]:
            raise UserError(
                f"'{file}' gives image {number} the class {str(wrong[0])[:60]}, which is not in 0..{classes - 1}."
            )
    if max(numbers, default=0) > len(labels):
        raise UserError(
            f"'{file}' has labels of {len(labels)} images, and none of '{ids[numbers.index(max(numbers))]}'."
        )
    return [frozenset(labels[number - 1]) for number in numbers]


def _number(id_: str) -> int:
    found = _IMAGE.fullmatch(id_.rpartition("/")[2])
    if not found or not int(found[1]):
        raise UserError(f"'{id_}' has no labels of ImageNet ReaL, which are of ILSVRC2012_val_00000001.JPEG and so on.")
    return int(found[1])
