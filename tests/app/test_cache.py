"""``itae cache``: what it tells, what it removes, and what it must leave alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from itae.app.cache import describe, main
from itae.store.store import Key, Store

EDIT = {
    "method": 1,
    "layers": [10, 11],
    "attenuator": {"class": "itae.attenuate.Scale", "strength": 1, "queries": "all"},
    "detector": {"class": "itae.detect.VectorNorm", "rule": "mad", "k": 3.5, "source": "ab" * 32},
}
WORDS = "VectorNorm(k=3.5, rule=mad) Scale(queries=all, strength=1) layers=10,11"


def key(edit=None, limit=None) -> Key:
    return Key({"model": "vit", "edit": edit}, {"split": "all", "limit": limit}, ("digits-all", "dinov2_s14"))


def make(store: Store, wanted: Key, age_days: float = 0, n: int = 1000, publish: bool = True):
    with store.claim([wanted]):
        work = store.draft(wanted, n, 500)
        for i in range(work.shards if publish else 1):
            work.write(i, {"vectors": np.ones((500, 250), np.float32)}, {})
        path = work.publish([str(i) for i in range(n)], None, [bytes(32)] * n, {}).path if publish else work.path
    os.utime(path, (time.time() - 86400 * age_days,) * 2)
    return path


@pytest.fixture
def store(tmp_path):
    """Three entries of 1 MB, aged 30, 20 and 10 days, and an unfinished one of today."""
    store = Store(tmp_path / "cache")
    for age, limit in ((30, 3), (20, 2), (10, 1)):
        make(store, key(limit=limit), age)
    make(store, key(EDIT), publish=False)
    return store


@pytest.fixture
def cache(store, capsys):
    def run(*argv: object) -> tuple[int, str]:
        code = main(list(map(str, argv)), store.root)
        out, err = capsys.readouterr()
        return code, out + err

    return run


def names(store: Store) -> set[str]:
    return {item.name for item in store.survey()}


def age(store: Store, limit: int):
    return store.path(key(limit=limit))


def test_ls_lists_entries_and_what_is_not_one(store, cache):
    make(store, key(EDIT | {"layers": [3]}), 0.5)
    (age(store, 2) / "ids.txt").write_text("x")
    (age(store, 3) / "labels.npy").unlink()
    assert store.load(key(limit=3)) is None  # sets it aside
    code, out = cache("ls")
    rows = {line.split()[0]: line.rstrip() for line in out.splitlines() if line.strip()}
    assert code == 0
    assert "baseline" in rows[key(limit=1).name]
    assert "1000 x 250" in rows[key(limit=1).name]
    assert "1.0 MB" in rows[key(limit=1).name]
    assert "10 days ago" in rows[key(limit=1).name]
    assert rows[key(limit=1).name].endswith("whole")
    assert "digits-all  dinov2_s14" in rows[key(limit=1).name]
    assert "damaged: ids.txt has 1 bytes" in rows[key(limit=2).name]
    assert "damaged: set aside" in rows[key(limit=3).name]
    assert "unfinished, 1 shards" in rows[key(EDIT).name]
    assert WORDS.replace("10,11", "3") in rows[key(EDIT | {"layers": [3]}).name]
    assert "12 h ago" in rows[key(EDIT | {"layers": [3]}).name]
    assert "5 in" in out


def test_an_edit_in_a_few_words():
    assert describe(None) == "baseline"
    assert describe(EDIT) == WORDS
    assert describe(dict(sorted(EDIT.items()))) == WORDS
    assert describe("anything") == "anything"
    assert describe({"detector": None, "strength": 1 / 3}) == "detector=None strength=0.3333"


def test_an_empty_or_absent_cache_is_no_mistake(tmp_path, capsys):
    for command in (["ls"], ["verify"], ["prune", "--damaged", "--max-gb", "0"]):
        assert main(command, tmp_path / "none") == 0
    assert "Nothing in" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_verify_reads_every_byte_and_names_what_is_damaged(store, cache):
    assert cache("verify") == (0, f"3 whole, 0 damaged in {store.root}\n")
    vectors = age(store, 2) / "vectors.npy"
    data = bytearray(vectors.read_bytes())
    data[500_000] ^= 1
    vectors.write_bytes(data)
    assert "whole" in cache("ls")[1]  # a listing is quick and does not read it
    for _ in range(2):  # it only looks: the answer stays
        code, out = cache("verify")
        assert code == 1
        assert f"damaged: {age(store, 2)}: vectors.npy has other bytes" in out
        assert "2 whole, 1 damaged" in out
    assert store.load(key(limit=2)) is None
    code, out = cache("verify")
    assert code == 0
    assert "2 whole, 0 damaged and 1 set aside earlier" in out


def test_verify_wants_an_entry_under_its_own_name(store, cache):
    os.rename(age(store, 1), age(store, 1).with_name("0" * 16))
    code, out = cache("verify")
    assert code == 1
    assert f"belongs to the entry {key(limit=1).name}" in out


def test_prune_removes_the_least_recently_used_until_it_fits(store, cache):
    assert store.load(key(limit=3)) is not None  # the oldest, but used just now
    code, out = cache("prune", "--max-gb", "0.0027", "--dry-run")  # 3 entries of 1 MB and half a one
    assert code == 0
    assert "1 would be removed, 1.0 MB" in out
    assert len(names(store)) == 4
    code, out = cache("prune", "--max-gb", "0.0027")
    assert "1 removed, 1.0 MB; 2.6 MB left" in out
    assert key(limit=2).name in out
    assert names(store) == {key(limit=1).name, key(limit=3).name, key(EDIT).name}
    code, out = cache("prune", "--max-gb", 0)
    assert "2 removed" in out
    assert "still larger" in out
    assert names(store) == {key(EDIT).name}


def test_prune_by_age(store, cache):
    cache("prune", "--older-than", 15)
    assert names(store) == {key(limit=1).name, key(EDIT).name}
    cache("prune", "--older-than", 15)
    assert names(store) == {key(limit=1).name, key(EDIT).name}


def test_prune_what_is_unfinished_or_damaged(store, cache):
    (age(store, 1) / "ids.txt").write_text("x")
    data = (age(store, 2) / "vectors.npy").read_bytes()
    (age(store, 2) / "vectors.npy").write_bytes(data[:-1] + b"x")  # only reading it shows
    (age(store, 3) / "ids.txt").write_text("x")
    assert store.load(key(limit=3)) is None
    cache("prune", "--unfinished")
    assert names(store) == {key(limit=i).name for i in (1, 2, 3)}
    assert "3 would be removed" in cache("prune", "--damaged", "--dry-run")[1]
    cache("prune", "--damaged")
    assert names(store) == set()


def test_prune_leaves_what_a_running_process_holds(store, cache):
    with store.claim([key(EDIT)]), store._hold([age(store, 3)], wait=False):
        for dry in ((), ("--dry-run",)):
            code, out = cache("prune", "--unfinished", "--max-gb", 0, *dry)
            assert code == 0
            assert out.count("kept, a running process holds it") == 2
    assert names(store) == {key(limit=3).name, key(EDIT).name}


def test_prune_clears_what_an_interrupted_prune_left_and_nothing_foreign(store, cache):
    trash = age(store, 1).with_name(".trash-0123456789abcdef-x")
    os.rename(age(store, 1), trash)
    foreign = store.root / "digits-all" / "dinov2_s14" / "notes"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("x")
    cache("prune", "--older-than", 0, "--unfinished", "--damaged", "--max-gb", 0)
    assert names(store) == set()
    assert not trash.exists()
    assert (foreign / "mine.txt").exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["prune"], "needs to know what may go"),
        (["prune", "--max-gb", "-1"], "'-1' is not a number from 0 up"),
        (["prune", "--older-than", "nan"], "'nan' is not a number from 0 up"),
        (["prune", "--max-gb", "x"], "'x' is not a number"),
        (["list"], "invalid choice: 'list'"),
        ([], "required"),
        (["ls", "--cache", __file__], "is a file"),
    ],
)
def test_mistakes_are_told_with_status_2(tmp_path, capsys, argv, told):
    try:
        code = main(argv, tmp_path)
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_ls_is_quick(store):
    code = "import sys, pathlib, itae.app.cache as c; c.main(['ls'], pathlib.Path(sys.argv[1]))"
    call = [sys.executable, "-c", code, str(store.root)]
    start = time.perf_counter()
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 5  # on an idle machine 0.3 s; torch alone would take seconds
    assert key(limit=1).name in done.stdout
