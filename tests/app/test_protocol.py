"""``itae protocol``: what is chosen, what is frozen, and that the held-out data is looked at once and last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sklearn.datasets import load_digits
from spreads import SAID, spread_result, write_results

from itae.app import protocol
from itae.app.held_out import Job, frozen_words, key_of
from itae.app.protocol import choose_setting
from itae.base.errors import UserError
from itae.base.secrets import hidden_word
from itae.look.view import load_run


def written(folder, words, silhouettes, dataset="a", status="ok", control="NoControl", selection="fixed", **settings):
    """Write a result with that silhouette before and after, as far as it is read."""
    side = [{"silhouette": {"mean": value, "std": 0.0, "per_seed": [value]},
             "acc": {"mean": 0.5, "std": 0.0, "per_seed": [0.5]}} for value in silhouettes]  # fmt: skip
    result = {
        "status": status, "error": None, "selection": selection, "baseline": side[0], "edited": side[1],
        "delta": {"acc": {"mean": 0.0, "std": 0.0, "per_seed": [0.0]}}, "artifact_rate": {}, "bimodality": None,
        "notes": [],
        "images": {"n": 5, "classes": 2}, "timing": {"total_s": 1.0}, "started": {"overrides": words},
        "settings": {"backbone": {"model_name": settings.pop("backbone", "m")}, "dataset": {"name": dataset},
                     "control": {"_target_": f"itae.controls.{control}"}, "detector": settings},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_the_best_mean_over_all_development_sets_is_chosen(tmp_path):
    for i, (k, name, after) in enumerate([(3, "a", 0.9), (3, "b", 0.1), (5, "a", 0.6), (5, "b", 0.6), (7, "a", 0.99)]):
        written(tmp_path / str(i), [f"dataset={name}", f"detector.k={k}"], (0.3, after), name, k=float(k))
    chosen = choose_setting(tmp_path, "silhouette")
    assert chosen["words"][1] == "detector.k=5"
    assert (chosen["score"], chosen["untouched"]) == pytest.approx((0.6, 0.3))
    assert (chosen["edit"], chosen["tried"], chosen["sets"]) == (True, 2, 2), "7 has not seen b"


def test_where_nothing_beats_the_untouched_backbone_no_edit_is_chosen(tmp_path):
    written(tmp_path / "0", ["detector.k=3"], (0.5, 0.4), k=3.0)
    assert not choose_setting(tmp_path, "silhouette")["edit"]


def test_a_control_and_a_failed_run_are_no_candidates(tmp_path):
    written(tmp_path / "0", ["k=3"], (0.3, 0.4), k=3.0)
    written(tmp_path / "1", ["k=3", "control=random"], (0.3, 0.9), control="Random", k=3.0)
    written(tmp_path / "2", ["k=5"], (0.3, 0.9), status="failed", k=5.0)
    assert choose_setting(tmp_path, "silhouette")["words"] == ["k=3"]


def test_what_does_not_compare_is_refused(tmp_path):
    written(tmp_path / "0", [], (0.3, 0.4), backbone="m", k=3.0)
    written(tmp_path / "1", [], (0.3, 0.9), backbone="n", k=3.0)
    with pytest.raises(UserError, match=r"backbone.model_name has several values"):
        choose_setting(tmp_path, "silhouette")
    with pytest.raises(UserError, match="--by=nosuch"):
        choose_setting(tmp_path, "nosuch")


def test_a_seed_is_no_setting_that_was_chosen(tmp_path):
    written(tmp_path / "0", ["seed=3", "selection=fixed", "detector.k=3"], (0.3, 0.4), k=3.0)
    assert choose_setting(tmp_path, "silhouette")["words"] == ["detector.k=3"]


def test_held_out_words_take_the_place_of_those_of_the_development_data():
    words = ["dataset=cifar10", "dataset.limit=100", "layers=last", "++detector.k=3"]
    assert frozen_words(words, ["dataset.split=test"]) == [*words, "dataset.split=test"]
    assert frozen_words(words, ["dataset=cifar100"]) == [*words[1:], "dataset=cifar100"]
    assert frozen_words(words, ["dataset.limit=5", "detector.k=4"]) == [
        *words[:1],
        words[2],
        "dataset.limit=5",
        "detector.k=4",
    ]


def test_how_images_are_resized_is_a_setting_and_no_data_set(tmp_path):
    for i, (resize, root, after) in enumerate([("squash", "a", 0.5), ("squash", "b", 0.5), ("crop", "a", 0.9),
                                               ("crop", "b", 0.2)]):  # fmt: skip
        written(tmp_path / str(i), [f"dataset.resize={resize}", f"dataset.root={root}"], (0.3, after), root, k=3.0)
        file = tmp_path / str(i) / "result.json"
        result = json.loads(file.read_text())
        result["settings"]["dataset"] |= {"resize": resize}
        file.write_text(json.dumps(result))
    chosen = choose_setting(tmp_path, "silhouette")
    assert (chosen["tried"], chosen["sets"]) == (2, 2)
    assert chosen["words"][0] == "dataset.resize=crop"
    assert chosen["score"] == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dataset=cifar10", "--held-out"),
        ("--held-out dataset.limit=5 dataset=cifar10", "another dataset"),
        ("--held-out dataset=cifar10 dataset=cifar10", "the development data itself"),
        ("--held-out seed=5 dataset=cifar10", "another dataset"),
        ("--held-out dataset layers=last", "key=value"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(itae_, line, told, monkeypatch):
    monkeypatch.setattr(protocol, "_itae", lambda *words: pytest.fail("it ran"))
    status, _, err = itae_("protocol", *line.split())
    assert status == 2
    assert told in err
    assert err.count("\n") == 1


@pytest.fixture
def staged(tmp_path, monkeypatch):
    """Return a function that runs a protocol whose runs only write results; its runs; and how held-out runs end.

    Of detector.k=3 and 5 the silhouettes are .4 and .6, of the untouched backbone .3.
    """
    for name, numbers in {"dev": range(8), "other": range(6, 20), "apart": range(30, 40)}.items():
        for i in numbers:
            path = tmp_path / name / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (3, 3), i).save(path)
    monkeypatch.chdir(tmp_path)
    runs, ends, says = [], [], {"selection": "fixed", "silhouettes": {3: 0.4, 5: 0.6}}

    def itae(*words):
        GlobalHydra.instance().clear()
        runs.append(words)
        folder = Path(next(w for w in words if key_of(w).endswith(".dir")).partition("=")[2].strip("'"))
        own = [w for w in words if w != "-m" and not w.startswith("hydra.")]
        if words[0] == "-m":
            for i, (k, after) in enumerate(says["silhouettes"].items()):
                some = [hidden_word(w.replace("detector.k=3,5", f"detector.k={k}")) for w in own]
                write(folder / str(i), some, (0.3, after), "ok", says["selection"])
            return
        end = ends.pop(0)
        if end == "killed before it wrote":
            raise KeyboardInterrupt
        selection = next(w for w in own if key_of(w) == "selection").partition("=")[2]
        write(folder, own, (0.3, 0.6), end, selection)
        if end != "ok":
            raise UserError("The run ended.")

    def write(folder, words, silhouettes, status, selection):
        shutil.rmtree(folder, ignore_errors=True)
        written(folder, words, silhouettes, status=status, selection=selection)
        found = [word for word in runs[-1] if key_of(word) == "hydra.searchpath"]  # no word of a job
        result = json.loads((folder / "result.json").read_text()) | {"settings": Job.of([*found, *words]).plain}
        (folder / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(protocol, "_itae", itae)

    def run(*words, held_out=("dataset.root=other",), ended=("ok",), **said):
        says.update(said)
        ends[:] = ended
        told = [part for word in held_out for part in ("--held-out", word)]
        fixed = ["dataset=imagefolder", "dataset.root=dev", "detector.k=3,5", "tracker=none"]
        return protocol.main([*fixed, *words, *told, "--out", "out"])

    return run, runs


def record():
    return json.loads(Path("out/protocol.json").read_text())


def test_what_is_frozen_is_run_once_with_the_held_out_data_alone_exchanged(staged, capsys):
    run, runs = staged
    assert run("dataset.resize=crop", "dataset.limit=13", "layers=all") == 0
    held_out = [*runs[1]]
    assert "dataset.resize=crop" in held_out
    assert "dataset.limit=13" in held_out
    assert "detector.k=5" in held_out
    assert "dataset.root=dev" not in held_out
    assert "hydra.mode=RUN" in held_out, "an overlay may have made it a sweep again"
    out = capsys.readouterr().out
    assert "Held-out images that are among the development images, by their bytes: 2 of 13." in out
    assert record()["overlap"] == [2, 13]
    assert load_run("out/held_out").result["notes"] == [
        "Held-out images that are among the development images, by their bytes: 2 of 13."
    ]
    with pytest.raises(UserError, match="has been reported"):
        run("dataset.resize=crop", "dataset.limit=13", "layers=all")
    assert len(runs) == 2


def test_configs_of_ones_own_are_found_on_both_sides(staged, tmp_path):
    (tmp_path / "mine/detector").mkdir(parents=True)
    (tmp_path / "mine/detector/late.yaml").write_text("_target_: itae.detect.ResidualNorm\nside: high\nk: 4.0\n")
    run, runs = staged
    assert run("detector=late", "layers=all", "--config-dir", "mine") == 0
    word = f"hydra.searchpath=['file://{tmp_path / 'mine'}']"
    assert [runs[0][1], runs[1][0]] == [word, word]
    assert record()["held_out"][0] == word


@pytest.mark.parametrize("end", ["failed", "running", "killed before it wrote"])
def test_a_held_out_run_that_did_not_end_well_can_be_tried_again(staged, end):
    run, runs = staged
    with pytest.raises((UserError, KeyboardInterrupt), match=None if end.startswith("killed") else "tries it again"):
        run(ended=[end])
    frozen = record()
    with pytest.raises(UserError, match="of other words"):
        run("layers=all")
    with pytest.raises(UserError, match="of other words"):
        run(held_out=["dataset.root=apart"])
    assert len(runs) == 2, "neither began"
    assert run(silhouettes={3: 0.9, 5: 0.6}) == 0, "what was chosen stays chosen"
    assert [words[0] == "-m" for words in runs] == [True, False, False]
    assert runs[1] == runs[2]
    assert record() == frozen
    with pytest.raises(UserError, match="has been reported"):
        run()


def test_a_secret_goes_with_all_runs_and_into_no_record(staged):
    run, runs = staged
    word = "runtime.ray.runtime_env={env_vars:{KEY:tops3cret}}"
    with pytest.raises(UserError, match="tries it again"):
        run(word, ended=["failed"])
    assert "tops3cret" not in Path("out/protocol.json").read_text()
    assert run(word) == 0
    assert [word in words for words in runs] == [True, True, True]
    assert "tops3cret" not in Path("out/protocol.json").read_text()


@pytest.mark.parametrize("best", [0.6, 0.1])
def test_the_method_is_the_same_when_a_held_out_run_is_tried_again(staged, monkeypatch, best):
    run, runs = staged
    monkeypatch.setenv("STRENGTH", "0.5")
    words, silhouettes = ["attenuator.strength=${oc.env:STRENGTH}"], {3: 0.1, 5: best}
    with pytest.raises(UserError, match="tries it again"):
        run(*words, ended=["failed"], silhouettes=silhouettes)
    monkeypatch.setenv("STRENGTH", "1.0")
    with pytest.raises(UserError, match=r'strength would be "1\.0" on the held-out data and is "0\.5"'):
        run(*words)
    assert len(runs) == 2
    monkeypatch.setenv("STRENGTH", "0.5")
    assert run(*words) == 0


def test_a_killed_development_sweep_is_gone_on_with(staged):
    run, runs = staged
    Path("out/dev").mkdir(parents=True)
    assert run(held_out=["dataset.root=apart"]) == 0
    assert f"hydra.sweep.dir='{Path('out/dev').absolute()}'" in runs[0]
    assert record()["overlap"] == [0, 10]
    assert load_run("out/held_out").result["notes"] == []


def test_a_record_of_an_earlier_version_or_a_damaged_one_is_a_reported_one(staged):
    run, runs = staged
    for text in ('{"by": "silhouette"}', "[]", "{"):
        Path("out").mkdir(exist_ok=True)
        Path("out/protocol.json").write_text(text)
        with pytest.raises(UserError, match="has been reported"):
            run()
    assert not runs


def test_where_nothing_beats_the_untouched_backbone_none_is_edited(staged):
    run, runs = staged
    assert run(silhouettes={3: 0.1, 5: 0.2}) == 0
    assert runs[1].index("layers=none") > runs[1].index("detector.k=5")


@pytest.mark.parametrize(
    ("words", "said", "selection"),
    [
        ([], "fixed", "proxy"),
        (["--by", "acc"], "fixed", "dev_labels"),
        (["selection=dev_labels"], "dev_labels", "dev_labels"),
        (["selection=oracle"], "oracle", "oracle"),
        ([], "oracle", "dev_labels"),  # a search by ACC on the development data
        ([], "proxy", "proxy"),
    ],
)
def test_no_protocol_makes_a_selection_look_better_than_it_is(staged, words, said, selection):
    run, _ = staged
    assert run(*words, selection=said) == 0
    assert record()["selection"] == load_run("out/held_out").result["selection"] == selection


@pytest.mark.parametrize("by", ["bimodality", "delta.silhouette_common", "silhouete"])
def test_a_criterion_that_can_choose_nothing_is_told_before_the_sweep(staged, by):
    run, runs = staged
    with pytest.raises(UserError, match=f"--by='{by}' is not one of inertia, silhouette"):
        run("--by", by)
    assert not runs


@pytest.mark.slow
def test_from_the_sweep_to_the_one_report(itae_, tmp_path):
    digits = load_digits()
    for i in range(240):
        path = tmp_path / ("dev", "other")[i % 2] / str(digits.target[i]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15.9).astype("uint8")).save(path)
    shutil.copy(next((tmp_path / "dev" / "0").iterdir()), tmp_path / "other" / "0" / "again.png")
    out = tmp_path / "out, 2 [x]"
    words = ["backbone=digits_vit_artifacts", "dataset=imagefolder", f"dataset.root={tmp_path / 'dev'}",
             "detector.rule=mad", "detector.k=5,200", "detector.side=high", "attenuator=scale", "layers=all",
             "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "runtime.report=false",
             "runtime.diagnostics=false"]  # fmt: skip
    call = ("protocol", "--held-out", f"dataset.root={tmp_path / 'other'}", "--out", str(out), *words)
    status, told, err = itae_(*call)
    assert not status, err
    assert "of 2 settings tried" in told
    held_out = load_run(out / "held_out").result
    assert held_out["selection"] == "proxy"
    assert held_out["notes"][-1].endswith("by their bytes: 1 of 121.")
    assert held_out["settings"]["dataset"]["root"] == str(tmp_path / "other")
    assert held_out["settings"]["detector"]["k"] == 5
    assert held_out["delta"]["nmi"]["mean"] > 0.1
    record = json.loads((out / "protocol.json").read_text())
    assert record["edit"]
    assert f"dataset.root={tmp_path / 'other'}" in record["held_out"]
    status, _, err = itae_(*call)
    assert (status, "has been reported" in err) == (2, True), "once"


# --- of a task that is not clustering


def test_a_task_of_other_metrics_has_its_own_criterion(tmp_path):
    """The lowest width is best, and no edit is better than a wider one."""
    write_results(tmp_path / "a", *(spread_result(width, k=k) for width, k in ((2.0, 3.0), (1.0, 5.0), (4.0, 7.0))))
    chosen = choose_setting(tmp_path / "a")
    assert (chosen["by"], chosen["folder"], chosen["labels"], chosen["edit"]) == ("width", "1", False, True)
    assert (chosen["score"], chosen["untouched"]) == (1.0, 3.0)
    assert choose_setting(tmp_path / "a", "tone")["labels"]
    write_results(tmp_path / "b", spread_result(3.5))
    assert not choose_setting(tmp_path / "b")["edit"]


def test_what_a_task_can_not_be_chosen_by_is_told(tmp_path):
    write_results(tmp_path / "a", spread_result())
    with pytest.raises(UserError, match="--by=silhouette is not a metric of these runs; they have width"):
        choose_setting(tmp_path / "a", "silhouette")
    with pytest.raises(UserError, match=r"--by=delta.width has no value for the untouched backbone"):
        choose_setting(tmp_path / "a", "delta.width")
    write_results(tmp_path / "b", spread_result(shown=SAID | {"criterion": None}))
    with pytest.raises(UserError, match="choose by one of their metrics with --by"):
        choose_setting(tmp_path / "b")
    write_results(tmp_path / "c", spread_result(bins=5), spread_result(bins=6))
    with pytest.raises(UserError, match=r"task\.bins has several values"):
        choose_setting(tmp_path / "c")
    write_results(tmp_path / "d", spread_result(), spread_result(kind="other"))
    with pytest.raises(UserError, match="kind has several values"):
        choose_setting(tmp_path / "d")
