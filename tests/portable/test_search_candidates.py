"""What is asked for, judged once, kept, and chosen to be measured; on spaces and judges whose answer is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itae.base.errors import UserError
from itae.portable.nets.spec import Spec
from itae.portable.search.candidates import search
from itae.portable.search.chosen import chosen
from itae.portable.search.fronts import Reference, front, hypervolume
from itae.portable.search.lines import as_key
from itae.portable.search.options import Search

DEVICES = ("fast", "slow")


class Toy:
    """A space of plain values: two numbers and a word."""

    def choices(self):
        return {"channels": (4, 8, 16, 24), "blocks": (1, 2, 3), "skip": ("concat", "add", "none")}

    def spec(self, values):
        return dict(values)


def judge(spec):
    """In dB: more channels and blocks are better, and so is a skip."""
    return 25 + math.log2(spec["channels"]) / 2 + spec["blocks"] / 4 + 0.5 * (spec["skip"] != "none")


def predict(device, spec):
    return spec["channels"] * spec["blocks"] * (3 if device == "slow" and spec["skip"] == "concat" else 1)


class Judged:
    """A judge that counts, and may end the process at some network."""

    def __init__(self, killed_at=None):
        self.seen, self.killed_at = [], killed_at

    def __call__(self, spec):
        if len(self.seen) == self.killed_at:
            raise KeyboardInterrupt
        self.seen.append(as_key(spec))
        return judge(spec)


def going(folder, by=judge, options=None, predicted=predict, **more):
    folder.mkdir(exist_ok=True)
    options = options or Search(judged=20, population=6)
    done = []
    found = search(Toy(), by, predicted, DEVICES, options, folder / "candidates.jsonl", done.append, **more)
    assert sum(done) == len(found.candidates)
    return found


def keys(found):
    return [as_key(one.spec) for one in found.candidates]


@pytest.mark.parametrize(
    ("sampler", "objective", "judged"),
    [
        ("nsga2", "each", 14),
        ("nsga2", "worst", 14),
        ("tpe", "each", 14),
        ("tpe", "worst", 14),
        pytest.param("gp", "worst", 7, marks=pytest.mark.slow),
    ],
)
def test_each_network_is_judged_once_and_a_seed_asks_for_the_same(tmp_path, sampler, objective, judged):
    options = Search(judged=judged, sampler=sampler, population=5, objective=objective)
    once = Judged()
    found = going(tmp_path / "a", once, options)
    assert len(set(once.seen)) == len(once.seen) == judged
    assert once.seen == keys(found)
    assert all(one.quality == judge(one.spec) for one in found.candidates)
    assert all(one.ms == {name: predict(name, one.spec) for name in DEVICES} for one in found.candidates)
    assert keys(going(tmp_path / "b", options=options)) == keys(found)
    assert keys(going(tmp_path / "c", options=replace(options, seed=1))) != keys(found)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
@pytest.mark.parametrize("killed_at", [0, 1, 7, 17])
def test_a_killed_search_ends_as_it_would_have_and_judges_nothing_twice(tmp_path, sampler, killed_at):
    options = Search(judged=18, population=6, sampler=sampler)
    whole = going(tmp_path / "whole", options=options)
    first, second = Judged(killed_at), Judged()
    with pytest.raises(KeyboardInterrupt):
        going(tmp_path / "killed", first, options)
    with (tmp_path / "killed" / "candidates.jsonl").open("ab") as file:
        file.write(b'{"spec": {"channels": 4, "bl')  # killed in the midst of a line
    resumed = going(tmp_path / "killed", second, options)
    assert first.seen + second.seen == keys(whole) == keys(resumed)
    assert resumed.candidates == whole.candidates
    assert resumed.read == killed_at
    lines = (tmp_path / "killed" / "candidates.jsonl").read_text().splitlines()
    assert lines == (tmp_path / "whole" / "candidates.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 18


def test_a_longer_search_goes_on_with_a_shorter_one(tmp_path):
    going(tmp_path, options=Search(judged=8, population=6))
    more = Judged()
    longer = going(tmp_path, more, Search(judged=15, population=6))
    assert (longer.read, len(more.seen)) == (8, 7)


def test_what_fails_on_one_device_leaves_the_others(tmp_path):
    def failing(device, spec):
        if device == "slow" and spec["skip"] == "add":
            raise UserError("no add here")
        return predict(device, spec)

    for objective in ("each", "worst"):
        options = Search(judged=20, population=6, objective=objective)
        found = going(tmp_path / objective, options=options, predicted=failing)
        odd = [one for one in found.candidates if one.spec["skip"] == "add"]
        assert odd
        assert all(one.quality is not None and one.ms.keys() == {"fast"} for one in odd)
        assert {one.why["slow"] for one in odd} == {"no add here"}
        assert all(one.ms.keys() == set(DEVICES) for one in found.candidates if one not in odd)


def test_what_cannot_be_judged_costs_itself_alone_and_is_not_tried_again(tmp_path):
    seen = []

    def odd(spec):
        seen.append(as_key(spec))
        if spec["blocks"] == 2:
            raise ValueError("two blocks")
        return float("nan") if spec["channels"] == 4 else judge(spec)

    found = going(tmp_path, odd)
    assert len(seen) == len(set(seen)) == 20
    for one in found.candidates:
        why = "ValueError: two blocks" if one.spec["blocks"] == 2 else "its quality is nan"
        bad = one.spec["blocks"] == 2 or one.spec["channels"] == 4
        assert (one.quality is None) == bad
        assert one.why == ({"judge": why} if bad else {})
    assert going(tmp_path, odd).read == 20
    assert len(seen) == 20


def test_where_none_can_be_judged_it_ends(tmp_path):
    def none(spec):
        raise ValueError("no weights")

    with pytest.raises(UserError, match=r"None of the first 5 candidates could be judged .*no weights"):
        going(tmp_path, none)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_what_is_prepared_is_what_is_then_judged(tmp_path, sampler):
    """Some at a time, none twice, and none that is hopeless; the same on any day, and after a kill."""
    options, slowest = Search(judged=18, population=6, sampler=sampler), {"fast": 40, "slow": 40}
    prepared, once = [], Judged()
    found = going(tmp_path / "a", once, options, slowest=slowest, prepare=lambda specs: prepared.append(specs))
    assert [as_key(spec) for specs in prepared for spec in specs] == once.seen == keys(found)
    assert len(prepared) < 18
    with pytest.raises(KeyboardInterrupt):
        going(tmp_path / "b", Judged(killed_at=11), options, slowest=slowest, prepare=lambda specs: None)
    fresh, more = [], Judged()
    again = going(tmp_path / "b", more, options, slowest=slowest, prepare=fresh.extend)
    assert keys(again) == keys(found)
    assert [as_key(spec) for spec in fresh] == more.seen
    assert len(more.seen) == 18 - 11


def test_what_is_slower_than_the_reference_everywhere_is_not_judged(tmp_path):
    once = Judged()
    found = going(tmp_path, once, Search(judged=12, population=6), slowest={"fast": 16, "slow": 10})
    assert found.hopeless
    assert found.trials == found.hopeless + found.repeated + 12
    for key in once.seen:
        spec = json.loads(key)
        assert predict("fast", spec) <= 16 or predict("slow", spec) <= 10


def test_a_space_that_is_used_up_ends_it(tmp_path, caplog):
    found = going(tmp_path, options=Search(judged=40, population=6, asked=8))
    assert len(found.candidates) == 36
    assert "36 candidates are judged, not 40" in caplog.text


@pytest.mark.parametrize("slowest", [None, pytest.param({"fast": 16, "slow": 10}, marks=pytest.mark.slow)])
def test_it_ends_with_the_space_however_many_are_wanted(tmp_path, caplog, slowest):
    found = going(tmp_path, options=Search(judged=100, population=6, asked=100), slowest=slowest)
    able = sum(1 for each in product(*Toy().choices().values()) if slowest is None or not hopeless(each))
    assert len(found.candidates) == able
    assert found.trials < 5000, "100 times 100 trials are allowed"
    assert f"{able} candidates are judged, not 100: the space has no others" in caplog.text


def hopeless(values):
    spec = dict(zip(Toy().choices(), values, strict=True))
    return predict("fast", spec) > 16 and predict("slow", spec) > 10


@pytest.mark.parametrize(
    ("again", "named"),
    [({"about": {"weights": "b"}}, "weights"), ({"options": Search(judged=20, population=6, seed=3)}, "options")],
)
def test_a_file_of_another_search_is_refused(tmp_path, again, named):
    going(tmp_path, about={"weights": "a"})
    with pytest.raises(UserError, match=named):
        going(tmp_path, **{"about": {"weights": "a"}} | again)


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "candidates.jsonl").write_text("no json\n")
    with pytest.raises(UserError, match="is damaged"):
        going(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"judged": 0}, "search.judged=0"),
        ({"sampler": "random"}, "search.sampler='random'"),
        ({"objective": "best"}, "search.objective='best'"),
        ({"population": 1}, "search.population=1"),
        ({"chosen": 0}, "search.chosen=0"),
        ({"asked": 0}, "search.asked=0"),
        ({"seed": -1}, "search.seed=-1"),
        ({"judge": "both"}, "search.judge='both'"),
        ({"steps": 0}, "search.steps=0"),
        ({"crop": 4}, "search.crop=4"),
        ({"batch": 0}, "search.batch=0"),
        ({"measured": 11}, "search.measured=11"),
        ({"checked": 3}, "search.checked=3 networks have no rank correlation"),
        ({"portable": 0}, "search.portable=0"),
    ],
)
def test_options_are_checked(options, told):
    with pytest.raises(UserError, match=told.replace(".", r"\.")):
        Search(**options)


def test_a_spec_is_known_by_its_values():
    assert as_key(Spec(channels=8)) == as_key(Spec(channels=8))
    assert as_key(Spec(channels=8)) != as_key(Spec(channels=8, skip="add"))
    assert as_key({"b": 1, "a": 2}) == as_key({"a": 2, "b": 1})


ZDT1 = SimpleNamespace(variables=5, values=tuple(np.linspace(0, 1, 41)))


class Grid:
    """ZDT1's variables on a grid (Zitzler, Deb, Thiele 2000)."""

    def choices(self):
        return {f"x{i}": ZDT1.values for i in range(ZDT1.variables)}

    def spec(self, values):
        return {name: float(value) for name, value in values.items()}


