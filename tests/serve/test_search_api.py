"""Searches by HTTP: the same ids as the command, for each user their own, whatever is in the words."""

from __future__ import annotations

import io
import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itae.base.names import choice_of
from itae.knowledge.base import open_knowledge
from itae.knowledge.curate.duplicates import near_duplicate
from itae.search.filters import condition
from itae.search.folded import folded
from itae.search.search import rows_where
from itae.search.session_file import add_round
from itae.serve.rows import rules

RULES = serving.RULES


@pytest.fixture
def begin(client):
    """Return a function that begins a search and gives its address."""

    def begin(**asked):
        answer = client.post("/api/searches", json=asked)
        assert answer.status_code == 201, answer.text
        return f"/api/searches/{answer.json()['search']}"

    return begin


@pytest.fixture
def ask(client):
    """Return a function that makes a round."""

    def ask(address, **asked):
        answer = client.post(f"{address}/rounds", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.fixture
def command(itae_, digits, monkeypatch):
    """Return a function that runs a command's line and gives back its ids."""
    monkeypatch.setenv("ITAE_CACHE", str(digits / "cache"))

    def run(line):
        status, out, err = (
            itae_(*shlex.split(line)[1:], "--json")
            if "--" not in shlex.split(line)
            else itae_(*(words := shlex.split(line))[1 : words.index("--")], "--json", *words[words.index("--") :])
        )
        assert (status, err) == (0, ""), err
        found = json.loads(out)
        page = found["rounds"][-1] if "rounds" in found else found
        return [row["id"] for row in page["results"]]

    return run


def ids(page):
    return [row["id"] for row in page["results"]]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_shows_what_the_command_that_is_told_shows(begin, ask, command, rule):
    address = begin(text="an odd number")
    first = ask(address, count=12)
    yes = [row["id"] for row in first["results"] if row["labels"] == ["3"]][:2]
    no = [row["id"] for row in first["results"] if row["labels"] != ["3"]][:2]
    page = ask(address, yes=yes, no=no, rule={"name": rule}, count=12)
    assert not {*yes, *no} & set(ids(page))
    assert command(page["command"]) == ids(page)
    assert f"feedback={rule} " in page["command"]
    assert page["rule"]["name"] == rule
    if rule == "nearest":
        assert command(first["command"]) == ids(first)


def test_options_and_conditions_are_in_the_command(begin, ask, command):
    address = begin(id="digits/all/01670")
    asked = {"labels": ["3", "it's"], "where": "id < 'digits/all/015'", "rule": {"name": "kernel", "temperature": 0.3}}
    page = ask(address, count=7, **asked)
    assert {row["labels"][0] for row in page["results"]} == {"3"}
    assert all(row["id"] < "digits/all/015" for row in page["results"])
    assert "feedback.temperature=0.3" in page["command"]
    assert "feedback.mean" not in page["command"], "what is as by default is left out"
    assert command(page["command"]) == ids(page)


def test_a_picture_finds_what_its_file_finds(client, command, ask, tmp_path):
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save(picture, "PNG")
    (tmp_path / "two words.png").write_bytes(picture.getvalue())
    answer = client.post("/api/searches/picture", params={"name": "two words.png"}, content=picture.getvalue())
    assert (answer.status_code, answer.json()["kind"], answer.json()["name"]) == (201, "picture", "two words.png")
    page = ask(f"/api/searches/{answer.json()['search']}", count=9)
    assert command(page["command"]) == ids(page)
    small = client.get(f"/api/searches/{answer.json()['search']}/picture")
    assert Image.open(io.BytesIO(small.content)).size == (30, 40)


def test_the_picture_of_a_row_is_that_row(client, digits_desk, begin, ask):
    snapshot = digits_desk.snapshot()
    i = snapshot.position["digits/all/01670"]
    number = int(snapshot.numbers_M[i])
    picture = client.get(f"/api/pictures/{number}?side=1024").content
    assert np.array(Image.open(io.BytesIO(picture))).shape[:2] == (8, 8), "tiny pictures keep every pixel"
    told = client.get(begin(id="digits/all/01670")).json()
    assert (told["kind"], told["number"]) == ("row", number)
    (line,) = client.get("/api/searches").json()["searches"]
    assert (line["kind"], line["number"]) == ("row", number)
    assert "digits/all/01670" not in ids(ask(begin(id="digits/all/01670"), count=600))


@pytest.mark.parametrize(("data", "told"), [
    (b"", "the file is empty"), (b"nothing", "can't be read"), (b"<svg/>", "can't be read"),
])  # fmt: skip
def test_what_is_no_picture_is_one_sentence_by_its_own_name(client, data, told):
    answer = client.post("/api/searches/picture", params={"name": "cat.png"}, content=data)
    assert answer.status_code == 415, answer.text
    assert "/tmp" not in answer.text
    assert told in answer.json()["error"]


def test_more_goes_on_where_the_round_ends(client, begin, ask, command):
    address = begin(text="an odd number")
    first = ask(address, count=5)
    more = client.post(f"{address}/more", json={"count": 4}).json()
    whole = ask(begin(text="an odd number"), count=9)
    assert (more["start"], ids(first) + ids(more)) == (5, ids(whole))
    assert [row["rank"] for row in more["results"]] == [6, 7, 8, 9]
    assert command(more["command"]) == ids(whole)
    assert (first["left"], more["left"]) == (635, 631)
    rest = client.post(f"{address}/more", json={"count": 10_000}).json()
    assert (rest["left"], len(rest["results"])) == (0, 631)
    assert client.get(address).json()["rounds"][0]["shown"] == 640


def test_a_round_says_what_moved_and_which_mark_a_result_is_like(begin, ask):
    address = begin(text="an odd number")
    first = ask(address, count=10)
    yes, no = ids(first)[0], ids(first)[2]
    page = ask(address, yes=[yes], no=[no], count=10)
    was = {id_: rank for rank, id_ in enumerate([id_ for id_ in ids(first) if id_ not in (yes, no)], 1)}
    assert [row["was"] for row in page["results"]] == [was.get(id_) for id_ in ids(page)]
    assert any(row["was"] for row in page["results"])
    assert {(row["nearest"]["id"], row["nearest"]["mark"]) for row in page["results"]} <= {(yes, "yes"), (no, "no")}
    assert [(row["id"], row["mark"]) for row in page["judged"]] == [(yes, "yes"), (no, "no")]


def test_a_diverse_page_is_a_round_that_comes_again(client, begin, ask, command, tmp_path):
    address = begin(text="an odd number")
    first = ask(address, count=6)
    found = ask(address, count=6, diverse=True)
    assert not set(ids(first)) & set(ids(found))
    session = client.get(f"{address}/session")
    name = session.headers["content-disposition"].partition('filename="')[2].rstrip('"')
    (tmp_path / name).write_bytes(session.content)
    assert f"--replay {name}" in found["command"]
    assert command(found["command"]) == ids(found)
    more = client.post(f"{address}/more", json={"count": 3}).json()
    assert not set(ids(more)) & {*ids(first), *ids(found)}
    assert [each["same"] for each in client.post(f"{address}/replay").json()["rounds"]] == [True, True]


def test_rounds_come_back_as_they_were(client, begin, ask):
    address = begin(text="an odd number")
    pages = [ask(address, count=8)]
    pages.append(ask(address, count=8, yes=ids(pages[0])[:1]))
    pages.append(ask(address, count=8, yes=ids(pages[0])[:1], no=ids(pages[1])[:1], rule={"name": "svm"}))
    assert [client.get(f"{address}/rounds/{n}").json() for n in range(3)] == pages
    assert client.get(f"{address}/rounds/3").status_code == 404


def test_a_session_goes_to_the_command_and_comes_back(client, begin, ask, itae_, digits, monkeypatch, tmp_path):
    monkeypatch.setenv("ITAE_CACHE", str(digits / "cache"))
    address = begin(text="an odd number")
    first = ask(address, count=5)
    (tmp_path / "s.jsonl").write_bytes(client.get(f"{address}/session").content)
    kb = str(digits / "kb")
    status, out, _ = itae_("search", kb, "--session", "s.jsonl", f"--yes={ids(first)[0]}", "--json")
    assert status == 0
    taken = client.post("/api/searches/import", content=(tmp_path / "s.jsonl").read_bytes())
    assert (taken.status_code, len(taken.json()["rounds"])) == (201, 2)
    page = client.get(f"/api/searches/{taken.json()['search']}/rounds/1").json()
    assert ids(page) == [row["id"] for row in json.loads(out)["results"]]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"kind": "itae search session", "format": 1}'])
