"""A base in an object store, which is moto's imitation of S3 on this machine.

What that doesn't prove: how a real one behaves when it is slow, far away or half out of order, what it costs, other
stores than S3, and permissions. Nor two writers in the same moment: there is no lock, and pyarrow can't put a file only
where there is none, so there is to be one writer at a time; the second of two is refused only if he is late enough to
see the first one's file, or Lance sees his version.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bases import SPACE, WORDS, content, image, made, picture
from buckets import imitated_s3

from itae.app import report
from itae.base.errors import UserError
from itae.knowledge.base import create, open_knowledge
from itae.knowledge.disk.folder import _with_endpoint

pytest.importorskip("lance")
pytestmark = pytest.mark.slow  # a server of its own


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    with imitated_s3(tmp_path) as (url, settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield url


def files(url):
    """Yield the name and the bytes of all that lies below a URL."""
    from pyarrow import fs

    store, root = fs.FileSystem.from_uri(_with_endpoint(url))
    for each in store.get_file_info(fs.FileSelector(root, recursive=True)):
        if each.is_file:
            with store.open_input_stream(each.path) as file:
                yield each.path, file.read()


def names_and_bytes(bucket):
    return [name.encode() + data for name, data in files(f"{bucket}/kb")]


def test_a_base_in_an_object_store_does_what_one_on_a_disk_does(bucket):
    kb = create(f"{bucket}/kb", SPACE, WORDS, "embed")
    ids = [f"cat/{i}" for i in range(9)]
    kb.commit(kb.add(made(ids, image=lambda n: picture(ids[n]))), why="first")
    kb.tag("first")
    kb.commit(kb.correct(ids[:2], ["dog"]))
    kb.commit(kb.delete(ids=ids[3:5]))
    kb.commit(kb.undo(2))
    kb.compact()
    other = open_knowledge(f"{bucket}/kb")
    assert content(other.snapshot()) == content(kb.snapshot())
    assert [len(other.snapshot(i)) for i in ("first", 2, 3, 4)] == [9, 9, 7, 7]
    assert len(other.where("label = 'cat' AND id LIKE 'cat/%'")) == 7
    assert other.image(other.snapshot(), 0) == picture("cat/0")
    assert other.verify().problems == ()
    other.commit(other.restore("first"))
    assert kb.snapshot().root == kb.snapshot("first").root
    kb.commit(kb.add(made(["alone"], image=lambda _: picture("alone"))))
    for each in ("alone", ids[0]):  # all that is in a file, and one of several
        kb.commit(kb.delete(ids=[each]))
        traces = {each.encode(), picture(each), image(each), image(each).hex()[2:].encode()}
        assert {trace for data in names_and_bytes(bucket) for trace in traces if trace in data} == traces
        kb.purge()
        assert [trace for data in names_and_bytes(bucket) for trace in traces if trace in data] == []
    assert open_knowledge(f"{bucket}/kb").verify().problems == ()
    with pytest.raises(UserError, match="is gone: edit 10 purged all before it"):
        open_knowledge(f"{bucket}/kb").snapshot(1)


def test_a_base_there_has_a_page_as_well(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kb = create(f"{bucket}/kb", SPACE, WORDS, "embed")
    ids = ["cat/1", "cat/2"]
    kb.commit(kb.add(made(ids, image=lambda n: picture(ids[n]))))
    assert report.main([f"{bucket}/kb"]) == 0
    assert "cat/2" in (tmp_path / "kb.html").read_text()


def test_who_finds_an_edit_of_his_number_there_is_refused(bucket, monkeypatch):
    kb = create(f"{bucket}/kb", SPACE, WORDS)
    kb.commit(kb.add(made(["a"])))
    other = open_knowledge(f"{bucket}/kb")
    change = other.add(made(["b"]))
    kb.commit(kb.add(made(["c"])))
    monkeypatch.setattr(other.versions.journal, "newest", lambda known=None: 1)  # he looked before
    with pytest.raises(UserError, match="Somebody else made edit 2"):
        other.commit(change)
    monkeypatch.undo()


def test_what_is_no_base_there_is_told(bucket):
    with pytest.raises(UserError, match="is no knowledge base"):
        open_knowledge(f"{bucket}/nothing")
    with pytest.raises(UserError):
        open_knowledge("s3://no-such-bucket/kb")


ASKED_BY_RAY = """
import sys
from bases import vector
from itae.base.runtime import OnRay
from itae.knowledge.answers.classify import classify
from itae.knowledge.base import open_knowledge
from itae.knowledge.near.on_ray import ray_workers

kb = open_knowledge(sys.argv[1])
queries = [vector(f"asked {i}") for i in range(40)]
alone = classify(kb.snapshot(), queries)
snapshot = open_knowledge(sys.argv[1]).snapshot_beside("beside")
with ray_workers(kb, OnRay()) as workers:
    workers.serve(snapshot)
    assert classify(snapshot, queries) == alone
print(len(alone), "alike")
"""


def test_the_workers_of_a_ray_cluster_read_it_themselves(bucket, tmp_path):
    pytest.importorskip("ray")
    kb = create(f"{bucket}/kb", SPACE, WORDS)
    kb.commit(kb.add(made([f"{'cat' if i % 2 else 'dog'}/{i}" for i in range(30)])))
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", ASKED_BY_RAY, f"{bucket}/kb"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "40 alike\n", "")
