"""CSV files beside pictures: what is read, and what is refused in a sentence."""

from __future__ import annotations

import csv

import pytest
from bases import base, made
from hypothesis import given
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.knowledge.exchange.tables import groups_from, is_file, labels_from, metadata_from

IDS = ["a/1.png", "a/2.png", "b/3.png"]


@pytest.fixture
def file(tmp_path):
    def write(text, name="x.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def test_several_lines_of_one_id_are_several_labels(file):
    path = file("id,label\nb/3.png,dog\na/1.png,cat\nb/3.png,animal\nb/3.png,dog\n")
    assert labels_from(path, IDS) == [("cat",), (), ("animal", "dog")]


def test_an_empty_cell_is_no_label_and_no_group(file):
    assert labels_from(file("id,label\na/1.png,\n"), IDS) == [(), (), ()]
    assert groups_from(file("id,group\na/1.png,\na/2.png,p7\n"), IDS) == [None, "p7", None]


def test_a_picture_has_one_group(file):
    with pytest.raises(UserError, match=r"'a/1.png' is of 'p1' and of 'p2'"):
        groups_from(file("id,group\na/1.png,p1\na/1.png,p2\n"), IDS)


def test_columns_of_numbers_are_numbers(file):
    path = file("id,year,weight,camera\na/1.png,2019,1.5,X\na/2.png,,2,\n")
    assert metadata_from(path, IDS, ["id", "label"]) == {
        "year": [2019, None, None],
        "weight": [1.5, 2.0, None],
        "camera": ["X", None, None],
    }


@pytest.mark.parametrize("cell", ["007", "-01", "00", "1_000", "+49", "99999999999999999999"])
def test_a_code_of_digits_is_text_and_keeps_them_all(file, cell):
    path = file(f"id,code,size\na/1.png,{cell},0\na/2.png,12,0.5\n")
    assert metadata_from(path, IDS, ["id"]) == {"code": [cell, "12", None], "size": [0.0, 0.5, None]}


def test_a_column_of_text_takes_whole_numbers_as_text(tmp_path):
    kb = base("memory", tmp_path)
    kb.commit(kb.add(made(["a"], metadata={"code": ["007"]})))
    kb.commit(kb.add(made(["b"], metadata={"code": [12]})))
    assert kb.snapshot().column("code", 1) == "12"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label,label\na/1.png,cat,dog\n", "has two columns 'label'; keep one"),
        ("name,label\nx,y\n", "has no column 'id'; its first line must name id, label, and it has name,label"),
        ("id\na/1.png\n", "has no column 'label'"),
        ("", "has no column 'id'"),
        ("id,label\na/1.png\n", "line 2, has not as many cells"),
        ("id,label\na/1.png,cat,dog\n", "line 2, has not as many cells"),
        ("id,label\na/1.pgn,cat\n", "line 2: there is no picture 'a/1.pgn'.* Did you mean 'a/1.png'"),
        ('id,label\n"a/1.png,cat\n', "can't be read as a CSV file"),
    ],
)
def test_what_is_no_list_of_labels_is_told(file, text, words):
    with pytest.raises(UserError, match=words):
        labels_from(file(text), IDS)


def test_no_file_and_another_encoding_are_told(tmp_path, file):
    with pytest.raises(UserError, match="can't be read as a CSV file"):
        labels_from(str(tmp_path / "none.csv"), IDS)
    with pytest.raises(UserError, match="in UTF-8"):
        labels_from(file("id,label\na/1.png,Bär\n", encoding="latin-1"), IDS)


def test_a_mark_before_the_first_line_counts_for_nothing(file):
    assert labels_from(file("\ufeffid,label\na/1.png,cat\n"), IDS)[0] == ("cat",)


@pytest.mark.parametrize("column", ["label", "vector", ""])
def test_a_name_that_means_something_is_refused(file, column):
    with pytest.raises(UserError, match="rename it"):
        metadata_from(file(f"id,{column}\na/1.png,x\n"), IDS, ["label", "vector"])


def test_two_lines_of_metadata_are_refused(file):
    with pytest.raises(UserError, match=r"two lines of 'a/1.png'"):
        metadata_from(file("id,x\na/1.png,1\na/1.png,2\n"), IDS, [])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(IDS), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
        )
    )
)
def test_a_label_may_be_any_text(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("id", "label"), *pairs])
    expected = [tuple(sorted({label for id_, label in pairs if id_ == one})) for one in IDS]
    assert labels_from(str(path), IDS) == expected


def test_a_label_and_a_file_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("")
    assert is_file("labels.csv")
    assert is_file("labels.txt")
    assert not is_file("cat")
