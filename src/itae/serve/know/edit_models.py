"""What edits are asked and answer, as the API documents it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt

from itae.serve.shared import Sent

MOST_TOLD = 10_000
MOST_LABELS = 1000
"""Ids of one kind that a look at a change tells."""

_LABELS = Field(
    description="By the row's id, the labels that it gets in place of its own, any texts that aren't empty; an empty "
    "list for none.",
    min_length=1,
)
_IDS = Field(description="Ids of the rows that are to go.", min_length=1)
_EDIT = Field(description="The number of an edit: the rows that it touched are put back as they were.", ge=1)
_VERSION = Field(description="The number of a version, or a tag: its rows are brought back.")


class Correct(Sent):
    """Give rows other labels."""

    verb: Literal["correct"] = Field(description="What is done.")
    labels: dict[str, list[str]] = _LABELS


class Delete(Sent):
    """Take rows away."""

    verb: Literal["delete"] = Field(description="What is done.")
    ids: list[str] = _IDS


class Undo(Sent):
    """Put back what one edit touched."""

    verb: Literal["undo"] = Field(description="What is done.")
    edit: StrictInt = _EDIT


class Restore(Sent):
    """Bring the rows of an earlier version back."""

    verb: Literal["restore"] = Field(description="What is done.")
    version: StrictInt | str = _VERSION


class Signed(BaseModel):
    """What an edit has beside its change."""

    seen: StrictInt = Field(
        ge=0,
        description="The version that its author has looked at: where an edit after it touched one of the rows, "
        "nothing is written, and the answer is 409.",
    )
    why: str = Field("", description="The reason, for the journal.", max_length=10_000)


class CorrectEdit(Signed, Correct):
    """Give rows other labels, for good."""


class DeleteEdit(Signed, Delete):
    """Take rows away, for good."""


class UndoEdit(Signed, Undo):
    """Put back what one edit touched, for good."""


class RestoreEdit(Signed, Restore):
    """Bring the rows of an earlier version back, for good."""


Change = Annotated[Correct | Delete | Undo | Restore, Field(discriminator="verb")]
Edit = Annotated[CorrectEdit | DeleteEdit | UndoEdit | RestoreEdit, Field(discriminator="verb")]


class Turned(BaseModel):
    """A row whose predicted label would be another."""

    id: str = Field(description="Its id.")
    number: int | None = Field(description="Its number; null where the row is gone.")
    before: str | None = Field(description="The label that it is given now, asked as if it were not there.")
    after: str | None = Field(description="The label that it would be given.")


class Counts(BaseModel):
    """How many rows an edit touches."""

    added: int = Field(description="Rows that come.")
    changed: int = Field(description="Rows that get other labels, other bytes or another place.")
    deleted: int = Field(description="Rows that go.")
    rows: int = Field(description="Rows that there are after it.")


class Relabelled(BaseModel):
    """A row that would get other labels."""

    id: str = Field(description="Its id.")
    number: int = Field(description="Its number.")
    before: list[str] = Field(description="The labels that it has.")
    after: list[str] = Field(description="The labels that it would have.")


class Looked(BaseModel):
    """What a change would do."""

    version: int = Field(description="The version that it would be made of.")
    added: list[str] = Field(description=f"Ids of rows that would come, {MOST_TOLD:,} at most.")
    changed: list[str] = Field(description=f"Ids of rows that would change, {MOST_TOLD:,} at most.")
    deleted: list[str] = Field(description=f"Ids of rows that would go, {MOST_TOLD:,} at most.")
    counts: Counts = Field(description="How many there are of each.")
    same: int = Field(description="How many of the rows are so already.")
    notes: list[str] = Field(description="What to know of it, in sentences.")
    turned: list[Turned] = Field(description="Predictions that would be others, each row asked as if it weren't there.")
    turned_of: int = Field(description="How many rows were asked.")
    turned_note: str = Field(description="What to know of that, a sentence or nothing.")
    voter_note: str = Field(description="That another voter would be chosen to answer, a sentence or nothing.")
    labels: list[Relabelled] = Field(description=f"Rows that would get other labels, {MOST_LABELS:,} at most.")
    new_labels: list[str] = Field(description="Labels that no row of the base has.")


class Edited(BaseModel):
    """What was done."""

    edit: int | None = Field(description="The number of the edit; null where nothing changed, and there is none.")
    version: int = Field(description="The version that there is now.")
    rows: int = Field(description="How many rows it has.")
    counts: Counts = Field(description="How many rows the edit touched.")


class EditAbout(BaseModel):
    """An edit of the journal."""

    edit: int = Field(description="Its number, and that of the version that it made.")
    verb: str = Field(description="What was done: add, correct, delete, undo, restore, relink, purge.")
    who: str = Field(description="By whom.")
    why: str = Field(description="The reason that was given.")
    when: str = Field(description="When, in UTC.")
    counts: Counts = Field(description="How many rows it touched.")
    undone_by: int | None = Field(None, description="The edit that has put its rows back, if one has.")


class JournalAbout(BaseModel):
    """Some edits of a base."""

    version: int = Field(description="The version that is looked at.")
    edits: list[EditAbout] = Field(description="The newest first.")


class Tags(BaseModel):
    """The names of versions."""

    tags: dict[str, int] = Field(description="The version of each, by its name.")


class TagTo(Sent):
    """Which version gets a name."""

    version: StrictInt = Field(ge=0, description="The number of the version; a tag that is there is moved.")
