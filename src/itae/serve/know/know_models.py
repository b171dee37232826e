"""What is asked of rows beside searches and what is answered, as the API documents it; and how errors look."""

from __future__ import annotations

from pydantic import BaseModel, Field

from itae.serve.shared import RowAbout, Sent


class RowAsked(Sent):
    """Which row is asked about."""

    id: str = Field(description="Its id.")


class NeighbourAbout(RowAbout):
    """A row near another."""

    similarity: float = Field(description="Cosine, -1 to 1.")


class SuspectAbout(RowAbout):
    """A row that is likely labelled wrongly."""

    source: str | None = Field(description="Where it came from.")
    suggested: str | None = Field(description="The label that most of its region has.")
    score: float = Field(description="From 0 to 1; it ranks, and is no probability.")
    reasons: dict[str, float] = Field(description="What speaks against its label, each from 0 to 1.")
    says: list[str] = Field(description="The stronger reasons in words.")
    neighbours: list[NeighbourAbout] = Field(description="Its nearest of other groups that have a label.")


class SuspectsAbout(BaseModel):
    """Rows that are likely labelled wrongly."""

    version: int = Field(description="Of the base.")
    rows: list[SuspectAbout] = Field(description="The likeliest first.")


class GroupAbout(BaseModel):
    """Rows that are the same picture, or nearly."""

    similarity: float = Field(description="Of the weakest link that holds the group together.")
    same_bytes: bool = Field(description="Whether all are of the same bytes.")
    labels_differ: bool = Field(description="Whether two of them have labels, and none in common.")
    rows: list[NeighbourAbout] = Field(description="By id; similarity is that to the nearest other of the group.")


class DuplicatesAbout(BaseModel):
    """Groups of pictures that are the same, or nearly."""

    version: int = Field(description="Of the base.")
    total: int = Field(description="How many groups there are in all.")
    groups: list[GroupAbout] = Field(description="Those of different labels first, then the most alike.")


class OutlierAbout(RowAbout):
    """A row far from others."""

    label: str | None = Field(description="In which class the nearest was looked for; null is all rows.")
    distance: float = Field(description="1 - the similarity to the nearest.")
    nearest: RowAbout = Field(description="The nearest other row that is not of its group.")


class OutliersAbout(BaseModel):
    """Rows far from all others."""

    version: int = Field(description="Of the base.")
    all: list[OutlierAbout] = Field(description="Far from all other rows, the farthest first.")
    labels: list[OutlierAbout] = Field(description="Far from all others of a label of theirs, the farthest first.")


class Known(BaseModel):
    """A row of the same bytes as what is asked about."""

    id: str = Field(description="Its id.")
    number: int = Field(description="Its number.")
    label: str | list[str] | None = Field(description="Its label, a list of several, or null.")


class Whence(Known):
    """A row, and where it came from."""

    source: str | None = Field(description="Its source.")
    place: str | None = Field(description="Where its picture lies.")
    group: str | None = Field(description="What it belongs to.")
    time: str | None = Field(description="When it was added, in UTC.")


class Voted(Whence):
    """A row that voted."""

    similarity: float = Field(description="Cosine to what is asked about.")
    share: float = Field(description="Its part of the vote, which is 1 in all.")


class SourceShare(BaseModel):
    """What came from one source."""

    source: str | None = Field(description="Its name.")
    share: float = Field(description="Its part of the vote.")
    rows: int = Field(description="How many of its rows voted.")


class TurnAbout(BaseModel):
    """What turns an answer."""

    label: str = Field(description="The answer without these rows.")
    fewest: bool = Field(description="Whether it is proved that fewer rows don't turn it.")
    rows: list[Whence] = Field(description="The rows, nearest first.")


class QueryAbout(BaseModel):
    """A row, or the query of a search."""

    kind: str = Field(description="row or search.")
    id: str | None = Field(None, description="Of the row.")
    number: int | None = Field(None, description="Of the row.")
    search: str | None = Field(None, description="The search whose query it is.")


class WhyAbout(BaseModel):
    """A label, and what it hangs on: what `itae knowledge why --json` tells."""

    query: QueryAbout = Field(description="What was asked about.")
    label: str | None = Field(description="The answer; null where nothing may vote.")
    p: float = Field(description="How unusual it is, from 0 to 1; small is unusual.")
    known: list[Known] = Field(description="Rows of the same bytes, which don't vote.")
    scores: dict[str, float] = Field(description="The share of each label, best first.")
    neighbours: list[Voted] = Field(description="The rows that voted, nearest first.")
    sources: list[SourceShare] = Field(description="What came from each source, most first.")
    turn: TurnAbout | None = Field(description="The rows without which the answer is another, or null.")
    notes: list[str] = Field(description="What to know of it, in sentences.")
    version: int = Field(description="Of the base.")
    root: str = Field(description="Checksum of all that is in that version.")
