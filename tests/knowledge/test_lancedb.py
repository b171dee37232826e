"""LanceDB's own client opens a base, and finds what is there."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from bases import base, made, vector

pytest.importorskip("lance")
CLIENT = """
    import json, sys
    import lancedb
    rows = lancedb.connect(sys.argv[1]).open_table("rows")
    query = json.loads(sys.argv[2])
    search = lambda: rows.search(query, vector_column_name="vector").distance_type("cosine")
    near = search().limit(5).to_list()
    dogs = search().where("label = 'dog'", prefilter=True).limit(3).to_list()
    print(json.dumps([rows.count_rows(), [row["id"] for row in near], [row["id"] for row in dogs]]))
"""


@pytest.mark.slow  # LanceDB takes long to import
def test_lancedb_finds_the_same_neighbours(tmp_path):
    pytest.importorskip("lancedb")

    kb = base("lance", tmp_path)
    kb.commit(kb.add(made([f"cat/{i}" for i in range(50)])))
    kb.commit(kb.correct([f"cat/{i}" for i in range(0, 50, 2)], ["dog"]))
    kb.commit(kb.delete(ids=["cat/3", "cat/4"]))
    query = vector("query") / np.linalg.norm(vector("query"))
    command = [sys.executable, "-c", textwrap.dedent(CLIENT), kb.path, json.dumps(query.tolist())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, near, dogs = json.loads(done.stdout)
    one = kb.snapshot()
    order = one.live[np.argsort(-(one.vectors_ME[one.live] @ query.astype(np.float32)), kind="stable")]
    ids = [one.ids[i] for i in order.tolist()]
    assert count == len(one) == 48
    assert near == ids[:5]
    assert dogs == [each for each in ids if one.labels_of(one.position[each]) == ("dog",)][:3]
