"""What is refused: a status of HTTP and one sentence, which the page shows as it is."""

from __future__ import annotations

from fastapi import Request

from itae.base.errors import UserError


class RefusedError(UserError):
    """A request that is refused for another reason than what it asks being wrong.

    Parameters
    ----------
    status
        Of HTTP; a plain `UserError` is 400.
    told
        What is wrong, what is allowed, what to do.
    """

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


def user_of(request: Request) -> str:
    """Return the name of who asks, which `itae.serve.guard` has found out."""
    user = request.scope.get("itae.user")
    if not isinstance(user, str):
        raise RefusedError(401, "You are not signed in: open the link that itae serve has printed.")
    return user