def second(spec):
    x = list(spec.values())
    g = 1 + 9 * sum(x[1:]) / (len(x) - 1)
    return g * (1 - math.sqrt(x[0] / g))


@pytest.mark.slow
def test_nsga2_reaches_the_known_area_of_zdt1(tmp_path):
    """Under the front 1 - sqrt(f) to the corner (1.1, 1.1) there is 1.21 - 1/3; chance finds little of it."""
    options = Search(judged=700, population=20)
    found = search(
        *(Grid(), lambda spec: -second(spec), lambda _, spec: math.exp(spec["x0"]), ("one",), options),
        *(tmp_path / "candidates.jsonl", lambda _: None),
    )
    assert len(found.candidates) == 700

    def area(specs):
        psnr, ms = np.array([-second(spec) for spec in specs]), np.array([2 ** spec["x0"] for spec in specs])
        return hypervolume(psnr, ms, Reference(-1.1, 2**1.1))

    rng = np.random.default_rng(0)
    chance = [{f"x{i}": float(x) for i, x in enumerate(rng.choice(ZDT1.values, ZDT1.variables))} for _ in range(700)]
    best = 1.21 - 1 / 3
    assert area([one.spec for one in found.candidates]) > 0.9 * best
    assert area(chance) < 0.6 * best


