"""A version whose vectors stay on the disk is the version, and is verified as that."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from bases import STORES, base, content, made, step

from itae.base.errors import UserError
from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.vote import Rank
from itae.knowledge.disk.vector_file import VectorFile
from itae.knowledge.near.index import open_index, use_index

pytest.importorskip("lance")


@pytest.mark.parametrize("store", STORES)
def test_every_version_is_what_it_is_in_memory(store, tmp_path):
    kb = base(store, tmp_path)
    assert len(kb.snapshot_beside(tmp_path / "beside")) == 0
    kb.commit(kb.add(made([f"x{i}" for i in range(30)])))
    for _ in range(12):
        step(kb)
        whole, beside = kb.snapshot(), kb.snapshot_beside(tmp_path / "beside")
        assert (beside.version, beside.root) == (whole.version, whole.root)
        assert content(beside) == content(whole)
        if len(whole):
            assert isinstance(beside.vectors_ME, VectorFile)
            assert [path.name for path in (tmp_path / "beside").iterdir()] == [f"{whole.root[:32]}.npy"]


@pytest.mark.parametrize("harm", ["flip", "cut", "another"])
def test_a_file_that_is_not_the_version_s_is_written_anew(tmp_path, harm):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made([f"x{i}" for i in range(30)])))
    expected = content(kb.snapshot_beside(tmp_path / "beside"))
    (file,) = (tmp_path / "beside").iterdir()
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[-7] ^= 1
    file.write_bytes(
        data[:-40] if harm == "cut" else data[:128] + bytes(len(data) - 128) if harm == "another" else data
    )
    assert content(kb.snapshot_beside(tmp_path / "beside")) == expected


def test_a_damaged_base_is_told_here_too(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made([f"x{i}" for i in range(30)])))
    (data,) = (tmp_path / "kb/rows.lance/data").iterdir()
    harmed = bytearray(data.read_bytes())
    harmed[len(harmed) // 2] ^= 255
    data.write_bytes(harmed)
    with pytest.raises(UserError, match="is damaged"):
        kb.snapshot_beside(tmp_path / "beside")


def test_its_answers_are_those_of_the_version(tmp_path):
    kb = base("lance", tmp_path)
    kb.commit(kb.add(made([f"{label}/{i}" for label in ("cat", "dog") for i in range(40)])))
    kb.commit(kb.delete(ids=["cat/3"]))
    whole, beside = kb.snapshot(), kb.snapshot_beside(tmp_path / "beside")
    use_index(beside, open_index(beside, tmp_path / "indexes", "IVF2,Flat"))
    queries = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    digests = [hashlib.sha256(b"%d" % i).digest() for i in range(5)]
    here = [classify(one, queries, digests, Rank(5)) for one in (whole, beside)]
    for a, b in zip(*here, strict=True):
        assert (a.label, a.scores, a.neighbours, a.p) == (b.label, b.scores, b.neighbours, b.p)
