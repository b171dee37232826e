"""What is refused: a status of HTTP and one sentence, which the page shows as it is."""

from __future__ import annotations

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