def test_what_is_no_session_is_one_sentence(client, data):
    answer = client.post("/api/searches/import", content=data, headers={"content-type": "application/jsonl"})
    assert answer.status_code == 400
    assert "the file" in answer.json()["error"] or not data
    assert "/tmp" not in answer.text


def test_the_session_of_another_base_is_refused(client, begin, ask):
    address = begin(text="one")
    ask(address, count=3)
    lines = client.get(f"{address}/session").content.split(b"\n")
    head = json.loads(lines[0]) | {"base": "0" * 32}
    answer = client.post("/api/searches/import", content=b"\n".join([json.dumps(head).encode(), *lines[1:]]))
    assert (answer.status_code, "another base" in answer.json()["error"]) == (400, True)


def test_each_user_has_searches_of_their_own(digits_desk, tmp_path):
    anna, bert = (serving.client_of(digits_desk, tmp_path, name) for name in ("anna", "../bért"))
    mine = anna.post("/api/searches", json={"text": "one"}).json()["search"]
    theirs = bert.post("/api/searches", json={"text": "two"}).json()["search"]
    for who, own, other in ((anna, mine, theirs), (bert, theirs, mine)):
        assert [one["search"] for one in who.get("/api/searches").json()["searches"]] == [own]
        assert who.get(f"/api/searches/{other}").status_code == 404
        assert who.post(f"/api/searches/{other}/rounds", json={}).status_code == 404
        assert who.delete(f"/api/searches/{other}").status_code == 404
    assert {path.parent.parent for path in tmp_path.rglob("*.jsonl")} == {tmp_path / "sessions"}
    assert anna.delete(f"/api/searches/{mine}").status_code == 204
    assert anna.get("/api/searches").json() == {"searches": []}


