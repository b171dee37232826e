"""What people who look after a collection ask for: suspects, duplicates, outliers; each held against loops."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
from by_hand import base, slow_cosine, slow_nearest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import itae.knowledge.curate.duplicates as module
import itae.knowledge.curate.outliers
import itae.knowledge.curate.regions
from itae.base.errors import UserError
from itae.knowledge.curate.duplicates import duplicates
from itae.knowledge.curate.outliers import outliers
from itae.knowledge.curate.suspects import suspects


def sha(word):
    return hashlib.sha256(str(word).encode()).digest()


def some_base(draw, n, wide=3):
    kinds = draw.normal(size=(max(1, n // 3), wide))
    vectors = kinds[draw.integers(0, len(kinds), n)] + draw.choice([0, 1e-3, 0.05], (n, 1)) * draw.normal(
        size=(n, wide)
    )
    at = draw.integers(0, max(1, n // 2), n)  # the same bytes have the same vector
    same = draw.random(n) < 0.4
    vectors[same] = kinds[at % len(kinds)][same]
    words = ["a", "b", None, ("a", "b"), "c"]
    return base(
        vectors,
        [words[i] for i in draw.integers(0, len(words), n)],
        ids=draw.permutation([f"{i:03d}" for i in range(n)]),
        digests=[sha(at[i]) if same[i] else bytes(32) if draw.random() < 0.2 else sha(f"own {i}") for i in range(n)],
        dead=np.flatnonzero(draw.random(n) < 0.15),
        groups=[at[i] if same[i] else n + draw.integers(0, n) for i in range(n)],
        sources=[f"s{i}" for i in draw.integers(0, 3, n)],
    )


def slow_groups(snapshot, threshold):
    """Return {ids: similarity of the weakest link that holds them} by raising the threshold until they part."""
    live = snapshot.live.tolist()
    link = {}
    for i in live:
        for j in live:
            same = snapshot.digests_M32[i].tobytes() == snapshot.digests_M32[j].tobytes() != bytes(32)
            similar = slow_cosine(snapshot.vectors_ME[i], snapshot.vectors_ME[j])
            if i != j and (same or (threshold is not None and similar >= threshold)):
                link[i, j] = 1.0 if same else similar

    def parts(rows, least):
        left, found = set(rows), []
        while left:
            part, edge = set(), {left.pop()}
            while edge:
                i = edge.pop()
                part.add(i)
                edge |= {j for j in left if link.get((i, j), -2) >= least}
                left -= edge
            found.append(part)
        return found

    groups = {}
    for part in parts(live, -1):
        if len(part) > 1:
            levels = sorted({link[i, j] for i in part for j in part if (i, j) in link}, reverse=True)
            holds = next(level for level in levels if len(parts(part, level)) == 1)
            groups[tuple(sorted(snapshot.ids[i] for i in part))] = holds
    return groups


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from([None, 0.9, 0.9999]), st.sampled_from([2, 7, 512]))
def test_duplicates_are_the_slow_ones(monkeypatch, seed, n, threshold, step):
    monkeypatch.setattr(module, "_ROWS", step)
    monkeypatch.setattr(module, "_COLUMNS", 2 * step)
    monkeypatch.setattr(module, "_LINKS", step)
    snapshot = some_base(np.random.default_rng(seed), n)
    found = duplicates(snapshot, threshold)
    assert {tuple(snapshot.ids[i] for i in g.positions): g.similarity for g in found} == slow_groups(
        snapshot, threshold
    )
    for group in found:
        labels = [set(snapshot.labels_of(i)) for i in group.positions if snapshot.labels_of(i)]
        assert group.labels_differ is any(not a & b for a in labels for b in labels)
        digests = {snapshot.digests_M32[i].tobytes() for i in group.positions}
        assert group.same_bytes is (len(digests) == 1 and bytes(32) not in digests)
        assert min(group.nearest) >= group.similarity
    order = [(not group.labels_differ, -group.similarity) for group in found]
    assert order == sorted(order)


def test_a_chain_of_near_ones_is_one_group_with_its_weakest_link():
    angles = np.radians([0, 5, 11, 12, 90])
    snapshot = base(np.stack([np.cos(angles), np.sin(angles)], axis=1), ["a", "a", "b", "b", "c"])
    (group,) = duplicates(snapshot, round(float(np.cos(np.radians(6))), 6))
    assert group.positions == (0, 1, 2, 3)
    assert group.similarity == pytest.approx(np.cos(np.radians(6)), abs=1e-6)
    assert group.nearest == pytest.approx(np.cos(np.radians([5, 5, 1, 1])), abs=1e-6)
    assert group.labels_differ
    assert not group.same_bytes
    assert [row["id"] for row in group.plain(snapshot)["rows"]] == ["row0000", "row0001", "row0002", "row0003"]
    assert [one.positions for one in duplicates(snapshot, 0.9998)] == [(2, 3)], "above, it falls apart"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from([3, 100]))
def test_outliers_are_the_slow_ones(monkeypatch, seed, n, step):
    monkeypatch.setattr(itae.knowledge.curate.outliers, "_ROWS", step)
    snapshot = some_base(np.random.default_rng(seed), n)

    def slow(rows, label):
        for i in rows:
            others = [j for j in rows if snapshot.groups_M[j] != snapshot.groups_M[i]]
            for near, similar in slow_nearest(snapshot, snapshot.vectors_ME[i], 1, others):
                yield -round(1 - similar, 6), snapshot.ids[i], label, near

    over_all, in_class = outliers(snapshot, 5)
    live = snapshot.live.tolist()
    want = sorted(slow(live, ""))[:5]
    assert [(-o.distance, snapshot.ids[o.position], o.label or "", o.nearest) for o in over_all] == want
    want = sorted(one for label in "abc" for one in slow([i for i in live if label in snapshot.labels_of(i)], label))[
        :5
    ]
    assert [(-o.distance, snapshot.ids[o.position], o.label, o.nearest) for o in in_class] == want


def slow_regions(snapshot, k=7, steps=40, temperature=0.07):
    """Return b / (b + own) of each row that votes, and how many hang together, by loops; see `regions`."""
    rows, vectors = snapshot.voters.tolist(), snapshot.vectors_ME
    labels = {i: snapshot.labels_of(i) for i in rows}
    joint = {}
    for i in rows:
        others = [j for j in rows if snapshot.groups_M[j] != snapshot.groups_M[i]]
        for j, s in slow_nearest(snapshot, vectors[i], k, others):
            joint[i, j] = joint[j, i] = np.exp(s / temperature)
    beside = {i: [j for j in rows if (i, j) in joint] for i in rows}
    total = {i: sum(joint[i, j] for j in beside[i]) for i in rows}
    joint = {(i, j): weight / np.sqrt(total[i] * total[j]) for (i, j), weight in joint.items()}
    reached = {i: {} for i in rows}
    for name in snapshot.label_names:
        part = {i: (name in labels[i]) / len(labels[i]) for i in rows}
        start = {i: part[i] / np.sqrt(sum(part.values()) or 1) for i in rows}
        found, here = dict.fromkeys(rows, 0.0), start
        for _ in range(steps):
            here = {i: sum(joint[i, j] * here[j] for j in beside[i]) for i in rows}
            found = {i: found[i] + here[i] for i in rows}
        for i in rows:
            reached[i][name] = max(0, found[i] - start[i] * sum(joint[i, j] ** 2 for j in beside[i]))
    told = {}
    for i in rows:
        own = max(reached[i][name] for name in labels[i])
        b = max([0, *(value for name, value in reached[i].items() if name not in labels[i])])
        part, edge = set(), {i}
        while edge:
            part |= edge
            edge = {j for one in edge for j in beside[one] if set(labels[one]) & set(labels[j])} - part
        told[i] = (b / (b + own) if b else 0, len(part))
    return told


def slow_suspicion(snapshot, threshold, k=50, temperature=0.07):
    """Return the five reasons of each row by loops, as the module's docstring has them."""
    rows = snapshot.voters.tolist()
    labels = {i: set(snapshot.labels_of(i)) for i in rows}
    source = {i: snapshot.column("source", i) for i in rows}
    right, wrong = dict.fromkeys(rows, 0.0), dict.fromkeys(rows, 0.0)
    disagreement, twins, against, agree = {}, {}, dict.fromkeys(rows, 0.0), dict.fromkeys(rows, 0.0)
    for i in rows:
        others = [j for j in rows if snapshot.groups_M[j] != snapshot.groups_M[i]]
        near = slow_nearest(snapshot, snapshot.vectors_ME[i], k, others)
        voices = [np.exp(s / temperature) for _, s in near]
        disagreement[i] = 0.0
        for (j, _), voice in zip(near, voices, strict=True):
            share, part = voice / sum(voices), 1 - len(labels[i] & labels[j]) / len(labels[j])
            disagreement[i] += share * part
            wrong[j] += share * part
            right[j] += share * (1 - part)
            if source[i] != source[j]:
                against[i] += share * part
                agree[i] += share * (1 - part)
        mine = snapshot.digests_M32[i].tobytes()
        same = [j for j in rows if j != i and snapshot.digests_M32[j].tobytes() == mine != bytes(32)]
        same += [j for j, s in near if s >= threshold]
        twins[i] = sum(not labels[i] & labels[j] for j in same) / (1 + len(same))
    blame = {i: wrong[i] / (wrong[i] + right[i] + 1 / k) for i in rows}
    whole = {s: [i for i in rows if source[i] == s] for s in source.values()}
    by_source = {s: max(0, np.mean([against[i] - agree[i] for i in some])) for s, some in whole.items()}
    region = slow_regions(snapshot)
    return {i: (region[i][0], disagreement[i], blame[i], by_source[source[i]], twins[i]) for i in rows}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from([3, 100]))
