"""The task of neighbours: its answers against plain Python, its protocols, and runs of it."""

from __future__ import annotations

import csv
import json
import math
import tracemalloc
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from itae.base.errors import UserError
from itae.images.datasets import Digits
from itae.knowledge.answers.choose import choose
from itae.knowledge.answers.vote import Auto, ClassMean, Distance, Plurality, Rank, Softmax
from itae.measure.intervals import mean_interval
from itae.tasks.knn import Knn
from itae.tasks.knn.answers import answers
from itae.tasks.knn.figures import confusion_figure, pairs_figure, reliability_figure
from itae.tasks.knn.galleries import other_rows, own_images
from itae.tasks.knn.queries import Queries, held_out_classes
from itae.tasks.knn.scores import scored, scores
from itae.tasks.knn.sweep import VOTERS as NAMED
from itae.tasks.knn.sweep import options_of, tried
from itae.tasks.memory import Said, memory

pytest.importorskip("faiss")

RUN = ("task=knn", "tracker=none", "runtime.report=false", "backbone=digits_vit_artifacts", "detector=key_norm",
       "attenuator=scale", "layers=all", "hydra.run.dir=run")  # fmt: skip
SMALL = (*RUN, "dataset.limit=120", "task.ks=[1,5]")


def asked(vectors, labels, groups=None, digests=None, held_out=(), ids=None):
    """Return an entry and queries of vectors, each of a label or several."""
    ids = ids or [f"{i:05d}" for i in range(len(vectors))]
    said = Said([(each,) if isinstance(each, str) else each for each in labels], groups or [None] * len(ids))
    digests = (
        np.random.default_rng(len(ids)).integers(1, 255, (len(ids), 32)).astype(np.uint8)
        if digests is None
        else digests
    )
    entry = SimpleNamespace(
        ids=ids, vectors=np.asarray(vectors, np.float32), digests=digests, path=SimpleNamespace(name="x")
    )
    return entry, Queries(ids, said, said.labels, digests, tuple(held_out))


def digits(count=None):
    found = load_digits()
    return found.data[:count], [str(label) for label in found.target[:count]]


def answered(entry, queries, voter, options=(), gallery=None):
    gallery = gallery or own_images(entry, queries)
    return answers(gallery, entry.vectors, voter, list(options), None, "cpu")


def names(one):
    return [one.label_names[code] for code in one.told[:, 0]]


# against plain Python


def weight(voter, similarity, rank):
    return {
        Plurality: lambda: 1.0,
        Softmax: lambda: math.exp(similarity / voter.temperature),
        Rank: lambda: 1 / (rank + 2),
        Distance: lambda: 1 / (1 - similarity + 1e-6),
    }[type(voter)]()


def by_hand(vectors, labels, groups, voter):
    """Return the label and share of each vector, told by the others that are not of its group."""
    unit = [[x / math.sqrt(math.fsum(y * y for y in row)) for x in row] for row in vectors]
    told = []
    for q, query in enumerate(unit):
        near = [(-round(math.fsum(map(math.prod, zip(query, row, strict=True))), 6), i) for i, row in enumerate(unit)
                if groups[i] != groups[q]]  # fmt: skip
        votes, first = defaultdict(float), {}
        for rank, (similar, i) in enumerate(sorted(near)[: voter.k]):
            votes[labels[i]] += weight(voter, -similar, rank)
            first.setdefault(labels[i], rank)
        label = max(votes, key=lambda name: (round(votes[name], 9), -first[name]))
        told.append((label, votes[label] / sum(votes.values())))
    return told


VOTERS = [Plurality(1), Plurality(5), Softmax(20, 0.07), Rank(20), Distance(5), Plurality(200)]


