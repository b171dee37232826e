"""A condition on rows from labels and sources that were picked, and from one that was written."""

from __future__ import annotations

from collections.abc import Sequence


def condition(labels: Sequence[str] = (), sources: Sequence[str] = (), where: str | None = None) -> str | None:
    """Return the SQL that holds where a row has one of the labels, is from one of the sources, and meets a condition.

    Parameters
    ----------
    labels, sources
        Names, any text; none of a kind asks nothing of it.
    where
        A condition as `itae.knowledge.base.KnowledgeBase.where` takes it, or None.

    Returns
    -------
    str or None
        None where nothing is asked.
    """
    parts = []
    if labels:
        parts.append(f"array_has_any(labels, [{', '.join(map(_text, labels))}])")
    if sources:
        parts.append(f"source IN ({', '.join(map(_text, sources))})")
    if where is not None and where.strip():
        parts.append(f"({where.strip()})" if parts else where.strip())
    return " AND ".join(parts) or None


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
