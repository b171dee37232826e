"""A search over settings by Optuna, with a real study."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

SMALL = ("dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none")
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=5", "hydra.sweeper.batch=3", "hydra.sweep.dir=study")


def results():
    return [json.loads(path.read_text()) for path in sorted(Path("study").glob("*/result.json"))]


@pytest.mark.slow
def test_a_study_searches_without_labels_and_goes_on(itae_):
    words = (*SEARCH, "detector.k=interval(0.5,3)", "layers=choice(last,last2)", "hydra.sweeper.metric=inertia",
             "hydra.sweeper.direction=minimize", *SMALL)  # fmt: skip
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert "3 jobs, 3 of them run now" in out
    assert "2 jobs, 2 of them run now" in out
    found = results()
    assert len(found) == 5
    assert {r["selection"] for r in found} == {"proxy"}
    assert all(0.5 <= r["settings"]["detector"]["k"] <= 3 for r in found)
    assert len({r["settings"]["detector"]["k"] for r in found}) == 5
    best = json.loads(Path("study/best.json").read_text())
    assert best["value"] == min(r["edited"]["inertia"]["mean"] for r in found)
    assert found[best["job"]]["edited"]["inertia"]["mean"] == best["value"]
    assert "chosen without labels" in out
    again = itae_(*(word.replace("n_trials=5", "n_trials=6") for word in words))
    assert again[0] == 0
    assert "1 jobs, 1 of them run now" in again[1]
    assert len(results()) == 6


def test_a_choice_by_labels_is_called_an_oracle(itae_):
    status, out, _ = itae_(
        *SEARCH, "hydra.sweeper.metric=acc", "layers=last,last2", "hydra.sweeper.sampler=random", *SMALL
    )
    assert status == 0
    assert "ORACLE: chosen with labels" in out
    assert {r["selection"] for r in results()} == {"oracle"}


@pytest.mark.slow
def test_a_study_takes_no_trials_of_another_search(itae_):
    words = {"metric": "hydra.sweeper.metric=inertia", "space": "detector.k=interval(0.5,3)", "words": "layers=last"}
    assert itae_(*SEARCH, *words.values(), *SMALL)[0] == 0
    before = results()
    others = {"metric": "hydra.sweeper.metric=acc", "space": "detector.k=interval(0.5,4)", "words": "layers=last2"}
    for name, other in others.items():
        status, _, err = itae_(*SEARCH, *(words | {name: other}).values(), *SMALL, "hydra.sweeper.n_trials=9")
        assert status == 2
        assert f"searches by another {name} (" in err
        assert "give this one another hydra.sweep.dir" in err
    assert results() == before


@pytest.mark.parametrize(
    ("metric", "said", "selection"),
    [
        ("acc", "fixed", "oracle"),
        ("acc", "dev_labels", "oracle"),
        ("edited.acc", "fixed", "oracle"),
        ("delta.nmi", "fixed", "oracle"),
        ("edited.lowest_inertia.acc", "fixed", "oracle"),
        ("edited.silhouette.mean", "fixed", "proxy"),
        ("timing.total_s", "fixed", "proxy"),
        ("moved.p95", "fixed", "proxy"),
        ("score", "fixed", "oracle"),  # of somebody's own task, which may have seen labels
        ("inertia", "fixed", "proxy"),
        ("inertia", "dev_labels", "dev_labels"),
        ("inertia", "oracle", "oracle"),
    ],
)
def test_no_search_makes_a_selection_look_better_than_it_is(metric, said, selection):
    from itae.app.launch.objectives import Objective
    from itae.app.launch.optuna import _selection
    from itae.results.shown import shown_of

    assert _selection([Objective("hydra.sweeper.metric", metric, None)], shown_of({}), said) == selection


def test_what_the_words_say_of_labels_counts_however_they_are_written(itae_):
    status, out, _ = itae_(
        *SEARCH, "detector.k=interval(1,3)", "hydra.sweeper.n_trials=1", "++selection=dev_labels", *SMALL
    )
    assert status == 0
    assert "chosen with labels of development data" in out
    assert {r["selection"] for r in results()} == {"dev_labels"}


def test_a_failed_trial_does_not_end_the_study(itae_, monkeypatch):
    import itae.app.experiment

    measure = itae.app.experiment._measure

    def broken(job, folder):
        if folder.name == "1":
            raise ZeroDivisionError("a bug")
        return measure(job, folder)

    monkeypatch.setattr(itae.app.experiment, "_measure", broken)
    status, out, _ = itae_(*SEARCH, "hydra.sweeper.metric=inertia", "detector.k=interval(0.5,3)", *SMALL)
    assert status == 0
    assert "failed     job 1" in out
    assert json.loads(Path("study/best.json").read_text())["trials"] == 4


@pytest.mark.slow
def test_a_trial_that_can_not_run_fails_alone(itae_):
    words = (*SEARCH, "hydra.sweeper.metric=inertia", "clusterer.k=choice(3,4,5000)", "hydra.sweeper.batch=5", *SMALL)
    status, out, _ = itae_(*words)
    assert status == 0
    assert "clusterer.k=5000" in out
    ran = len(results())
    assert 0 < ran < 5
    assert json.loads(Path("study/best.json").read_text())["trials"] == ran
    status, _, err = itae_(*words, "clusterer.k=choice(5000,6000)", "hydra.sweep.dir=none")
    assert status == 2
    assert "5 of 5 jobs can't run, so none was started" in err


@pytest.mark.parametrize(("rate", "status"), [(1, 0), (0.1, 2)])
def test_more_failures_than_are_allowed_end_the_study(itae_, rate, status):
    words = (*SEARCH, "hydra.sweeper.metric=inertia", "hydra.sweeper.batch=5", "clusterer.k=choice(3,4,5000)", *SMALL)
    done = itae_(*words, f"hydra.sweeper.max_failure_rate={rate}")
    assert done[0] == status, done
    if status:
        assert "of 5 trials of a batch failed, and hydra.sweeper.max_failure_rate=0.1: " in done[2]
        assert "clusterer.k=5000 is more clusters" in done[2]
        assert done[2].count("\n") == 1


@pytest.mark.slow
def test_a_later_batch_may_fail_whole(itae_, monkeypatch):
    import itae.app.sweep
    from itae.base.errors import UserError

    open_job, wanted = itae.app.sweep.open_job, [1]

    def refused_unless_wanted(settings):
        if settings.plain["detector"]["k"] not in wanted:
            raise UserError("it can't be.")
        return open_job(settings)

    monkeypatch.setattr(itae.app.sweep, "open_job", refused_unless_wanted)
    words = (*SEARCH, "hydra.sweeper.metric=inertia", "hydra.sweeper.batch=1", "hydra.sweeper.sampler=random", *SMALL)
    assert itae_(*words, "detector.k=1", "layers=last,last2", "hydra.sweeper.n_trials=1")[0] == 0
    wanted.clear()
    status, out, err = itae_(*words, "detector.k=1", "layers=last,last2", "hydra.sweeper.n_trials=3")
    assert (status, err) == (0, "")
    assert out.count("it can't be.") == 2
    assert len(results()) == 1


GOOD = {"status": "ok", "edited": {"a": {"mean": 1.0}, "b": {"mean": 2.0}}}
BAD = {
    "none": {"edited": {"a": {"mean": 1.0}, "b": {"mean": None}}},
    "not a number": {"edited": {"a": {"mean": float("nan")}, "b": {"mean": 2.0}}},
    "infinite": {"edited": {"a": {"mean": 1.0}, "b": {"mean": float("inf")}}},
    "no such key": {"edited": {"a": {"mean": 1.0}}},
    "a word": {"edited": {"a": "x", "b": {"mean": 2.0}}},
    "no side": {"edited": None},
    "failed": None,
}


@pytest.mark.parametrize("keys", [("edited.a", "edited.b"), ("edited.b", "edited.a")])
def test_a_trial_without_a_number_fails_alone(keys):
    from itae.app.launch.objectives import Objective
    from itae.app.launch.optuna import _tell
    from itae.base.errors import UserError

    objectives = [Objective("hydra.sweeper.objectives", key, "maximize") for key in keys]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize"] * 2)
    batch = [*BAD.values(), GOOD]
    _tell(optuna, study, [study.ask() for _ in batch], batch, objectives)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * len(BAD) + ["COMPLETE"]
    missing = [BAD["no such key"]]
    _tell(optuna, study, [study.ask()], missing, objectives)  # some had it before
    assert study.trials[-1].state.name == "FAIL"
    empty = optuna.create_study(directions=["maximize"] * 2)
    with pytest.raises(UserError, match="edited has a"):
        _tell(optuna, empty, [empty.ask()], missing, objectives)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
@pytest.mark.parametrize("batches", [(4, 4), (1, 1, 6), (8,)])
def test_a_study_that_is_gone_on_with_draws_other_trials(tmp_path, sampler, batches):
    """And the same ones for the same seed, however they came about."""
    from itae.app.launch.objectives import Objective
    from itae.app.launch.optuna import _study

    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def drawn(folder):
        folder.mkdir()
        options = {"storage": None, "study_name": "itae", "sampler": sampler, "seed": 0}
        values = []
        for batch in batches:
            study, _ = _study(optuna, options, [Objective("", "x", "minimize")], folder)
            for trial in [study.ask(space) for _ in range(batch)]:
                values.append(trial.params["x"])
                study.tell(trial.number, trial.params["x"])
        return values

    values = drawn(tmp_path / "one")
    assert len(set(values)) == 8
    assert values == drawn(tmp_path / "two")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hydra.sweeper.max_failure_rate=2", "hydra.sweeper.max_failure_rate=2 must be a number in [0, 1]"),
        ("hydra.sweeper.metric=accuracy", "hydra.sweeper.metric='accuracy' is not one of acc, nmi,"),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction='up'"),
        ("hydra.sweeper.sampler=grid", "hydra.sweeper.sampler='grid'"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials=0 must be"),
        ("hydra.sweeper.metric=edited.accuracy", "hydra.sweeper.metric='accuracy' is not one of"),
        ("hydra.sweeper.metric=timing.total_s", "set hydra.sweeper.direction to maximize or minimize"),
        ("hydra.sweeper.metric=artifact_rate.11", "no result says which way it is better"),
        (
            "hydra.sweeper.objectives={edited.acc: up}",
            "hydra.sweeper.objectives.edited.acc='up' is not one of maximize",
        ),
        (
            "hydra.sweeper.objectives={acc: null, timing.total_s: null}",
            "'hydra.sweeper.objectives={timing.total_s: min",
        ),
        ("hydra.sweeper.metric=edited.moved", "moved is the edit's, which has no sides; write moved."),
        ("hydra.sweeper.metric=delta.bimodality", "bimodality is the edit's"),
        (
            "hydra.sweeper.objectives={baseline.artifact_rate.mean: minimize}",
            "hydra.sweeper.objectives='baseline.artifact_rate.mean': artifact_rate is the edit's",
        ),
        ("hydra.sweeper.metric=delta.inertia", "hydra.sweeper.metric='inertia' is not one of acc, nmi,"),
        ("hydra.sweeper.objectives={}", "hydra.sweeper.objectives={} must name objectives"),
        ("hydra.sweeper.objectives=acc", "hydra.sweeper.objectives='acc' must name objectives"),
    ],
)
def test_a_mistake_is_a_sentence(itae_, word, told):
    status, _, err = itae_(*SEARCH, "detector.k=interval(0.5,3)", *SMALL, word)
    assert status == 2
    assert told in err
    assert err.count("\n") == 1
    assert not results(), "before any trial"


def test_our_clusterer_is_ours_by_the_name_of_its_file_too():
    from omegaconf import OmegaConf

    from itae.app.launch.objectives import Objective, settled
    from itae.base.errors import UserError

    config = OmegaConf.create({
        "task": {"_target_": "itae.tasks.clustering.Clustering"},
        "clusterer": {"_target_": "itae.measure.cluster.kmeans.KMeans"},
    })  # fmt: skip
    with pytest.raises(UserError, match="'inertai' is not one of"):
        settled([Objective("hydra.sweeper.metric", "inertai", "minimize")], config)


def test_nothing_to_search_and_no_optuna_are_sentences(itae_, monkeypatch):
    assert "nothing to search over" in itae_(*SEARCH, *SMALL)[2]
    monkeypatch.setitem(sys.modules, "optuna", None)
    status, _, err = itae_(*SEARCH, "detector.k=interval(0.5,3)", *SMALL)
    assert (status, err) == (2, "itae: hydra/sweeper=optuna needs Optuna; install it: pip install 'itae[optuna]'\n")


def test_the_space_is_what_the_words_say():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from itae.app.launch.optuna import _distribution

    kinds = {
        "a=interval(0.5,3)": optuna.distributions.FloatDistribution(0.5, 3.0),
        "a=tag(log,interval(0.001,1))": optuna.distributions.FloatDistribution(0.001, 1.0, log=True),
        "a=int(interval(1,4))": optuna.distributions.IntDistribution(1, 4),
        "a=range(0,12,4)": optuna.distributions.CategoricalDistribution(["0", "4", "8"]),
        "a=choice(last,[0,1])": optuna.distributions.CategoricalDistribution(["last", "[0,1]"]),
        "a=last,all": optuna.distributions.CategoricalDistribution(["last", "all"]),
    }
    for word, wanted in kinds.items():
        assert _distribution(optuna, OverridesParser.create().parse_override(word)) == wanted


BOTH = "hydra.sweeper.objectives={edited.acc: maximize, moved.mean: minimize, inertia: null}"


def dominates(one, other):
    """Whether a trial is nowhere worse and somewhere better: the accuracy higher, what moved and the inertia lower."""
    a, b = ((-v["edited.acc"], v["moved.mean"], v["inertia"]) for v in (one, other))
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_of_several_objectives_the_front_is_written_and_the_study_goes_on(itae_):
    words = (*SEARCH, "detector.k=interval(0.5,3)", "layers=choice(last,last2)", BOTH, *SMALL)
    status, out, err = itae_(*words)
    assert (status, err) == (0, "")
    assert {r["selection"] for r in results()} == {"oracle"}, "one of them looks at labels"
    assert itae_(*words, "hydra.sweeper.n_trials=6")[1].count("1 jobs, 1 of them run now") == 1
    found = results()
    values = [{"edited.acc": r["edited"]["acc"]["mean"], "moved.mean": r["moved"]["mean"],
               "inertia": r["edited"]["inertia"]["mean"]} for r in found]  # fmt: skip
    front = json.loads(Path("study/front.json").read_text())
    want = [i for i, one in enumerate(values) if not any(dominates(other, one) for other in values)]
    assert [trial["job"] for trial in front] == want
    assert [trial["values"] for trial in front] == [values[i] for i in want]
    assert [trial["settings"]["layers"] for trial in front] == [found[i]["settings"]["layers"] for i in want]
    assert "5 trials are on the front, ORACLE: chosen with labels" in out
    for column in ("edited.acc (maximize)", "moved.mean (minimize)", "inertia (minimize)"):
        assert column in out
    assert not Path("study/best.json").exists()
    status, _, err = itae_(*words, "hydra.sweeper.n_trials=7", BOTH.replace("minimize", "maximize"))
    assert (status, len(results())) == (2, 6)
    assert "another direction (maximize, minimize, minimize, not maximize, maximize, minimize); give this one" in err


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_other_samplers_take_several_objectives_and_none_needs_labels(itae_, sampler):
    status, out, _ = itae_(
        *SEARCH, "detector.k=interval(0.5,3)", "hydra.sweeper.n_trials=3", f"hydra.sweeper.sampler={sampler}",
        "hydra.sweeper.objectives={silhouette: null, timing: {total_s: minimize}}", *SMALL,
    )  # fmt: skip
    assert status == 0
    assert "of 3 trials are on the front, chosen without labels" in out
    assert {r["selection"] for r in results()} == {"proxy"}
    assert all(trial["values"].keys() == {"silhouette", "timing.total_s"}
               for trial in json.loads(Path("study/front.json").read_text()))  # fmt: skip


@pytest.mark.slow
def test_without_a_direction_the_metric_says_it(itae_):
    status, _, _ = itae_(*SEARCH, "detector.k=1,2,3", "hydra.sweeper.metric=inertia", "hydra.sweeper.batch=5", *SMALL)
    assert status == 0
    best = json.loads(Path("study/best.json").read_text())
    assert best["value"] == min(r["edited"]["inertia"]["mean"] for r in results())


def test_a_key_that_no_result_has_is_told_with_what_there_is(itae_):
    status, _, err = itae_(*SEARCH, "detector.k=1,2", "hydra.sweeper.n_trials=1", *SMALL,
                           "hydra.sweeper.objectives={timing.totals: minimize}")  # fmt: skip
    assert status == 2
    assert err.startswith("itae: hydra.sweeper.objectives='timing.totals' is not in the results; timing has open_s, ")
    assert err.endswith("Did you mean 'total_s'?\n")


RESULT = {"edited": {"loss": {"mean": 2.0, "std": None, "per_seed": [2.0]}, "name": "x", "none": {"mean": None}},
          "moved": {"mean": 0.5, "p50": 0.25}, "rate": 3, "delta": None}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("loss", 2.0), ("edited.loss", 2.0), ("edited.loss.mean", 2.0), ("moved", 0.5), ("moved.p50", 0.25), ("rate", 3.0),
     ("none", None), ("delta", None)],
)  # fmt: skip
def test_a_key_leads_to_a_number(key, value):
    from itae.app.launch.objectives import Objective

    assert Objective("hydra.sweeper.metric", key, None).value(RESULT) == value


WHOLE = {"status": "ok", "artifact_rate": {"10": 0.25, "11": 0.75}, "bimodality": 0.5, "moved": {"mean": 0.125},
        "baseline": {"silhouette_common": {"mean": 0.25}, "silhouette": 0.5},
        "edited": {"silhouette_common": {"mean": 0.125}, "moved": 9.0}}  # fmt: skip


@pytest.mark.parametrize("delta", [None, {"acc": {"mean": 1.0}}])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("artifact_rate", 0.5), ("artifact_rate.11", 0.75), ("bimodality", 0.5), ("moved", 0.125),
        ("edited.moved", 9.0), ("delta.silhouette_common", -0.125), ("delta.silhouette_common.mean", -0.125),
    ],
)  # fmt: skip
def test_a_key_leads_to_what_a_table_has(key, value, delta):
    from itae.app.launch.objectives import Objective

    assert Objective("hydra.sweeper.metric", key, None).value(WHOLE | {"delta": delta}) == value


def test_what_has_no_value_on_a_side_has_no_difference_and_what_was_flagged_nowhere_no_share():
    from itae.app.launch.objectives import Objective

    nothing = WHOLE | {"edited": {"silhouette_common": {"mean": None}}, "artifact_rate": {}}
    for key in ("delta.silhouette_common", "artifact_rate"):
        assert Objective("hydra.sweeper.metric", key, None).value(nothing) is None


@pytest.mark.parametrize(
    ("key", "best"),
    [
        ("silhouette", "silhouette"), ("edited.acc", "acc"), ("delta.silhouette_common", "delta.silhouette_common"),
        ("bimodality", "bimodality"), ("moved", None), ("moved.p95", None), ("artifact_rate", None),
        ("artifact_rate.11", None), ("timing.total_s", None), ("baseline.acc", None),
    ],
)  # fmt: skip
def test_a_page_is_asked_for_the_best_by_what_its_table_has(key, best):
    from itae.app.launch.objectives import Objective

    assert Objective("hydra.sweeper.metric", key, None).best == best


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("los", "edited has loss. Did you mean 'loss'?"),
        ("edited.name", "is no number in the results but a str"),
        ("delta.loss", "delta has no numbers"),
        ("edit.loss", "result.json has edited, moved, rate. Did you mean 'edited'?"),
        ("edited", "is no number in the results but a dict"),
    ],
)
def test_a_key_that_leads_nowhere_is_a_sentence(key, told):
    from itae.app.launch.objectives import Objective
    from itae.base.errors import UserError

    with pytest.raises(UserError) as error:
        Objective("hydra.sweeper.metric", key, None).value(RESULT)
    assert told in str(error.value)


def test_a_metric_of_another_task_is_told_from_those_that_there_are():
    from itae.app.launch.objectives import objectives_of
    from itae.base.errors import UserError
    from itae.results.shown import Metric, Shown

    (one,) = objectives_of({"metric": "silhouette", "direction": None})
    told = Shown("tone", None, (), {"tone": Metric("tone", "Tone"), "odd": Metric("odd", "odd", better=None)})
    with pytest.raises(UserError, match=r"maximize or minimize, or name one of tone\.$"):
        one.directed(told)
