"""Workers of Ray find what one process finds, to the last bit: those of a real cluster of two, and imitated ones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from bases import base, made, step

from itae.base.errors import UserError
from itae.base.runtime import OnRay
from itae.images.datasets import Digits
from itae.knowledge.answers.classify import ask
from itae.knowledge.answers.vote import Auto, ClassMean, Rank
from itae.knowledge.base import open_knowledge
from itae.knowledge.disk.vector_file import VectorFile
from itae.knowledge.near.index import open_index, use_index
from itae.knowledge.near.neighbours import WORKERS, Excluded, nearest

pytest.importorskip("lance")
pytest.importorskip("ray")
from itae.knowledge.near import on_ray
from itae.knowledge.near.on_ray import ray_workers

ASKED = OnRay()


@pytest.fixture
def imitated(monkeypatch):
    """Have tasks done at once in this process, and given back in another order; return the bases that were opened."""
    opened = []
    monkeypatch.setattr(on_ray, "_held", {})
    monkeypatch.setattr(on_ray, "connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(on_ray.ray, "put", lambda what: what)
    monkeypatch.setattr(on_ray.ray, "get", lambda what: what)
    monkeypatch.setattr(on_ray, "begun", lambda work, _, *args: work(*args))
    monkeypatch.setattr(on_ray, "open_knowledge", lambda where: opened.append(where) or open_knowledge(where))

    def done(tasks, *_):
        for i, result in reversed(list(enumerate(tasks))):
            if isinstance(result, UserError):
                raise result
            yield i, result

    monkeypatch.setattr(on_ray, "done", done)
    return opened


def blobs(ids, seed=0):
    """Return rows that lie in four heaps, some of them at one place, by the label before the /."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(4, 6))
    vectors = [np.round(centres[int(each[1])] + 0.6 * draw.normal(size=6), 1) + 0.01 * (each[1] == "0") for each in ids]
    return dataclasses.replace(made(ids), vectors_NE=np.array(vectors))


def heaps(n, first=0):
    return [f"h{i % 4}/{i:04d}" for i in range(first, first + n)]


def a_base(folder, n=120):
    """Return a base that was edited in this process: dead rows, and rows that came back behind later ones."""
    kb = base("lance", folder)
    kb.commit(kb.add(blobs(heaps(n))))
    kb.commit(kb.delete(ids=heaps(5)))
    kb.commit(kb.add(blobs(heaps(9, n), seed=2)))
    kb.commit(kb.undo(2))
    kb.commit(kb.delete(ids=heaps(3, 20)))
    kb.commit(kb.correct(heaps(4, 40), []))
    return kb


def asked_of(snapshot, n=40):
    """Return queries: some of no row, some of a row's own bytes and place."""
    draw = np.random.default_rng(5)
    queries = draw.normal(size=(n, 6))
    rows = draw.choice(snapshot.live, n)
    own = draw.random(n) < 0.5
    queries[own] = snapshot.vectors_ME[rows[own]]
    return queries, [snapshot.digests_M32[i].tobytes() if mine else None for i, mine in zip(rows, own, strict=True)]


