"""What a base promises, over either store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from bases import STORES, base, content, image, made, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.knowledge.base import open_knowledge
from itae.knowledge.records.snapshot import NONE

pytest.importorskip("lance")
HOSTILE = 'it\'s "x"; DROP TABLE rows -- \n<script>alert(1)</script> 雪 \\ `group` %'


@pytest.fixture(params=STORES)
def kb(request, tmp_path):
    return base(request.param, tmp_path)


def again(kb):
    """Return the base as somebody else opens it, if it can be."""
    return kb if kb.path == "memory" else open_knowledge(kb.path)


def labels(snapshot):
    return {snapshot.ids[i]: sorted(snapshot.labels_of(i)) for i in snapshot.live.tolist()}


def test_an_empty_base_is_version_0(kb):
    snapshot = kb.snapshot()
    assert (snapshot.version, len(snapshot), kb.log(), kb.tags()) == (0, 0, [], {})
    assert len(kb.where("label = 'cat'")) == 0
    assert kb.commit(kb.add(made([]))) is None


def test_rows_are_there_as_they_were_given(kb):
    rows = made(["cat/1", "dog/1", "none"], [["cat"], ["dog", "animal"], []], groups=["p1", None, "p1"],
                places=["/a/1.png", None, "https://x/2"], metadata={"age": [3, None, 5], "ok": [True, None, False],
                "dose": [0.5, 1.0, None], "who": ["a", "b", None]})  # fmt: skip
    edit = kb.commit(kb.add(rows), who="Ada", why=HOSTILE)
    assert (edit.who, edit.why, edit.counts) == ("Ada", HOSTILE, {"added": 3, "changed": 0, "deleted": 0, "rows": 3})
    for one in (kb.snapshot(), again(kb).snapshot()):
        assert labels(one) == {"cat/1": ["cat"], "dog/1": ["animal", "dog"], "none": []}
        assert one.labels_M[one.position["none"]] == NONE
        np.testing.assert_allclose(np.linalg.norm(one.vectors_ME, axis=1), 1, atol=1e-6)
        i = one.position["none"]
        told = [one.column(name, i) for name in ("group", "place", "source", "age", "ok", "dose", "who")]
        assert told == ["p1", "https://x/2", "web", 5, False, None, None]
        assert one.groups_M[one.position["cat/1"]] == one.groups_M[i] != one.groups_M[one.position["dog/1"]]
        assert one.digests_M32[i].tobytes() == image("none")


def test_the_same_once_more_is_no_edit(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    change = kb.add(made(["cat/2", "cat/1"]))
    assert (bool(change), change.same) == (False, 2)
    assert kb.commit(change) is None
    assert kb.commit(kb.correct(["cat/1"], ["cat"])) is None
    assert kb.commit(kb.restore(1)) is None
    assert kb.snapshot().version == 1


@pytest.mark.parametrize("other", [{"labels": [["dog"]]}, {"seed": 1}])
def test_an_id_with_other_bytes_or_labels_is_refused_unless_it_is_to_be_replaced(kb, other):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    before = content(kb.snapshot())
    with pytest.raises(UserError, match=r"'cat/1'.*nothing was added; --replace"):
        kb.add(made(["cat/1"], **other))
    assert content(kb.snapshot()) == before
    edit = kb.commit(kb.add(made(["cat/1"], **other), replace=True))
    assert edit.counts == {"added": 0, "changed": 1, "deleted": 0, "rows": 2}
    after = content(again(kb).snapshot())
    assert after["cat/2"] == before["cat/2"]
    assert after["cat/1"][0] == (0 if "labels" in other else 2), "a number is kept while the bytes are the same"
    assert after["cat/1"][3] == image("cat/1", other.get("seed", 0))
    kb.commit(kb.undo(2))
    assert content(again(kb).snapshot()) == before


def test_replacing_tells_anew_what_stands_beside_an_image(kb):
    kb.commit(kb.add(made(["a", "b"], groups=["p", "p"])))
    assert not kb.add(made(["a"], groups=["q"]))
    kb.commit(kb.add(made(["a"], groups=["q"], metadata={"age": [3]}), replace=True))
    one = again(kb).snapshot()
    assert [one.column(name, one.position["a"]) for name in ("group", "age")] == ["q", 3]
    assert one.numbers_M[one.position["a"]] == 0


def test_syncing_a_source_takes_away_what_is_gone_from_it(kb):
    kb.commit(kb.add(made(["web/1", "web/2"])))
    kb.commit(kb.add(made(["mine/1"], source="mine")))
    edit = kb.commit(kb.add(made(["web/2", "web/3"]), sync="web"))
    assert (edit.touched.added, edit.touched.deleted) == (("web/3",), ("web/1",))
    assert set(content(again(kb).snapshot())) == {"web/2", "web/3", "mine/1"}


def test_what_a_change_would_do_is_seen_before_it_is_done(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    change = kb.delete(ids=["cat/1"])
    assert change.counts == {"added": 0, "changed": 0, "deleted": 1}
    assert set(content(change.after)) == {"cat/2"}
    assert kb.snapshot().version == 1
    kb.commit(change)
    assert content(kb.snapshot()) == content(change.after)


def test_a_change_is_found_anew_on_what_others_made_meanwhile(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    other = again(kb)
    mine, late = kb.add(made(["dog/1", "dog/2"])), kb.delete(ids=["cat/1"])
    other.commit(other.add(made(["dog/1"])))
    assert kb.commit(mine).touched.added == ("dog/2",)
    other.commit(other.delete(label="cat"))
    with pytest.raises(UserError, match="No row of the base has the id 'cat/1'"):
        kb.commit(late)
    one = kb.snapshot()
    assert set(content(one)) == {"dog/1", "dog/2"}
    assert len(set(one.numbers_M[one.live].tolist())) == 2


def test_rows_go_by_id_label_source_or_condition(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2", "dog/1", "both"], [["cat"], ["cat"], ["dog"], ["cat", "dog"]])))
    kb.commit(kb.add(made(["emu/1"], source="zoo")))
    for asked, gone in [
        ({"ids": ["cat/1"]}, {"cat/1"}),
        ({"label": "dog"}, {"dog/1", "both"}),
        ({"source": "zoo"}, {"emu/1"}),
        ({"where": "label = 'cat'"}, {"cat/1", "cat/2"}),
    ]:
        assert set(kb.delete(**asked).touched.deleted) == gone
    with pytest.raises(UserError, match="give one of these"):
        kb.delete(label="cat", source="web")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda kb: kb.correct(["cat/11"], ["x"]), "No row of the base has the id 'cat/11'. Did you mean 'cat/1'?"),
        (lambda kb: kb.delete(label="cta"), "No row of the base has the label 'cta'. Did you mean 'cat'?"),
        (lambda kb: kb.delete(source="wbe"), "No row of the base has the source 'wbe'. Did you mean 'web'?"),
        (lambda kb: kb.correct(["cat/1"], [""]), "'' is no label"),
        (lambda kb: kb.correct("cat/1", ["x"]), r"Ids come as a list, and 'cat/1' is a text: write \['cat/1'\]"),
        (lambda kb: kb.delete("cat/1"), "Ids come as a list"),
        (lambda kb: kb.snapshot(7), "there are 0 to 1"),
        (lambda kb: kb.snapshot(-1), "there are 0 to 1"),
        (lambda kb: kb.snapshot("good"), "No version .* is called 'good': there are 0 to 1, and it has no tags"),
        (lambda kb: kb.snapshot(1.5), "1.5 is no version of .*: give a whole number or a tag"),
        (lambda kb: kb.snapshot(True), "True is no version of"),
        (lambda kb: kb.tag("12"), "a tag is a text that is no whole number"),
        (lambda kb: kb.tag("x", 9), "there are 0 to 1"),
        (lambda kb: kb.untag("x"), "There is no tag 'x'"),
        (lambda kb: kb.undo(0), "There is no edit 0"),
        (lambda kb: kb.undo(2), "There is no edit 2 .* there is only 1"),
        (lambda kb: kb.where("colour = 'red'"), "colour.*is no condition on id, number, label"),
        (lambda kb: kb.where("label = "), "is no condition"),
        (lambda kb: kb.where(""), "'' is no condition"),
        (lambda kb: kb.delete(where="true; and label = 'dog'"), "is no condition"),
        (lambda kb: kb.delete(where="true LIMIT 1"), "is no condition"),
        (lambda kb: kb.delete(where="true ORDER BY id"), "is no condition"),
        (lambda kb: kb.add(made(["a"], metadata={"x": [2**70]})), "The metadata 'x' can't be kept"),
        (lambda kb: kb.add(made(["a"], width=7)), "7 wide and those of this base 6: they are of another space"),
        (lambda kb: kb.add(made(["a", "a"])), "The id 'a' is there twice"),
        (lambda kb: kb.add(made(["", "a"], [[], []])), "'' is no id"),
        (lambda kb: kb.add(made(["a\udc80"[:1], "b"], [["\udc80"], []])), r"The label '\\udc80' isn't whole text"),
        (lambda kb: kb.add(made(["a"], ["cat"])), "The labels of a row come as a list"),
        (lambda kb: kb.add(made(["a"], metadata={"age": ["old"]})), "whole numbers in this base.*text"),
        (lambda kb: kb.add(made(["a", "b"], metadata={"x": [1, "old"]})), "The metadata 'x' can't be kept"),
        (lambda kb: kb.add(made(["a"], metadata={"label": [1]})), "A column of metadata can't be called 'label'"),
        (lambda kb: kb.add(made(["a"], metadata={"x": [1, 2]})), "There are 1 ids and 2 x"),
        (
            lambda kb: kb.relink({"/nowhere": "/else"}),
            "neither the id of a row nor where a place of the base begins",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence_and_change_nothing(kb, ask, told):
    kb.commit(kb.add(made(["cat/1", "dog/1"], metadata={"age": [1, 2]}, places=["/p/1", "/p/2"])))
    before = kb.snapshot().root
    with pytest.raises(UserError, match=told) as found:
        ask(kb)
    assert "\n" not in str(found.value)
    assert (again(kb).snapshot().root, kb.snapshot().version) == (before, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_vector_without_direction_is_refused_by_its_id(kb, bad):
    rows = made(["a", "b", "c"])
    rows.vectors_NE[1] = bad
    with pytest.raises(UserError, match=r"The vector of 'b' is (zero|not finite \(NaN or inf\)): it has no direction"):
        kb.add(rows)


def test_vectors_of_any_size_come_to_length_1_and_those_of_length_1_stay(kb):
    rows = made(["a", "b", "c", "d"])
    rows.vectors_NE[:3] *= np.array([[1e-30], [1e30], [1]])
    unit = (rows.vectors_NE[3] / np.linalg.norm(rows.vectors_NE[3])).astype(np.float32)
    rows.vectors_NE[3] = unit
    kb.commit(kb.add(rows))
    one = kb.snapshot()
    np.testing.assert_allclose(np.linalg.norm(one.vectors_ME.astype(np.float64), axis=1), 1, atol=2e-7)
    assert (one.vectors_ME[3] == unit).all()


def test_hostile_texts_come_back_and_can_be_asked_for(kb):
    texts = [HOSTILE, "a'b", 'a"b', "a\nb", "a\0b", "\\", "%", "_", " ", "NULL", "group"]
    kb.commit(kb.add(made([f"x/{each}" for each in texts], [[each] for each in texts], groups=texts)), why=HOSTILE)
    one = again(kb).snapshot()
    assert labels(one) == {f"x/{each}": [each] for each in texts}
    for each in (HOSTILE, "a'b", "a\nb", "\\", "NULL"):
        quoted = each.replace("'", "''")
        assert [one.ids[i] for i in kb.where(f"label = '{quoted}' AND group = '{quoted}'")] == [f"x/{each}"]
        assert kb.delete(label=each).touched.deleted == (f"x/{each}",)
    kb.commit(kb.delete(ids=[f"x/{HOSTILE}"]), why="\0")
    assert again(kb).log()[-1].touched.deleted == (f"x/{HOSTILE}",)


CONDITIONS = (
    "label = 'cat'",
    "label != 'cat'",
    "label IS NULL",
    "group IS NOT NULL AND group IN ('p1', 'p2')",
    "GROUP = 'p1' OR `group` = 'p2'",
    "id LIKE 'cat/%'",
    "id = 'group'",
    "NOT (source = 'web')",
    "age > 2 AND age <= 7",
    "age BETWEEN 2 AND 4 OR dose < 0.5",
    "age IS NULL",
    "ok",
    "ok = false",
    "time > timestamp '2001-01-01 00:00:00'",
    "time < timestamp '2001-01-01 00:00:00'",
    "array_has(labels, 'dog')",
    "number >= 3",
)


def test_conditions_find_the_same_rows_in_both_stores(tmp_path):
    found = {}
    for store in STORES:
        kb = base(store, tmp_path)
        ids = [f"{'cat' if i % 3 else 'dog'}/{i}" for i in range(12)]
        several = [[["cat"], ["dog"], ["cat", "dog"], []][i % 4] for i in range(12)]
        meta = {"age": [i if i % 5 else None for i in range(12)], "ok": [i % 2 == 0 for i in range(12)],
                "dose": [i / 7 for i in range(12)]}  # fmt: skip
        kb.commit(kb.add(made(ids, several, groups=[[None, "p1", "p2"][i % 3] for i in range(12)], metadata=meta)))
        kb.commit(kb.add(made(["group"], source="zoo")))
        kb.commit(kb.delete(ids=["cat/1"]))
        one = kb.snapshot()
        found[store] = {each: [one.ids[i] for i in kb.where(each).tolist()] for each in CONDITIONS}
    assert found["memory"] == found["lance"]
    assert sum(bool(ids) for ids in found["lance"].values()) > len(CONDITIONS) - 3, "conditions that find something"


def test_an_edit_is_undone_in_the_middle_of_others(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2", "cat/3"])))
    kb.commit(kb.correct(["cat/1"], ["dog"]))
    kb.commit(kb.delete(ids=["cat/2"]))
    kb.commit(kb.add(made(["emu/1"])))
    edit = kb.commit(kb.undo(2))
    assert (edit.touched.changed, edit.asked) == (("cat/1",), {"edit": 2})
    assert labels(again(kb).snapshot()) == {"cat/1": ["cat"], "cat/3": ["cat"], "emu/1": ["emu"]}
    with pytest.raises(UserError, match=r"Edit 1 can't be undone: edit 3 \(delete\) has touched 'cat/2' since"):
        kb.undo(1)
    kb.commit(kb.undo(3))
    kb.commit(kb.undo(4))
    assert content(again(kb).snapshot()) == content(kb.snapshot(1)), "numbers and all"
    assert again(kb).snapshot().root == kb.snapshot(1).root
    kb.commit(kb.undo(1))
    assert len(again(kb).snapshot()) == 0
    kb.commit(kb.undo(8))
    assert again(kb).snapshot().root == kb.snapshot(1).root


def test_a_later_edit_that_was_not_undone_stands_against_an_undo(kb):
    kb.commit(kb.add(made(["a", "b"])))
    for label in ("x", "y", "x"):
        kb.commit(kb.correct(["a"], [label]))
    with pytest.raises(UserError, match=r"edit 3 \(correct\) has touched 'a' since"):
        kb.undo(2)
    kb.commit(kb.undo(4))
    kb.commit(kb.undo(3))
    kb.commit(kb.undo(2))
    assert labels(kb.snapshot())["a"] == ["a"]


def test_versions_are_kept_restored_tagged_and_compared(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    kb.tag("first")
    kb.commit(kb.correct(["cat/1"], ["dog", "pet"]))
    kb.commit(kb.delete(ids=["cat/2"]))
    kb.commit(kb.add(made(["emu/1"])))
    assert kb.tags() == {"first": 1}
    assert (
        labels(again(kb).snapshot("first")) == labels(again(kb).snapshot("1")) == {"cat/1": ["cat"], "cat/2": ["cat"]}
    )
    diff = again(kb).diff("first", 4)
    assert (diff.added, diff.deleted) == (("emu/1",), ("cat/2",))
    assert diff.changed == {"cat/1": {"labels": (["cat"], ["dog", "pet"])}}
    kb.commit(kb.restore("first"))
    assert again(kb).snapshot().root == kb.snapshot(1).root
    assert kb.diff(1, 5) == kb.diff(5, 5)
    assert len(again(kb).snapshot(0)) == 0
    nothing = kb.snapshot(0)
    assert len(kb.snapshot(0)) == len(nothing) == 0
    assert kb.status(0).version == 0


def test_numbers_are_given_once(kb):
    kb.commit(kb.add(made(["a", "b"])))
    kb.commit(kb.delete(ids=["b"]))
    other = again(kb)
    other.commit(other.add(made(["c"])))
    one = kb.snapshot()
    assert one.numbers_M[one.position["c"]] == 2


def test_a_snapshot_never_changes(kb):
    kb.commit(kb.add(made(["cat/1", "cat/2"])))
    first = kb.snapshot()
    before = (content(first), first.root, first.live.tolist())
    kb.commit(kb.correct(["cat/1"], ["dog"]))
    kb.commit(kb.add(made([f"emu/{i}" for i in range(9)])))
    third = kb.snapshot()
    kb.commit(kb.delete(ids=["cat/2"]))
    assert np.shares_memory(kb.snapshot().vectors_ME, third.vectors_ME)
    assert before == (content(first), first.root, first.live.tolist())


def test_a_corrected_row_keeps_its_position_and_its_vector(kb):
    kb.commit(kb.add(made(["a", "b", "c"])))
    first = kb.snapshot()
    kb.commit(kb.correct(["b"], ["x"]))
    second = kb.snapshot()
    assert second.position is first.position
    assert np.shares_memory(second.vectors_ME, first.vectors_ME)
    assert second.groups_M is first.groups_M


def test_files_put_together_are_the_same_version(kb):
    for i in range(5):
        kb.commit(kb.add(made([f"cat/{i}"])))
    kb.commit(kb.correct(["cat/1"], ["dog"]))
    root = kb.snapshot().root
    kb.compact()
    assert (again(kb).snapshot().root, again(kb).snapshot().version) == (root, 6)
    assert kb.store.small_files(kb.versions.newest().store) <= 1
    kb.commit(kb.delete(ids=["cat/0"]))
    assert len(again(kb).snapshot()) == 4
    assert [len(again(kb).snapshot(i)) for i in range(8)] == [0, 1, 2, 3, 4, 5, 5, 4]


def test_moved_images_are_found_by_their_bytes(kb, tmp_path):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    ids = ["a", "b", "c"]
    for each in ids:
        (tmp_path / "new" / each).write_bytes(picture(each))
    (tmp_path / "new" / "c").write_bytes(b"another")
    kb.commit(kb.add(made(ids, places=[f"{tmp_path}/old/{each}" for each in ids])))
    change = kb.relink({f"{tmp_path}/old": f"{tmp_path}/new"})
    assert change.counts["changed"] == 2
    assert change.notes == (f"c: {tmp_path}/new/c holds another image",)
    kb.commit(change)
    one = again(kb).snapshot()
    assert [one.column("place", one.position[each]) for each in "abc"] == [
        *(f"{tmp_path}/new/{each}" for each in "ab"),
        f"{tmp_path}/old/c",
    ]
    assert kb.commit(kb.relink({"a": f"{tmp_path}/new/a"})) is None
    for places, told in (
        ({"c": f"{tmp_path}/new/c"}, rf"\(c: {tmp_path}/new/c holds another image\): give the place of the same bytes"),
        ({f"{tmp_path}/new": "/else"}, r"\(a: /else/a is not there, and so of 1 more\): give the place"),
        ({"/new": "/else"}, f"nor where a place of the base begins such as '{tmp_path}/old/c'"),
    ):
        with pytest.raises(UserError, match=told):
            kb.relink(places)


@pytest.mark.parametrize("store", STORES)
def test_embedded_images_are_kept_once(store, tmp_path):
    kb = base(store, tmp_path, "embed")
    read = []

    def give(n):
        read.append(n)
        return picture("ab"[n])

    rows = made(["a", "b", "copy"], image=give)
    rows.digests_N32[2] = rows.digests_N32[0]
    kb.commit(kb.add(rows))
    assert read == [0, 1]
    assert again(kb).images.get(image("a")) == picture("a")
    assert again(kb).images.get(image("z")) is None
    with pytest.raises(UserError, match="The image of 'c' changed while it was added"):
        kb.commit(kb.add(made(["c"], image=lambda n: b"other")))
    with pytest.raises(UserError, match="This base keeps images, and the one of 'd' was not given"):
        kb.commit(kb.add(made(["d"])))
    assert again(kb).snapshot().version == 1


OPERATIONS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), st.integers(0, 1)),
    st.tuples(st.just("correct"), st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 9), min_size=1, max_size=3), st.just(0)),
    st.tuples(st.just("undo"), st.just([]), st.integers(1, 8)),
    st.tuples(st.just("restore"), st.just([]), st.integers(0, 8)),
    st.tuples(st.just("compact"), st.just([]), st.just(0)),
)


def applied(kb, verb, some, which):
    """Do one operation; return what it said if it was refused."""
    ids = [f"id{i}" for i in some]
    try:
        if verb == "compact":
            return kb.compact()
        change = {
            "add": lambda: kb.add(made(ids, [[f"l{i % 3}"][: i % 4] for i in some], seed=which), replace=True),
            "correct": lambda: kb.correct(ids, [f"l{which}", "m"][:which]),
            "delete": lambda: kb.delete(ids=ids),
            "undo": lambda: kb.undo(which),
            "restore": lambda: kb.restore(which),
        }[verb]()
        kb.commit(change)
    except UserError as error:
        return str(error).replace(kb.path, "")
    return None


@settings(max_examples=8)
@given(st.lists(OPERATIONS, min_size=3, max_size=8))
def test_both_stores_do_the_same_whatever_is_asked(operations):
    with tempfile.TemporaryDirectory() as folder:
        one, two = base("memory", Path(folder)), base("lance", Path(folder))
        reader = open_knowledge(two.path)
        for operation in operations:
            assert applied(one, *operation) == applied(two, *operation)
            held = content(one.snapshot())
            assert content(two.snapshot()) == held
            assert content(reader.snapshot()) == held, "made from the one in hand, after the edits of another"
        fresh = open_knowledge(two.path)
        for version in range(two.snapshot().version + 1):
            assert content(fresh.snapshot(version)) == content(one.snapshot(version))
            assert fresh.snapshot(version).root == two.snapshot(version).root


@pytest.mark.parametrize("store", STORES)
def test_a_lost_newest_edit_is_told(store, tmp_path):
    """Nothing but the store tells of it, and that looks as after a writer who died: it is told and no damage."""
    kb = base(store, tmp_path)
    for each in "abc":
        kb.commit(kb.add(made([each])))
    assert kb.verify().notes == ()
    kb.folder.remove("journal/00000003.json")
    found = again(kb).verify()
    assert (found.rows, found.problems) == (2, ())
    (note,) = found.notes
    assert "no edit tells of" in note
    assert "journal/00000003.json is lost" in note
    one = again(kb)
    one.commit(one.add(made(["d"])))
    assert one.verify().notes == ()


def test_a_lost_edit_that_a_tag_or_a_compaction_names_is_damage(tmp_path):
    kb = base("lance", tmp_path)
    for each in "abc":
        kb.commit(kb.add(made([each])))
    kb.tag("good")
    kb.compact()
    assert kb.verify().problems == ()
    kb.folder.remove("journal/00000003.json")
    assert again(kb).verify().problems == (
        "tag 'good' is of edit 3, and journal/00000003.json is gone",
        "head.json is of edit 3, and journal/00000003.json is gone",
    )


@pytest.mark.parametrize("store", STORES)
def test_a_base_and_a_snapshot_say_what_they_are(store, tmp_path):
    kb = base(store, tmp_path)
    kb.commit(kb.add(made(["a", "b"])))
    one = kb.snapshot()
    assert repr(kb) == f"KnowledgeBase({kb.path!r})"
    assert repr(one) == f"Snapshot(version=1, rows=2, root='{one.root[:16]}')"