def test_suspicion_is_the_slow_one(monkeypatch, seed, n, step):
    monkeypatch.setattr(itae.knowledge.curate.outliers, "_ROWS", step)
    snapshot = some_base(np.random.default_rng(seed), n)
    monkeypatch.setattr(itae.knowledge.curate.regions, "_LABELS", step - 2)
    found, want = suspects(snapshot, None, 0.999), slow_suspicion(snapshot, 0.999)
    assert {one.position for one in found} == want.keys()
    for one in found:
        assert tuple(one.reasons.values()) == pytest.approx(want[one.position], abs=1e-9)
        region, _, blame, source, twins = want[one.position]
        right = (1 - region) * (1 - region * blame) * (1 - region * twins) * (1 - source)
        assert one.score == pytest.approx(1 - right, abs=1e-9)
        assert (one.suggested is None) or one.suggested not in snapshot.labels_of(one.position)
    scores = [round(one.score, 9) for one in found]
    assert scores == sorted(scores, reverse=True)


@functools.cache
def digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def corrupted(kind, share, seed=0):
    """Return a base of digits' pixels of which some labels are wrong, and which."""
    pixels, truth = digits()
    draw, n = np.random.default_rng(seed), len(truth)
    labels, wrong, sources = truth.copy(), int(share * n), draw.integers(0, 4, n)
    if kind == "source":
        bad = np.flatnonzero(sources == 2)[:wrong]
        sources[(sources == 2) & ~np.isin(np.arange(n), bad)] = 3
        labels[bad] = np.roll(np.arange(10), 3)[truth[bad]]
    elif kind == "cluster":
        unit = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
        while (labels != truth).sum() < wrong:
            near = np.argsort(-(unit @ unit[draw.integers(n)]))[:30]
            labels[near] = (truth[near[0]] + draw.integers(1, 10)) % 10
    else:
        bad = draw.choice(n, wrong, replace=False)
        labels[bad] = (truth[bad] + (1 if kind == "pair" else draw.integers(1, 10, wrong))) % 10
    return base(pixels, [str(one) for one in labels], sources=[f"s{i}" for i in sources]), labels != truth


