"""Clusters named by words: known names, and the embedded tower, which names each digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itae
from itae.base.errors import UserError
from itae.tasks.clustering.words import checked_words, name_clusters, on_page, told_words, vocabulary

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def slowly(vectors, clusters, words, texts):
    """The best word of each cluster, one cosine at a time."""
    unit = [v / np.linalg.norm(v) for v in vectors.astype(float)]
    numbers = sorted({int(c) for c in clusters if c >= 0})
    means = [np.mean([u for u, c in zip(unit, clusters, strict=True) if c == number], axis=0) for number in numbers]
    alike = [[float(m @ t) / np.linalg.norm(m) for t in texts] for m in means]
    found = {}
    for number, own in zip(numbers, alike, strict=True):
        worth = [own[i] - np.mean([other[i] for other in alike]) for i in range(len(words))]
        found[number] = max(zip(worth, words, strict=True))
    return found


@settings(max_examples=30)
@given(st.integers(2, 4), st.integers(0, 2**31))
def test_words_are_those_of_the_slow_one(k, seed):
    rng = np.random.default_rng(seed)
    vectors, clusters = rng.normal(size=(30, 6)).astype(np.float32), rng.integers(-1, k, 30)
    texts = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4].astype(np.float32)
    words = ("a", "b", "c", "d")
    found, slow = name_clusters(vectors, clusters, words, texts), slowly(vectors, clusters, words, texts)
    assert found.keys() == slow.keys(), "noise has no name"
    for number, named in found.items():
        assert len(named) <= 3
        worths = [worth for _, worth in named]
        assert worths == sorted(worths, reverse=True)
        assert all(worth > 0 for worth in worths)
        if named:
            assert named[0][1] == pytest.approx(slow[number][0], abs=1e-9)


def test_what_all_clusters_have_in_common_names_none():
    """A word that is nearest to every cluster, and more so than their own, sets none apart."""
    clusters = np.repeat([3, 5], 4)
    vectors = (np.eye(3)[clusters // 2] + 4 * np.eye(3)[0]).astype(np.float32)  # axis 0 is the common one
    found = name_clusters(vectors, clusters, ("common", "b", "c"), np.eye(3, dtype=np.float32))
    assert {number: [word for word, _ in named] for number, named in found.items()} == {3: ["b"], 5: ["c"]}
    assert name_clusters(vectors, np.zeros(8, int), ("a", "b", "c"), np.eye(3, dtype=np.float32)) == {0: []}


def test_where_all_is_noise_there_is_nothing_to_name():
    """And nothing is warned of: a mean of nothing would be."""
    vectors, both = np.eye(3, dtype=np.float32), {"baseline": {}, "edited": {}}
    assert name_clusters(vectors, np.full(3, -1), ("a", "b"), vectors[:2]) == {}
    assert told_words(both) == [("words", "of the edited clusters: there are none")]
    assert on_page(both) == {"words": {"before": {}, "after": {}}}


def test_each_side_has_its_own_words():
    names = {"baseline": {"0": [("cat", 0.5), ("dog", 0.2)]}, "edited": {"0": [("red", 0.4)], "1": []}}
    assert told_words(names) == [("words", "of the edited clusters: 0: red, 1: none")]
    assert on_page(names) == {"words": {"before": {"0": ["cat", "dog"]}, "after": {"0": ["red"], "1": []}}}
    assert (told_words({}), on_page({})) == ([], {})


def test_words_come_as_a_list_or_from_a_file(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("cat\n\n  a red car \ncat\n")
    assert vocabulary(str(file)) == ("cat", "a red car")
    file.write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")  # as Windows writes one
    assert vocabulary(str(file)) == ("cat", "dog")
    assert vocabulary(("a", "b")) == ("a", "b")
    assert checked_words(["a", "b", "a"]) == ["a", "b"]
    assert checked_words(None) == checked_words([]) == []
    file.write_text("cat\n")
    with pytest.raises(UserError, match="has a single word"):
        vocabulary(str(file))
    file.write_text("\n")
    with pytest.raises(UserError, match="has no word"):
        vocabulary(str(file))
    file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="can't be read as text"):
        vocabulary(str(file))


def test_the_embedded_tower_names_each_digit(itae_):
    Path("digits.txt").write_text("\n".join(reversed(DIGITS)))
    words = ("backbone=digits_clip", "dataset.limit=300", "clusterer.seeds=1", "tracker=none", "task.words=digits.txt")
    status, out, err = itae_(*words, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    run = itae.load_run("run")
    clusters, labels, named = run.read_assignments().edited, run.edited.labels, run.result["words"]["edited"]
    first = {int(number): told[0][0] for number, told in named.items()}
    assert {DIGITS[np.bincount(labels[clusters == number]).argmax()] for number in first} == set(DIGITS)
    for number, word in first.items():
        assert word == DIGITS[np.bincount(labels[clusters == number]).argmax()]
    assert f"words      of the edited clusters: 0: {first[0]}, 1: {first[1]}" in out
    itae_("report", "run")
    page = Path("run/report.html").read_text()
    assert f'"words":["{first[0]}"' in page.replace('", "', '","').replace(": ", ":")
