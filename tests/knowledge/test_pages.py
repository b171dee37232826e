"""What the pages of a base and of an answer tell, against what was put into the base."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from datetime import timedelta

import numpy as np
import pytest
from bases import SPACE, WORDS
from PIL import Image

import itae.knowledge.pages.page_of_base as module
from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.vote import Rank
from itae.knowledge.answers.why import why
from itae.knowledge.base import in_memory
from itae.knowledge.pages.page_of_answer import page_of_answer
from itae.knowledge.pages.page_of_base import page_of_base
from itae.knowledge.records.rows import Rows
from itae.look.page.base_page import write_base_page
from itae.look.page.why_page import write_why_page

LABELS = ("bird", "bug")


def png(shade):
    data = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, 40, 90)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(params=["refer", "embed"])
def base(request, tmp_path):
    """Return a base of two labels far apart: forty pictures, one labelled wrongly, one twice, one a near copy."""
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{i:02d}.png" for i in range(40)]
    bytes_ = [png(5 * i) for i in range(40)]
    bytes_[39] = bytes_[37]
    for file, data in zip(files, bytes_, strict=True):
        file.write_bytes(data)
    vectors = np.eye(8)[[i % 2 for i in range(40)]] + 0.2 * draw.normal(size=(40, 8))
    vectors[39], vectors[38] = vectors[37], vectors[36] + 1e-3
    labels = [[LABELS[i % 2]] for i in range(40)]
    labels[4], labels[6], labels[8] = ["bug"], [], ["bird", "old"]
    rows = Rows(
        [f"s/{file.name}" for file in files], vectors, labels, ["s" if i < 30 else "t" for i in range(40)],
        np.array([list(hashlib.sha256(data).digest()) for data in bytes_], np.uint8), ["g"] * 3 + [None] * 37,
        [str(file) for file in files], {}, lambda n: bytes_[n],
    )  # fmt: skip
    made = in_memory(SPACE, WORDS, request.param)
    made.commit(made.add(rows), "ada", "the first")
    made.commit(made.correct(["s/10.png"], ["bird"]), "ada", "no change")
    made.commit(made.correct(["s/12.png"], ["rare"]), "grace", "really")
    made.tag("good", 1)
    made.tag("later", 2)
    files[20].unlink()
    files[4].write_bytes(png(1))
    return made


def test_what_was_put_in_is_what_is_told(base):
    about, _ = page_of_base(base)
    assert (about.version, about.rows, about.unlabelled, about.tags) == (2, 40, 1, {"good": 1, "later": 2})
    assert about.labels == {"bird": 17, "bug": 21, "old": 1, "rare": 1}
    assert about.groups == 37, "three of one group, two of the same bytes"
    first, second = about.sources
    assert (first.name, first.rows, second.name, second.rows) == ("s", 30, "t", 10)
    assert second.labels == {"bird": 5, "bug": 5}
    assert first.labels == {"bug": 16, "bird": 12, "old": 1, "rare": 1}
    assert first.first <= first.last
    assert [(one.number, one.verb, one.who, one.why, one.rows) for one in about.edits] == [
        (1, "add", "ada", "the first", 40), (2, "correct", "grace", "really", 40)]  # fmt: skip
    assert about.edits[0].when.utcoffset() == timedelta(0)
    assert (about.edits[0].added, about.edits[1].changed) == (40, 1)
    assert len(about.map.ids) == len(about.map.points) == 40
    assert about.details["s/08.png"].labels == ("bird", "old")
    assert about.details["s/00.png"].group == "g"


def test_an_earlier_version_is_told_as_it_was(base):
    about, _ = page_of_base(base, "good")
    assert (about.version, len(about.edits), about.labels["bird"], about.tags) == (1, 1, 18, {"good": 1})


def test_the_wrong_row_comes_first_and_copies_are_groups(base):
    about, _ = page_of_base(base)
    wrong = next(one for one in about.suspects if one.id == "s/04.png")
    assert wrong.suggested == "bird"
    assert wrong in about.suspects[:2]
    assert all(about.details[name].labels for name, _ in wrong.near)
    assert "s/04.png" not in dict(wrong.near)
    similar = [similarity for _, similarity in wrong.near]
    assert similar == sorted(similar, reverse=True)
    groups = {one.ids: one.similarity for one in about.duplicates}
    assert groups["s/37.png", "s/39.png"] is None
    assert groups["s/36.png", "s/38.png"] > 0.99
    assert {one.within for one in about.outliers} >= {None, "bird", "bug"}


def test_only_a_rows_own_bytes_are_its_picture(base):
    about, look = page_of_base(base)
    if base.about.images == "embed":
        assert about.pictures == {"there": 40, "none": 0}
        assert look("s/04.png").getpixel((0, 0)) == (20, 40, 90)
        return
    assert about.pictures == {"there": 39, "moved": 1, "none": 0}
    assert about.lost == ["s/20.png"]
    assert (look("s/20.png"), look("s/04.png")) == ("moved", "changed")
    assert look("s/00.png").getpixel((0, 0)) == (0, 40, 90)


def test_what_is_no_picture_says_so():
    made = in_memory(SPACE, WORDS)
    text = hashlib.sha256(b"text").digest()
    digests = np.array([list(bytes(32)), list(text)], np.uint8)
    made.commit(made.add(Rows(["a", "b"], np.eye(2), [[], []], "s", digests, places=[None, None])))
    about, look = page_of_base(made)
    assert (look("a"), look("b")) == ("none", "none")
    assert about.pictures == {"there": 0, "moved": 0, "none": 2}
    assert about.suspects is None, "nobody votes"
    assert about.map is None, "two points are no map"


def test_an_empty_base_and_a_large_one_are_told_without_a_search(base, tmp_path, monkeypatch):
    about, look = page_of_base(in_memory(SPACE, WORDS))
    assert (about.rows, about.suspects, about.map) == (0, None, None)
    write_base_page(about, look, tmp_path / "empty.html")
    monkeypatch.setattr(module, "MOST_ROWS", 39)
    about, look = page_of_base(base)
    assert (about.suspects, about.duplicates, about.outliers) == (None, None, None)
    assert "itae knowledge outliers does" in about.notes["outliers"]
    write_base_page(about, look, tmp_path / "large.html")
    assert "Nobody has looked" in (tmp_path / "large.html").read_text()


def test_the_page_of_an_answer_tells_the_answer(base, tmp_path):
    snapshot, query = base.snapshot(), np.eye(8)[0] + 0.05
    digest = hashlib.sha256(png(5 * 4)).digest()
    found = why(snapshot, query, digest, Rank())
    voter = choose(snapshot, Rank()).voter
    about, look = page_of_answer(base, snapshot, found, voter, "a picture.png")
    answer = found.answer
    assert (about.label, about.p, about.scores) == (answer.label, answer.p, answer.scores)
    assert about.known == [("s/04.png", "bug")]
    assert [dataclasses.astuple(one) for one in about.neighbours] == [
        (row["id"], row["similarity"], row["share"]) for row in answer.neighbours]  # fmt: skip
    assert about.turn.label != answer.label
    assert set(about.turn.ids) <= about.details.keys()
    assert about.again[3:] == [about.place, about.image, "voter=rank", f"voter.k={voter.k}", "--at", "2"]
    assert about.image.endswith("/a picture.png")
    write_why_page(about, Image.new("RGB", (9, 9)), look, tmp_path / "why.html")
    assert about.turn.ids[0] in (tmp_path / "why.html").read_text()
