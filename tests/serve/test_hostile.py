"""What a stranger's words and files can't do: get code imported, end the server, be a traceback."""

from __future__ import annotations

import json
import sys

import pytest
import serving


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


@pytest.mark.parametrize("option", ["within", "temperature"])
def test_an_option_imports_nothing(client, began, trap, option):
    name = {"within": "nearest", "temperature": "kernel"}[option]
    answer = client.post(f"{began}/rounds", json={"rule": {"name": name, option: {"_target_": trap}}})
    assert answer.status_code == 400
    assert f"The rule {name} has {option}=" in answer.json()["error"]


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
