"""Says what is damaged in a version of a base, in a process of its own: one that reads damaged files may be ended.

``python -m itae.knowledge.damage FOLDER EDIT`` writes it, and nothing where rows are as they were written.
"""

from __future__ import annotations

import sys

from itae.knowledge.base import open_knowledge
from itae.knowledge.records.sealed import Damaged


def main(where: str, edit: int) -> None:
    """Write what is damaged in the version of an edit."""
    versions = open_knowledge(where).versions
    try:
        versions.held(versions.edit(edit))
    except Damaged as damage:
        sys.stdout.buffer.write(str(damage).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