def test_searches_are_there_after_a_restart(digits_desk, tmp_path):
    first = serving.client_of(digits_desk, tmp_path)
    name = first.post("/api/searches", json={"text": "one"}).json()["search"]
    page = first.post(f"/api/searches/{name}/rounds", json={"count": 4}).json()
    again = serving.client_of(digits_desk, tmp_path)
    assert again.get(f"/api/searches/{name}/rounds/0").json() == page
    (told,) = again.get("/api/searches").json()["searches"]
    assert (told["search"], told["rounds"], told["name"]) == (name, 1, "one")


def test_the_newest_searches_are_kept(digits_desk, tmp_path, monkeypatch):
    monkeypatch.setattr("itae.serve.search.searches.KEPT", 3)
    client = serving.client_of(digits_desk, tmp_path)
    names = [client.post("/api/searches", json={"text": "one"}).json()["search"] for _ in range(5)]
    assert [one["search"] for one in client.get("/api/searches").json()["searches"]] == names[:1:-1]
    assert len(list(tmp_path.rglob("*.jsonl"))) == 3


@pytest.mark.parametrize(("body", "told"), [
    ({"yes": ["digits/all/01160"]}, "was never shown in this session"),
    ({"rule": {"name": "kernal"}}, "There is no rule 'kernal'"),
    ({"rule": {"name": "kernel", "heat": 1}}, "no option 'heat'"),
    ({"rule": {"name": "kernel", "temperature": "os.system"}}, "temperature"),
    ({"rule": {"name": "kernel", "temperature": {"_target_": "os.system"}}}, "temperature"),
    ({"rule": {"name": "kernel", "_target_": "os.system"}}, "no option '_target_'"),
    ({"where": "nonsense"}, "is no condition on"),
    ({"where": "1=0"}, "no row of version 1 meets it"),
    ({"labels": ["seven"]}, "no row of version 1 meets it"),
    ({"count": 0}, "count: "), ({"count": 10**9}, "count: "), ({"nonsense": 1}, "nonsense: "),
])  # fmt: skip
def test_what_cant_be_asked_is_one_sentence_and_makes_no_round(client, begin, body, told):
    address = begin(text="an odd number")
    answer = client.post(f"{address}/rounds", json=body)
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["error"]
    assert client.get(address).json()["rounds"] == []


