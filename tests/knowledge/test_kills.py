"""A base whose writers are killed is always whole, and holds all edits that were made and no half of another."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import textwrap
import time

import pytest
from bases import base, content, made, step
from children import with_tests

from itae.knowledge.base import open_knowledge

pytest.importorskip("lance")
WORKER = """
    import sys
    import bases
    from itae.knowledge.base import open_knowledge

    kb, only = open_knowledge(sys.argv[1]), sys.argv[2]
    kb.snapshot()
    print("ready", flush=True)
    while True:
        bases.step(kb, {"compact": "add", "mixed": None}.get(only, only))
        if only in ("compact", "mixed"):
            kb.compact()
"""


def killed_after(path, only, seconds):
    """Start a writer, and kill it some seconds after it is ready."""
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path), only]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=with_tests()
    ) as worker:
        select.select([worker.stdout], [], [], 60)
        time.sleep(seconds)
        worker.kill()
        told = worker.communicate()[1]
    assert "Traceback" not in told, told


def check(path, twin, only):
    """Hold a base that somebody left against the same edits in memory; return it."""
    kb = open_knowledge(path)
    one = kb.snapshot()
    assert kb.verify().problems == ()
    while twin.snapshot().version < one.version:
        step(twin, only)
    assert (twin.snapshot().version, content(twin.snapshot())) == (one.version, content(one))
    ours, theirs = kb.log(), twin.log()
    assert [(each.edit, each.verb, each.counts) for each in ours] == [(e.edit, e.verb, e.counts) for e in theirs]
    return kb


def pair(folder):
    """Return a base and its twin in memory, with forty rows."""
    both = base("lance", folder), base("memory", folder)
    for kb in both:
        kb.commit(kb.add(made([f"first/{i}" for i in range(40)])))
    return both


@pytest.mark.parametrize("only", ["add", "correct", "delete", "compact", "purge"])
def test_a_writer_that_is_killed_leaves_no_half_edit(tmp_path, only):
    kb, twin = pair(tmp_path)
    killed_after(kb.path, only, random.uniform(0.05, 0.25))
    only = "add" if only == "compact" else only
    other = check(kb.path, twin, only)
    for each in (other, twin):
        step(each, only)
    check(kb.path, twin, only)


@pytest.mark.slow  # a hundred processes
def test_a_hundred_writers_are_killed(tmp_path):
    kb, twin = pair(tmp_path)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, before, began = random.Random(seed), 1, time.monotonic()
    for _ in range(10):
        step(kb)
        kb.compact()
    pace = (time.monotonic() - began) / 10  # of this machine, as busy as it is
    for _ in range(100):
        # Now and then a purge must come to its end: it writes each earlier edit anew.
        killed_after(kb.path, "mixed", chance.uniform(0, chance.choice([6, 6, 6, 60]) * pace))
        before = check(kb.path, twin, None).snapshot().version
    assert before > 100