class TestChosen:
    references = (Reference(25.0, 100.0), Reference(25.0, 100.0))

    @given(st.integers(1, 20).flatmap(lambda n: st.tuples(*[st.permutations(range(1, n + 1))] * 3)), st.integers(1, 8))
    @settings(max_examples=60, deadline=None)
    def test_those_on_fronts_come_first_and_none_twice(self, orders, most):
        nets = [(23.5 + q, 6.0 * t, 6.0 * u) for q, t, u in zip(*orders, strict=True)]
        quality, ms = np.array([q for q, _, _ in nets]), np.array([[t, u] for _, t, u in nets]).T
        taken = chosen(quality, ms, self.references, most)
        assert len(set(taken)) == len(taken) <= most
        on = {int(i) for times in ms for i in front(quality, times)}
        worth_it = {i for i in on if any(hypervolume(quality[[i]], ms[d, [i]], self.references[d]) for d in (0, 1))}
        if len(worth_it) >= most:
            assert set(taken) <= worth_it
        else:
            assert worth_it <= set(taken) or len(taken) == most

    def test_a_few_have_most_of_the_area_on_both(self):
        rng = np.random.default_rng(0)
        quality = rng.uniform(25, 31, 200)
        ms = 2 ** (quality - 25 + rng.uniform(0, 2, (2, 200)))
        taken = chosen(quality, ms, self.references, 20)
        assert len(taken) == 20
        for times, reference in zip(ms, self.references, strict=True):
            whole = hypervolume(quality, times, reference)
            assert hypervolume(quality[taken], times[taken], reference) > 0.97 * whole
            assert hypervolume(quality[:20], times[:20], reference) < 0.9 * whole

    def test_what_was_not_judged_or_runs_nowhere_is_not_chosen(self):
        quality, ms = np.array([30.0, np.nan, 31.0]), np.array([[5.0, 1.0, np.nan], [5.0, 1.0, np.nan]])
        assert chosen(quality, ms, self.references, 5) == [0]
