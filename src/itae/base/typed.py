r"""A text as the value of an option: as Hydra takes it for nothing else, and as a shell is given that."""

from __future__ import annotations

import re
import shlex


def quoted(text: str, mark: str = '"') -> str:
    r"""Return text in quotes, which Hydra takes for that text and nothing else, whatever is in it.

    Such a quote, and what OmegaConf would resolve (``${``), gets a backslash; backslashes before these become two each.
    """
    plain = re.sub(r"(\\*)\$\{", lambda found: f"{2 * found[1]}\\${{", text)
    inside = re.sub(rf"(\\+)(?={mark}|\Z)", lambda found: 2 * found[1], plain).replace(mark, f"\\{mark}")
    return f"{mark}{inside}{mark}"


def to_type(key: str, *texts: str) -> str:
    """Return the word that sets `key` to a text, or in a sweep to several, as a shell is given it."""
    return shlex.quote(f"{key}={','.join(map(quoted, texts))}")


def told(key: str, text: str) -> str:
    """Return the word that sets `key` to a text, as a sentence has it: in quotes of a shell's where these will do."""
    return f"{key}='{text}'" if re.fullmatch(r"[\w./ +-]*", text, re.ASCII) else to_type(key, text)
