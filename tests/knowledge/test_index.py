"""Past memory: an index gives candidates, what is found is told exactly, and what it misses has been measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from by_hand import base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import itae.knowledge.near.faiss_index as of_faiss
import itae.knowledge.near.index as module
from itae.base.errors import UserError
from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.vote import Rank
from itae.knowledge.disk.vector_file import VectorFile, on_disk
from itae.knowledge.near.index import open_index, recall, use_index, why_not
from itae.knowledge.near.lance_index import TYPES
from itae.knowledge.near.neighbours import MISSING, Excluded, nearest
from itae.knowledge.records.sealed import sealed, unsealed


def blobs(n=1500, width=16, dead=()):
    draw = np.random.default_rng(5)
    centres, at = draw.normal(size=(30, width)), draw.integers(0, 30, n)
    return base(centres[at] + 0.5 * draw.normal(size=(n, width)), [f"{one % 7}" for one in at], dead=dead)


@pytest.fixture(scope="module")
def snapshot():
    return blobs(dead=[3, 4, 700])


def there(index, snapshot):
    return json.loads((next(index.iterdir()) / "index.json").read_text())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 19), max_size=30), st.integers(0, 25), st.integers(0, 25))
def test_a_file_of_vectors_reads_as_an_array_does(tmp_path, rows, start, stop):
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    file = VectorFile(tmp_path / "v.npy")
    assert (len(file), file.shape, file.dtype) == (20, (20, 3), np.float32)
    np.testing.assert_array_equal(file[np.array(rows, np.int64)], vectors[np.array(rows, np.int64)])
    np.testing.assert_array_equal(file[start:stop], vectors[start:stop])
    np.testing.assert_array_equal(file[np.array([[1, 2], [2, 0]])], vectors[[[1, 2], [2, 0]]])


def test_exact_search_of_vectors_on_the_disk_is_that_of_memory(snapshot, tmp_path, monkeypatch):
    np.save(tmp_path / "v.npy", snapshot.vectors_ME)
    other = on_disk(snapshot, VectorFile(tmp_path / "v.npy"))
    queries = np.random.default_rng(1).normal(size=(40, 16))
    monkeypatch.setattr("itae.knowledge.near.neighbours._FLOATS", 1000)
    groups = Excluded(snapshot.groups_M, np.arange(40))
    for some in (queries, queries[:3]):
        codes = Excluded(groups.codes_M, groups.codes_Q[: len(some)])
        for one, two in zip(
            nearest(other, some, 7, excluded=codes), nearest(snapshot, some, 7, excluded=codes), strict=True
        ):
            assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("factory", "search", "parts", "least"),
    [
        ("Flat", None, False, 1),
        ("IVF16,Flat", "nprobe=16", False, 1),
        ("IVF16,Flat", "nprobe=16", True, 1),
        ("IVF16,Flat", None, True, 0.8),
        ("IVF16,PQ8x4", None, False, 0.8),
        ("PCA12,IVF16,SQ8", "nprobe=16", True, 0.8),
        ("SQ8", None, False, 0.99),
        ("HNSW16", None, False, 0.8),
        ("lance:IVF_FLAT", None, False, 1),
        ("lance:IVF_SQ", None, False, 0.99),
        ("lance:IVF_PQ", "nprobes=4", False, 0.8),
        ("lance:IVF_HNSW_SQ", None, False, 0.8),
        ("lance:IVF_HNSW_PQ", None, False, 0.8),
    ],
)
def test_what_is_found_is_exact_and_what_is_missed_is_measured(
    snapshot, tmp_path, monkeypatch, factory, search, parts, least
):
    if parts:
        monkeypatch.setattr(of_faiss, "_CODES", 2**10)
        monkeypatch.setattr(of_faiss, "ROWS", 200)
    queries = np.random.default_rng(1).normal(size=(30, 16))
    want, similar = nearest(snapshot, queries, 10, index=None)
    index = open_index(snapshot, tmp_path / "index", factory, search)
    assert (next((tmp_path / "index").iterdir()) / "lists.ivfdata").exists() is parts
    assert index.about["recall"]["recall"] == recall(snapshot, index)["recall"] >= least
    found, told = nearest(snapshot, queries, 10, index=index)
    same = [len(set(a) & set(b)) / 10 for a, b in zip(found, want, strict=True)]
    assert np.mean(same) >= least
    assert (found != MISSING).all()
    assert not {3, 4, 700} & set(found.ravel().tolist()), "the dead"
    exact = {(q, i): s for q in range(30) for i, s in zip(want[q].tolist(), similar[q].tolist(), strict=True)}
    for q in range(30):
        assert all(exact.get((q, i), s) == s for i, s in zip(found[q].tolist(), told[q].tolist(), strict=True))
        assert (np.diff(told[q]) <= 0).all()
    if least == 1:
        np.testing.assert_array_equal(found, want)


def test_what_the_library_prints_is_no_output(snapshot, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(of_faiss, "_CODES", 2**10)
    monkeypatch.setattr(of_faiss, "ROWS", 200)
    open_index(snapshot, tmp_path / "index", "IVF8,Flat")
    out, err = capfd.readouterr()
    assert not out
    assert "resizing" in err


class Blind:
    """An index that finds the same few rows for every query, or none."""

    note = "blind"

    def __init__(self, *rows):
        self.rows = rows

    def candidates(self, queries, count):
        return np.tile(np.array([*self.rows, *[MISSING] * (count - len(self.rows))]), (len(queries), 1))


@pytest.mark.parametrize("index", [Blind(), Blind(5), Blind(3, 4), Blind(3, 4, 700)])
def test_where_an_index_finds_too_little_all_rows_are_looked_at(snapshot, tmp_path, index):
    np.save(tmp_path / "v.npy", snapshot.vectors_ME)
    file = on_disk(snapshot, VectorFile(tmp_path / "v.npy"))
    queries, codes = np.random.default_rng(1).normal(size=(20, 16)), np.arange(20)
    for rows in (None, np.array([5, 9, 11]), np.array([], np.int64)):
        groups = Excluded(snapshot.groups_M, codes)
        a = nearest(file, queries, 3, rows, groups, index=index)
        b = nearest(snapshot, queries, 3, rows, groups, index=None)
        assert all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("factory", ["IVF8,Flat", "lance:IVF_FLAT"])
def test_an_index_is_found_again_and_made_anew_where_it_does_not_fit(snapshot, tmp_path, monkeypatch, factory):
    folder, made = tmp_path / "index", []
    build = module.build
    monkeypatch.setattr(module, "build", lambda *args: (made.append(1), build(*args)))
    open_index(snapshot, folder, factory)
    open_index(snapshot, folder, factory)
    assert len(made) == 1
    (place,) = folder.iterdir()
    assert why_not(snapshot, place) is None

    for name in json.loads((place / "index.json").read_text())["files"]:
        whole = (place / name).read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            flipped = bytearray(whole)
            flipped[at] ^= 1
            (place / name).write_bytes(flipped)
            assert f"damaged ({name})" in why_not(snapshot, place)
        (place / name).write_bytes(whole)
    (place / name).write_bytes(flipped)
    open_index(snapshot, folder, factory)
    assert len(made) == 2

    backwards = base(snapshot.vectors_ME[::-1], ["a"] * 1500, ids=snapshot.ids[::-1])
    object.__setattr__(backwards, "root", snapshot.root)
    assert why_not(backwards, place) == "has the rows in another order"
    whole_about = (place / "index.json").read_bytes()
    about = unsealed(whole_about, "")[0]
    (place / "index.json").write_bytes(sealed(about | {"made_by": "FAISS 1.0"})[0])
    assert "another version of itae or of its library" in why_not(snapshot, place)
    for damage in (b"{", b"[]", b"null", whole_about[:-1], whole_about.replace(b"recall", b"recoil", 1)):
        (place / "index.json").write_bytes(damage)
        assert why_not(snapshot, place) == "is damaged (index.json is not as it was written)"
    (place / "index.json").unlink()
    assert why_not(snapshot, place) == "isn't there"

    later = blobs(dead=[3, 4, 700, 701])
    (place / "index.json").write_bytes(whole_about)
    assert why_not(later, place) == "is of another version of the base"
    index = open_index(later, folder, factory)
    assert 701 not in index.rows
    assert place not in list(folder.iterdir()), "those of other versions go"
    assert len(list(folder.iterdir())) == 1


def test_every_answer_says_that_it_is_of_an_index(tmp_path):
    snapshot = blobs(300)
    queries = np.random.default_rng(1).normal(size=(3, 16))
    exact = classify(snapshot, queries, voter=Rank(5))
    assert not exact[0].notes
    use_index(snapshot, open_index(snapshot, tmp_path, "Flat"))
    (note,) = classify(snapshot, queries, voter=Rank(5))[0].notes
    assert note == (
        "found by the index Flat (all of it), which has 100.0% of the 20 nearest that exact search finds, "
        "seen on 100 rows"
    )
    assert [answer.scores for answer in classify(snapshot, queries, voter=Rank(5))] == [one.scores for one in exact]


@pytest.mark.parametrize(
    ("factory", "search", "told"),
    [
        (
            "Nonsense",
            None,
            r"index='Nonsense' is no index that FAISS makes of 16 numbers a row \(could not parse index string Non",
        ),
        ("IVF16,PQ5", None, "PQ5"),
        ("IVF100000,Flat", None, r"can't be made of 1497 rows"),
        ("IVF16,Flat", "nprob=2", "'nprob=2' is no search of this index"),
        ("IVF16,Flat", "nonsense", "'nonsense' is no search of this index"),
        ("lance:IVF", None, r"knowledge\.index='lance:IVF' is no index .* lance:IVF_FLAT, .*, lance:IVF_HNSW_PQ\.$"),
        ("lance:IVF_FLAT", "nprobe=2", "'nprobe=2' is no search of this index; one is nprobes=32"),
        ("lance:IVF_FLAT", "nprobes=0", "'nprobes=0' is no search of this index"),
        ("lance:IVF_FLAT", "nprobes", "'nprobes' is no search of this index"),
    ],
)
def test_mistakes_are_told(snapshot, tmp_path, factory, search, told):
    with pytest.raises(UserError, match=told):
        open_index(snapshot, tmp_path / "index", factory, search)
    assert not any((tmp_path / "index").iterdir()), "nothing is left"


@pytest.mark.parametrize("of_codes", [one for one in TYPES if one.endswith("PQ")])
def test_too_few_rows_for_codes_are_told(tmp_path, of_codes):
    with pytest.raises(UserError, match=rf"'lance:{of_codes}' can't be made of 255 rows .*take lance:IVF_FLAT"):
        open_index(blobs(255), tmp_path, f"lance:{of_codes}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", TYPES)
def test_lance_indexes_few_rows_and_rows_of_any_width(tmp_path, kind):
    few = 256 if kind.endswith("PQ") else 1
    snapshot = blobs(few, width=7)
    index = open_index(snapshot, tmp_path, f"lance:{kind}")
    assert index.about["search"] == "nprobes=1"
    near, _ = nearest(snapshot, snapshot.vectors_ME[:1], 1, index=index)
    assert near.tolist() == [[0]]


def test_lance_has_its_rows_from_the_disk_in_parts(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr("itae.knowledge.near.index_kind.ROWS", 200)
    np.save(tmp_path / "v.npy", snapshot.vectors_ME)
    beside = on_disk(snapshot, VectorFile(tmp_path / "v.npy"))
    index = open_index(beside, tmp_path / "index", "lance:IVF_FLAT")
    queries = np.random.default_rng(1).normal(size=(30, 16))
    pairs = zip(nearest(beside, queries, 10, index=index), nearest(snapshot, queries, 10, index=None), strict=True)
    assert all(one.tobytes() == two.tobytes() for one, two in pairs)
