"""An edit whose editor never saw what became of a row is refused; rows that nobody touched are edited all the same."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap

import pytest
from bases import STORES, base, content, made
from children import with_tests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.knowledge.base import open_knowledge
from itae.knowledge.ledger.since import ChangedSinceError

IDS = [f"{label}/{i}" for label in "ab" for i in range(4)]


@pytest.fixture(params=STORES)
def kb(request, tmp_path):
    if request.param == "lance":
        pytest.importorskip("lance")
    made_ = base(request.param, tmp_path)
    made_.commit(made_.add(made(IDS)), who="ada")
    return made_


def refused(kb, change, seen, *words):
    """Hold that a commit is refused in a sentence with these words, and changes nothing."""
    before = content(kb.snapshot()), len(kb.log())
    with pytest.raises(ChangedSinceError) as told:
        kb.commit(change, who="bob", seen=seen)
    assert all(word in str(told.value) for word in words), told.value
    assert (content(kb.snapshot()), len(kb.log())) == before
    return told.value


def test_a_row_that_another_has_corrected_is_not_corrected_unseen(kb):
    kb.commit(kb.correct(["a/1"], ["theirs"]), who="ada")
    error = refused(kb, kb.correct(["a/0", "a/1"], ["mine"]), 1, "'a/1'", "edit 2 (correct, by ada)", "look again")
    assert (error.edit, error.rows) == (2, ("a/1",))
    assert kb.commit(kb.correct(["a/0", "a/2"], ["mine"]), who="bob", seen=1).edit == 3
    assert kb.commit(kb.correct(["a/1"], ["mine"]), who="bob", seen=2).edit == 4


def test_the_label_that_another_has_given_is_told_too_though_it_is_the_same(kb):
    kb.commit(kb.correct(["a/1"], ["ours"]), who="ada")
    refused(kb, kb.correct(["a/0", "a/1"], ["ours"]), 1, "'a/1'", "edit 2")
    refused(kb, kb.add(made(["a/1", "c/1"], [["ours"], ["c"]])), 1, "'a/1'", "edit 2")


def test_a_row_that_is_gone_or_came_back_is_told_by_the_latest_edit(kb):
    mine = kb.correct(["a/1", "a/2", "a/3", "b/1", "b/2"], ["mine"])
    kb.commit(kb.delete(ids=["a/1"]), who="ada")
    refused(kb, mine, 1, "'a/1': touched by edit 2 (delete, by ada)")
    kb.commit(kb.undo(2), who="carl")
    refused(kb, mine, 1, "edit 3 (undo, by carl)")
    kb.commit(kb.restore(0), who="ada")
    refused(kb, mine, 1, "'a/1', 'a/2', 'a/3' and 2 more", "edit 4 (restore, by ada)")
    kb.commit(kb.add(made(IDS)))
    refused(kb, kb.restore(3), 4, "edit 5 (add")
    assert kb.commit(kb.restore(3), seen=5).edit == 6


def test_undo_is_refused_where_the_edit_or_one_after_it_was_not_seen(kb):
    kb.commit(kb.correct(["a/1"], ["x"]), who="ada")
    refused(kb, kb.undo(2), 1, "edit 2 (correct, by ada)")
    undo = kb.undo(2)
    kb.commit(kb.delete(ids=["a/1"]), who="ada")
    refused(kb, undo, 2, "edit 3 (delete")
    kb.commit(kb.undo(3), who="ada")
    assert kb.commit(undo, seen=4).verb == "undo"


def test_a_picture_that_was_moved_counts(kb, tmp_path):
    place = tmp_path / "picture"
    place.write_bytes(b"0 c/1")
    kb.commit(kb.add(made(["c/1"], places=["/gone"])))
    kb.commit(kb.relink({"c/1": str(place)}), who="ada")
    refused(kb, kb.delete(ids=["c/1"]), 2, "edit 3 (relink, by ada)")
    relink = kb.relink({"c/1": str(place)})
    refused(kb, relink, 2, "edit 3")
    assert kb.commit(relink, seen=3) is None


def test_before_a_purge_nothing_can_be_told(kb):
    kb.commit(kb.delete(ids=["a/1"]))
    kb.purge(who="ada")
    refused(kb, kb.delete(ids=["b/1"]), 2, "Edit 3 (purge, by ada)", "version 2")
    refused(kb, kb.add(made(["c/1"])), 0, "Edit 3 (purge, by ada)")
    assert kb.commit(kb.delete(ids=["b/1"]), seen=3).edit == 4


@pytest.mark.parametrize(("seen", "words"), [(7, "version 7"), (-1, "seen=-1"), (True, "seen=True"), ("1", "seen='1'")])
def test_a_version_that_nobody_can_have_seen_is_refused(kb, seen, words):
    with pytest.raises(UserError, match=words) as told:
        kb.commit(kb.delete(ids=["a/1"]), seen=seen)
    assert not isinstance(told.value, ChangedSinceError)
    assert len(kb.log()) == 1


def test_rows_can_be_asked_about_alone(kb):
    kb.commit(kb.delete(ids=["a/1"]), who="ada")
    kb.refuse_changed(["a/0", "never there"], 1)
    with pytest.raises(ChangedSinceError, match=r"'a/1': touched by edit 2 \(delete, by ada\)"):
        kb.refuse_changed(["a/0", "a/1"], 1)
    with pytest.raises(UserError, match="has 0 to 2"):
        kb.refuse_changed(["a/0"], 3)


class Twin:
    """Which rows there are, and by which version each was touched last: by hand, edit by edit.

    A row is the version that put it there, and its label.
    """

    def __init__(self):
        self.history, self.last, self.purged = [{}], {}, 0

    @property
    def version(self):
        return len(self.history) - 1

    @property
    def rows(self):
        return self.history[-1]

    def ids(self, verb, what):
        """Return the rows of an edit, in its plain form."""
        if verb == "restore":
            then = self.history[what]
            return {each for each in {*then, *self.rows} if then.get(each) != self.rows.get(each)}
        return set(what)

    def after(self, verb, what, label):
        if verb == "restore":
            return dict(self.history[what])
        rest = {each: there for each, there in self.rows.items() if each not in what}
        new = {each: (self.rows.get(each, (self.version + 1,))[0], label) for each in what}
        return rest if verb == "delete" else rest | new

    def expects(self, verb, ids, what, label, seen):
        """Return what becomes of an edit: refused as one was not seen, or as a row is gone, nothing, made."""
        touched = any(self.last.get(each, 0) > seen for each in {*ids, *self.ids(verb, what)})
        if touched or seen < self.purged:
            return "refused"
        if verb in ("correct", "delete") and not set(what) <= self.rows.keys():
            return "gone"  # and that was seen, after the change was found
        return "nothing" if self.after(verb, what, label) == self.rows else "made"

    def make(self, rows):
        touched = {each for each in {*rows, *self.rows} if rows.get(each) != self.rows.get(each)}
        self.history.append(rows)
        self.last.update(dict.fromkeys(touched, self.version))


def change_of(kb, verb, what, label):
    """Return a change, and the rows that it was found to be about."""
    if verb == "add":
        return kb.add(made(what, [[label]] * len(what)), replace=True)
    if verb == "correct":
        return kb.correct(what, [label])
    return kb.restore(what) if verb == "restore" else kb.delete(ids=what)


@pytest.mark.parametrize("store", STORES)
def test_random_edits_by_people_who_look_now_and_then(store, tmp_path_factory):
    if store == "lance":
        pytest.importorskip("lance")
    seen_all = set()

    @settings(max_examples=30 if store == "memory" else 6, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def run(seed):
        draw, kb, twin = random.Random(seed), base(store, tmp_path_factory.mktemp("kb")), Twin()
        seen, held = dict.fromkeys("xyz", 0), []
        for _ in range(30):
            who = draw.choice("xyz")
            if draw.random() < 0.5:
                seen[who] = twin.version
            if draw.random() < 0.04 and twin.version:
                kb.purge()
                twin.make(dict(twin.rows))
                twin.purged = twin.version
                continue
            there = sorted(twin.rows)
            verb = draw.choice(["add", "correct", "delete", "restore"] if there else ["add"])
            what = draw.sample(there if verb != "add" else IDS, min(len(there) or 8, draw.choice([1, 1, 2, 3])))
            if verb == "restore":
                what = draw.choice([0, *range(max(1, twin.purged), twin.version + 1)][-4:])
            label = draw.choice("ab")
            held.append((who, verb, what, label, twin.ids(verb, what), change_of(kb, verb, what, label)))
            if draw.random() < 0.4 and len(held) < 3:
                continue  # somebody thinks about it for a while
            who, verb, what, label, ids, change = held.pop(draw.randrange(len(held)))
            if verb == "restore" and 0 < what < twin.purged:
                continue
            expected = twin.expects(verb, ids, what, label, seen[who])
            try:
                edit = kb.commit(change, who=who, seen=seen[who])
            except ChangedSinceError:
                happened = "refused"
            except UserError as error:
                happened = "gone" if "No row of the base has the id" in str(error) else str(error)
            else:
                happened = "nothing" if edit is None else "made"
            assert happened == expected, (seed, who, verb, what, label, seen, twin.last)
            seen_all.add(happened)
            if happened == "made":
                twin.make(twin.after(verb, what, label))
        one = kb.snapshot()
        assert one.version == twin.version
        labels = {each: (label,) for each, (_, label) in twin.rows.items()}
        assert {one.ids[i]: one.labels_of(i) for i in one.live.tolist()} == labels

    run()
    assert seen_all == {"made", "nothing", "refused", "gone"}


WORKER = """
    import random, sys
    from itae.knowledge.base import open_knowledge
    from itae.knowledge.ledger.since import ChangedSinceError

    path, name, edits = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kb, draw, made, refused = open_knowledge(path), random.Random(name), 0, 0
    while made < edits:
        one = kb.snapshot()
        each = draw.choice(sorted(one.position))
        (label,) = one.labels_of(one.position[each])
        try:
            kb.commit(kb.correct([each], [str(int(label) + 1)]), who=name, seen=one.version)
            made += 1
        except ChangedSinceError:
            refused += 1
    print(refused)
"""


def test_two_processes_that_count_up_lose_no_step(tmp_path):
    """Each writes one more than it has seen: had a commit come through unseen, a step would be lost."""
    pytest.importorskip("lance")
    kb, edits = base("lance", tmp_path), 15
    kb.commit(kb.add(made(["n/0", "n/1"], [["0"], ["0"]])))
    command = [sys.executable, "-c", textwrap.dedent(WORKER), kb.path]
    workers = [
        subprocess.Popen([*command, name, str(edits)], stdout=subprocess.PIPE, text=True, env=with_tests())
        for name in ("w0", "w1")
    ]
    told = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    one = open_knowledge(kb.path).snapshot()
    assert one.version == 2 * edits + 1
    assert sum(int(one.labels_of(i)[0]) for i in one.live.tolist()) == 2 * edits
    print("refused", [int(each) for each in told])
