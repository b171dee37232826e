"""Simulated searches: against a slow round in plain loops, planted answers, and whatever may not change anything."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import feedback_rounds
from snapshots import snapshot_of

from itae.app.compose import conf_dir
from itae.base.construct import construct
from itae.knowledge.near.neighbours import Excluded
from itae.search.alike import Alike
from itae.search.judged import Marks, Query
from itae.search.rank import rank
from itae.search.rules import Kernel, Logistic, Nearest, Unchanged
from itae.search.users import Category, Conditioned, Described, OneLabel
from itae.tasks.feedback import Feedback
from itae.tasks.feedback.methods import RULES, methods_of, name_of
from itae.tasks.feedback.searches import searches_of
from itae.tasks.feedback.simulate import COLUMNS, NONE, PAGES, SCORES, Case, Plan, simulate

LOOPS = ("none", "nearest", "margin", "rocchio", "mean_difference", "kernel")


def setting(vectors, labels, attributes=None, ids=None, groups=None):
    """Return a collection of these vectors, what is said of it, and who is out for whom."""
    snapshot = snapshot_of(np.asarray(vectors, np.float32), ids)
    described = Described(list(snapshot.ids), [(label,) if isinstance(label, str) else label for label in labels],
                          attributes or {})  # fmt: skip
    codes = np.arange(len(labels)) if groups is None else np.asarray(groups)
    return SimpleNamespace(snapshot=snapshot, described=described, excluded=Excluded(codes, codes))


CATEGORY, NEAREST = Category(), Nearest()


def simulated(one, user=CATEGORY, rule=NEAREST, rules=("none",), pages=(3,), rounds=1, seed=0, most=None):
    found = searches_of(user, one.described, one.described, one.excluded, most, seed)
    plan = Plan(user, methods_of(rule, rules), pages, rounds, seed)
    return found, simulate(Alike(one.snapshot), one.snapshot.vectors_ME, found, plan)


def drawn(seed, n=40, width=4, classes=3):
    rng = np.random.default_rng(seed)
    labels = [f"c{i}" for i in rng.integers(0, classes, n)]
    return setting(rng.standard_normal((n, width)), labels, {"half": [str(i % 2) for i in range(n)]})


def column(told, case, name):
    return told.values[case][COLUMNS.index(name)]


@pytest.mark.parametrize("rule", LOOPS)
@given(seed=st.integers(0, 10**6), page=st.integers(1, 9))
@settings(max_examples=8, deadline=None)
def test_rounds_are_those_of_plain_loops(rule, seed, page):
    one = drawn(seed)
    found, told = simulated(one, rule=RULES[rule], pages=(page,), rounds=3)
    vectors = [[float(x) for x in row] for row in one.snapshot.vectors_ME]
    labels = [some[0] for some in one.described.labels]
    for s, search in list(enumerate(found.each))[::9]:
        wanted = {i for i in range(len(vectors)) if i != search.query and labels[i] == labels[search.query]}
        rounds = feedback_rounds(rule, vectors, search.query, wanted, page, 3, one.snapshot.ids)
        for t, (judged, scores) in enumerate(rounds, 1):
            values = {name: column(told, Case(rule, page, t), name)[s] for name in COLUMNS}
            assert (values["judged"], values["found"]) == (page * t, len(wanted & set(judged)))
            if scores is None:
                assert all(np.isnan(values[name]) for name in (*SCORES, *NONE))
            else:
                assert {name: values[name] for name in SCORES} == pytest.approx(scores)
                left = [vector for i, vector in enumerate(vectors) if i not in judged]
                kept = [i for i in range(len(vectors)) if i not in judged]
                wanted_left = {kept.index(i) for i in wanted if i in kept}
                ids = [one.snapshot.ids[i] for i in kept]
                alone = feedback_rounds("none", left, kept.index(search.query), wanted_left, 0, 1, ids)[0][1]
                assert (values["none_r_at_1"], values["none_map_at_r"]) == pytest.approx(
                    (alone["r_at_1"], alone["map_at_r"])
                )


def test_perfect_clusters_are_found_at_once():
    centres = np.eye(3).repeat(12, axis=0) + 0.01 * np.random.default_rng(0).standard_normal((36, 3))
    _, told = simulated(setting(centres, [f"c{i // 12}" for i in range(36)]), rules=RULES, rounds=2)
    for case, values in told.values.items():
        if "random" in case.method or "all shown" in case.method:
            continue
        assert (values[COLUMNS.index("map_at_r")] == 1).all(), case
        assert (values[COLUMNS.index("r_at_1")] == 1).all()
        assert (values[COLUMNS.index("found")] == 3 * case.round).all()
        assert (values[COLUMNS.index("judged")] == 3 * case.round).all()


def test_a_condition_that_has_nothing_to_do_with_similarity_is_found_by_chance():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((800, 64))
    one = setting(vectors, ["x"] * 800, {"side": rng.choice(["left", "right"], 800).tolist()})
    _, told = simulated(one, Conditioned(attribute="side"), pages=(10,), most=300)
    for name in ("nearest", "none"):
        assert column(told, Case(name, 10, 1), "r_at_1").mean() == pytest.approx(0.5, abs=0.1)
        assert column(told, Case(name, 10, 1), "p_at_10").mean() == pytest.approx(0.5, abs=0.04)


def test_a_yes_leads_to_what_is_near_it_and_not_to_the_query():
    """What is wanted lies in a second place, one image of which is on the first page."""
    vectors = [[1.0, 0.2, 0.001 * i] for i in range(6)] + [[0.2, 1.0, 0.001 * i] for i in range(6)]
    vectors += [[1.0, 0.2, 0.5 + 0.01 * i] for i in range(4)]  # like the query, and not wanted
    half = ["q"] + ["no"] * 5 + ["yes"] * 6 + ["no"] * 4
    vectors[6] = [1.02, 0.3, 0]
    one = setting(vectors, ["x"] * 16, {"half": half})
    _, told = simulated(one, Conditioned(attribute="half", value="yes"), rule=Kernel(), pages=(6,), most=None)
    first = 0  # the query's id is the first
    assert column(told, Case("kernel", 6, 1), "found")[first] == 1
    assert column(told, Case("none", 6, 1), "r_at_1")[first] == 0
    assert column(told, Case("kernel", 6, 1), "map_at_r")[first] > column(told, Case("none", 6, 1), "map_at_r")[first]


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), rounds=st.integers(1, 3), page=st.integers(1, 5))
@settings(max_examples=8, deadline=None)
def test_another_order_of_rows_changes_nothing(seed, rounds, page):
    one, rng = drawn(seed, n=36), np.random.default_rng(seed + 1)
    order = rng.permutation(36)
    ids = one.snapshot.ids
    halves = [one.described.attributes["half"][i] for i in order]
    labels = [one.described.labels[i] for i in order]
    other = setting(one.snapshot.vectors_ME[order], labels, {"half": halves}, [ids[i] for i in order])
    user = Conditioned(attribute="half", noise=0.2)
    kind = {"rules": RULES, "rounds": rounds, "pages": (page,), "seed": seed % 7, "most": 10}
    (here, told), (there, again) = simulated(one, user, **kind), simulated(other, user, **kind)
    assert [(a.id, a.wish) for a in here.each] == [(b.id, b.wish) for b in there.each]
    for case, values in told.values.items():
        np.testing.assert_array_equal(values, again.values[case], str(case))
    for page_ in told.first:
        np.testing.assert_array_equal(told.first[page_], again.first[page_])
        np.testing.assert_array_equal(told.next_page[page_], again.next_page[page_])


def test_neither_what_was_judged_nor_the_query_and_its_group_is_ever_ranked(monkeypatch):
    import itae.tasks.feedback.simulate as module

    seen, one = [], drawn(3)
    one.excluded = Excluded(np.arange(40) // 2, np.arange(40) // 2)

    def spied(alike, query, marks, rule, count, rows=None):
        found = rank(alike, query, marks, rule, count, rows)
        assert not set(found.positions_K.tolist()) & {*marks.yes, *marks.no, *query.rows.tolist()}
        seen.append((query.rows.tolist(), sorted([*marks.yes, *marks.no])))
        return found

    monkeypatch.setattr(module, "rank", spied)
    found, told = simulated(one, rules=("none", "nearest", "kernel"), rounds=3)
    assert {len(out) for out, _ in seen} == {2}, "the query and the other one of its group"
    assert {len(judged) for _, judged in seen} >= {0, 3, 6, 9}
    for case, values in told.values.items():
        assert (values[COLUMNS.index("judged")] == 3 * case.round).all()
    assert all(search.query // 2 not in (search.wanted // 2).tolist() for search in found.each)


def test_similarity_alone_on_what_is_left_is_the_rule_none():
    """The twin of every score is taken from one ranking, which has to be what the rule none would give."""
    one = drawn(11)
    found, told = simulated(one, rules=("none",), rounds=1, pages=(5,))
    for s, search in enumerate(found.each):
        query = Query(one.snapshot.vectors_ME[search.query], rows=search.out)
        alike = Alike(one.snapshot)
        first = rank(alike, query, Marks(), Unchanged(), 5).positions_K.tolist()
        left = rank(alike, query, Marks((), first), Unchanged(), 40).positions_K.tolist()
        hits = [i in set(search.wanted.tolist()) for i in left]
        if any(hits):
            assert column(told, Case("nearest", 5, 1), "none_r_at_1")[s] == hits[0]
            assert column(told, Case("none", 5, 1), "r_at_10")[s] == any(hits[:10])


def test_wrong_clicks_are_the_same_for_every_rule_and_cost_something():
    rng = np.random.default_rng(0)
    labels = [f"c{i // 30}" for i in range(120)]
    one = setting(np.eye(4).repeat(30, axis=0) + 0.6 * rng.standard_normal((120, 4)), labels)
    clean, noisy = (simulated(one, Category(noise=noise), pages=(10,), rules=("none", "mean_difference"))[1]
                    for noise in (0.0, 0.2))  # fmt: skip
    case = Case("mean_difference", 10, 1)
    assert column(noisy, case, "map_at_r").mean() < column(clean, case, "map_at_r").mean()
    np.testing.assert_array_equal(column(noisy, case, "found"), column(clean, case, "found"))
    np.testing.assert_array_equal(noisy.first[10], clean.first[10])
    none = Case("none", 10, 1)
    np.testing.assert_array_equal(column(noisy, none, "map_at_r"), column(clean, none, "map_at_r"))


def test_controls():
    one = drawn(5, n=60)
    _, told = simulated(one, rule=Nearest(), rules=("none",), pages=(6,))
    nobody, random, ceiling = (next(case for case in told.values if word in case.method)
                               for word in ("nobody", "random", "ceiling"))  # fmt: skip
    own, none = Case("nearest", 6, 1), Case("none", 6, 1)
    np.testing.assert_array_equal(column(told, nobody, "map_at_r"), column(told, none, "map_at_r"))
    np.testing.assert_array_equal(column(told, nobody, "found"), column(told, own, "found"))
    assert (column(told, random, "found") != column(told, own, "found")).any()
    assert (column(told, random, "judged") == 6).all()
    assert column(told, ceiling, "map_at_r").mean() > column(told, none, "map_at_r").mean()
    _, other = simulated(one, rule=Nearest(), rules=("none",), pages=(6,), seed=1)
    assert (column(other, random, "found") != column(told, random, "found")).any(), "drawn by the seed"
    np.testing.assert_array_equal(column(other, own, "map_at_r"), column(told, own, "map_at_r"))


def test_a_page_without_a_yes_is_followed_by_three_others():
    angles = np.deg2rad([0, *range(1, 13), 60, 62, 64])
    one = setting(np.stack([np.cos(angles), np.sin(angles)], 1), ["x"] * 16,
                  {"half": ["q"] + ["no"] * 12 + ["yes"] * 3})  # fmt: skip
    found, told = simulated(one, Conditioned(attribute="half", value="yes"), pages=(4,))
    s = [search.query for search in found.each].index(0)
    assert told.first[4][s] == 0
    pages = dict(zip(PAGES, told.next_page[4][:, s].tolist(), strict=True))
    assert not pages["plain"]
    assert pages["diverse"], "one of those far away is on it"
    assert not told.next_page[4][:, told.first[4] > 0].any()


def test_queries_are_drawn_by_their_ids_and_fewer_are_some_of_more():
    one = drawn(2, n=40)
    few, more, other = (searches_of(Category(), one.described, one.described, one.excluded, most, seed)
                        for most, seed in ((10, 0), (20, 0), (10, 1)))  # fmt: skip
    assert len(few.each) == 10
    assert {a.id for a in few.each} < {a.id for a in more.each}
    assert {a.id for a in few.each} != {a.id for a in other.each}
    everyone = searches_of(Category(), one.described, one.described, one.excluded, None, 0)
    assert (len(everyone.each), everyone.looked_at, everyone.queries) == (40, 40, 40)


def test_who_has_nothing_to_search_for_is_counted():
    one = setting(np.eye(6), [("a", "b"), ("a",), (), ("c",), ("a",), ("b",)])
    found = searches_of(OneLabel(means="each"), one.described, one.described, one.excluded, None, 0)
    assert (len(found.each), found.wishless, found.hopeless) == (5, 1, 1)
    assert [(search.id, search.wish, search.wanted.tolist()) for search in found.each][:2] == [
        ("000000", "a", [1, 4]), ("000000", "b", [5]),
    ]  # fmt: skip
    assert found.groups.tolist() == [0, 0, 1, 2, 3]


def test_every_shipped_rule_is_simulated():
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (conf_dir() / "feedback").glob("*.yaml")}
    assert {name: construct("feedback", node) for name, node in files.items()} == RULES
    task = yaml.safe_load((conf_dir() / "task/feedback.yaml").read_text())
    assert set(task["rules"]) == set(RULES) == set(Feedback().rules)


def test_what_rules_are_called():
    assert name_of(Kernel()) == "kernel"
    assert name_of(Kernel(0.05)) == "kernel temperature 0.05"
    assert name_of(Nearest(within="nearest")) == "nearest_yes"
    assert [one.name for one in methods_of(Logistic(), ["none", "logistic"])][:3] == [
        "logistic", "none", "logistic, random images judged",
    ]  # fmt: skip
    assert len({one.name for one in methods_of(Kernel(0.05), list(RULES))}) == len(RULES) + 4


def test_trained_rules_say_how_often_they_had_no_no():
    centres = np.eye(2).repeat(12, axis=0) + 0.01 * np.random.default_rng(0).standard_normal((24, 2))
    _, told = simulated(setting(centres, ["a"] * 12 + ["b"] * 12), rule=Logistic())
    (((method, note), count),) = [one for one in told.notes.items() if one[0][0] == "logistic"]
    assert (method, count, told.rounds) == ("logistic", 24, 24)
    assert "needs a no" in note
