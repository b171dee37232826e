"""Sessions on the disk: what is written comes back, and a stranger's file is one sentence at most."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.search.session import Round, Session
from itae.search.session_file import add_round, read_session

names = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u2028\x85\udc80"), min_size=1, max_size=6)
ids = st.lists(names, max_size=3)
rounds = st.builds(
    Round,
    version=st.integers(0, 9),
    root=names,
    rule=st.just({"_target_": "itae.feedback.Kernel", "temperature": 0.1}),
    where=st.none() | names,
    count=st.integers(1, 50),
    yes=ids,
    no=ids,
    shown=ids,
)


def a_session(**more):
    told = {
        "base": "b" * 32,
        "name": "cat.png",
        "is_text": False,
        "sha256": "00" * 32,
        "vector_E": np.ones(3, np.float32),
    }
    return Session(**{**told, **more})


def a_round(shown=("a", "b"), yes=(), no=()):
    return Round(1, "root", {"_target_": "itae.feedback.Nearest"}, None, 20, list(yes), list(no), list(shown))


@given(
    name=names,
    is_text=st.booleans(),
    sha256=st.none() | st.just("ab" * 32),
    each=st.lists(rounds, min_size=1, max_size=3),
    vector=st.lists(st.floats(-1, 1, width=32), max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory, name, is_text, sha256, each, vector):
    file = tmp_path_factory.mktemp("session") / "s.jsonl"
    session = a_session(name=name, is_text=is_text, sha256=sha256, vector_E=np.array(vector, np.float32))
    for one in each:
        session = add_round(file, session, one)
    back = read_session(file)
    assert back.vector_E.tobytes() == session.vector_E.tobytes()
    assert (back.base, back.name, back.is_text, back.sha256) == (session.base, name, is_text, sha256)
    assert back.rounds == session.rounds == tuple(each)


def test_marks_add_up_and_the_last_word_counts():
    session = a_session(rounds=(a_round(), a_round(["c"], yes=["a"], no=["b"])))
    assert session.marked(["c"], []) == (["a", "c"], ["b"])
    assert session.marked([], ["a"]) == ([], ["a", "b"])
    assert session.marked([], [], forget=["b"]) == (["a"], [])
    with pytest.raises(UserError, match="'d' was never shown in this session"):
        session.marked(["d"], [])
    with pytest.raises(UserError, match="'c' is not marked in this session"):
        session.marked([], [], forget=["c"])


def test_no_place_of_a_file_is_written(tmp_path):
    add_round(tmp_path / "s.jsonl", a_session(), a_round())
    text = (tmp_path / "s.jsonl").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert len(text.splitlines()) == 2


HEAD = {
    "kind": "itae search session", "format": 1, "base": "b", "name": "n", "is_text": False, "sha256": None,
    "vector": "", "among_images": None,
}  # fmt: skip
ROUND = {
    "version": 1, "root": "r", "rule": {}, "where": None, "count": 1, "yes": [], "no": [], "shown": [], "time": "t",
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "is not JSON"),
        (["{"], "line 1 is not JSON"),
        (["[]"], "line 1 is no mapping"),
        ([{"kind": "other"}], "is no session of itae search"),
        ([{**HEAD, "format": 2}], "is no session of itae search"),
        ([{**HEAD, "vector": "?"}], "line 1: a vector can't be read"),
        ([{**HEAD, "vector": "AAA="}], "line 1: a vector can't be read"),
        ([{**HEAD, "is_text": "no"}], "line 1: is_text='no' can't be"),
        ([{**HEAD, "sha256": "zz"}], "line 1: sha256='zz' can't be"),
        ([HEAD, {**ROUND, "version": True}], "line 2: version=True can't be"),
        ([HEAD, {**ROUND, "count": 0}], "line 2: count=0 can't be"),
        ([HEAD, {**ROUND, "yes": "a"}], "line 2: yes='a' can't be"),
        ([HEAD, {**ROUND, "shown": [1]}], "line 2: an id must be a text"),
        ([HEAD, {name: ROUND[name] for name in ROUND if name != "root"}], "line 2: root=None can't be"),
        ([HEAD, ROUND, '{"round": 1, "vers'], "line 3 is not JSON"),
        ([HEAD, "[" * 100_000], "line 2 is too deep for a session"),
        ([HEAD, {**ROUND, "version": 10**4000}, '{"version": ' + "9" * 5000 + "}"], "line 3 is not JSON"),
        ([{**HEAD, "name": "\ud800"}, ROUND], "has a text that no file can hold"),
        ([HEAD, {**ROUND, "shown": ["\udfff"]}], "has a text that no file can hold"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path, lines, told):
    file = tmp_path / "s.jsonl"
    file.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines), encoding="utf-8")
    with pytest.raises(UserError, match=r"s\.jsonl") as error:
        read_session(file)
    assert told in str(error.value)


def test_files_that_cant_be_read_or_written_are_told(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_session(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="can't be written"):
        add_round(tmp_path / "file/s.jsonl", a_session(), a_round())


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    file = tmp_path / "s.jsonl" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(UserError, match="it is no regular file"):
        read_session(file)


@pytest.mark.parametrize("change", [
    lambda lines: [{**lines[0], "note": "mine"}, *lines[1:]],
    lambda lines: [dict(sorted(line.items())) for line in lines],
    lambda lines: lines[:1],
])  # fmt: skip
def test_a_file_that_was_written_by_other_means_goes_on(tmp_path, change):
    file = tmp_path / "s.jsonl"
    add_round(file, a_session(), a_round())
    lines = change([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])
    file.write_text("".join(f"{json.dumps(line)}\r\n" for line in lines), encoding="utf-8")
    begun = read_session(file)
    add_round(file, begun, a_round(["x"]))
    assert len(read_session(file).rounds) == len(lines)
    with pytest.raises(UserError, match="was changed by another process meanwhile"):
        add_round(file, begun, a_round(["y"]))


def test_a_round_that_another_has_written_meanwhile_isnt_lost(tmp_path):
    file = tmp_path / "s.jsonl"
    begun = add_round(file, a_session(), a_round())
    add_round(file, begun, a_round(["x"]))
    with pytest.raises(UserError, match="was changed by another process meanwhile"):
        add_round(file, begun, a_round(["y"]))
    assert [each.shown for each in read_session(file).rounds] == [["a", "b"], ["x"]]


def goes_on(file, number):
    begun = read_session(file)
    try:
        add_round(file, begun, a_round([str(number)]))
    except UserError:
        return 0
    return 1


def test_of_several_processes_each_round_is_whole_or_refused(tmp_path):
    file = tmp_path / "s.jsonl"
    add_round(file, a_session(), a_round())
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        done = sum(pool.starmap(goes_on, [(file, n) for n in range(40)]))
    assert len(read_session(file).rounds) == 1 + done
    assert done >= 1


def test_a_session_of_another_base_is_refused():
    with pytest.raises(UserError, match="This session is of another base than kb"):
        a_session().refuse_another_base("c" * 32, "kb")
    a_session().refuse_another_base("b" * 32, "kb")
