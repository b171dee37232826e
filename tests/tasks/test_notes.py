"""What tasks of a memory say in the same words."""

from __future__ import annotations

import pytest

from itae.tasks.notes import all_vote, alone


@pytest.mark.parametrize(("k", "rows", "said"), [(7, 6, True), (6, 6, False), (None, 6, False)])
def test_more_neighbours_than_rows_are_told(k, rows, said):
    assert bool(all_vote(k, rows)) is said


def test_classes_of_one_group_are_named_whichever_of_an_images_labels_they_are():
    labels = [("cat",), ("cat", "pet"), ("dog",), ("owl",), ("owl", "pet"), ()]
    (note,) = alone(labels, [0, 0, 1, 2, 3, 0])
    assert note.startswith("All images of cat, dog are of one group each")
    assert "of dog are" in alone(labels, [0, 0, 1, 2, 3, 0], but=("cat",))[0]
    assert alone(labels, range(6), but=("dog",)) == []
