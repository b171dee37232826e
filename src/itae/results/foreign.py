"""A stranger's result: nothing is imported on its word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from itae.base.construct import is_call
from itae.base.errors import UserError
from itae.base.names import public_name, public_target
from itae.images import datasets
from itae.images.dataset import Dataset


def refuse_foreign(node: Mapping[str, Any]) -> None:
    """Raise a `UserError` unless `node` names one of itae's own data sets and nothing else that would be imported.

    Nothing is imported to find out: what the name stands for has to be there, whoever wrote it.
    """
    for target in (str(one.get("_target_")) for one in (node, *_inner(node))):
        module, _, name = public_target(target).rpartition(".")
        cls = vars(datasets).get(name) if module == "itae.data" else None
        ours = isinstance(cls, type) and issubclass(cls, Dataset) and public_name(cls) == f"{module}.{name}"
        if not ours:
            raise UserError(
                f"the run's data set is {target[:200]!r}, which is not one of itae's own, and nothing is imported on "
                "the word of a file; for a run that you trust, add --trust (from Python: trust=True)"
            )


def _inner(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what `construct` would call on the way to calling `node`, however deep."""
    for value in filter(is_call, node.values()):
        yield value
        yield from _inner(value)