@pytest.mark.parametrize(
    ("kind", "share", "least"),
    [
        ("uniform", 0.2, 0.97),
        ("pair", 0.1, 0.94),
        ("source", 0.2, 0.97),
        *(("cluster", share, 0.8) for share in (0.1, 0.2, 0.4)),
    ],
)
def test_wrong_labels_of_digits_come_first(kind, share, least):
    """As many suspects as there are wrong rows: how many of them are wrong. Errors that lie together are hard."""
    snapshot, wrong = corrupted(kind, share)
    found = suspects(snapshot, int(wrong.sum()))
    right = np.mean([wrong[one.position] for one in found])
    assert right >= least
    truth = digits()[1]
    named = np.mean([one.suggested == str(truth[one.position]) for one in found if wrong[one.position]])
    assert named > 0.9
    if kind == "source":
        told = [one for one in found if any("source 's2'" in said for said in one.says)]
        assert len(told) > 0.97 * len(found)
        assert told[0].plain(snapshot)["source"] == "s2"


def pocket(n=400, size=40, seed=0):
    """Return a base of two clouds, 'a' and 'b', with `size` rows of 'a' that lie together and have label 'b'."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(n, 8)) + np.where(np.arange(n) < n // 2, 6, -6)[:, None] * np.eye(8)[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.argsort(-(unit @ unit[3]))[:size]
    labels = np.where(np.arange(n) < n // 2, "a", "b")
    labels[bad] = "b"
    return base(vectors, labels.tolist()), bad


def test_a_planted_pocket_is_found_and_told():
    snapshot, bad = pocket()
    found = suspects(snapshot, len(bad))
    assert {one.position for one in found} == set(bad.tolist())
    assert {one.suggested for one in found} == {"a"}
    assert {one.says[0] for one in found} == {"40 rows with label 'b' lie together in a region of 'a'"}
    by_disagreement = sorted(suspects(snapshot, None), key=lambda one: -one.reasons["disagreement"])
    others = {one.position for one in by_disagreement[: len(bad)]} - set(bad.tolist())
    assert len(others) >= len(bad) // 4, "those around it are contradicted as much"


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_suspects_know_no_label_that_no_row_has(seed):
    """Names without a row, rows that are deleted and the order of names change nothing."""
    draw = np.random.default_rng(seed)
    vectors, words = draw.normal(size=(40, 3)), draw.choice(["a", "b", "c"], 40).tolist()
    want = [one.plain(snapshot) for snapshot in [base(vectors, words)] for one in suspects(snapshot, None)]
    words[7:7], more = ["d"], np.insert(vectors, 7, vectors[3], axis=0)
    ids = [f"row{i - (i > 7):04d}" if i != 7 else "dead" for i in range(41)]
    snapshot = base(more, words, ids, order=["x", "d", "c", "a", "b"], dead=[7])
    for one, other in zip(suspects(snapshot, None), want, strict=True):
        told = one.plain(snapshot)
        assert (told["id"], told["suggested"]) == (other["id"], other["suggested"])
        assert told["score"] == pytest.approx(other["score"], abs=1e-12)


def test_how_many_hang_together_is_the_slow_count():
    for seed in range(5):
        snapshot = some_base(np.random.default_rng(seed), 30)
        want = slow_regions(snapshot)
        for one in suspects(snapshot, None):
            told = [said for said in one.says if "lie together" in said or "lies alone" in said]
            count = want[one.position][1]
            assert all(said.startswith(f"{count} rows" if count > 1 else "it lies alone") for said in told)


def test_each_reason_is_told():
    same = sha("same")
    angles = np.radians([0, 0, 1, 2, 3, 60, 61, 62, 63])
    snapshot = base(
        np.stack([np.cos(angles), np.sin(angles)], axis=1),
        ["b", "a", "a", "a", "a", "b", "b", "b", "b"],
        digests=[same, same, *map(sha, range(7))],
        groups=[0, 0, *range(1, 8)],
        ids=["wrong", *(f"r{i}" for i in range(8))],
    )
    first = suspects(snapshot, 1)[0]
    assert first.position == 0
    assert first.suggested == "a"
    assert any("'r0' is the same picture or nearly, and is labelled 'a'" in said for said in first.says)
    assert any("of its neighbours' vote is for other labels, most for 'a'" in said for said in first.says)
    assert any("of its own voice in the votes on" in said for said in first.says)
    assert first.reasons["source"] == 0, "there is one source"
    assert first.plain(snapshot).keys() == {"id", "labels", "source", "score", "reasons", "says", "suggested"}


def test_empty_and_tiny_bases_have_none():
    for snapshot in (base(np.zeros((0, 2)), []), base(np.eye(2)[:1], ["a"])):
        assert duplicates(snapshot) == []
        assert outliers(snapshot) == ([], [])
        assert all(one.score == 0 for one in suspects(snapshot))


@pytest.mark.parametrize("threshold", [2, "x", float("nan")])
def test_a_wrong_threshold_is_told(threshold):
    for work in (duplicates, lambda snapshot, t: suspects(snapshot, 1, t)):
        with pytest.raises(UserError, match="--threshold"):
            work(base(np.eye(2), ["a", "b"]), threshold)