def assert_equal(ours, others):
    for one, other in zip(ours, others, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def told(snapshot, queries, digests, voter, **more):
    """Return all that answers say, as JSON has it."""
    return json.dumps([each.plain() for each in ask(snapshot, queries, digests, voter, **more).answers])


@pytest.mark.parametrize("share", [1, 7, 256])
def test_neighbours_are_those_of_one_process_at_every_version(tmp_path, monkeypatch, imitated, share):
    monkeypatch.setattr(on_ray, "SHARE", 6 * share)
    kb, orders = base("lance", tmp_path), set()
    kb.commit(kb.add(blobs(heaps(40))))
    draw = np.random.default_rng(share)
    for _ in range(10):
        step(kb)
        snapshot = kb.snapshot()
        orders.add(bool((np.diff(snapshot.numbers_M[snapshot.live]) > 0).all()) and bool(snapshot.alive_M.all()))
        queries = snapshot.vectors_ME[draw.choice(snapshot.live, 20)] + draw.choice([0, 0.1], (20, 1))
        some = snapshot.live[draw.random(len(snapshot)) < 0.6]
        groups = Excluded(snapshot.groups_M, draw.choice(snapshot.groups_M, 20))
        cases = [(k, rows, out) for k in (1, 5, 500) for rows in (None, some, some[:0]) for out in (None, groups)]
        alone = [nearest(snapshot, queries, *case) for case in cases]
        with ray_workers(kb, ASKED) as workers:
            workers.serve(snapshot)
            for case, expected in zip(cases, alone, strict=True):
                assert_equal(nearest(snapshot, queries, *case), expected)
            assert_equal(nearest(snapshot, queries[:0], 3), (np.zeros((0, 3), np.int64), np.zeros((0, 3))))
        assert WORKERS not in snapshot.memo
    assert orders == {True, False}, "positions were the workers' own each time, or never"
    assert len(imitated) == 10, "a worker opens a version once"
    assert len(on_ray._held) == 1


@pytest.mark.parametrize("voter", [Auto(), Auto(k=3), Rank(200), ClassMean()], ids=str)
def test_answers_are_those_of_one_process(tmp_path, monkeypatch, imitated, voter):
    """The voter is chosen once, and what is unusual drawn once, though the rows that are drawn are asked by workers."""
    monkeypatch.setattr("itae.knowledge.near.held_out.MOST", 50)
    kb = a_base(tmp_path)
    snapshot, fresh = kb.snapshot(), open_knowledge(kb.path).snapshot()
    queries, digests = asked_of(snapshot)
    expected = told(snapshot, queries, digests, voter, abstain=0.1)
    assert "50 of" in expected
    beside = kb.snapshot_beside(tmp_path / "beside")
    assert isinstance(beside.vectors_ME, VectorFile)
    for each in (snapshot, fresh, beside):
        for share in (9, 256):
            monkeypatch.setattr(on_ray, "SHARE", 6 * share)
            each.memo.clear()  # of what was chosen and drawn
            with ray_workers(kb, ASKED) as workers:
                workers.serve(each)
                assert told(each, queries, digests, voter, abstain=0.1) == expected
    assert len(imitated) == 1


def test_the_vectors_that_are_read_here_are_those_of_rows_that_are_asked_themselves(tmp_path, monkeypatch, imitated):
    monkeypatch.setattr("itae.knowledge.near.held_out.MOST", 10)
    kb = a_base(tmp_path)
    snapshot = kb.snapshot_beside(tmp_path / "beside")
    queries, digests = asked_of(kb.snapshot())
    read, rows = VectorFile._read, []
    monkeypatch.setattr(VectorFile, "_read", lambda self, first, n: rows.append(n) or read(self, first, n))
    with ray_workers(kb, ASKED) as workers:
        workers.serve(snapshot)
        told(snapshot, queries, digests, Rank())
    assert 10 <= sum(rows) <= 30, "those drawn for the choice of k, by rows and by means, and for what is unusual"


def test_a_base_in_memory_and_one_with_an_index_are_refused(tmp_path, imitated):
    with pytest.raises(UserError, match=r"in the memory of this process.*ask it with runtime\.engine=local"):
        ray_workers(base("memory", tmp_path), ASKED).__enter__()
    kb = a_base(tmp_path)
    snapshot = kb.snapshot()
    use_index(snapshot, open_index(snapshot, tmp_path / "indexes", "Flat"))
    with ray_workers(kb, ASKED) as workers, pytest.raises(UserError, match=r"don't go together.*leave out one"):
        workers.serve(snapshot)


@pytest.mark.parametrize("harm", ["gone", "another", "older", "damaged"])
def test_a_worker_that_has_not_that_base_refuses(tmp_path, imitated, harm):
    kb = a_base(tmp_path)
    snapshot, folder = kb.snapshot(), Path(kb.path)
    shutil.move(folder, tmp_path / "elsewhere")
    if harm == "another":
        other = base("lance", tmp_path)
        for i in range(snapshot.version):
            other.commit(other.add(made([f"x/{i}"])))
    if harm == "older":
        base("lance", tmp_path)
    if harm == "damaged":
        shutil.copytree(tmp_path / "elsewhere", folder)
        for file in (folder / "rows.lance" / "data").iterdir():
            file.write_bytes(file.read_bytes()[:-64] + bytes(64))
    here = os.uname().nodename
    shared = (
        r"runtime\.engine=ray needs the base on a file system, or in an object store, that all its workers share\.$"
    )
    sentence = {
        "gone": rf"kb is not there on {here}: {shared}",
        "another": rf"kb on {here} is another base, whose version 6 has the root \w{{16}} in place of "
        rf"{snapshot.root[:16]}: {shared}",
        "older": rf"^On {here}, a Ray worker: There is no version 6 of .*kb: there is only 0",
        "damaged": rf"^On {here}, a Ray worker: The knowledge base at .*kb is damaged",
    }[harm]
    with ray_workers(kb, ASKED) as workers:
        workers.serve(snapshot)
        with pytest.raises(UserError, match=sentence) as error:
            nearest(snapshot, snapshot.vectors_ME[:3], 2)
    assert "\n" not in str(error.value)
    assert nearest(snapshot, snapshot.vectors_ME[:3], 2)[0].shape == (3, 2), "this process has the rows still"


@pytest.mark.parametrize("cpus", [1, 2], ids=["two workers", "one worker"])
def test_a_cluster_answers_as_one_process_does(tmp_path, ray, monkeypatch, cpus):
    monkeypatch.setattr(on_ray, "SHARE", 66)
    kb = a_base(tmp_path)
    snapshot = kb.snapshot()
    queries, digests = asked_of(snapshot, 60)
    expected = told(snapshot, queries, digests, Auto())
    snapshot.memo.clear()
    with ray_workers(kb, OnRay(num_cpus=cpus)) as workers:
        workers.serve(snapshot)
        assert told(snapshot, queries, digests, Auto()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("once", [True, False])
def test_the_share_of_a_lost_worker_is_given_to_another(tmp_path, ray, monkeypatch, once):
    monkeypatch.setattr(on_ray, "SHARE", 48)
    kb = a_base(tmp_path)
    snapshot, parent, flag = kb.snapshot(), os.getpid(), tmp_path / "died"
    queries = asked_of(snapshot)[0]
    expected = nearest(snapshot, queries, 5)

    def deadly(*args):  # sent by its code, as it is no module's
        from itae.knowledge.near.on_ray import _share

        if os.getpid() != parent and not (once and flag.exists()):
            flag.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return _share(*args)

    monkeypatch.setattr(on_ray, "_share", deadly)
    with ray_workers(kb, OnRay(max_retries=1)) as workers:
        workers.serve(snapshot)
        if once:
            assert_equal(nearest(snapshot, queries, 5), expected)
        else:
            lost = r"The search for neighbours broke off, its Ray worker was lost: .*runtime\.ray\.max_retries allows"
            with pytest.raises(UserError, match=lost):
                nearest(snapshot, queries, 5)
    assert flag.exists(), "no worker died, so nothing was tried"


@pytest.fixture
def pictures(itae_, tmp_path):
    """Return a function that runs a verb on a base of digits, and gives back its status, stdout and stderr."""
    digits = Digits(limit=60).open()
    for i, name in enumerate(digits.ids):
        file = tmp_path / ("photos" if i < 45 else "asked") / str(digits.labels[i]) / f"{name.replace('/', '-')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        digits.read(i).save(file)
    assert itae_("knowledge", "init", "kb")[0] == 0
    assert itae_("knowledge", "add", "kb", "dataset=imagefolder", "dataset.root=photos")[0] == 0
    return lambda *words: itae_("knowledge", *words)


@pytest.mark.slow
def test_the_command_prints_what_it_prints_without(pictures, ray):
    for words in (
        ("classify", "kb", "asked", "photos/1", "--json"),
        ("why", "kb", str(next(Path("asked").rglob("*.png")))),
    ):
        status, out, err = pictures(*words)
        assert (status, err) == (0, "")
        assert pictures(*words, "runtime.engine=ray") == (0, out, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("knowledge.index=Flat",), "runtime.engine=ray and knowledge.index don't go together"),
        (("runtime.ray.address=127.0.0.1:1",), "runtime.ray.address=127.0.0.1:1: no Ray cluster there"),
    ],
)
def test_a_mistake_is_told_before_a_picture_is_embedded(pictures, monkeypatch, words, sentence):
    monkeypatch.setattr(on_ray.ray, "is_initialized", lambda: False)
    monkeypatch.setattr("itae.embed.encoder.Encoder.__call__", lambda *_: pytest.fail("it embeds"))
    monkeypatch.setattr(
        "itae.knowledge.base.KnowledgeBase.snapshot_beside", lambda *_: pytest.fail("it reads the base")
    )
    status, out, err = pictures("classify", "kb", "asked", "runtime.engine=ray", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
