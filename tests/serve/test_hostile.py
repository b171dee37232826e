"""What a stranger's words and files can't do: get code imported, end the server, be a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import serving
from fastapi.testclient import TestClient

from itae.base.errors import UserError
from itae.search.session import Round, Session
from itae.serve.search.line import line
from itae.serve.settings import private_folder


@pytest.fixture
def began(client):
    """Return the address of a search with one round."""
    address = f"/api/searches/{client.post('/api/searches', json={'text': 'seven'}).json()['search']}"
    assert client.post(f"{address}/rounds", json={"count": 3}).status_code == 200
    return address


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Return the name of a class whose module tells that it was imported."""
    (tmp_path / "trap_of_a_stranger.py").write_text("class Trap:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "trap_of_a_stranger.Trap"
    assert "trap_of_a_stranger" not in sys.modules


def imported(client, address, **changed):
    """Import a search whose last round a stranger has changed; return its new address."""
    lines = client.get(f"{address}/session").text.splitlines()
    last = json.dumps(json.loads(lines[-1]) | changed)
    answer = client.post("/api/searches/import", content="\n".join([*lines[:-1], last]))
    assert answer.status_code == 201, answer.text
    return f"/api/searches/{answer.json()['search']}"


@pytest.mark.slow
@pytest.mark.parametrize("option", ["within", "temperature"])
def test_an_option_imports_nothing(client, began, trap, option):
    name = {"within": "nearest", "temperature": "kernel"}[option]
    answer = client.post(f"{began}/rounds", json={"rule": {"name": name, option: {"_target_": trap}}})
    assert answer.status_code == 400
    assert f"The rule {name} has {option}=" in answer.json()["error"]


@pytest.mark.slow
@pytest.mark.parametrize("rule", [
    {"_target_": "itae.feedback.Nearest", "within": {"_target_": "TRAP"}},
    {"_target_": "TRAP"},
])  # fmt: skip
def test_a_session_imports_nothing(client, began, trap, rule):
    rule = json.loads(json.dumps(rule).replace("TRAP", trap))
    address = imported(client, began, rule=rule)
    for answer in (
        client.get(f"{address}/rounds/0"),
        client.post(f"{address}/replay"),
        client.post(f"{address}/rounds", json={}),
        client.post(f"{address}/more", json={}),
    ):
        assert answer.status_code == 400
        assert set(answer.json()) == {"error"}


def test_a_rule_that_who_serves_has_named_keeps_its_parts(digits, tmp_path):
    desk = serving.desk_of(digits / "kb", digits / "cache")
    node = {"_target_": "rules_of_ours.Wide", "parts": {"a": [1]}}
    (tmp_path / "rules_of_ours.py").write_text(
        "from dataclasses import dataclass\nfrom itae.search.rule import Rule\n\n"
        "@dataclass(frozen=True)\nclass Wide(Rule):\n    parts: dict\n\n"
        "    def scores(self, near):\n        return near.query\n\n    def notes(self, judged):\n        return ()\n"
    )
    desk.served.rules["wide"] = node
    client = serving.client_of(desk, tmp_path / "state")
    sys.path.insert(0, str(tmp_path))
    try:
        address = f"/api/searches/{client.post('/api/searches', json={'text': 'seven'}).json()['search']}/rounds"
        assert client.post(address, json={"rule": {"name": "wide"}, "count": 3}).status_code == 200
        assert client.post(address, json={"count": 3}).status_code == 200
        assert client.get(f"{address}/0").status_code == 200
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("rules_of_ours", None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_told(client, began, number):
    head, last = client.get(f"{began}/session").text.splitlines()
    for rule in ("nearest", "kernel"):
        option = {"nearest": "within", "kernel": "mean"}[rule]
        text = f'{{"rule": {{"name": "{rule}", "{option}": {number}}}}}'
        answer = client.post(f"{began}/rounds", content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert f"The rule {rule} has {option}=" in answer.json()["error"]
    answer = client.post("/api/searches/import", content=f"{head}\n{last}".replace('"query"', number))
    assert answer.status_code == 400
    assert "the file, line 2: rule=" in answer.json()["error"]


ENDS = {
    "memory": "length(repeat(id, 10000000)) > 5",
    "depth": "1 + " * 3000 + "1 > 0",
}


@pytest.mark.parametrize("where", ENDS.values(), ids=ENDS)
def test_no_condition_ends_the_server(client, began, where):
    """Each of them ends the process that looks at it, which is not the one that answers the others."""
    address = imported(client, began, where=where)
    for answer in (
        client.post(f"{began}/rounds", json={"where": where}),
        client.get(f"{address}/rounds/0"),
    ):
        assert answer.status_code == 400
        assert "can't be looked at" in answer.json()["error"]
        assert len(answer.json()["error"]) < 500
    found = client.get("/api/rows", params={"where": "label = '7' AND array_has(labels, '7')"}).json()
    assert 0 < found["total"] < 640


@pytest.mark.parametrize("where", ["array_has(labels, 1)", "label BETWEEN number AND label"])
def test_a_label_that_no_sentence_can_hold_is_compared_with_a_number(own, tmp_path, where):
    """Where the sentence that says that it is none would have a NUL, the process ends."""
    client, (first,) = serving.client_of(own, tmp_path / "state"), own.base.snapshot().ids[:1]
    own.base.commit(own.base.correct_each({first: ["\0"]}), "anna")
    own.edited()
    answer = client.get("/api/rows", params={"where": where})
    assert answer.status_code == 400
    assert "can't be looked at" in answer.json()["error"]


def test_conditions_are_looked_at_by_one_other_process(digits_desk):
    base, served = digits_desk.base, digits_desk.served.base
    for where in ("number % 7 = 0", "label = '3'", "true"):
        assert base.where(where).tolist() == served.where(where).tolist()
    first = base.store._other
    for where in ("nonsense = 1", "\ud800", "1"):
        told = []
        for one in (base, served):
            with pytest.raises(UserError) as error:
                one.where(where)
            told.append(str(error.value))
        assert told[0] == told[1]
    assert base.store._other is first
    first.kill()
    first.wait()
    assert base.where("label = '3'").tolist() == served.where("label = '3'").tolist()


def test_a_condition_has_so_much_time(digits_desk, monkeypatch):
    """The process has a clock of its own, as what it calls gives no turn to Python."""
    one = subprocess.run(
        [sys.executable, "-c", "import itae.serve.apart as apart, io, sys\napart.SECONDS = 1\n"
         "apart.LanceStore.where = lambda *_: exec('while True: pass')\n"
         "apart.main(sys.argv[1], io.BytesIO(b'{\"version\": 1, \"where\": \"\"}'), sys.stdout.buffer)",
         digits_desk.base.path], capture_output=True, timeout=50, check=False)  # fmt: skip
    assert one.returncode == -signal.SIGALRM


def test_a_disk_that_fails_is_told_without_its_place(client, began, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    monkeypatch.setattr("tempfile.tempdir", str(gone))
    answer = client.post("/api/searches/picture?name=a.png", content=b"x")
    assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert "No such file or directory" in answer.json()["error"]
    assert str(tmp_path) not in answer.text


def test_a_full_disk_of_searches_is_told_without_its_place(client, began, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("itae.search.session_file.replace_file", full)
    for answer in (
        client.post(f"{began}/rounds", json={"count": 3}),
        client.post(f"{began}/more", json={"count": 3}),
        client.post("/api/searches", json={"text": "seven"}),
    ):
        assert answer.status_code == 400
        assert "The session sessions/anna/" in answer.json()["error"]
        assert "No space left on device" in answer.json()["error"]
        assert str(tmp_path) not in answer.text


def test_a_defect_is_json_as_well(digits_desk, tmp_path, monkeypatch):
    def defect(*_):
        raise KeyError("secret")

    client = TestClient(serving.client_of(digits_desk, tmp_path).app, raise_server_exceptions=False)
    monkeypatch.setattr(type(digits_desk), "snapshot", defect)
    answer = client.get("/api/version")
    assert (answer.status_code, set(answer.json())) == (500, {"error"})
    assert "KeyError" in answer.json()["error"]
    assert "secret" not in answer.text


def test_no_answer_sends_a_browser_elsewhere(client):
    for path in ("/api/", "/api/rows/", "/api/row/", "/static/"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, set(answer.json())) == (404, {"error"})


def test_a_folder_of_another_user_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UserError, match="is another user's of this machine"):
        private_folder(tmp_path / "state")


@pytest.mark.parametrize("name", ["a\x1b[201~; touch pwned #", "a\nb", "a\0b", "\u202e", "a\\0"])
def test_a_command_to_paste_has_nothing_that_cant_be_seen(name):
    done = Round(1, "root", {"_target_": "itae.feedback.Nearest"}, None, 5, (), (), ())
    one = Session("base", "seven", True, None, np.zeros(4, np.float32))
    searches = [
        (replace(one, name=name), done),
        (one, replace(done, yes=(name,))),
        (one, replace(done, no=("a", name))),
        (one, replace(done, where=f"id = {name!r}" if name.isprintable() else f"id = '{name}'")),
    ]
    for session, each in searches:
        told = line("kb", session, each, "nearest", each.rule, {}, "search-1.jsonl")
        assert told.isprintable()
        assert ("--replay search-1.jsonl" in told) == (not name.isprintable())
