"""The one exception that a user's mistake becomes, and the sentence that it is told in.

Everything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend.

    The message is one sentence that names the value, what is allowed and what to do. The command line
    prints it alone, without a traceback, and exits with status 2.
    """


def did_you_mean(name: object, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the option nearest to `name`, or an empty string.

    Parameters
    ----------
    name
        What the user wrote.
    options
        What would have been understood.
    """
    close = difflib.get_close_matches(str(name), list(options), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
