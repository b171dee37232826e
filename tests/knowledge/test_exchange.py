"""What is exported and taken back has the same bits."""

from __future__ import annotations

import errno
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from bases import STORES, base, content, made

from itae.base.errors import UserError
from itae.knowledge.exchange.exchange import export, rows_from


@pytest.fixture(params=STORES)
def kb(request, tmp_path):
    pytest.importorskip("lance")
    kb = base(request.param, tmp_path)
    ids = [f"cat/{i}, 'it\" 雪" for i in range(20)]
    labels = [[[], ["cat"], ["cat", 'a,"b"\n']][i % 3] for i in range(20)]
    meta = {"age": [None, *range(19)], "who": ["x", None] * 10, "ok": [True] * 20, "dose": [0.1] * 20}
    kb.commit(kb.add(made(ids, labels, groups=["g", None] * 10, places=[None, "/p"] * 10, metadata=meta)))
    kb.commit(kb.delete(ids=ids[3:5]))
    return kb


def test_parquet_has_all_of_it(kb, tmp_path):
    export(kb.snapshot(), tmp_path / "rows.parquet")
    other = base("memory", tmp_path)
    other.commit(other.add(rows_from(tmp_path / "rows.parquet")))
    assert content(other.snapshot(), numbers=False) == content(kb.snapshot(), numbers=False)
    assert not kb.add(rows_from(tmp_path / "rows.parquet"), replace=True)


def test_a_folder_has_ids_labels_vectors_and_digests(kb, tmp_path):
    export(kb.snapshot(), tmp_path / "web")
    rows = rows_from(tmp_path / "web")
    assert isinstance(rows.vectors_NE, np.memmap)
    change = kb.add(rows)
    assert (bool(change), change.same) == (False, 18)
    one = kb.snapshot()
    assert (rows.vectors_NE == one.vectors_ME[one.live]).all()
    assert rows.source == "web"


def test_an_id_with_a_line_break_goes_into_parquet(tmp_path):
    kb = base("memory", tmp_path)
    kb.commit(kb.add(made(["a\nb"])))
    with pytest.raises(UserError, match=r"holds a line break and can't stand in ids.txt: export into a .parquet"):
        export(kb.snapshot(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(kb.snapshot(), tmp_path / "out.parquet")
    assert rows_from(tmp_path / "out.parquet").ids == ["a\nb"]


def written(folder, **files):
    folder.mkdir()
    for name, data in files.items():
        path = folder / name.replace("_", ".")
        np.save(path, data, allow_pickle=True) if isinstance(data, np.ndarray) else path.write_text(data)
    return folder


ONE = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"ids_txt": "a\n"}, "has no vectors.npy"),
        ({"vectors_npy": ONE}, "has no ids.txt"),
        ({"vectors_npy": ONE, "ids_txt": "a\n"}, "has 2 vectors and 1 ids"),
        ({"vectors_npy": ONE[0], "ids_txt": "a\n"}, r"holds float32 \(3,\)"),
        ({"vectors_npy": np.array([[object()]]), "ids_txt": "a\n"}, "without pickled objects"),
        ({"vectors_npy": ONE, "ids_txt": "a\nb\n", "labels_csv": "id,name\n"}, "it takes id and label"),
        ({"vectors_npy": ONE, "ids_txt": "a\nb\n", "labels_csv": "id,label\nc,x\n"}, "has the id 'c', which is not in"),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path, files, told):
    with pytest.raises(UserError, match=told):
        rows_from(written(tmp_path / "rows", **files))


def test_other_peoples_files_are_taken(tmp_path):
    rows = rows_from(written(tmp_path / "mine", vectors_npy=ONE.astype(np.float64) * 7, ids_txt="a\nb"))
    kb = base("memory", tmp_path)
    kb.commit(kb.add(rows))
    np.testing.assert_allclose(kb.snapshot().vectors_ME, 1 / np.sqrt(3), rtol=1e-7)
    assert kb.snapshot().groups_M[0] != kb.snapshot().groups_M[1], "no image is no common image"
    table = pa.table({"id": ["c"], "vector": [[1.0, 2.0, 2.0]], "age": [3]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    kb.commit(kb.add(rows_from(tmp_path / "t.parquet")))
    one = kb.snapshot()
    assert [one.column(name, one.position["c"]) for name in ("source", "age")] == ["t", 3]


@pytest.mark.parametrize(
    ("table", "told"),
    [({"id": ["a"]}, "has no column 'vector'"), ({"vector": [[1.0]]}, "has no column 'id'"),
     ({"id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "different widths")],
)  # fmt: skip
def test_parquet_without_rows_is_told(tmp_path, table, told):
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=told):
        rows_from(tmp_path / "t.parquet")
    (tmp_path / "no.parquet").write_text("x")
    for name in ("no.parquet", "nothing"):
        with pytest.raises(UserError, match=r"is no Parquet file|There is nothing at"):
            rows_from(tmp_path / name)
    with pytest.raises(UserError, match="is there already"):
        export(base("memory", tmp_path).snapshot(), tmp_path / "t.parquet")


def test_an_export_goes_into_a_new_folder_and_says_where_it_cannot(tmp_path):
    empty, kb = base("memory", tmp_path), base("memory", tmp_path)
    kb.commit(kb.add(made(["a"])))
    for name in ("out", "out.parquet"):
        with pytest.raises(UserError, match="Version 0 of the base has no rows to export"):
            export(empty.snapshot(), tmp_path / name)
        assert not (tmp_path / name).exists()
        export(kb.snapshot(), tmp_path / "new" / name)
        assert rows_from(tmp_path / "new" / name).ids == ["a"]
        with pytest.raises(
            UserError, match=r"^/proc/x/.* can't be written \(No such file or directory\): give another"
        ):
            export(kb.snapshot(), f"/proc/x/{name}")


@pytest.mark.parametrize("name", ["rows.parquet", "rows"])
def test_what_is_exported_is_there_whole_or_not_at_all(kb, tmp_path, monkeypatch, name):
    """A killed one must not pass for rows without labels."""
    to, seen = tmp_path / "out" / name, []

    def full(snapshot):
        yield snapshot.live[:9]
        seen.append(to.exists())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("itae.knowledge.exchange.exchange._blocks", full)
        with pytest.raises(UserError, match=rf"{name} can't be written \(No space left on device\): give another name"):
            export(kb.snapshot(), to)
    assert (seen, list(to.parent.iterdir())) == ([False], [])
    export(kb.snapshot(), to)
    assert list(to.parent.iterdir()) == [to]
    assert len(rows_from(to)) == 18
