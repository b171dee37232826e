"""Snapshots and their checksums, held against slow ways to the same."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from bases import base, content, made
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.knowledge.records.digests import block_digests, root_of, row_sums
from itae.knowledge.records.filed import Filed, Room
from itae.knowledge.records.ranges import merged, ranges, within
from itae.knowledge.records.snapshot import after, empty

NUMBERS = st.lists(st.integers(0, 60))


@given(NUMBERS, NUMBERS)
def test_ranges_hold_the_numbers_they_were_made_of(some, others):
    a, b = ranges(some), ranges(others)
    for held, numbers in ((a, some), (b, others), (merged(a, b), [*some, *others])):
        assert [n for first, last in held for n in range(first, last + 1)] == sorted(set(numbers))
        assert within(np.arange(61), held).tolist() == [n in numbers for n in range(61)]
        assert all(x[1] + 1 < y[0] for x, y in pairwise(held))


def joined(groups, images):
    """Return for each row the first one that it is joined with, by looking again and again."""
    found = list(range(len(groups)))
    for _ in found:
        for i in range(len(found)):
            for j in range(len(found)):
                alike = groups[i] is not None and groups[i] == groups[j]
                if alike or images[i] == images[j]:
                    found[i] = found[j] = min(found[i], found[j])
    return found


ROWS = st.lists(st.tuples(st.sampled_from([None, "p", "q", "r"]), st.integers(0, 4)), min_size=1, max_size=8)


@settings(max_examples=40)
@given(ROWS, st.data())
def test_groups_are_what_hangs_together_among_live_rows(rows, data):
    groups, images = [group for group, _ in rows], [image for _, image in rows]
    kb, ids = base("memory", None), [f"id{i}" for i in range(len(rows))]
    given_rows = made(ids, groups=groups)
    given_rows.digests_N32[:] = np.array(images, np.uint8)[:, None] + 1
    kb.commit(kb.add(given_rows))
    gone = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows) - 1))
    kb.commit(kb.delete(ids=[ids[i] for i in sorted(gone)])) if gone else None
    left = [i for i in range(len(rows)) if i not in gone]
    one = kb.snapshot()
    found = one.groups_M[[one.position[ids[i]] for i in left]]
    meant = joined([groups[i] for i in left], [images[i] for i in left])
    assert [[x == y for x in found] for y in found] == [[x == y for x in meant] for y in meant]


def one_row(**other):
    rows = made(["a", "b"], [["x"], ["x", "y"]], groups=["g", None], places=["/p", None], metadata={"age": [1, None]})
    return dataclasses.replace(rows, **other)


def taken(rows):
    kb = base("memory", None)
    kb.commit(kb.add(rows))
    return kb.snapshot()


OTHERS = {
    "id": {"ids": ["a2", "b"]},
    "boundary between ids": {"ids": ["ab", "c"]},
    "label": {"labels": [["z"], ["x", "y"]]},
    "no label": {"labels": [[], ["x", "y"]]},
    "a label more": {"labels": [["x", "y"], ["x", "y"]]},
    "labels in one": {"labels": [["x"], ["x\",\"y"]]},
    "group": {"groups": ["h", None]},
    "whose group": {"groups": [None, "g"]},
    "empty is not none": {"groups": ["g", ""]},
    "place": {"places": ["/q", None]},
    "source": {"source": "zoo"},
    "metadata": {"metadata": {"age": [2, None]}},
    "whose metadata": {"metadata": {"age": [None, 1]}},
    "0 is not none": {"metadata": {"age": [1, 0]}},
    "name of metadata": {"metadata": {"years": [1, None]}},
    "type of metadata": {"metadata": {"age": [1.0, None]}},
    "digest": {"digests_N32": np.ones((2, 32), np.uint8)},
    "vector": {"vectors_NE": np.ones((2, 6))},
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_checksums_tell_every_field_apart(other, monkeypatch):
    monkeypatch.setattr("itae.knowledge.ledger.changes.now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    first, same, second = taken(one_row()), taken(one_row()), taken(one_row(**other))
    assert block_digests(first) == block_digests(same)
    assert block_digests(first) != block_digests(second)
    both = [row_sums(one.filed(one.live)) for one in (first, same, second)]
    assert both[0] == both[1] != both[2]
    monkeypatch.setattr("itae.knowledge.ledger.changes.now", lambda: datetime(2026, 1, 2, tzinfo=UTC))
    assert block_digests(taken(one_row())) != block_digests(first)


def test_digests_do_not_depend_on_where_rows_lie(monkeypatch):
    kb = base("memory", None)
    kb.commit(kb.add(made([f"id{i}" for i in range(3000)])))
    whole = kb.snapshot()
    assert sorted(block_digests(whole)) == [0, 1, 2]
    rows = whole.filed(whole.live)
    order = np.random.default_rng(0).permutation(3000)
    mixed = after(empty(whole.space, ""), np.zeros(0, np.int64), {}, rows.take(order), 1)
    assert block_digests(mixed) == block_digests(whole)
    assert block_digests(mixed, np.array([1])) == {1: block_digests(whole)[1]}
    parts = empty(whole.space, "")
    for i in range(0, 3000, 700):
        parts = after(parts, np.zeros(0, np.int64), {}, rows.take(order[i : i + 700]), 1)
    assert block_digests(parts) == block_digests(whole)
    assert content(parts) == content(whole)


def test_a_digest_is_what_the_page_says():
    """By hand, for one row without metadata."""
    kb = base("memory", None)
    kb.commit(kb.add(made(["é"], [["x"]])))
    one, checksum = kb.snapshot(), hashlib.sha256()
    text = lambda t: np.int32(len(t.encode())).tobytes() + t.encode()  # noqa: E731
    moment = one.table.column("time").cast(pa.int64())[0].as_py()
    for name, kind, data in [
        ("number", "int64", np.int64(0).tobytes()),
        ("id", "string", text("é")),
        ("labels", "list", text('["x"]')),
        ("vector", "float32", one.vectors_ME[0].tobytes()),
        ("sha256", "binary", one.digests_M32[0].tobytes()),
        ("group", "string", np.int32(-1).tobytes()),
        ("place", "string", np.int32(-1).tobytes()),
        ("source", "string", text("web")),
        ("time", "timestamp[us, tz=UTC]", b"\x80" + np.int64(moment).tobytes()),
    ]:
        head = f"{name}\0{kind}\0{len(data)}\0".encode()
        checksum.update(len(head).to_bytes(8, "little") + head + data)
    assert block_digests(one) == {0: checksum.hexdigest()}
    told = f'{{"blocks":{{"0":"{checksum.hexdigest()}"}},"space":{{"model":"toy","pool":"cls"}}}}'
    assert one.root == root_of(one.space, block_digests(one)) == hashlib.sha256(told.encode()).hexdigest()


def test_many_threads_that_look_at_changes_of_one_snapshot_do_not_mix_them():
    kb = base("memory", None)
    kb.commit(kb.add(made(["first"])))
    changes = [kb.add(made([f"{i}-{k}" for k in range(20)])) for i in range(8)]
    threads = [threading.Thread(target=lambda c=c: c.after) for c in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for change in changes:
        snapshot, rows = change.after, change.added
        assert (snapshot.vectors_ME[1:] == rows.vectors_NE).all()
        assert len(snapshot.vectors_ME) == 21


def test_a_room_is_shared_until_somebody_else_has_put_rows_there():
    room = Room(0, 2).behind(0, np.ones((3, 2)))
    longer = room.behind(3, np.full((2, 2), 2))
    assert longer is room
    other = room.behind(3, np.full((2, 2), 3))
    assert other is not room
    assert room.first(5)[:, 0].tolist() == [1, 1, 1, 2, 2]
    assert other.first(5)[:, 0].tolist() == [1, 1, 1, 3, 3]
    assert room.behind(5, np.zeros((9000, 2))).first(5)[:, 0].tolist() == [1, 1, 1, 2, 2]


def test_a_snapshot_with_many_dead_rows_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("itae.knowledge.ledger.versions._DEAD_MORE", 5)
    kb = base("memory", tmp_path)
    for i in range(12):
        kb.commit(kb.add(made(["a", "b"], [["x"], ["y"]], seed=i), replace=True))
        assert len(kb.snapshot().alive_M) <= 11
    assert len(kb.snapshot()) == 2


def test_filed_rows_are_taken_by_position():
    one = taken(one_row())
    some = Filed(one.filed(one.live).columns, one.vectors_ME).take(np.array([1]))
    assert some.columns.column("id").to_pylist() == ["b"]
    assert some.metadata == {"age": pa.int64()}
