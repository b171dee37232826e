"""What shows who asks: one-time codes, the cookies that they become, and tokens for scripts.

All of them are 32 random bytes, known to this process alone (tokens lie in a file of the user's besides), so what keeps
a stranger from guessing one is their length: at a million tries a second it takes 10^63 years. That wrong ones are
counted is for whoever looks at the log of a proxy, and keeps nobody out who has the right one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

_BYTES = 32
_BROWSERS = 32  # of one user; who signs in with one more signs out the one that did so first
_BURST = 20  # wrong codes and tokens that are told as such, and from then on
_A_SECOND = 1.0  # so many


class Keys:
    """Who may ask, while this process runs. It is used by one thread, that of the event loop.

    Parameters
    ----------
    users
        Their names.
    tell
        Is given a user and a code that lets that one's next browser in: at the start, and whenever one has been used.
    clock
        Seconds.
    """

    def __init__(
        self,
        users: Sequence[str],
        tell: Callable[[str, str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._clock = tell, clock
        self.tokens = {user: secrets.token_urlsafe(_BYTES) for user in users}
        self._codes: dict[str, str] = {}
        self._tokens = {_digest(token): user for user, token in self.tokens.items()}
        self._cookies: dict[str, OrderedDict[bytes, None]] = {user: OrderedDict() for user in users}
        self._left, self._then = float(_BURST), clock()

    def begin(self) -> None:
        """Make a code for each user, and tell it."""
        for user in self.tokens:
            self._new_code(user)

    def enter(self, code: str) -> str | None:
        """Return the cookie that a code becomes, None for a wrong one. It is used up, and the next one is told."""
        given, found = code.encode(errors="replace"), None
        for user, right in self._codes.items():  # all of them, so that the time says nothing
            if hmac.compare_digest(given, right.encode()):
                found = user
        if found is None:
            return None
        cookie = secrets.token_urlsafe(_BYTES)
        browsers = self._cookies[found]
        browsers[_digest(cookie)] = None
        if len(browsers) > _BROWSERS:
            browsers.popitem(last=False)
        self._new_code(found)
        return cookie

    def of_cookie(self, cookie: str) -> str | None:
        """Return whose browser has a cookie."""
        digest = _digest(cookie)
        return next((user for user, browsers in self._cookies.items() if digest in browsers), None)

    def of_token(self, token: str) -> str | None:
        """Return whose token it is. It is looked for by its hash, so that the time says nothing of the token."""
        return self._tokens.get(_digest(token))

    def too_many_wrong(self) -> bool:
        """Count a wrong code or token, and return whether there were more of them than anybody mistypes."""
        now = self._clock()
        self._left = min(_BURST, self._left + (now - self._then) * _A_SECOND)
        self._then = now
        if self._left < 1:
            return True
        self._left -= 1
        return False

    def _new_code(self, user: str) -> None:
        self._codes[user] = secrets.token_urlsafe(_BYTES)
        self._tell(user, self._codes[user])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
