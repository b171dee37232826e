"""What is known by HTTP is what the commands say of the same version, and what they do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from app_bases import draw_photos
from desks import app_of, client_of, desk_of

from itae.knowledge.base import open_knowledge

pytest.importorskip("lance")


def without(told, *names):
    if isinstance(told, list):
        return [without(each, *names) for each in told]
    if isinstance(told, dict):
        return {key: without(value, *names) for key, value in told.items() if key not in names}
    return told


def test_each_answer_is_that_of_the_command(itae_, tmp_path):
    def told(line):
        status, out, err = itae_("knowledge", *shlex.split(line))
        assert (status, err) == (0, ""), err
        return json.loads(out) if "--json" in line else out

    draw_photos(tmp_path)
    told("init kb")
    told("add kb dataset=imagefolder dataset.root=photos --source album")
    told("correct kb two album/one/03.png --who bob --why 'looks like one'")
    kb = open_knowledge(Path("kb"))
    ada = client_of(app_of(desk_of(kb)))
    for verb in ("suspects", "duplicates", "outliers"):
        own = told(f"{verb} kb -n 5 --json")
        found = ada.get(f"/api/lists/{verb}?count=5").json()
        if verb == "suspects":
            assert without(found["rows"], "number", "neighbours") == own
        elif verb == "duplicates":
            assert without(found["groups"], "number") == own
        else:
            for name in ("all", "labels"):
                rows = [each | {"nearest": each["nearest"]["id"]} for each in found[name]]
                assert without(rows, "number", "labels") == own[name]
    assert own["all"]
    found = ada.post("/api/classify", json={"id": "album/one/03.png"}).json()
    assert without(found, "number", "query") == without(told("why kb photos/one/03.png --json"), "path")
    assert found["known"][0]["id"] == "album/one/03.png"
    journal, log = ada.get("/api/journal").json()["edits"], told("log kb --json")
    names = ("edit", "verb", "who", "why", "when", "counts")
    assert without(journal, "undone_by") == [{name: each[name] for name in names} for each in reversed(log)]
    change = {"verb": "delete", "ids": ["album/one/03.png", "album/zero/00.png"]}
    looked = ada.post("/api/edits/look", json=change).json()
    own = told("delete kb album/one/03.png album/zero/00.png --dry-run --json")
    assert without(looked, "number", "counts", "turned_note") == without(own, "edit")
    made = ada.post("/api/edits", json={**change, "seen": 2, "why": "twice"}).json()
    assert (made["edit"], made["rows"]) == (3, 22)
    last = told("log kb --json")[-1]
    assert [last[name] for name in ("verb", "who", "why", "deleted")] == ["delete", "ada", "twice", looked["deleted"]]
