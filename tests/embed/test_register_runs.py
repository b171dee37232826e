"""Test-time registers from the command line: what is searched once, what is said, and what a sweep shows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from itae import compose, load_run
from itae.app.compose import plain_config
from itae.app.job import open_job
from itae.app.settings import Settings
from itae.results import rows as collect_rows
from itae.results.find import find_results
from itae.results.table import read_table
from itae.store.draft import Draft
from itae.store.entry import canonical

SMALL = ("tracker=none", "dataset.limit=200", "clusterer.seeds=2")
EDIT = ("backbone=digits_vit_artifacts", "edit=test_time_registers", "edit.calibration_images=60")


@pytest.fixture
def searches(monkeypatch):
    """Return a list that grows by one with each search."""
    from itae.embed import register_search

    calls = []
    plain = register_search.search
    monkeypatch.setattr(register_search, "search", lambda *a: (calls.append(a[2]), plain(*a))[1])
    return calls


def result_of(tmp_path):
    return json.loads(max(tmp_path.glob("outputs/runs/*/result.json")).read_text())


@pytest.mark.slow
def test_a_run_searches_once_and_says_what_it_found(itae_, tmp_path, searches):
    status, out, err = itae_(*SMALL, *EDIT)
    assert status == 0, err
    assert "TestTimeRegisters(top_k=10" in out
    assert "registers  10 neurons, by block" in out
    result = result_of(tmp_path)
    assert result["edit"]["registers"]["outlier_layer"] == 4, "counted from the first block"
    found = result["registers"]
    assert found["highest_layer"] == 2, "where the artifacts are planted, found without being told"
    assert found["outlier_rate"] == pytest.approx(3 / 64)
    assert found["outliers_left"] == pytest.approx(3 / 64), "no neuron makes these; they are planted behind the MLP"
    assert any("these neurons don't make most of them" in note for note in result["notes"])
    assert result["artifact_rate"] == {}
    assert result["layers"] == []
    run = load_run(max(tmp_path.glob("outputs/runs/*")))
    assert not np.array_equal(run.baseline.vectors, run.edited.vectors)
    assert len(searches) == 1
    for more in ((), ("edit.top_k=3",), ("backbone.pool=mean",), ("runtime.batch_size=7", "edit.top_k=4")):
        status, _, err = itae_(*SMALL, *EDIT, *more)
        assert status == 0, err
    assert len(searches) == 1, "neither the number of neurons nor the pooling is a search's matter"
    itae_(*SMALL, *EDIT, "edit.calibration_seed=1")
    assert len(searches) == 2


@pytest.mark.slow
def test_a_search_is_asked_for_by_all_that_it_depends_on_and_by_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def key(*words):
        job = open_job(Settings.of(plain_config(compose([*SMALL, *EDIT, *words]))))
        return canonical(job.source.search_key(job.edit, job.source.images))

    changes = [
        "dataset.limit=150", "dataset.resize=crop", "backbone.precision=bf16", "backbone=digits_vit", "edit.rule=mad",
        "edit.outlier_layer=3", "edit.highest_layer=2", "edit.calibration_images=50", "edit.calibration_seed=1",
    ]  # fmt: skip
    assert len({key(), *map(key, changes)}) == 1 + len(changes)
    same = (
        "backbone.pool=mean",
        "edit.top_k=3",
        "edit.k=7",
        "layers=all",
        "runtime.batch_size=3",
        "edit.outlier_layer=4",
    )
    assert {key(word) for word in same} == {key()}


@pytest.fixture
def killed_run(itae_, monkeypatch):
    """Run, killed before the third shard is written."""
    write = Draft.write

    def breaking(self, i, *arrays):
        if i == 2:
            raise KeyboardInterrupt
        write(self, i, *arrays)

    monkeypatch.setattr("itae.embed.source.SHARD", 32)
    with monkeypatch.context() as patched:
        patched.setattr(Draft, "write", breaking)
        status, *_ = itae_(*SMALL, *EDIT, "dataset.limit=100")
    assert status == 130


def test_a_killed_run_goes_on_with_what_it_found(itae_, searches, killed_run):
    assert len(searches) == 1
    status, _, err = itae_(*SMALL, *EDIT, "dataset.limit=100")
    assert (status, len(searches)) == (0, 1), err


@pytest.mark.slow
def test_vectors_of_one_entry_are_all_of_the_same_neurons(itae_, tmp_path, killed_run):
    (kept,) = tmp_path.rglob(".registers/*.json")
    told = json.loads(kept.read_text())
    told["neurons"].reverse()  # as if found again, elsewhere, in another order
    kept.write_text(json.dumps(told))
    other = tmp_path / "other" / ".registers" / kept.name
    other.parent.mkdir(parents=True)
    other.write_bytes(kept.read_bytes())
    vectors = []
    for words in ((), (f"paths.cache={other.parent.parent}",)):
        status, _, err = itae_(*SMALL, *EDIT, "dataset.limit=100", *words)
        assert status == 0, err
        vectors.append(load_run(max(tmp_path.glob("outputs/runs/*"), key=lambda path: path.stat().st_mtime)).edited)
    assert np.array_equal(vectors[0].vectors, vectors[1].vectors)


def test_without_layers_nothing_is_edited_whichever_edit_it_is(itae_, tmp_path, searches):
    status, out, err = itae_(*SMALL, *EDIT, "layers=none")
    assert status == 0, err
    assert "No edit: detector, layers or strength leave nothing to do" in " ".join(out.split())
    assert not searches


def test_where_no_patch_stands_out_nothing_is_edited_and_the_run_says_so(itae_, tmp_path):
    status, out, err = itae_(*SMALL, "edit=test_time_registers", "edit.rule=absolute", "edit.threshold=1e6")
    assert status == 0, err
    assert "Nothing was edited: of 200 images none has an outlier (no outliers: norm >= 1e+06)" in " ".join(out.split())
    run = load_run(max(tmp_path.glob("outputs/runs/*")))
    assert np.array_equal(run.baseline.vectors, run.edited.vectors)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("edit=test_time_register",), "Did you mean 'test_time_registers'?"),
        (("edit=test_time_registers", "edit.top_k=0"), "edit.top_k=0"),
        (("edit=test_time_registers", "edit.outlier_layer=9"), "no such block in a model of 6 blocks"),
        (("edit=test_time_registers", "control=random"), "control=random goes with edit=attention"),
        (("edit=test_time_registers_dinov2_l14",), "no such block in a model of 6 blocks"),
    ],
)
def test_mistakes_are_told_before_any_work(itae_, tmp_path, words, told):
    status, _, err = itae_(*SMALL, *words)
    assert status == 2
    assert told in " ".join(err.split())


def test_a_table_takes_no_edit_for_no_edit_whichever_it_is():
    table = pd.DataFrame(
        {
            "edit._target_": ["itae.registers.TestTimeRegisters"] * 2 + [None],  # the last from before there were edits
            "edit.rule": ["mad", "mad", None],
            "edit.threshold": [1.0, 2.0, None],
            "layers": ["last", "none", "last"],
            "detector._target_": ["itae.detect.VectorNorm"] * 3,
        }
    )
    rows = collect_rows.science(table)
    assert rows["edit"].tolist() == ["test_time_registers", "test_time_registers", "attention"]
    assert rows["layers"].fillna("").tolist() == ["", "none", "last"]
    assert rows["edit.threshold"].isna().tolist() == [True, True, True]


@pytest.mark.figures
@pytest.mark.slow
def test_rivals_share_a_pass_and_a_table(itae_, tmp_path, searches):
    words = ("backbone=digits_vit_artifacts", "detector=value_norm,residual_norm", "detector.side=high", *SMALL)
    status, *_ = itae_("-m", "edit=attention,test_time_registers", "edit.calibration_images=60", *words)
    assert status != 0, "attention has no such option"
    status, _, err = itae_("experiment=rivals", *words)
    assert status == 0, err
    assert len(searches) == 1
    table, damaged, _ = read_table(find_results([tmp_path / "outputs" / "sweeps"]), tmp_path)
    assert not damaged
    rows = collect_rows.science(table[table["status"] == "ok"])
    assert rows["edit"].tolist().count("test_time_registers") == 2
    ours = rows[rows["edit"] == "test_time_registers"]
    assert len(ours[collect_rows.settings_of(ours)].drop_duplicates()) == 1, "detectors are no setting of theirs"
    assert ours[["detector", "attenuator", "attenuator.strength", "layers"]].isna().all(axis=None)
    named = collect_rows.labels(rows.drop_duplicates(collect_rows.settings_of(rows)))
    assert any("test_time_registers" in name for name in named), named.tolist()
    status, _, err = itae_("collect", "outputs/sweeps")
    assert status == 0, err
    assert list(tmp_path.glob("outputs/sweeps/*/report.html"))