@pytest.mark.parametrize(("body", "status"), [
    ({}, 400), ({"text": "a", "id": "b"}, 400), ({"text": " "}, 400), ({"id": "nobody"}, 404),
    ({"text": "a" * 2000}, 400), ({"text": 3}, 400), ([], 400),
])  # fmt: skip
def test_a_search_is_begun_by_one_query(client, body, status):
    answer = client.post("/api/searches", json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("name", ["..x", "x", "0" * 16, "0" * 16 + ".jsonl", "..%2f..%2fbase", "A" * 16])
def test_a_search_is_named_by_digits_alone(client, name):
    assert client.get(f"/api/searches/{name}").status_code == 404


def test_marks_on_rows_that_are_gone_go_with_them(own, tmp_path):
    client = serving.client_of(own, tmp_path / "state")
    name = client.post("/api/searches", json={"text": "an odd number"}).json()["search"]
    first = client.post(f"/api/searches/{name}/rounds", json={"count": 5}).json()
    gone, stays = ids(first)[:2]
    own.base.commit(own.base.delete([gone]), "bert", "no digit")
    own.edited()
    page = client.post(f"/api/searches/{name}/rounds", json={"count": 5, "yes": [gone, stays]}).json()
    assert (page["yes"], page["version"]) == ([stays], 2)
    assert [(one["who"], one["why"]) for one in page["edited"]] == [("bert", "no digit")]
    assert any(f"{gone!r} was marked and is gone in version 2" in note for note in page["notes"])
    assert ids(client.get(f"/api/searches/{name}/rounds/0").json()) == ids(first), "of the version of then"
    news = client.get("/api/version?seen=1").json()
    assert (news["version"], [one["edit"] for one in news["edits"]]) == (2, [2])


def test_what_another_process_edits_is_seen(own, tmp_path):
    from itae.knowledge.base import open_knowledge

    client = serving.client_of(own, tmp_path / "state")
    assert client.get("/api/version").json()["version"] == 1
    other = open_knowledge(own.base.path)
    other.commit(other.correct(["digits/all/01670"], ["drei"]), "bert", "German")
    own.edited()  # what a second of waiting does
    assert client.get("/api/row?id=digits/all/01670").json()["labels"] == ["drei"]
    assert [one["who"] for one in client.get("/api/row?id=digits/all/01670").json()["edits"]][:1] == ["bert"]


def test_a_round_is_of_its_own_version_when_the_base_is_edited_meanwhile(own, tmp_path, monkeypatch):
    """Another process edits between the search of a round and its answer; what it wrote lies at other positions."""
    other = open_knowledge(own.base.path)
    some, marked = own.base.snapshot().ids[:40], own.base.snapshot().ids[50]

    def edit(label):
        other.commit(other.correct_each({id_: [label] for id_ in some}), "bert")
        own.edited()
        return own.snapshot()

    def meanwhile(path, session, done):
        made = add_round(path, session, done)
        edit(f"after {len(made.rounds)}")
        return made

    client = serving.client_of(own, tmp_path / "state")
    address = f"/api/searches/{client.post('/api/searches', json={'id': marked}).json()['search']}"
    edit("after 0")
    monkeypatch.setattr("itae.serve.search.searches.add_round", meanwhile)
    for number, where in enumerate((None, "number % 2 = 0")):
        page = client.post(f"{address}/rounds", json={"count": 600, "where": where}).json()
        last = json.loads(client.get(f"{address}/session").text.splitlines()[-1])
        assert ids(page) == last["shown"]
        labels = {label for row in page["results"] if row["id"] in some for label in row["labels"]}
        assert labels == {f"after {number}"}


def test_a_condition_is_met_by_positions_of_the_snapshot_at_hand(own):
    base, other = own.base, open_knowledge(own.base.path)
    some = base.snapshot().ids[:40]
    for label in "xy":
        other.commit(other.correct_each({id_: [label] for id_ in some}), "bert")
        if label == "x":
            then = base.snapshot()
    assert base.snapshot().version == then.version + 1
    found = rows_where(base, then, "label = 'x'")
    assert sorted(then.ids[i] for i in found.tolist()) == sorted(some)
    assert then.alive_M[found].all(), "where they lie now, not where they lay"


@pytest.mark.slow
def test_a_version_can_be_shown_in_place_of_the_newest(digits, own, tmp_path):
    own.base.commit(own.base.delete(["digits/all/01670"]), "bert", "")
    then = serving.desk_of(own.base.path, digits / "cache", at=1, read_only="Version 1 is shown.")
    client = serving.client_of(then, tmp_path / "state")
    told = client.get("/api/base").json()
    assert (told["version"], told["pinned"], told["read_only"], told["rows"]) == (1, "1", "Version 1 is shown.", 640)


def test_rows_are_browsed_and_picked(client):
    whole = client.get("/api/rows?count=1000").json()
    assert (whole["total"], len(whole["rows"])) == (640, 640)
    some = client.get("/api/rows", params={"label": ["3", "4"], "offset": 2, "count": 5}).json()
    want = [row for row in whole["rows"] if row["labels"][0] in "34"]
    assert (some["total"], some["rows"]) == (len(want), want[2:7])
    assert client.get("/api/rows", params={"where": "label = '3' OR '1'='1", "label": "4"}).status_code == 400


def test_pictures_are_named_by_numbers_alone(client):
    for path, status in (("3?side=161", 400), ("99999", 404), ("-1", 404), ("x", 400), ("3?side=96", 200),
                         ("9" * 30, 404)):  # fmt: skip
        assert client.get(f"/api/pictures/{path}").status_code == status, path


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_and_option_says_what_it_does(digits_desk, rule):
    (told,) = rules({rule: digits_desk.served.rules[rule]}, digits_desk.served.rule_texts)
    assert told["says"].endswith(".")
    assert all(option["says"] for option in told["options"]), told
    assert {option["name"] for option in told["options"]} == digits_desk.served.rules[rule].keys() - {"_target_"}
    assert choice_of(digits_desk.served.rules[rule]["_target_"])


def test_a_condition_is_that_of_what_was_picked():
    assert condition() is None
    assert condition(where=" a = 1 ") == "a = 1"
    assert condition(["it's"], ["b"], "a OR b") == "array_has_any(labels, ['it''s']) AND source IN ('b') AND (a OR b)"


@given(st.integers(1, 1500), st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_is_folded_is_like_what_leads_it(count, kinds, seed):
    """Against the plain definition: the first leader, in the window of its block, that it is alike."""

    vectors_ME = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    vectors_ME = vectors_ME[np.random.default_rng(seed).integers(0, min(kinds, count), count)]
    vectors_ME /= np.linalg.norm(vectors_ME, axis=1, keepdims=True)
    positions = np.random.default_rng(seed + 1).permutation(count)
    want: list[int] = []
    for k, i in enumerate(positions):
        first = max(0, k // 256 * 256 - 512)
        alike = [j for j in range(first, k) if want[j] == j
                 and vectors_ME[i] @ vectors_ME[positions[j]] >= 0.98]  # fmt: skip
        want.append(alike[0] if alike else k)
    assert folded(SimpleNamespace(vectors_ME=vectors_ME), positions, 0.98).tolist() == want


def test_what_is_nearly_the_same_depends_on_how_tight_the_space_is(digits_desk):
    """In a space that was trained to bring a class together, .98 is any two of a class."""
    snapshot = digits_desk.snapshot()
    alike = snapshot.vectors_ME @ snapshot.vectors_ME.T
    np.fill_diagonal(alike, -1)
    usual = np.median(alike.max(axis=1))
    assert usual > 0.95
    assert near_duplicate(snapshot) == pytest.approx(1 - (1 - usual) / 10, abs=1e-3)
    assert (alike.max(axis=1) >= near_duplicate(snapshot)).mean() < 0.1