@pytest.fixture(scope="module")
def few():
    vectors, labels = digits(100)
    groups = [i // 2 for i in range(100)]
    return vectors, labels, groups


@pytest.mark.parametrize("voter", VOTERS, ids=str)
def test_answers_are_those_of_plain_python(few, voter):
    vectors, labels, groups = few
    entry, queries = asked(vectors, labels, [f"g{group}" for group in groups])
    found = answered(entry, queries, voter, [*VOTERS, voter])
    kept = memory(entry, queries.said).vectors_ME.tolist()  # in float32, which decides the last digit
    told = by_hand(kept, labels, groups, voter)
    assert names(found) == [label for label, _ in told]
    np.testing.assert_allclose(found.share, [share for _, share in told], atol=1e-9)
    assert [found.label_names[code] for code in found.won[-1]] == [label for label, _ in told], "by the sweep, too"
    for q, near in enumerate(found.near.tolist()):
        assert all(groups[i] != groups[q] for i in near)


def test_known_answers_of_the_digits():
    """Of pixels, by cosine: the nearest other image, and, of the last five forms, the nearest of the first nine."""
    from sklearn.neighbors import NearestNeighbors

    vectors, labels = digits()
    entry, queries = asked(vectors, labels)
    found = answered(entry, queries, Plurality(1))
    right = np.array(names(found)) == np.array(labels)
    assert right.mean() == pytest.approx(1777 / 1797)
    near = NearestNeighbors(n_neighbors=2, metric="cosine").fit(vectors).kneighbors(return_distance=False)[:, 0]
    assert (right == (np.array(labels)[near] == np.array(labels))).mean() > 0.998, "but for ties"
    rows, _ = asked(vectors[:1157], labels[:1157])
    test, questions = asked(vectors[1157:], labels[1157:], ids=[f"q{i}" for i in range(640)])
    gallery = other_rows(memory(rows, Said([(label,) for label in labels[:1157]], [None] * 1157)), questions)
    told = names(answered(test, questions, Plurality(1), gallery=gallery))
    assert np.mean([a == b for a, b in zip(told, labels[1157:], strict=True)]) == 615 / 640


def test_other_rows_less_their_own_bytes_are_leave_one_out():
    vectors, labels = digits(120)
    entry, queries = asked(vectors, labels)
    alone = answered(entry, queries, Rank(10))
    beside = answered(entry, queries, Rank(10), gallery=other_rows(memory(entry, queries.said), queries))
    np.testing.assert_array_equal(alone.told, beside.told)
    np.testing.assert_array_equal(alone.share, beside.share)
    np.testing.assert_array_equal(alone.p, beside.p)
    assert not alone.twins
    assert beside.twins == {q: [id_] for q, id_ in enumerate(queries.ids)}


def test_no_row_of_a_group_votes_on_it_from_wherever_it_is_known():
    """A group of the gallery, bytes of another of its rows, and both at once through one query."""
    vectors, labels = digits(60)
    groups = ["one", "one", "two", None] + [None] * 56
    rows, _ = asked(vectors, labels, groups)
    digests = np.random.default_rng(99).integers(1, 255, (2, 32)).astype(np.uint8)
    digests[1] = rows.digests[2]  # of the bytes of a row of group two
    query, queries = asked(vectors[:2], labels[:2], ["one", "one"], digests, ids=["p", "q"])
    found = answered(
        query,
        queries,
        Plurality(57),
        gallery=other_rows(memory(rows, Said([(each,) for each in labels], groups)), queries),
    )
    assert found.twins == {1: ["00002"]}
    entry = other_rows(memory(rows, Said([(each,) for each in labels], groups)), queries)
    out = [np.flatnonzero(entry.excluded.codes_M == code).tolist() for code in entry.excluded.codes_Q]
    assert out == [[0, 1, 2], [0, 1, 2]], "all three are joined by the two queries"


def test_class_means_are_told_without_neighbours():
    vectors, labels = digits(100)
    entry, queries = asked(vectors, labels)
    found = answered(entry, queries, ClassMean(), [ClassMean(), Plurality(5)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    told = []
    for q in range(100):
        others = np.arange(100) != q
        means = {name: unit[others & (np.array(labels) == name)].mean(axis=0) for name in sorted(set(labels))}
        told.append(max(means, key=lambda name: unit[q] @ means[name] / np.linalg.norm(means[name])))
    assert names(found) == told
    assert [found.label_names[code] for code in found.won[0]] == told


def test_a_gallery_of_no_words_is_refused():
    with pytest.raises(UserError, match=r"task\.gallery={} must be words of the dataset group"):
        Knn(gallery={})


# unknown classes, classes that are lacking, several labels


def test_held_out_classes_are_in_the_auroc_alone():
    vectors, labels = digits(300)
    entry, queries = asked(vectors, labels, held_out=("3", "7"))
    one = answered(entry, queries, Plurality(5))
    found = scored(queries, {"baseline": one, "edited": one}, 5)
    assert not {"3", "7"} & set(names(one))
    known = np.array([label not in ("3", "7") for label in labels])
    np.testing.assert_array_equal(found.at, np.flatnonzero(known))
    p, unknown = one.p, ~known
    pairs = [(a < b) + (a == b) / 2 for a in p[unknown] for b in p[known]]
    score = scores(found)
    assert score.baseline["unknown_auroc"]["mean"] == pytest.approx(np.mean(pairs))
    assert score.baseline["unknown_auroc"]["mean"] > 0.8
    right = np.array(names(one)) == np.array(labels)
    assert score.baseline["top_1"]["mean"] == pytest.approx(right[known].mean())
    # What is held out is as if it had never been there.
    rest, others = asked(vectors[known], np.array(labels)[known].tolist(), ids=[queries.ids[i] for i in found.at],
                         digests=entry.digests[known])  # fmt: skip
    without = answered(rest, others, Plurality(5))
    assert names(without) == [names(one)[i] for i in found.at]
    np.testing.assert_array_equal(without.p, one.p[known])


def test_classes_that_no_row_has_are_wrong_and_unknown():
    vectors, labels = digits(200)
    rows, _ = asked(vectors[:100], labels[:100])
    said = Said([(label,) if label != "4" else () for label in labels[:100]], [None] * 100)
    query, queries = asked(vectors[100:], labels[100:], ids=[f"q{i}" for i in range(100)])
    one = answered(query, queries, Plurality(1), gallery=other_rows(memory(rows, said), queries))
    found = scored(queries, {"baseline": one, "edited": one}, 1)
    fours = labels[100:].count("4")
    assert found.lacking == ("4",)
    assert len(found.at) == 100
    assert found.unknown.sum() == fours > 0
    assert found.recalls("edited")[found.names.index("4")] == 0
    assert "4" not in names(one)


def test_of_several_labels_any_is_right_and_classes_have_a_map():
    vectors, labels = digits(100)
    both = [(label, "even" if int(label) % 2 == 0 else "odd") for label in labels]
    entry, queries = asked(vectors, both)
    one = answered(entry, queries, Plurality(5), [Plurality(5)])
    found = scored(queries, {"baseline": one, "edited": one}, 5)
    score = scores(found)
    assert not found.single
    assert 0.5 < score.baseline["map"]["mean"] <= 1
    assert score.baseline["top_1"]["mean"] == np.mean([a in b for a, b in zip(names(one), both, strict=True)])
    assert score.delta["map"]["interval"] is None
    rows = tried(found, [Plurality(5)], Plurality(5))
    assert rows[0].baseline == pytest.approx(score.baseline["top_1"]["mean"])
    assert rows[0].baseline_balanced == pytest.approx(score.baseline["balanced_accuracy"]["mean"])


def test_a_class_of_one_image_and_a_handful_of_images_are_scored():
    vectors, labels = digits(5)
    entry, queries = asked(vectors, labels)
    one = answered(entry, queries, Plurality(200))
    score = scores(scored(queries, {"baseline": one, "edited": one}, 200))
    assert score.baseline["top_1"]["mean"] == 0
    assert score.delta["top_1"]["interval"] == [0, 0]


def test_of_one_voter_no_share_is_scored():
    vectors, labels = digits(60)
    entry, queries = asked(vectors, labels)
    for k, told in ((1, False), (2, True)):
        one = answered(entry, queries, Plurality(k))
        found = scored(queries, {"baseline": one, "edited": one}, k)
        assert ("ece" in scores(found).baseline) is told
        assert (reliability_figure(found) is not None) is told


# paired scores, the sweep


def test_deltas_are_paired_and_their_means_are_those_of_images():
    vectors, labels = digits(200)
    entry, queries = asked(vectors, labels)
    noisy, _ = asked(vectors + np.random.default_rng(0).normal(0, 6, vectors.shape), labels)
    before, after = (answered(one, queries, Rank(5)) for one in (entry, noisy))
    found = scored(queries, {"baseline": before, "edited": after}, 5)
    score = scores(found)
    right = [np.array(names(one)) == np.array(labels) for one in (before, after)]
    assert score.delta["top_1"]["mean"] == pytest.approx(right[1].mean() - right[0].mean())
    assert score.delta["top_1"]["interval"] == list(mean_interval(right[1].astype(float) - right[0]))
    low, high = score.delta["top_1"]["interval"]
    assert low < score.delta["top_1"]["mean"] < high < 0
    for name, values in score.image_values.items():
        assert values.mean() == pytest.approx(score.edited[name]["mean"])
    assert score.edited["top_5"]["mean"] >= score.edited["top_1"]["mean"]


def test_a_sweep_has_the_scores_of_each_setting_and_marks_the_runs_own():
    vectors, labels = digits(150)
    entry, queries = asked(vectors, labels)
    gallery = own_images(entry, queries)
    choice = choose(gallery.snapshot, Auto())
    options, left_out = options_of(list(Knn().voters), [1, 5, 149, 150, 151, 1000], 0.07, 150, choice.voter)
    assert left_out == [151, 1000]
    one = answered(entry, queries, choice.voter, options, gallery)
    found = scored(queries, {"baseline": one, "edited": one}, choice.voter.k)
    rows = tried(found, options, choice.voter)
    assert [row.chosen for row in rows].count(True) == 1
    for option, row in zip(options, rows, strict=True):
        told = names(answered(entry, queries, option))
        assert row.baseline == np.mean([a == b for a, b in zip(told, labels, strict=True)]), row
    assert [row.told for row in tried(found, options, Rank(5)) if row.chosen] == ["rank, k 5"]
    best = dict(choice.tried)
    assert next(row for row in rows if row.chosen).baseline_balanced == pytest.approx(max(best.values()))


def test_all_k_above_the_rows_leave_the_smallest():
    options, left_out = options_of(["rank"], [50, 100], 0.07, 10, Rank(50))
    assert options == [Rank(50)]
    assert left_out == [100]


def test_classes_to_hold_out_are_drawn_by_the_seed_or_named():
    truth = [(str(i % 6),) for i in range(60)]
    drawn = {held_out_classes(2, truth, seed) for seed in range(20)}
    assert len(drawn) > 5
    assert all(len(set(some)) == 2 and list(some) == sorted(some) for some in drawn)
    assert held_out_classes(2, truth, 3) == held_out_classes(2, truth[::-1], 3)
    assert held_out_classes(["5", 1], truth, 0) == ("1", "5"), "names of digits are typed as numbers"
    for unknown, told in ((5, "leaves 1 of the 6"), (["nine"], "'nine'"), (["0", "1", "2", "3", "4"], "leaves 1")):
        with pytest.raises(UserError, match=told):
            held_out_classes(unknown, truth, 0)


def test_many_classes_have_a_figure_of_pairs_and_few_a_matrix():
    vectors = np.random.default_rng(0).normal(size=(200, 4))
    for classes in (12, 60):
        entry, queries = asked(vectors, [f"class {i % classes}" for i in range(200)])
        one = answered(entry, queries, Plurality(1))
        found = scored(queries, {"baseline": one, "edited": one}, 1)
        made = confusion_figure(found), pairs_figure(found)
        assert [figure is None for figure in made] == ([False, True] if classes == 12 else [True, False])
        figure = next(one for one in made if one is not None)
        assert max(figure.get_size_inches()) < 16


def test_no_number_is_held_for_each_pair_of_a_query_and_a_row():
    """3,000 queries and 30,000 rows: of each pair one float32 alone would be 343 MB."""
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(33000, 8)), [str(i % 10) for i in range(33000)]
    rows, others = asked(vectors[3000:], labels[3000:])
    query, queries = asked(vectors[:3000], labels[:3000], ids=[f"q{i}" for i in range(3000)])
    gallery = other_rows(memory(rows, others.said), queries)
    options, _ = options_of(list(NAMED), [1, 20, 50], 0.07, 30000, Rank(20))
    tracemalloc.start()
    answered(query, queries, Rank(20), options, gallery)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6


# runs


def lines(name, folder="run"):
    with open(f"{folder}/{name}", newline="") as file:
        return list(csv.DictReader(file))


def result(folder="run"):
    with open(f"{folder}/result.json") as file:
        return json.load(file)


def ran(itae_, *words):
    status, out, err = itae_(*words)
    assert status == 0, out + err
    return result(), out


def test_a_run_has_scores_files_figures_and_says_what_its_numbers_are(itae_):
    found, out = ran(itae_, *SMALL, "task.unknown=2", "voter=softmax", "voter.k=5")
    assert found["kind"] == "knn"
    assert set(found["baseline"]) == {"top_1", "top_5", "balanced_accuracy", "unknown_auroc", "ece"}
    for name, change in found["delta"].items():
        assert change["mean"] == pytest.approx(found["edited"][name]["mean"] - found["baseline"][name]["mean"])
        assert (change["interval"] is None) == (name == "ece")
    assert found["voter"] == {"told": "softmax, k 5, temperature 0.07", "how": "was given", "note": "", "tried": []}
    assert len(found["unknown"]) == 2
    assert found["queries"]["scored"] + found["queries"]["unknown"] == found["queries"]["asked"] == 120
    rows = lines("predictions.csv")
    right = [row["edited"] == row["label"] for row in rows if row["of"] == "scored"]
    assert np.mean(right) == pytest.approx(found["edited"]["top_1"]["mean"])
    assert {row["label"] for row in rows if row["of"] == "unknown"} == set(found["unknown"])
    turned = {row["id"] for row in lines("turned.csv")}
    assert turned == {row["id"] for row in rows if row["of"] == "scored"
                      and (row["baseline"] == row["label"]) != (row["edited"] == row["label"])}  # fmt: skip
    for row in lines("recalls.csv"):
        mine = [one for one in rows if one["label"] == row["label"]]
        assert float(row["queries"]) == len(mine)
        assert float(row["baseline"]) == pytest.approx(
            np.mean([one["baseline"] == one["label"] for one in mine]), abs=1e-6
        )
        assert float(row["baseline_low"]) <= float(row["baseline"]) <= float(row["baseline_high"])
    confused = lines("confusion_edited.csv")
    assert sum(int(row[row["label"]]) for row in confused) == sum(right)
    assert sum(map(int, (cell for row in confused for name, cell in row.items() if name != "label"))) == len(right)
    sweep = lines("sweep.csv")
    assert len(sweep) == 4 * 2 + 1
    (own,) = (row for row in sweep if row["chosen"] == "True")
    assert (own["voter"], own["k"]) == ("softmax", "5")
    assert float(own["edited"]) == pytest.approx(found["edited"]["top_1"]["mean"], abs=1e-6)
    assert {"sweep", "confusion", "reliability"} <= {name[8:-4] for name in found["figures"]}
    assert "is an oracle" in out
    assert [part["title"].split(":")[0] for part in found["parts"]] == [
        "Answers that the edit turned", "Recall by class", "Top-1 accuracy by voter and k"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_voter_that_these_very_labels_chose_is_said_to_flatter(itae_):
    found, out = ran(itae_, *SMALL)
    assert "flatters the scores" in found["voter"]["how"]
    assert found["voter"]["how"] in " ".join(out.split())
    found, _ = ran(itae_, *SMALL, "dataset.split=test", "task.gallery={split: train}")
    assert found["voter"]["how"] == "was chosen inside the gallery of the untouched side, without these labels"
    assert found["queries"] == {"asked": 120, "scored": 120, "unknown": 0, "known": 0}
    assert set(found["embeddings"]) == {"baseline", "edited", "baseline.gallery", "edited.gallery"}


@pytest.mark.slow
def test_classes_of_one_group_are_said_never_to_be_told(itae_):
    images = Digits(limit=60).open()
    of = {id_: images.class_names[code] for id_, code in zip(images.ids, images.labels.tolist(), strict=True)}
    groups = "".join(f"{id_},{name if name in '38' else id_}\n" for id_, name in of.items())
    Path("groups.csv").write_text(f"id,group\n{groups}")
    _, out = ran(itae_, *SMALL, "dataset.limit=60", "task.group=groups.csv", "voter=rank", "voter.k=5")
    assert "All images of 3, 8 are of one group each, which never votes for itself" in " ".join(out.split())
    _, out = ran(itae_, *SMALL, "dataset.limit=60", "voter=rank", "voter.k=5")
    assert "never votes for itself" not in out


@pytest.mark.slow
def test_labels_that_a_gallery_has_too_are_none_that_it_went_without(itae_):
    found, _ = ran(itae_, *SMALL, "dataset.split=test", "task.gallery={split: test}")
    assert "flatters the scores" in found["voter"]["how"]


@pytest.mark.slow
def test_labels_that_a_gallery_has_of_some_queries_are_counted(itae_):
    found, _ = ran(itae_, *SMALL, "dataset.split=test", "dataset.limit=100", "task.gallery={limit: 60}")
    known = found["queries"]["known"]
    assert 0 < known < 100
    assert f"but for {known} of these 100 images" in found["voter"]["how"]


@pytest.mark.slow
def test_labels_of_the_queries_reach_the_scores_and_nothing_else(itae_, tmp_path):
    words = (*SMALL, "dataset.split=test", "task.gallery={split: train}")
    true, _ = ran(itae_, *words)
    before = lines("predictions.csv")
    order = np.random.default_rng(0).permutation(len(before))
    text = "".join(f"{row['id']},{before[i]['label']}\n" for row, i in zip(before, order[:-5], strict=False))
    (tmp_path / "truth.csv").write_text("id,label\n" + text)
    false, out = ran(itae_, *words, "task.truth=truth.csv")
    after = lines("predictions.csv")
    keys = [name for name in before[0] if name not in ("label", "of")]
    assert [[row[key] for key in keys] for row in after] == [[row[key] for key in keys] for row in before]
    assert false["voter"] == true["voter"]
    assert false["baseline"]["top_1"]["mean"] < 0.4 < true["baseline"]["top_1"]["mean"]
    assert false["queries"]["scored"] == 115
    assert "5 of 120 images have no label to be scored by" in out


@pytest.mark.slow
def test_labels_and_groups_of_files_are_those_of_rows_and_queries(itae_, tmp_path):
    """Two labels an image, and a group of every two that lie together: the other of a group never votes."""
    images = Digits(limit=60).open()
    labels = [(id_, label) for id_, code in zip(images.ids, images.labels.tolist(), strict=True)
              for label in (f"digit {code}", ("even", "odd")[code % 2])]  # fmt: skip
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{id_},{label}\n" for id_, label in labels))
    pairs = {id_: f"pair {i // 2}" for i, id_ in enumerate(images.ids)}
    (tmp_path / "groups.csv").write_text("id,group\n" + "".join(f"{id_},{pair}\n" for id_, pair in pairs.items()))
    words = (*SMALL, "dataset.limit=60", "task.labels=labels.csv", "task.group=groups.csv", "voter=rank", "voter.k=5")
    found, out = ran(itae_, *words)
    assert 0.3 < found["edited"]["map"]["mean"] <= 1
    assert "There are images of several labels" in out
    assert not Path("run/confusion_edited.csv").exists()
    near = [(row["id"], row["neighbour"]) for row in lines("turned.csv")]
    assert near
    assert all(pairs[id_] != pairs[other] for id_, other in near)
    assert {row["label"].split(" | ")[1] for row in lines("predictions.csv")} == {"even", "odd"}


@pytest.mark.slow
def test_a_gallery_that_has_the_queries_counts_them_and_leaves_them_out(itae_):
    words = (*SMALL, "voter=rank", "voter.k=10")
    alone, _ = ran(itae_, *words)
    own = {row["id"]: row for row in lines("predictions.csv")}
    found, out = ran(itae_, *words, "dataset.limit=60", "task.gallery={limit: 120}")  # every other of the 120
    assert (alone["queries"]["known"], found["queries"]["known"]) == (0, 60)
    assert "The bytes of 60 of 60 images are in the gallery" in out
    for row in lines("predictions.csv"):
        assert row.pop("known") == row["id"]
        assert row == {name: own[row["id"]][name] for name in row}


@pytest.mark.slow
def test_a_sweep_of_edits_asks_the_untouched_side_once_and_is_collected(itae_, monkeypatch):
    import itae.tasks.knn.answers as module

    asked_of, search = [], module.neighbours_of_queries
    monkeypatch.setattr(module, "neighbours_of_queries", lambda *args: asked_of.append(1) or search(*args))
    words = [word for word in SMALL if not word.startswith("hydra")]
    status, out, err = itae_("-m", *words, "attenuator.strength=0,1", "hydra.sweep.dir=jobs")
    assert status == 0, out + err
    assert len(asked_of) == 2, "the untouched side and one edit; strength 0 is the untouched side"
    found = [result(f"jobs/{i}") for i in range(2)]
    assert len({json.dumps(one["baseline"]) for one in found}) == 1
    assert all(change["mean"] == 0 for change in found[0]["delta"].values())
    status, out, err = itae_("collect", "jobs", "--metric", "top_1")
    assert status == 0, out + err
    assert "top-1 accuracy" in out or "top_1" in out
    table = lines("results.csv", "jobs")
    assert [float(row["edited.top_1.mean"]) for row in table] == [one["edited"]["top_1"]["mean"] for one in found]


@pytest.mark.slow
@pytest.mark.figures
def test_the_page_of_a_run_shows_its_tables_and_figures(itae_):
    words = [word for word in SMALL if word != "runtime.report=false"]
    ran(itae_, *words)
    page = Path("run/report.html").read_text()
    titles = ("Top-1 accuracy by voter and k", "Recall by class", "Answers that the edit turned", "balanced accuracy")
    for text in (*titles, "all from one search for neighbours", "told to be"):
        assert text in page, text
