"""Whose images are a memory's rows, and whose are asked about: a task's ``gallery``, ``labels`` and ``group``.

Without a gallery they are the same, and each image is asked about as if it and its group were not in the memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itae.base.errors import UserError
from itae.edits.registers import RegisterEdit
from itae.images.walk import listed
from itae.store.entry import differences
from itae.tasks.memory import Said, said_of
from itae.tasks.task import Job, Want

if TYPE_CHECKING:
    from itae.edits.edit import AnyEdit
    from itae.embed.source import Source


def check_gallery(gallery: Any, bases: bool = False) -> None:
    """Raise a `UserError` for a ``task.gallery`` that isn't None or words; where `bases` are taken, nor a text."""
    if gallery is None or (isinstance(gallery, Mapping | str if bases else Mapping) and gallery):
        return
    base = " a knowledge base (a folder whose name is a number as ./2024)," if bases else ""
    raise UserError(
        f"task.gallery={gallery!r} must be words of the dataset group, as {{split: train}},{base} or null for the "
        "images themselves."
    )


@dataclass(frozen=True)
class Sets:
    """The images that are asked about, and those that are rows.

    Parameters
    ----------
    queries
        The run's own.
    gallery
        The rows; None where these are the queries.
    labels, group
        As of `itae.tasks.memory.said_of`; with a gallery a file may have lines of images of both.
    """

    queries: Source
    gallery: Source | None
    labels: str | None
    group: str | None

    @classmethod
    def of(cls, job: Job, words: Mapping[str, Any] | None, labels: str | None, group: str | None) -> Sets:
        """Open the gallery that some words of the dataset group say."""
        return cls(job.source, None if words is None else job.open(words), labels, group)

    @property
    def rows(self) -> Source:
        """Whose images are the rows."""
        return self.gallery or self.queries

    def said_of_rows(self, ids: Sequence[str]) -> Said:
        """Return what is said of some of the rows."""
        return self._said(self.rows, self.queries, ids)

    def said_of_queries(self, ids: Sequence[str]) -> Said:
        """Return what is said of some of the queries."""
        return self._said(self.queries, self.rows, ids)

    def _said(self, source: Source, beside: Source, ids: Sequence[str]) -> Said:
        also = () if self.gallery is None else beside.images.ids
        return said_of(source.images, ids, self.labels, self.group, also)

    def wants(self, job: Job) -> list[Want]:
        """Return both sides of the queries, and of the gallery where there is one."""
        sides = job.sides()
        if self.gallery is None:
            return sides
        return [*sides, *(Want(f"{side.name}.gallery", self.gallery, side.edit) for side in sides)]

    def check_space(self, edit: AnyEdit | None) -> None:
        """Raise a `UserError` for a gallery that isn't of the space of the queries."""
        if self.gallery is None:
            return
        for name, (there, here) in differences(self.gallery.space(None), self.queries.space(None)).items():
            raise UserError(
                f"task.gallery is of another space than the images that are asked about: {name} is {there} in it, and "
                f"{here} in these; leave out the word that changes it."
            )
        if isinstance(edit, RegisterEdit) or getattr(edit, "unfitted", False):
            how = "searches its neurons" if isinstance(edit, RegisterEdit) else "fits its thresholds (rule bimodal)"
            raise UserError(
                f"task.gallery: the edit {how} on each set of images, so that rows and queries would be of two spaces; "
                "give its numbers with detector.calibration=FILE (itae calibrate FILE ... makes one), choose another "
                "rule, or leave out the gallery."
            )
        if getattr(edit, "ungathered", False):
            raise UserError(
                "task.gallery: the control takes numbers of calibration images of each set (control=shuffle, "
                "register_mean), so that rows and queries would be of two spaces; choose another control, or leave out "
                "the gallery."
            )

    def check_rows(self, kind: str, ids: Sequence[str]) -> Said:
        """Return what is said of rows; a `UserError` where none has a label, or all are of one class or one group.

        Parameters
        ----------
        kind
            Of the task, for the sentence.
        ids
            Of the rows that there are.
        """
        said = self.said_of_rows(ids)
        _check_labelled(kind, self.rows, said)
        classes = {label for some in said.labels for label in some}
        if len(classes) < 2:
            raise UserError(
                f"All labelled images of {self.rows.images.name} are of the class {min(classes)!r}, and the memory of "
                f"task={kind} needs two classes or more; add images of another class, or give task.labels=FILE.csv."
            )
        asked = self.said_of_queries(self.queries.images.ids).groups if self.gallery else ()
        groups = {*said.groups, *asked}
        if len(groups) == 1 and None not in groups:
            raise UserError(
                f"task.group={self.group} puts all {len(said.groups) + len(asked)} images into one group, so that none "
                "may vote on another; give other groups, or null."
            )
        return said

    def check_queries(self, kind: str, ids: Sequence[str]) -> None:
        """Raise a `UserError` where no query has a label that a row of the gallery has, or one has several."""
        said = self.said_of_queries(ids)
        _check_labelled(kind, self.queries, said)
        check_one_label(kind, said)
        known = {label for some in self.said_of_rows(self.rows.images.ids).labels for label in some}
        if known.isdisjoint(label for some in said.labels for label in some):
            raise UserError(
                f"None of the {len(ids)} queries has a label that a row of the gallery has ({listed(sorted(known))}); "
                "give a gallery of the same classes, or task.labels=FILE.csv."
            )


def _check_labelled(kind: str, source: Source, said: Said) -> None:
    if not any(said.labels):
        raise UserError(
            f"None of the {len(said.labels)} images of {source.images.name} has a label, and task={kind} needs labels; "
            "put the images into a folder for each class, or give task.labels=FILE.csv."
        )


def check_one_label(kind: str, said: Said) -> None:
    """Raise a `UserError` for an image of several labels."""
    several = next((some for some in said.labels if len(some) > 1), None)
    if several is not None:
        raise UserError(
            f"An image has several labels ({listed(several)}), and task={kind} tells one of each; give "
            "task.labels=FILE.csv with one line for each."
        )
