"""What a search is asked and answers, as the API documents it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from itae.serve.shared import RowAbout, Sent

MOST = 10_000
"""Results of a round."""


class NewSearch(Sent):
    """A query: words, or a row of the base. A picture is sent to /api/searches/picture."""

    text: str | None = Field(None, description="Words to look for.", max_length=1000)
    id: str | None = Field(None, description="The id of a row that is the query.")


class Rule(BaseModel):
    """A rule of feedback by its name, and those of its options that are not as they are by default."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(description="One of the names in /api/base.")


class NewRound(Sent):
    """All that was judged so far, and how the rows are to be ranked and picked."""

    yes: list[str] = Field([], description="Ids of rows that are what is meant.")
    no: list[str] = Field([], description="Ids of rows that are not.")
    rule: Rule | None = Field(None, description="The rule; that of the round before, or the base's own, without one.")
    labels: list[str] = Field([], description="Only rows with one of these labels.")
    sources: list[str] = Field([], description="Only rows from one of these sources.")
    where: str | None = Field(None, description="Only rows that meet this condition, SQL as `itae search --where`.")
    count: int = Field(60, ge=1, le=MOST, description="How many rows to show.")
    diverse: bool = Field(False, description="Show what is unlike all that was shown, in place of what ranks first.")


class More(Sent):
    """A round that is to show more."""

    count: int = Field(60, ge=1, le=MOST, description="How many rows more.")


class RoundAbout(BaseModel):
    """One round of a search, in numbers."""

    round: int = Field(description="From 0.")
    version: int = Field(description="Of the base.")
    rule: dict[str, Any] = Field(description="Its name, and its options.")
    where: str | None = Field(description="The condition on rows.")
    count: int = Field(description="How many rows were asked for.")
    yes: int = Field(description="How many rows were marked yes.")
    no: int = Field(description="How many rows were marked no.")
    shown: int = Field(description="How many rows were shown.")
    diverse: bool = Field(description="Whether it was to be unlike what was shown.")
    time: str = Field(description="When, in UTC.")


class SearchAbout(BaseModel):
    """A search: its query and its rounds."""

    search: str = Field(description="Its name in addresses.")
    name: str = Field(description="The query: words, an id, or the name of a file.")
    kind: str = Field(description="text, row or picture.")
    number: int | None = Field(description="Of the row that is the query.")
    notes: list[str] = Field(description="What to know of the query, in sentences.")
    rounds: list[RoundAbout] = Field(description="The first first.")


class SearchLine(BaseModel):
    """A search in a list."""

    search: str = Field(description="Its name in addresses.")
    name: str = Field(description="The query: words, an id, or the name of a file.")
    kind: str = Field(description="text, row or picture.")
    number: int | None = Field(description="Of the row that is the query.")
    rounds: int = Field(description="How many rounds.")
    yes: int = Field(description="How many rows are marked yes.")
    no: int = Field(description="How many rows are marked no.")
    time: str = Field(description="Of its last round, or of its beginning, in UTC.")


class SearchList(BaseModel):
    """The searches of a user, the last one first."""

    searches: list[SearchLine] = Field(description="At most 200 are kept.")


class Judged(RowAbout):
    """A row that was judged."""

    mark: str = Field(description="yes or no.")


class Nearest(BaseModel):
    """Which judged row a result is most like."""

    id: str = Field(description="Its id.")
    number: int = Field(description="Its number.")
    mark: str = Field(description="yes or no.")


class Result(RowAbout):
    """A row that a round shows."""

    rank: int = Field(description="From 1.")
    similarity: float = Field(description="Cosine to the query, -1 to 1.")
    score: float = Field(description="By the rule; the highest comes first.")
    nearest: Nearest | None = Field(description="The judged row that it is most like; null is the query.")
    was: int | None = Field(
        description="Its rank in the round before among what is in the list still; null if it was not shown there."
    )
    same_as: str | None = Field(description="A result before it that it is nearly the same image as.")


class RoundPage(BaseModel):
    """What a round shows."""

    search: str = Field(description="Of which search.")
    round: int = Field(description="From 0.")
    version: int = Field(description="Of the base.")
    root: str = Field(description="Checksum of all that is in that version.")
    edited: list[dict[str, Any]] = Field(description="Edits of the base since the round before, the last one first.")
    rule: dict[str, Any] = Field(description="Its name, and its options.")
    where: str | None = Field(description="The condition on rows.")
    diverse: bool = Field(description="Whether it is to be unlike what was shown.")
    count: int = Field(description="How many rows were asked for.")
    start: int = Field(description="How many results of the round come before these.")
    left: int = Field(description="How many rows more there are to show.")
    yes: list[str] = Field(description="Ids that were marked yes.")
    no: list[str] = Field(description="Ids that were marked no.")
    judged: list[Judged] = Field(description="The rows that were marked.")
    results: list[Result] = Field(description="Best first.")
    notes: list[str] = Field(description="What to know, in sentences.")
    command: str = Field(description="The command that shows the same ids.")


class Replayed(BaseModel):
    """Whether a round, run again, shows the same."""

    round: int = Field(description="From 0.")
    version: int = Field(description="Of the base.")
    rule: dict[str, Any] = Field(description="Its name, and its options.")
    same: bool = Field(description="Whether it shows the same ids in the same order.")


class Replay(BaseModel):
    """A search that was run again."""

    rounds: list[Replayed] = Field(description="The first first.")
