"""Several processes edit one base: no edit is lost, none counts twice, and the journal has them all."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import pytest
from bases import base, content, made
from children import with_tests

from itae.base.lock import Lock
from itae.knowledge.base import open_knowledge

pytest.importorskip("lance")
WORKER = """
    import random, sys
    from bases import made
    from itae.base.errors import UserError
    from itae.knowledge.base import open_knowledge

    path, name, edits = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kb, draw, done = open_knowledge(path), random.Random(name), 0
    while done < edits:
        ids = [f"s/{i}" for i in draw.sample(range(40), 3)]
        label = f"{name} {done}"
        verb = draw.choice(["add", "add", "correct", "delete"])
        try:
            if verb == "add":
                change = kb.add(made(ids, [[label]] * 3), replace=True)
            elif verb == "correct":
                change = kb.correct(ids[:1], [label])
            else:
                change = kb.delete(ids=ids[:1])
            edit = kb.commit(change, who=name, why=str(done))
        except UserError as error:
            assert "No row of the base has the id" in str(error), error
            continue
        assert edit is not None
        done += 1
"""


def crowd(folder, count, edits):
    """Have some processes make as many edits each, of overlapping ids; return the base and what its journal makes."""
    kb = base("lance", folder)
    kb.commit(kb.add(made(["first"])), who="me")
    command = [sys.executable, "-c", textwrap.dedent(WORKER), kb.path]
    workers = [
        subprocess.Popen([*command, f"w{i}", str(edits)], stderr=subprocess.PIPE, text=True, env=with_tests())
        for i in range(count)
    ]
    for worker in workers:
        told = worker.communicate()[1]
        assert worker.returncode == 0, told
    return kb


def hold(kb, count, edits):
    """Hold a base against its journal."""
    other = open_knowledge(kb.path)
    log = other.log()
    assert [edit.edit for edit in log] == list(range(1, count * edits + 2))
    made_by = Counter((edit.who, edit.why) for edit in log[1:])
    assert made_by == Counter((f"w{i}", str(k)) for i in range(count) for k in range(edits))
    labels = {"first": ["first"]}
    for edit in log[1:]:
        for each in (*edit.touched.added, *edit.touched.changed):
            labels[each] = [f"{edit.who} {edit.why}"]
        for each in edit.touched.deleted:
            del labels[each]
    for one in (kb.snapshot(), other.snapshot()):
        assert {one.ids[i]: list(one.labels_of(i)) for i in one.live.tolist()} == labels
        assert len(set(one.numbers_M[one.live].tolist())) == len(one)
    assert content(kb.snapshot()) == content(other.snapshot())
    assert other.verify().problems == ()


def test_a_few_who_edit_at_once_lose_nothing(tmp_path):
    hold(crowd(tmp_path, 2, 12), 2, 12)


@pytest.mark.slow  # two thousand edits
def test_eight_who_make_250_edits_each_lose_nothing(tmp_path):
    hold(crowd(tmp_path, 8, 250), 8, 250)


def test_who_writes_waits_for_who_does_and_who_reads_does_not(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made(["a"])))
    lock = Lock(tmp_path / "kb" / ".lock")
    assert lock.take()
    writer = threading.Thread(target=lambda: kb.commit(kb.add(made(["b"]))))
    writer.start()
    time.sleep(0.3)
    assert len(open_knowledge(kb.path).snapshot()) == 1
    assert writer.is_alive()
    lock.release()
    writer.join(20)
    assert len(open_knowledge(kb.path).snapshot()) == 2


def test_threads_share_one_base(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made([f"s/{i}" for i in range(20)])))
    seen = []

    def work(name):
        for k in range(6):
            kb.commit(kb.correct([f"s/{k}"], [f"{name} {k}"]), who=name, why=str(k))
            seen.append(len(kb.snapshot()))

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [20] * 18
    assert len({(edit.who, edit.why) for edit in kb.log()[1:]}) == 18
