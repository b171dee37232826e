"""What all routes have in common, as the document of the API has it: what is sent, a row, an error."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Sent(BaseModel):
    """A body: what it doesn't name is refused."""

    model_config = ConfigDict(extra="forbid")


class RowAbout(BaseModel):
    """A row, in short."""

    id: str = Field(description="Any text.")
    number: int = Field(description="By which its picture is found.")
    labels: list[str] = Field(description="None, one or several.")


class Failed(BaseModel):
    """What went wrong."""

    error: str = Field(description="One sentence: what is wrong, what is allowed, what to do.")


_SAYS = {
    400: "What is asked is wrong; the sentence names it.",
    403: "Nothing can be edited here.",
    404: "There is no such thing.",
    409: "A row has been edited since the version that was seen; nothing was written.",
    503: "The base was edited before this was looked at: ask again.",
}


def failing(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the document of the API says of the errors of a route."""
    return {status: {"model": Failed, "description": _SAYS[status]} for status in statuses}
